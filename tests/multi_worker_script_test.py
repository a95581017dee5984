"""The distill script on several workers, by its documented command line."""

import os
import pathlib
import signal
import tempfile
import time

import keras
import pytest
import tensorflow as tf

from tests import processes

# Without dropout, of which replicas draw masks of their own.
ARGUMENTS = (
    "--seeds=1",
    "--teacher_dropout=0",
    "--teacher_epochs=3",
    "--student_epochs=3",
    "--batch_size=200",
)


@pytest.mark.slow
class MultiWorkerScriptTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, name, *arguments, number=2):
        return [
            processes.start(
                [
                    "-m",
                    "scripts.distill",
                    f"--data_dir={self.folder / 'data'}",
                    f"--output_dir={self.folder / name}",
                    *ARGUMENTS,
                    *(["--strategy=multi_worker"] if number > 1 else []),
                    *arguments,
                ],
                environment,
            )
            for environment in processes.environments(number)
        ]

    def finish(self, started):
        said = [processes.finish(process) for process in started]
        for process, text in zip(started, said, strict=True):
            self.assertEqual(process.returncode, 0, text[-3000:])
        return said

    def weights(self, name):
        student = keras.saving.load_model(
            self.folder / name / "student.keras", compile=False
        )
        return student.get_weights()

    def test_trains_as_one_process(self):
        # The data is prepared once, before workers would do it together.
        self.finish(self.start("one", number=1))
        said = self.finish(self.start("two"))
        self.assertIn("| distilled", said[0])
        self.assertNotIn("| distilled", said[1])
        self.assertCountEqual(
            os.listdir(self.folder / "two"), os.listdir(self.folder / "one")
        )
        for one, two in zip(
            self.weights("one"), self.weights("two"), strict=True
        ):
            # Adam divides by what is near 0 at first.
            self.assertAllClose(one, two, rtol=0, atol=2e-5)

    def test_goes_on_after_a_worker_was_killed(self):
        longer = "--student_epochs=20"
        self.finish(self.start("prepare", "--student_epochs=1", number=1))
        self.finish(self.start("unbroken", longer))
        for victim in (0, 1):
            name = f"killed-{victim}"
            started = self.start(name, longer)
            state = (
                self.folder / f"{name}.partial/work/seed-0-distilled-4-0.9.npz"
            )
            begin = time.monotonic()
            while not state.exists():
                self.assertLess(time.monotonic() - begin, 120)
                time.sleep(0.05)
            started[victim].send_signal(signal.SIGKILL)
            begin = time.monotonic()
            said = processes.finish(started[1 - victim])
            self.assertLess(time.monotonic() - begin, 60)
            self.assertNotIn(started[1 - victim].returncode, (0, None), said)
            processes.finish(started[victim])
            self.assertFalse((self.folder / name).exists())
            self.finish(self.start(name, longer))
            for one, two in zip(
                self.weights("unbroken"), self.weights(name), strict=True
            ):
                self.assertAllEqual(one, two)


if __name__ == "__main__":
    tf.test.main()
