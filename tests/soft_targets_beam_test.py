"""Apache Beam writes what the plain writer writes, record for record."""

import functools
import io
import os
import pathlib
import signal
import tempfile
import unittest

import pytest
import tensorflow as tf

from kd_keras import datasets
from kd_keras import models
from kd_keras import soft_targets
from kd_keras import training
from kd_keras.soft_targets import jobs
from kd_keras.soft_targets import writing
from kd_keras.training import storing
from tests import stored_targets

try:
    from kd_keras.soft_targets import pipeline
except ImportError:
    pipeline = None

ONE_PROCESS = ["--runner=FnApiRunner"]
TWO_PROCESSES = [
    "--runner=FnApiRunner",
    "--direct_num_workers=2",
    "--direct_running_mode=multi_processing",
]
RETRYING = ["--runner=BundleBasedDirectRunner"]


class _Faulty:
    """A teacher that fails in the worker that comes to it first."""

    def __init__(self, marker, how):
        self._model = stored_targets.teacher()
        self._marker, self._how = pathlib.Path(marker), how

    def __call__(self, x):
        def fail_once(x):
            if len(x) > 4:  # The canaries, which all look at first.
                return x
            try:
                self._marker.touch(exist_ok=False)
            except FileExistsError:
                return x
            if self._how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("this worker fails")

        seen = tf.numpy_function(fail_once, [x], tf.float32)
        return self._model(tf.ensure_shape(seen, x.shape))


def make_job(marker=None, how=None):
    """A small job, in whatever process this is."""
    teacher = stored_targets.teacher() if how is None else _Faulty(marker, how)
    return jobs.Job(
        teacher,
        stored_targets.source(stored_targets.pixels(90)),
        temperature=None,
        dtype="float16",
        top_k=None,
        views=(datasets.random_shift(1), 3, 2),
        num_ranges=9,
        batch_size=4,
        teacher_fingerprint=None if how is None else "faulty",
    )


def content(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


@unittest.skipIf(pipeline is None, "apache-beam is not installed")
class BeamTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.path = self.folder / "beam"

    def write(self, options, marker=None, how=None, overwrite=False):
        pipeline.write(
            self.path,
            functools.partial(make_job, marker, how),
            options,
            overwrite=overwrite,
            stream=io.StringIO(),
        )

    def expected(self, how=None):
        path = self.folder / "plain"
        marker = self.folder / "marker of the plain writer"
        marker.touch()
        writing.write_job(make_job(marker, how), path, stream=io.StringIO())
        return content(path)

    def test_one_process(self):
        self.write(ONE_PROCESS)
        self.assertEqual(content(self.path), self.expected())
        self.assertLen(list(self.path.glob("range-*")), 9)
        with self.assertRaisesRegex(FileExistsError, "already"):
            self.write(ONE_PROCESS)

    def test_every_bundle_twice(self):
        self.write([*ONE_PROCESS, "--direct_runner_bundle_repeat=1"])
        self.assertEqual(content(self.path), self.expected())

    def test_a_failing_bundle_is_retried(self):
        marker = self.folder / "marker"
        self.write(RETRYING, marker, "raise")
        self.assertTrue(marker.exists())
        self.assertEqual(content(self.path), self.expected("raise"))

    @pytest.mark.slow
    def test_what_was_done_is_not_done_again(self):
        marker = self.folder / "marker"
        with self.assertRaisesRegex(Exception, "this worker fails"):
            self.write(ONE_PROCESS, marker, "raise")
        self.assertFalse(self.path.exists())
        self.write(ONE_PROCESS, marker, "raise")
        self.assertEqual(content(self.path), self.expected("raise"))

    @pytest.mark.slow
    def test_two_processes(self):
        self.write(TWO_PROCESSES)
        self.assertEqual(content(self.path), self.expected())

    @pytest.mark.slow
    def test_a_killed_worker(self):
        marker = self.folder / "marker"
        with self.assertRaises(RuntimeError):
            self.write(TWO_PROCESSES, marker, "kill")
        self.assertFalse(self.path.exists())
        with self.assertRaises(FileNotFoundError):
            soft_targets.open_store(self.path)
        self.write(TWO_PROCESSES, marker, "kill")
        self.assertEqual(content(self.path), self.expected("kill"))

    @pytest.mark.slow
    def test_mnist(self):
        if "TFDS_DATA_DIR" not in os.environ:
            self.skipTest("TFDS_DATA_DIR is not set")
        teacher = self.folder / "teacher.keras"
        models.mlp((28, 28, 1), 10, (20,), seed=0).save(teacher)
        for num_ranges in (8, 13):
            config = training.StoreConfig(
                (str(teacher),), "mnist", num_ranges=num_ranges
            )
            plain = self.folder / f"plain {num_ranges}"
            training.store_soft_targets(config, plain)
            for number, options in enumerate((ONE_PROCESS, TWO_PROCESSES)):
                path = self.folder / f"{num_ranges} {number}"
                pipeline.write(
                    path,
                    functools.partial(storing.make_store_job, config),
                    options,
                    stream=io.StringIO(),
                )
                self.assertEqual(content(path), content(plain))
            size = sum(len(file) for file in content(plain).values())
            self.assertLess(size, 3e6)


if __name__ == "__main__":
    tf.test.main()
