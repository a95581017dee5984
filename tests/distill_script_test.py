import os
import pathlib
import subprocess
import sys
import tempfile

import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _run(*flags, **env):
    return subprocess.run(
        [sys.executable, "-m", "scripts.distill", *flags],
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
        flags = (
            f"--data_dir={self.folder}/data",
            f"--output_dir={output_dir}",
            "--seeds=1",
            "--teacher_epochs=1",
            "--student_epochs=1",
            "--teacher_units=16",
            "--student_units=8,8",
        )
        done = _run(*flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| distilled", done.stdout)
        self.assertRegex(done.stderr, r"seed 0: teacher")
        self.assertTrue(os.path.exists(output_dir + "/saved_model"))
        # The same command gives the same numbers.
        third = _run(*flags, f"--output_dir={output_dir}2")
        self.assertEqual(third.returncode, 0, third.stderr)
        lines = [
            pathlib.Path(folder, "metrics.jsonl").read_text()
            for folder in (output_dir, output_dir + "2")
        ]
        self.assertEqual(*lines)
        again = _run(*flags)
        self.assertEqual(again.returncode, 1)
        self.assertNotIn("Traceback", again.stderr)
        self.assertIn("--overwrite", again.stderr.splitlines()[-1])

    def test_help(self):
        done = _run("--help")
        self.assertIn("--[no]overwrite", done.stdout)
        self.assertIn("--temperature", done.stdout)
        self.assertIn("python -m scripts.distill", done.stdout)

    def test_mistakes_are_one_line(self):
        for flags, message in (
            ((), "output_dir"),
            (("--output_dir=x", "--temperature=0"), "positive finite"),
            (("--output_dir=x", "--soft_weight=2"), "from 0"),
            (("--output_dir=x", "--seeds=0"), "seeds"),
            (("--output_dir=x", "--student_units=big"), "student_units"),
            (("--output_dir=x", "--dataset=digit"), "digits"),
            (("--output_dir=x", "surplus"), "surplus"),
        ):
            with self.subTest(flags):
                done = _run(*flags, f"--data_dir={self.folder}/data")
                self.assertNotEqual(done.returncode, 0)
                self.assertNotIn("Traceback", done.stderr + done.stdout)
                self.assertIn(message, done.stderr + done.stdout)


if __name__ == "__main__":
    tf.test.main()
