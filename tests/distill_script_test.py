import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import keras
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver

from scripts import distill

# Required, but not of who runs these tests.
flags.set_default(distill._OUTPUT_DIR, "unused")

ROOT = pathlib.Path(__file__).absolute().parent.parent


def _run(*arguments, **env):
    return subprocess.run(
        [sys.executable, "-m", "scripts.distill", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )


class DistillScriptTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def test_runs(self):
        output_dir = os.path.join(self.folder, "run")
        arguments = (
            f"--data_dir={self.folder}/data",
            f"--output_dir={output_dir}",
            "--seeds=1",
            "--teacher_epochs=1",
            "--student_epochs=1",
            "--teacher_model=mlp:16",
            "--student_model=mlp:8,8",
        )
        done = _run(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| distilled", done.stdout)
        self.assertRegex(done.stderr, r"seed 0: teacher")
        self.assertTrue(os.path.exists(output_dir + "/saved_model"))
        report = pathlib.Path(output_dir, "report.md").read_text()
        self.assertIn("learning_curves.png", report)
        with (
            flagsaver.flagsaver(output_dir=output_dir),
            self.assertRaisesRegex(SystemExit, "distill: .*--overwrite"),
        ):
            distill.main(["distill"])

    def test_help(self):
        done = _run("--help")
        self.assertIn("--[no]overwrite", done.stdout)
        self.assertIn("--temperature", done.stdout)
        self.assertIn("python -m scripts.distill", done.stdout)

    def test_mistakes_of_flags(self):
        for arguments, message in (
            ((), "output_dir"),
            ((f"--output_dir={self.folder}/run", "surplus"), "surplus"),
            ((f"--output_dir={self.folder}/run", "--seed=1"), "seeds"),
        ):
            with self.subTest(arguments):
                done = _run(*arguments)
                self.assertNotEqual(done.returncode, 0)
                self.assertNotIn("Traceback", done.stderr + done.stdout)
                self.assertIn(message, done.stderr + done.stdout)

    def test_mistakes_of_values_are_one_line(self):
        for name, value, message in (
            ("temperature", ["0"], "positive finite"),
            ("temperature", ["warm"], "temperature takes numbers"),
            ("soft_weight", ["2.0"], "from 0"),
            ("seeds", 0, "seeds"),
            ("student_model", "mlp:big", "mlp:400,400"),
            ("dataset", "digit", "digits"),
            ("train_split", "training", "train"),
            ("strategy", "parameter_server", "multi_worker"),
            ("num_virtual_devices", 2, "mirrored"),
        ):
            with (
                self.subTest(name),
                flagsaver.flagsaver(
                    output_dir=f"{self.folder}/run",
                    data_dir=f"{self.folder}/data",
                    **{name: value},
                ),
                self.assertRaises(SystemExit) as exit,
            ):
                distill.main(["distill"])
            self.assertRegex(str(exit.exception.code), f"^distill: .*{message}")
        self.assertNotIn("run", os.listdir(self.folder))

    @pytest.mark.slow
    def test_interrupted(self):
        """A polite kill, like Ctrl-C, ends in a line, and the run goes on."""
        arguments = (
            f"--data_dir={self.folder}/data",
            f"--output_dir={self.folder}/runs/interrupted",
            "--seeds=1",
            "--teacher_epochs=4",
            "--student_epochs=40",
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.distill", *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "hard labels" in line:
                process.send_signal(signal.SIGTERM)
        self.assertNotEqual(process.wait(60), 0)
        process.stderr.close()
        self.assertIn("distill: interrupted", lines[-1])
        self.assertNotIn("Traceback", "".join(lines))
        self.assertIn("interrupted.partial", os.listdir(self.folder + "/runs"))
        done = _run(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(os.listdir(self.folder + "/runs"), ["interrupted"])

    @pytest.mark.slow
    def test_strategy(self):
        """Two parts of the CPU give the numbers of one."""
        students = []
        for name, flags_of_strategy in (
            ("one", ()),
            ("two", ("--strategy=mirrored", "--num_virtual_devices=2")),
        ):
            done = _run(
                f"--data_dir={self.folder}/data",
                f"--output_dir={self.folder}/{name}",
                "--seeds=1",
                "--teacher_epochs=2",
                "--student_epochs=1",
                # Replicas draw masks of their own.
                "--teacher_dropout=0",
                "--batch_size=50",
                *flags_of_strategy,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            students.append(
                keras.saving.load_model(
                    f"{self.folder}/{name}/student.keras", compile=False
                )
            )
        for one, two in zip(*(s.get_weights() for s in students), strict=True):
            self.assertAllClose(one, two, rtol=0, atol=1e-5)


def setUpModule():
    # Under pytest nobody parses flags.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])


if __name__ == "__main__":
    tf.test.main()
