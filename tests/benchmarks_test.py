"""The benchmark runs, and tells what it measured."""

import json
import pathlib
import tempfile

import pytest
import tensorflow as tf

from kd_keras import datasets
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import stored_targets
from tests import processes


class RoundsTest(tf.test.TestCase):
    def test_ratio(self):
        order = []
        clock = iter(range(1000))
        # Each call takes as many ticks as it is made to.

        def ticks(name, count):
            def call():
                order.append(name)
                for _ in range(count):
                    next(clock)

            return call

        original = rounds.time.perf_counter
        rounds.time.perf_counter = lambda: next(clock)
        try:
            ratio = rounds.compare(
                "a / b",
                ticks("a", 5),
                ticks("b", 2),
                limit="<= 2",
                num_rounds=3,
            )
        finally:
            rounds.time.perf_counter = original
        # One tick more each, for the clock itself; the first round is not
        # counted, and they take turns.
        self.assertEqual(order, list("abbaabba"))
        self.assertEqual(ratio.ratios, [2.0] * 3)
        self.assertEqual(ratio.seconds, (6, 3))
        self.assertTrue(ratio.holds)
        self.assertIn("2.000 to 2.000", rounds.table([ratio]))

    def test_without_warming_up(self):
        calls = []
        ratio = rounds.compare(
            "once",
            lambda: calls.append("a"),
            lambda: calls.append("b"),
            limit=">= 0",
            num_rounds=1,
            warm_up=False,
        )
        self.assertEqual(calls, ["a", "b"])
        self.assertLen(ratio.ratios, 1)

    def test_limits(self):
        for limit, holds in (
            ("<= 2.0", True),
            ("<= 1.9", False),
            (">= 2", True),
            (">= 2.1", False),
        ):
            ratio = rounds.Ratio("", [1.0, 2.0, 9.0], (1.0, 1.0), limit)
            self.assertEqual(ratio.median, 2.0)
            self.assertEqual(ratio.holds, holds)


class BenchmarkScriptTest(tf.test.TestCase):
    def test_runs(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        output = pathlib.Path(folder) / "ratios.json"
        process = processes.start(
            [
                "-m",
                "scripts.benchmark",
                "--rounds=1",
                "--epochs=1",
                "--split=train[:200]",
                "--compare=mlp_step",
                f"--output={output}",
            ],
            {},
        )
        said = processes.finish(process)
        self.assertIn("median ratio", said)
        self.assertNotIn("Traceback", said)
        self.assertLen(json.loads(output.read_text()), 1)

    @pytest.mark.slow
    def test_all_comparisons(self):
        source = datasets.load("digits", "train[:100]")
        ratios = list(
            stored_targets.run(source, source, num_rounds=1, num_epochs=1)
        )
        self.assertLen(ratios, len(stored_targets.NAMES))
        for ratio in ratios:
            self.assertGreater(ratio.median, 0)

    def test_unknown_comparison(self):
        with self.assertRaisesRegex(
            ValueError, "comparison flying.*some of writing, reading"
        ):
            next(stored_targets.run(None, None, names=["writing", "flying"]))


if __name__ == "__main__":
    tf.test.main()
