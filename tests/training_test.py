import dataclasses
import json
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import datasets
from kd_keras import training
from kd_keras.training import arms
from kd_keras.training import data
from tests import digits_runs


class TrainingTest(digits_runs.DigitsTestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.output_dir = cls.folder / "run"
        cls.config = training.DistillConfig(
            data_dir=cls.data_dir, **{**digits_runs.SMALL, "seeds": 2}
        )
        cls.rows, cls.sizes = training.run_distillation(
            cls.config, cls.output_dir
        )

    def test_rows(self):
        self.assertEqual(
            [(row["seed"], row["arm"]) for row in self.rows],
            [
                (seed, arm)
                for seed in (0, 1)
                for arm in (arms.TEACHER, arms.HARD, arms.DISTILLED)
            ],
        )
        for row in self.rows:
            self.assertEqual(row["test_examples"], 500)
            self.assertAllClose(
                row["test_accuracy"], 1 - row["test_errors"] / 500
            )
            self.assertEqual(
                row["teacher_agreement"] is None, row["arm"] == "teacher"
            )
        parameters = {row["arm"]: row["parameters"] for row in self.rows}
        self.assertEqual(
            parameters,
            {
                "teacher": 64 * 32 + 32 + 32 * 10 + 10,
                "hard labels": 64 * 8 + 8 + 8 * 10 + 10,
                "distilled": 64 * 8 + 8 + 8 * 10 + 10,
            },
        )

    def test_files(self):
        config = json.loads((self.output_dir / "config.json").read_text())
        for field in dataclasses.fields(self.config):
            value = getattr(self.config, field.name)
            value = list(value) if isinstance(value, tuple) else value
            self.assertEqual(config[field.name], value)
        self.assertEqual(config["versions"]["keras"], keras.__version__)
        lines = (self.output_dir / "metrics.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(line) for line in lines], self.rows)
        self.assertCountEqual(
            os.listdir(self.output_dir),
            [
                "config.json",
                "curves.jsonl",
                "metrics.jsonl",
                "predictions.npz",
                "saved_model",
                "sizes.json",
                "student.json",
                "student.keras",
                "tensorboard",
            ],
        )
        sizes = json.loads((self.output_dir / "sizes.json").read_text())
        self.assertEqual(sizes, self.sizes)
        files = (self.output_dir / "saved_model").rglob("*")
        self.assertEqual(
            sum(file.stat().st_size for file in files if file.is_file()),
            sizes["distilled"],
        )
        self.assertGreater(sizes["teacher"], 4 * self.rows[0]["parameters"])

    def test_saved_student_is_the_first_seeds(self):
        test = datasets.load(split="test", data_dir=self.data_dir)
        batch = next(iter(datasets.batches(test.dataset, 500)))
        student = keras.saving.load_model(self.output_dir / "student.keras")
        logits = student(batch[0])
        errors = int((logits.numpy().argmax(-1) != batch[1].numpy()).sum())
        row = self.rows[2]
        self.assertEqual((row["seed"], row["arm"]), (0, "distilled"))
        self.assertEqual(errors, row["test_errors"])
        served = tf.saved_model.load(str(self.output_dir / "saved_model"))
        served = served.signatures["serving_default"](inputs=batch[0])
        self.assertAllClose(served["logits"], logits, 1e-5, 1e-5)

    def test_reproducible(self):
        output_dir = self.output_dir.with_name("again")
        config = dataclasses.replace(self.config, seeds=1)
        rows, _ = training.run_distillation(config, output_dir)
        self.assertEqual(rows, self.rows[:3])
        for one, other in zip(
            keras.saving.load_model(output_dir / "student.keras").weights,
            keras.saving.load_model(self.output_dir / "student.keras").weights,
            strict=True,
        ):
            self.assertAllEqual(one, other)

    def test_arms_differ_in_the_soft_targets_alone(self):
        """With soft_weight 0 they are one and the same."""
        config = dataclasses.replace(
            self.config, soft_weight=0.0, seeds=1, labelled_fraction=0.5
        )
        output_dir = self.output_dir.with_name("no_difference")
        rows, _ = training.run_distillation(config, output_dir)
        settings = {"arm", "temperature", "soft_weight"}
        hard, distilled = (
            {k: v for k, v in row.items() if k not in settings}
            for row in rows[1:]
        )
        self.assertEqual(hard, distilled)

    def test_transfer_set(self):
        """The same images in the same order, a tenth of the labels left."""
        job_data = data.JobData(self.config)

        def epoch(fraction):
            read = job_data.batches(3, fraction).as_numpy_iterator()
            images, labels = zip(*read, strict=True)
            return np.concatenate(images), np.concatenate(labels)

        images, labels = epoch(1.0)
        same_images, some_labels = epoch(0.1)
        self.assertAllEqual(images, same_images)
        self.assertLen(labels, 1297)
        self.assertEqual((some_labels >= 0).sum(), 130)
        known = some_labels >= 0
        self.assertAllEqual(labels[known], some_labels[known])

    def test_summary(self):
        text = training.summarise(self.rows, self.sizes)
        errors = [
            r["test_errors"] for r in self.rows if r["arm"] == "distilled"
        ]
        mean, spread = np.mean(errors), np.std(errors, ddof=1)
        self.assertIn(f"{mean:.1f} ± {spread:.1f}", text)
        self.assertIn("Test examples: 500", text)
        self.assertRegex(text, "No evidence|Better|Worse")

    def test_existing_output_is_kept(self):
        before = (self.output_dir / "metrics.jsonl").read_bytes()
        with self.assertRaisesRegex(FileExistsError, "already"):
            training.run_distillation(self.config, self.output_dir)
        self.assertEqual(
            before, (self.output_dir / "metrics.jsonl").read_bytes()
        )

    def test_only_its_own_output_is_overwritten(self):
        folder = self.output_dir.with_name("precious")
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
        with self.assertRaisesRegex(FileExistsError, "no config.json"):
            training.run_distillation(self.config, folder, overwrite=True)
        self.assertTrue((folder / "thesis.txt").exists())

    def test_nothing_is_left_of_a_failed_run(self):
        folder = self.output_dir.with_name("failed") / "run"
        config = dataclasses.replace(self.config, test_split="no_such_split")
        with self.assertRaises(ValueError):
            training.run_distillation(config, folder)
        self.assertFalse(folder.parent.exists())

    @parameterized.parameters(
        {"temperature": 0.0},
        {"soft_weight": 1.5},
        {"labelled_fraction": 0.0},
        {"labelled_fraction": 1.5},
        {"seeds": 0},
        {"batch_size": -1},
        {"student_epochs": 1.5},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"temperature": ()},
        {"temperature": (1.0, 1.0)},
        {"soft_weight": (0.5, 2.0)},
        {"control": ("soft",)},
        {"label_smoothing": 1.0},
        {"teacher": 3},
        {"teacher": ("a.keras", 3)},
        {"student_weights": 3},
    )
    def test_bad_configuration(self, **fault):
        with self.assertRaisesRegex(ValueError, next(iter(fault))):
            training.DistillConfig(**fault)

    def test_paths(self):
        one = pathlib.Path("a.keras")
        for teacher in ("a.keras", one, [one]):
            config = training.DistillConfig(teacher=teacher, soft_targets=one)
            self.assertEqual(config.teacher, ("a.keras",))
            self.assertEqual(config.soft_targets, "a.keras")


if __name__ == "__main__":
    tf.test.main()
