"""The program that trains a teacher, and what it leaves."""

import dataclasses
import json
import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import datasets
from kd_keras import reports
from kd_keras import training
from kd_keras.soft_targets import fingerprints
from kd_keras.training import cards
from kd_keras.training import curves
from kd_keras.training import data
from tests import digits_runs
from tests import processes


class TeacherTest(digits_runs.DigitsTestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = training.TeacherConfig(
            data_dir=cls.data_dir,
            model="mlp:32",
            dropout=0.1,
            epochs=2,
            max_shift=1,
            learning_rate=0.01,
        )
        cls.path = cls.folder / "run"
        cls.row = training.run_teacher(
            cls.config, cls.path, finish=reports.write_teacher_report
        )

    def test_files(self):
        self.assertCountEqual(
            os.listdir(self.path),
            ["config.json", "curves.jsonl", "metrics.jsonl", "predictions.npz"]
            + ["report.md", "saved_model", "teacher.json", "teacher.keras"]
            + ["tensorboard", "class_errors.png", "learning_curves.png"]
            + ["reliability.png"],
        )
        line = json.loads((self.path / "metrics.jsonl").read_text())
        self.assertEqual(line, self.row)
        config = json.loads((self.path / "config.json").read_text())
        for name, value in dataclasses.asdict(self.config).items():
            self.assertEqual(config[name], value)
        lines = (self.path / "curves.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(line)["epoch"] for line in lines], [0, 1])
        page = (self.path / "report.md").read_text()
        self.assertIn(training.summarise_teacher(self.row), page)

    def test_numbers_are_those_of_the_saved_teacher(self):
        teacher = keras.saving.load_model(self.path / "teacher.keras")
        test = datasets.load(split="test", data_dir=self.data_dir)
        batch = next(iter(datasets.batches(test.dataset, 500)))
        logits = teacher(batch[0]).numpy()
        errors = int((logits.argmax(-1) != batch[1].numpy()).sum())
        self.assertEqual(self.row["test_errors"], errors)
        self.assertBetween(errors, 1, 400)
        self.assertEqual(self.row["parameters"], 65 * 32 + 33 * 10)
        served = tf.saved_model.load(str(self.path / "saved_model"))
        served = served.signatures["serving_default"](inputs=batch[0])
        self.assertAllClose(served["logits"], logits, atol=1e-5)
        with np.load(self.path / "predictions.npz") as predictions:
            self.assertAllClose(predictions["teacher"], logits, atol=1e-5)

    def test_record(self):
        record = cards.find_record(self.path / "teacher.keras")
        self.assertEqual(record, cards.find_record(self.path / "saved_model"))
        teacher = keras.saving.load_model(self.path / "teacher.keras")
        self.assertEqual(
            record["fingerprint"], fingerprints.fingerprint(teacher)
        )
        self.assertEqual(record["metrics"], self.row)
        self.assertIsNone(record["distilled"])
        self.assertEqual(record["dataset"]["name"], "digits")

    def test_the_same_again(self):
        again = training.run_teacher(self.config, self.folder / "again")
        self.assertEqual(again, self.row)
        for one, other in zip(
            *(
                keras.saving.load_model(path / "teacher.keras").get_weights()
                for path in (self.path, self.folder / "again")
            ),
            strict=True,
        ):
            self.assertAllEqual(one, other)

    def test_goes_on(self):
        """Broken off after an epoch, it ends where the unbroken one ends."""

        path = self.folder / "broken"
        whole = curves.Curve.on_epoch_end

        def breaks(callback, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt
            whole(callback, epoch, logs)

        with (
            mock.patch.object(curves.Curve, "on_epoch_end", breaks),
            self.assertRaises(KeyboardInterrupt),
        ):
            training.run_teacher(self.config, path)
        self.assertFalse(path.exists())
        epochs = []

        def counts(callback, epoch, logs=None):
            epochs.append(epoch)
            whole(callback, epoch, logs)

        with mock.patch.object(curves.Curve, "on_epoch_end", counts):
            row = training.run_teacher(self.config, path)
        self.assertEqual((row, epochs), (self.row, [1]))
        self.assertEqual(
            (path / "curves.jsonl").read_text(),
            (self.path / "curves.jsonl").read_text(),
        )

    def test_jitter_is_what_it_trains_on(self):
        shifted = data.JobData(self.config, {"max_shift": 1})
        plain = data.JobData(self.config)
        same, labels = [], []
        for epoch in range(2):
            shifted.epoch.on_epoch_begin(epoch)
            plain.epoch.on_epoch_begin(epoch)
            a = next(iter(shifted.batches(0)))
            b = next(iter(plain.batches(0)))
            labels.append((a[1] == b[1]).numpy().all())
            same.append(np.abs(a[0] - b[0]).max(axis=(1, 2, 3)) == 0)
        self.assertTrue(all(labels))
        # One of nine shifts leaves an image where it is.
        self.assertBetween(np.mean(same), 0.02, 0.3)

    def test_what_diverges_says_so(self):
        config = dataclasses.replace(self.config, learning_rate=1e30)
        with self.assertRaisesRegex(ValueError, "Lower the learning rate"):
            training.run_teacher(config, self.folder / "diverged")
        self.assertFalse((self.folder / "diverged").exists())

    def test_its_own_files_are_not_overwritten(self):
        config = dataclasses.replace(
            self.config, model=str(self.path / "teacher.keras"), dropout=None
        )
        with self.assertRaisesRegex(ValueError, "lies in the output"):
            training.run_teacher(config, self.path, overwrite=True)
        with self.assertRaisesRegex(FileExistsError, "of another program"):
            training.run_evaluation(
                training.EvaluationConfig(model="x.keras"),
                self.path,
                overwrite=True,
            )
        self.assertTrue((self.path / "teacher.keras").exists())

    @parameterized.parameters(
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"seed": -1},
        {"max_shift": 1.5},
    )
    def test_bad_configuration(self, **fault):
        with self.assertRaisesRegex(ValueError, next(iter(fault))):
            training.TeacherConfig(**fault)

    def test_program(self):
        output_dir = self.folder / "by_program"
        arguments = [
            "-m",
            "scripts.train_teacher",
            f"--config={self.path}/config.json",
            f"--output_dir={output_dir}",
            "--epochs=1",
            "--train_split=train[100:]",
            "--validation_split=train[:100]",
        ]
        process = processes.start(arguments, {})
        said = processes.finish(process)
        self.assertEqual(process.returncode, 0, said)
        row = json.loads((output_dir / "metrics.jsonl").read_text())
        words = " ".join(said.split())
        self.assertIn(f"| {row['test_errors']} of 500 |", words)
        self.assertIn(f"| {row['validation_errors']} |", words)


if __name__ == "__main__":
    tf.test.main()
