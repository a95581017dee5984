"""What goes wrong ends in one line that says what to do."""

import json
import os
import subprocess
import sys
import tempfile

import keras
import pytest
import tensorflow as tf

import kd_keras
from tests import digits_runs
from tests import export_models
from tests import mistakes
from tests import sources

PROGRAMS = (
    "audit_soft_targets",
    "benchmark",
    "cache_soft_targets",
    "distill",
    "evaluate",
    "export_student",
    "run_experiment",
    "train_specialists",
    "train_teacher",
)


class MistakesTest(digits_runs.DigitsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        kd_keras.models.mlp((8, 8, 1), 10, (4,)).save(cls.folder / "ten.keras")
        kd_keras.models.mlp((8, 8, 1), 7, (4,)).save(cls.folder / "7.keras")
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(10, activation="softmax"),
            ]
        ).save(cls.folder / "soft.keras")
        (cls.folder / "text").write_text("no directory")
        (cls.folder / "text.keras").write_text("no model")
        (cls.folder / "used").mkdir()
        (cls.folder / "used/thesis.txt").write_text("years of work")

    def check(self, name, always, cases):
        """Runs a program with each mistake.

        Args:
            name: Name of the program.
            always: Arguments that are right.
            cases: Tuples of what it must say, and other arguments, of which
                the last of a name counts.
        """
        here = self.enterContext(tempfile.TemporaryDirectory())
        for file in self.folder.glob("*"):
            if file.name != "data":
                os.symlink(file, f"{here}/{file.name}")
        always = [f"--data_dir={self.data_dir}", *always]
        arguments = [
            # What is to fail comes first, and of equal flags the last counts.
            sorted(
                (part.replace("HERE", here) for part in (*always, *case)),
                key=lambda part: not part.startswith("errno:"),
            )
            for _, *case in cases
        ]
        before = sorted(os.listdir(here))
        done = subprocess.run(
            [sys.executable, "-m", mistakes.__name__],
            input=json.dumps([name, arguments]),
            cwd=sources.ROOT,
            env=export_models.environment(),
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        answers = json.loads(done.stdout.splitlines()[-1])
        for (message, *case), said in zip(cases, answers, strict=True):
            with self.subTest(case):
                self.assertRegex(said, message)
                self.assertStartsWith(said, f"{name}: ")
                self.assertNotIn("\n", said)
        self.assertEqual(sorted(os.listdir(here)), before)

    TEACHER = "--teacher=HERE/ten.keras"
    OUTPUT = (
        ("already.*--overwrite", "--output_dir=HERE/used"),
        ("no config.json", "--output_dir=HERE/used", "--overwrite"),
        ("text is in the way", "--output_dir=HERE/text/out"),
        ("cannot be written.*Choose another", "errno:EROFS"),
        ("cannot be written.*Choose another", "errno:EACCES"),
        ("No space left", "errno:ENOSPC"),
        ("near names: digits", "--dataset=digit"),
        ("split", "--train_split=training"),
        ("image_size takes numbers", "--image_size=8,wide"),
        ("directory that you are in", "--output_dir=."),
    )

    def test_train_teacher(self):
        self.check(
            "train_teacher",
            ["--output_dir=HERE/out"],
            [
                *self.OUTPUT,
                ("no model 'resnet'", "--model=resnet"),
                ("There is no model at", "--model=HERE/none.keras"),
                ("10 classes", "--model=HERE/7.keras"),
                ("epochs", "--epochs=0"),
                ("no file of weights", "--weights=none.h5"),
                ("mirrored", "--num_virtual_devices=2"),
            ],
        )

    @pytest.mark.slow
    def test_train_specialists(self):
        self.check(
            "train_specialists",
            ["--output_dir=HERE/out", "--generalist=HERE/ten.keras"],
            [
                *(case for case in self.OUTPUT if "errno" not in case[1]),
                ("no saved model at", "--generalist=HERE/none.keras"),
                ("7 classes, and digits", "--generalist=HERE/7.keras"),
                ("ends in a Dense layer", "--generalist=HERE/soft.keras"),
                ("text.keras is no .keras", "--generalist=HERE/text.keras"),
                ("from 1 to 10", "--num_sets=11"),
                ("from 0 to 9", "--set_size=10"),
                ("from 2 to 10", "--set_size=0", "--num_sets=1"),
                ("from 1 to 10", "--top_n=11"),
                ("`epochs`", "--epochs=0", "--head_epochs=0"),
                ("soft_weight", "--soft_weight=1", "--full_softmax"),
                ("temperature: .*--full_softmax", "--temperature=3"),
                (
                    "generalist_model, --learning_rate: .*--generalist gives",
                    "--generalist_model=mlp:5",
                    "--learning_rate=0.1",
                ),
                ("share examples", "--cluster_split=test"),
            ],
        )

    def test_distill(self):
        self.check(
            "distill",
            ["--output_dir=HERE/out"],
            [
                *self.OUTPUT,
                ("no saved model at", "--teacher=HERE/none.keras"),
                ("10 classes|classes: 10", "--teacher=HERE/7.keras"),
                (
                    "7 classes, and digits",
                    self.TEACHER,
                    "--teacher=HERE/7.keras",
                ),
                (
                    "no store of soft targets",
                    self.TEACHER,
                    "--soft_targets=HERE/none",
                ),
                ("7 classes|10 classes", "--student_model=HERE/7.keras"),
                ("temperature", "--temperature=0"),
                (
                    "`test_split` and `validation_split` share",
                    "--validation_split=test[:5]",
                ),
                (
                    "`train_split` and `test_split` share",
                    "--train_split=train+test",
                ),
                ("ends in softmax", "--student_model=HERE/soft.keras"),
                ("teacher_epochs: ", self.TEACHER, "--teacher_epochs=60"),
                ("control=hard,label_sm", "--label_smoothing=0.2"),
                ("needs the `teacher`", "--soft_targets=HERE/x", "--teacher="),
            ],
        )

    @pytest.mark.slow
    def test_cache_soft_targets(self):
        output = [case for case in self.OUTPUT if "train_split" not in case[1]]
        self.check(
            "cache_soft_targets",
            ["--output_dir=HERE/out"],
            [
                *((*case, self.TEACHER) for case in output[2:]),
                ("already", "--output_dir=HERE/used", self.TEACHER),
                ("no saved model at", "--teacher=HERE/none.keras"),
                ("10 classes|classes: 10", "--teacher=HERE/7.keras"),
                (
                    "7 classes, and digits",
                    self.TEACHER,
                    "--teacher=HERE/7.keras",
                ),
                ("num_views", "--max_shift=2", self.TEACHER),
                ("num_views", "--augment_seed=1", self.TEACHER),
            ],
        )

    @pytest.mark.slow
    def test_export_student(self):
        output = [case for case in self.OUTPUT if "train_split" not in case[1]]
        self.check(
            "export_student",
            ["--output_dir=HERE/out", "--model=HERE/ten.keras"],
            [
                *output,
                ("no .*none.keras", "--model=HERE/none.keras"),
                ("10 classes", "--model=HERE/7.keras"),
                ("text.keras", "--model=HERE/text.keras"),
                ("format", "--format=tflite"),
                ("split", "--split=testing"),
            ],
        )

    @pytest.mark.slow
    def test_evaluate(self):
        output = [case for case in self.OUTPUT if "train_split" not in case[1]]
        self.check(
            "evaluate",
            ["--output_dir=HERE/out", "--model=HERE/ten.keras"],
            [
                *output,
                ("none.keras", "--model=HERE/none.keras"),
                ("10 classes", "--model=HERE/7.keras"),
                ("10 classes", "--teacher=HERE/7.keras"),
                ("text.keras", "--model=HERE/text.keras"),
                ("num_bins|bins", "--num_bins=0"),
                ("latency_batch_sizes", "--latency_batch_sizes=0"),
            ],
        )


class HelpTest(tf.test.TestCase):
    def test_fits_two_screens(self):
        """Run as a module and as an installed command, without TensorFlow."""
        for name in PROGRAMS:
            with self.subTest(name):
                done, installed = (
                    subprocess.run(
                        [sys.executable, *arguments],
                        cwd=sources.ROOT,
                        env=export_models.environment(),
                        capture_output=True,
                        text=True,
                    )
                    for arguments in (
                        ["-m", f"scripts.{name}", "--help"],
                        [
                            "-c",
                            "import sys; sys.argv = ['kd-program', '--help']; "
                            f"sys.modules['tensorflow'] = None; "
                            f"from scripts.{name} import run; run()",
                        ],
                    )
                )
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout, installed.stdout)
                lines = done.stdout.splitlines()
                self.assertLess(len(lines), 80)
                self.assertLessEqual(max(map(len, lines)), 80)
                self.assertIn(f"python -m scripts.{name}", done.stdout)
                self.assertEqual(
                    "--config " in done.stdout,
                    # These write no configuration that could be taken up.
                    name not in ("run_experiment", "benchmark"),
                )
                self.assertNotIn("None", done.stdout)
        self.assertIn("  --epochs=60              Passes over", done.stdout)
        self.assertIn("--[no]overwrite", done.stdout)
        self.assertRegex(done.stdout, r"curves.jsonl. Required\.")

    def test_missing_flags(self):
        done = subprocess.run(
            [sys.executable, "-m", "scripts.export_student", "--model=x"],
            cwd=sources.ROOT,
            env=export_models.environment(),
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(
            done.stderr,
            "export_student: --output_dir is missing. See --help.\n",
        )

    def test_wrong_flags(self):
        for name in ("train_teacher", "export_student"):
            done = subprocess.run(
                [sys.executable, "-m", f"scripts.{name}", "--modle=x"],
                cwd=sources.ROOT,
                env=export_models.environment(),
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, 1)
            said = done.stdout + done.stderr
            self.assertEqual(
                said,
                f"{name}: Unknown command line flag 'modle'. Did you mean: "
                "model ? See --help.\n",
            )
            self.assertNotIn("Traceback", said)


if __name__ == "__main__":
    tf.test.main()
