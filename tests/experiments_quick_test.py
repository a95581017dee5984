"""Every experiment in its small form, as a user runs it, within two minutes."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import experiments
from tests import sources


class QuickTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        name=sorted(experiments.EXPERIMENTS), dataset=["digits", "mnist"]
    )
    @pytest.mark.slow
    def test_quick(self, name, dataset):
        if dataset == "mnist" and "TFDS_DATA_DIR" not in os.environ:
            self.skipTest("TFDS_DATA_DIR is not set")
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        command = [
            *(sys.executable, "-m", "scripts.run_experiment", name, "--quick"),
            f"--output_dir={folder / 'results'}",
        ]
        if dataset == "digits":
            command.append(f"--data_dir={folder}")
        begin = time.monotonic()
        done = subprocess.run(
            command,
            cwd=sources.ROOT,
            env={**os.environ, "PYTHONPATH": str(sources.ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - begin
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(f"Data: {dataset}", done.stdout)
        print(f"{name} on {dataset}: {seconds:.0f} s")
        self.assertLess(seconds, 120)


if __name__ == "__main__":
    tf.test.main()
