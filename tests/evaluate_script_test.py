"""Any saved student, measured by the program."""

import json

import numpy as np
import tensorflow as tf

import kd_keras
from kd_keras import datasets
from kd_keras import export
from kd_keras import training
from tests import digits_runs
from tests import processes


class EvaluateTest(digits_runs.DigitsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.student = cls.trained("student", seed=1)
        cls.teacher = cls.trained("teacher", seed=2)
        cls.test = datasets.load(split="test", data_dir=cls.data_dir)
        batch = next(iter(cls.test.dataset.batch(500)))
        cls.labels = batch["label"].numpy()
        cls.images = batch["image"].numpy()

    def config(self, model, **kwargs):
        return training.EvaluationConfig(
            model=str(self.folder / model),
            data_dir=self.data_dir,
            latency_rounds=2,
            **kwargs,
        )

    def test_numbers(self):
        result, text = training.run_evaluation(
            self.config(
                "student.keras",
                teacher=str(self.folder / "teacher.keras"),
                batch_size=64,
            )
        )
        x = np.float32(self.images) / np.float32(255)
        student, teacher = (m(x).numpy() for m in (self.student, self.teacher))
        errors = int((student.argmax(-1) != self.labels).sum())
        self.assertEqual(result["student"]["quality"]["errors"], errors)
        self.assertBetween(errors, 1, 450)
        self.assertAllClose(
            result["fidelity"]["agreement"],
            (student.argmax(-1) == teacher.argmax(-1)).mean(),
        )
        size = (self.folder / "student.keras").stat().st_size
        self.assertEqual(result["student"]["bytes"], size)
        self.assertEqual(
            result["student"]["parameters"], self.student.count_params()
        )
        self.assertEqual(
            [x["batch_size"] for x in result["student"]["latency"]],
            [1, 32, 256],
        )
        self.assertIn(f"| {errors} |", " ".join(text.split()))
        self.assertIn("agree on", text)

    def test_all_forms_are_one_student(self):
        export.export_student(self.student, self.folder / "bare")
        export.export_for_serving(self.student, self.folder / "served")
        errors = [
            training.run_evaluation(self.config(name))[0]["student"]["quality"]
            for name in ("student.keras", "bare", "served")
        ]
        for other in errors[1:]:
            self.assertEqual(other["errors"], errors[0]["errors"])
            self.assertAllClose(
                other["negative_log_likelihood"],
                errors[0]["negative_log_likelihood"],
                rtol=1e-5,
            )
        # What was exported for serving teaches, too.
        teacher = kd_keras.load_teacher(self.folder / "served")
        x = np.float32(self.images[:5]) / np.float32(255)
        self.assertAllClose(teacher(x)["logits"], self.student(x), atol=1e-5)

    def test_program(self):
        output_dir = self.folder / "evaluated"
        arguments = [
            "-m",
            "scripts.evaluate",
            f"--model={self.folder}/student.keras",
            f"--data_dir={self.data_dir}",
            "--latency_rounds=1",
            "--latency_batch_sizes=1,7",
            f"--output_dir={output_dir}",
        ]
        said = processes.finish(processes.start(arguments, {}))
        self.assertIn("accuracy, %", said)
        report = (output_dir / "report.md").read_text()
        self.assertIn(report.strip(), said)
        found = json.loads((output_dir / "evaluation.json").read_text())
        self.assertEqual(len(found["student"]["latency"]), 2)
        config = json.loads((output_dir / "config.json").read_text())
        self.assertEqual(config["latency_batch_sizes"], [1, 7])

    def test_mistakes(self):
        other = kd_keras.models.mlp((8, 8, 1), 7, (4,))
        other.save(self.folder / "seven.keras")
        other = kd_keras.models.mlp((9, 8, 1), 10, (4,))
        other.save(self.folder / "larger.keras")
        for model, message in (
            ("nothing.keras", "no saved model"),
            ("seven.keras", "10 classes"),
            ("larger.keras", "takes images of shape"),
        ):
            with self.assertRaisesRegex((ValueError, OSError), message):
                training.run_evaluation(self.config(model))

    def test_mistakes_of_flags(self):
        (self.folder / "odd.json").write_text('{"colour": 1}')
        for arguments, message in (
            ([f"--config={self.folder}/odd.json"], "no flag --colour"),
            (["--config", "nothing.json"], "nothing.json"),
            ([], "--model"),
        ):
            with self.subTest(arguments):
                process = processes.start(
                    ["-m", "scripts.evaluate", *arguments], {}
                )
                said = processes.finish(process)
                self.assertNotEqual(process.returncode, 0)
                self.assertRegex(said, message)
                self.assertNotIn("Traceback", said)


if __name__ == "__main__":
    tf.test.main()
