"""Results of comparisons are kept, and nothing else is overwritten."""

import pathlib
import tempfile
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from kd_keras import benchmarks
from kd_keras.benchmarks import measured as measured_lib
from kd_keras.benchmarks import processes
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import stored_targets
from tests import processes as processes_lib


class MeasuredTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.path = self.folder / "not_yet" / "speed.json"

    def ratio(self, value, unit="s"):
        return rounds.Ratio("a / b", [value], (value, 1.0), "<= 1", unit)

    def test_kept_and_taken_up(self):
        measured = measured_lib.Measured(self.path)
        self.assertFalse(measured.has("reading"))
        measured.add("reading", [self.ratio(0.5)], {"rounds": 1})
        measured.add("memory", [self.ratio(2.0, "B")], {"rounds": 3})
        again = measured_lib.Measured(self.path)
        self.assertTrue(again.has("reading"))
        names = ["memory", "missing", "reading"]
        self.assertEqual(
            again.ratios(names), [self.ratio(2.0, "B"), self.ratio(0.5)]
        )
        self.assertEqual(
            again.made_with(names), ["memory: rounds: 3", "reading: rounds: 1"]
        )
        # The same again takes the place of what was there.
        again.add("reading", [self.ratio(0.7)], {"rounds": 3})
        last = measured_lib.Measured(self.path)
        self.assertEqual(last.ratios(["reading"]), [self.ratio(0.7)])
        self.assertEqual(last.made_with(names), ["memory, reading: rounds: 3"])

    def test_what_cannot_be_such_a_file(self):
        for path in ("speed.png", "speed", "folder.json"):
            (self.folder / "folder.json").mkdir(exist_ok=True)
            with self.assertRaisesRegex(ValueError, "JSON file, as speed.json"):
                measured_lib.Measured(self.folder / path)
        for text in (
            "precious",
            '{"other": 1}',
            "[1]",
            '{"comparisons": {"reading": {"ratios": [{"x": 1}]}}}',
        ):
            other = self.folder / "other.json"
            other.write_text(text)
            with self.assertRaisesRegex(ValueError, "holds no results"):
                measured_lib.Measured(other)
            self.assertEqual(other.read_text(), text)
        (self.folder / "plot.png").write_text("precious")
        with self.assertRaisesRegex(ValueError, "plot.png.*is there"):
            measured_lib.Measured(self.folder / "plot.json")

    @pytest.mark.slow
    def test_program_goes_on(self):
        """And leaves alone what was made before."""
        measured = measured_lib.Measured(self.path)
        measured.add("mlp_step", [self.ratio(0.5)], {"rounds": 1})
        before = self.path.read_bytes()
        said = processes_lib.finish(
            processes_lib.start(
                [
                    *("-m", "scripts.benchmark"),
                    *("--compare=mlp_step", f"--output={self.path}"),
                ],
                {},
            )
        )
        self.assertIn("has 1 of 1 comparisons", said)
        self.assertIn("500 ms / 1.00 s", said)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertTrue(self.path.with_suffix(".png").exists())


class LimitsTest(tf.test.TestCase):
    def test_names(self):
        self.assertContainsSubset(stored_targets.NAMES, benchmarks.NAMES)

    def test_memory_of_a_call(self):
        """Of this process: 64 MB that are held for a while."""

        def call():
            array = np.ones(8 * 2**20)
            del array

        memory = processes._memory_of(call)
        self.assertBetween(memory["added"], 60 * 2**20, 80 * 2**20)
        self.assertGreater(memory["peak"], memory["added"])

    def test_memory_of_a_gpu(self):
        held = {"current": 100, "peak": 100}

        def call():
            held["peak"] = 700

        with (
            mock.patch.object(
                tf.config, "list_logical_devices", return_value=["GPU:0"]
            ),
            mock.patch.object(
                tf.config.experimental, "reset_memory_stats"
            ) as reset,
            mock.patch.object(
                tf.config.experimental, "get_memory_info", lambda _: held
            ),
        ):
            memory = processes._memory_of(call)
        reset.assert_called_once_with("GPU:0")
        self.assertEqual(memory, {"peak": 700, "added": 600})

    def test_a_process_that_fails_is_heard(self):
        with self.assertRaisesRegex(
            RuntimeError, "ended with 3: what went wrong"
        ):
            processes._said(
                [
                    "-c",
                    "import sys; print('what went wrong', file=sys.stderr); "
                    "sys.exit(3)",
                ]
            )


if __name__ == "__main__":
    tf.test.main()
