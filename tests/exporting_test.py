"""From a saved student to its exports and model card."""

import dataclasses
import json
import os
import pathlib
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import kd_keras
from kd_keras import datasets
from kd_keras import export
from kd_keras import training
from kd_keras.training import cards
from tests import digits_runs
from tests import processes


class ExportingTest(digits_runs.DigitsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.trained("teacher", seed=2)
        config = training.DistillConfig(
            data_dir=cls.data_dir,
            teacher=(str(cls.folder / "teacher.keras"),),
            **{**digits_runs.SMALL, "seeds": 2},
        )
        cls.rows, _ = training.run_distillation(config, cls.folder / "run")
        cls.config = training.ExportConfig(
            model=str(cls.folder / "run/student.keras"),
            format=("saved_model", "litert", "onnx"),
        )
        cls.card = training.run_export(cls.config, cls.folder / "served")

    def test_all_files_are_the_student(self):
        served = self.folder / "served"
        self.assertCountEqual(
            os.listdir(served),
            ["saved_model", "model.tflite", "model.onnx", "class_names.txt"]
            + ["card.json", "card.md", "config.json"],
        )
        model = self.folder / "run/student.keras"
        found = [
            training.run_evaluation(
                training.EvaluationConfig(model=str(path), latency_rounds=1)
            )[0]
            for path in (
                model,
                served / "saved_model",
                served / "model.tflite",
                served / "model.onnx",
                self.folder / "run/saved_model",
            )
        ]
        for other in found:
            self.assertEqual(other["dataset"]["name"], "digits")
            self.assertEqual(
                other["student"]["quality"]["errors"],
                self.rows[2]["test_errors"],
            )
            self.assertAllClose(
                other["student"]["quality"]["negative_log_likelihood"],
                self.rows[2]["negative_log_likelihood"],
                rtol=1e-4,
            )
        names = (served / "class_names.txt").read_text().splitlines()
        self.assertEqual(names, [str(number) for number in range(10)])

    def test_card(self):
        card = json.loads((self.folder / "served/card.json").read_text())
        self.assertEqual(card, json.loads(json.dumps(self.card)))
        student = self.student()
        teacher = kd_keras.load_teacher(self.folder / "teacher.keras")
        fingerprint = kd_keras.soft_targets.fingerprints.fingerprint
        self.assertEqual(card["fingerprint"], fingerprint(student))
        self.assertEqual(
            card["distilled"],
            {
                "teacher": {
                    "name": f"{self.folder.name}/teacher.keras",
                    "fingerprint": fingerprint(teacher),
                    "records": [],
                },
                "temperature": 4.0,
                "soft_weight": 0.9,
                "chosen": None,
            },
        )
        of_student = [row for row in self.rows if row["arm"] == "distilled"]
        self.assertEqual(card["metrics"], of_student[0])
        self.assertEqual(
            [row["test_errors"] for row in card["over_seeds"]],
            [row["test_errors"] for row in of_student],
        )
        self.assertEqual(
            card["checked_on"]["errors"], of_student[0]["test_errors"]
        )
        self.assertEqual(card["dataset"]["version"], "1.0.0")
        for file in card["files"]:
            self.assertEqual(file["examples"], 500)
            self.assertEqual(file["changed_decisions"], 0)
            self.assertLess(file["deviation"], 1e-5)
        # Nothing of where its maker keeps things.
        self.assertNotIn(str(self.folder), json.dumps(card))
        self.assertEqual(card["settings"]["teacher"], ["teacher.keras"])
        # It was given: how one would have been trained is not said.
        self.assertNotIn("teacher_model", card["settings"])
        text = (self.folder / "served/card.md").read_text()
        for words in (
            "| temperature | 4 |",
            fingerprint(teacher),
            f"{of_student[0]['test_errors']} of 500",
            "| seed | 0 |",
            "digits 1.0.0, train",
            "seeds 0 to 1",
        ):
            self.assertIn(words, text)

    def student(self):
        return kd_keras.load_teacher(self.config.model)

    def test_any_size_is_said(self):
        self.assertNotIn("other size", cards.describe(self.card))
        self.assertIn(
            "any other size", cards.describe({**self.card, "any_size": True})
        )

    def test_without_a_record(self):
        config = training.ExportConfig(
            model=str(self.folder / "teacher.keras"),
            data_dir=self.data_dir,
            num_examples=100,
        )
        card = training.run_export(config, self.folder / "unknown")
        self.assertEqual(card["checked_on"]["examples"], 100)
        self.assertIsNone(card["distilled"])
        text = (self.folder / "unknown/card.md").read_text()
        self.assertIn("not known", text)

    def test_a_record_of_another_model(self):
        folder = self.folder / "mixed"
        folder.mkdir()
        model = pathlib.Path(self.config.model)
        (folder / "student.keras").write_bytes(
            (self.folder / "teacher.keras").read_bytes()
        )
        record = model.with_suffix(".json").read_text()
        (folder / "student.json").write_text(record)
        self.refused("is of another model", model=folder / "student.keras")
        # As Keras writes an architecture: that is no record.
        (folder / "student.json").write_text(self.student().to_json())
        config = dataclasses.replace(
            self.config,
            model=str(folder / "student.keras"),
            format=("saved_model",),
            data_dir=self.data_dir,
        )
        card = training.run_export(config, self.folder / "no_record")
        self.assertIsNone(card["settings"])

    def test_settings_that_are_no_paths(self):
        """A name with a slash in it is not cut off."""
        record = json.loads((self.folder / "run/student.json").read_text())
        record["settings"]["dataset"] = "cifar10_corrupted/fog_1"
        record["settings"]["soft_targets"] = "/home/me/targets"
        folder = self.folder / "slash"
        folder.mkdir()
        for name, content in (
            ("student.keras", pathlib.Path(self.config.model).read_bytes()),
            ("student.json", json.dumps(record).encode()),
        ):
            (folder / name).write_bytes(content)
        config = training.ExportConfig(model=str(folder / "student.keras"))
        card = training.run_export(config, self.folder / "of_slash")
        self.assertEqual(card["settings"]["dataset"], "cifar10_corrupted/fog_1")
        self.assertEqual(card["settings"]["soft_targets"], "targets")

    def test_refusals(self):
        kd_keras.models.mlp((8, 8, 1), 7, (4,)).save(self.folder / "7.keras")
        self.refused("10 classes", model=self.folder / "7.keras")
        self.refused("exported already", model=self.folder / "run/saved_model")
        self.refused("no saved model", model=self.folder / "none.keras")
        self.refused("no TFDS data set", dataset="mnist8x9")
        with self.assertRaisesRegex(FileExistsError, "already"):
            training.run_export(self.config, self.folder / "served")
        for fault in (
            {"format": ("tflite",)},
            {"format": ()},
            {"num_examples": 0},
            {"any_size": True},
        ):
            with self.assertRaisesRegex(ValueError, next(iter(fault))):
                dataclasses.replace(self.config, **fault)

    def refused(self, message, **changes):
        changes = {name: str(value) for name, value in changes.items()}
        config = dataclasses.replace(
            self.config, data_dir=self.data_dir, **changes
        )
        with self.assertRaisesRegex((ValueError, OSError), message):
            training.run_export(config, self.folder / "refused")
        self.assertFalse((self.folder / "refused").exists())
        self.assertFalse((self.folder / "refused.partial").exists())

    @pytest.mark.slow
    def test_nothing_appears_if_one_file_is_wrong(self):
        """The others are there by then."""
        write = export.export_onnx

        def fails(student, path, **kwargs):
            write(student, path, **kwargs)
            raise RuntimeError("is not the student's")

        with mock.patch.object(export, "export_onnx", fails):
            with self.assertRaisesRegex(RuntimeError, "not the student's"):
                training.run_export(self.config, self.folder / "failed")
        left = [name for name in os.listdir(self.folder) if "failed" in name]
        self.assertEqual(left, [])
        # The same once more, without the fault.
        training.run_export(self.config, self.folder / "failed")
        self.assertIn("card.md", os.listdir(self.folder / "failed"))
        self.assertNotIn("failed.partial", os.listdir(self.folder))

    def test_other_classes(self):
        source = datasets.load(split="test", data_dir=self.data_dir)
        odd = dataclasses.replace(
            source, class_names=tuple(reversed(source.class_names))
        )
        with mock.patch.object(datasets, "load", return_value=odd):
            self.refused("not in their order")

    def test_program(self):
        output_dir = self.folder / "by_program"
        process = processes.start(
            [
                "-m",
                "scripts.export_student",
                f"--model={self.config.model}",
                "--any_size",
                "--num_examples=50",
                f"--output_dir={output_dir}",
            ],
            {},
        )
        said = processes.finish(process)
        self.assertEqual(process.returncode, 0, said)
        self.assertIn("compared on 50 images", said)
        loaded = tf.saved_model.load(str(output_dir / "saved_model"))
        answer = loaded.signatures["serving_default"](
            image=tf.constant(np.zeros((2, 20, 30, 1), np.uint8))
        )
        self.assertEqual(answer["probabilities"].shape, (2, 10))

    def test_describe_teacher(self):
        card = {**self.card, "distilled": None, "over_seeds": [{"seed": 3}]}
        card["over_seeds"][0]["test_errors"] = 5
        self.assertNotIn("temperature", cards.describe(card).split("## ")[0])


if __name__ == "__main__":
    tf.test.main()
