"""The main job on soft targets that are stored already."""

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from kd_keras import soft_targets
from kd_keras import training
from kd_keras.training import cards
from kd_keras.training import data
from kd_keras.training import storing
from tests import digits_runs


class StoredJobTest(digits_runs.DigitsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.teachers = []
        for number in range(2):
            cls.trained(f"teacher-{number}", seed=number)
            cls.teachers.append(str(cls.folder / f"teacher-{number}.keras"))
        cls.config = training.DistillConfig(
            data_dir=cls.data_dir,
            teacher=(cls.teachers[0],),
            **digits_runs.SMALL,
        )

    def store(self, name, **kwargs):
        path = self.folder / name
        if not path.exists():
            config = training.StoreConfig(
                **{
                    "teacher": (self.teachers[0],),
                    "data_dir": self.data_dir,
                    **kwargs,
                }
            )
            training.store_soft_targets(config, path)
        return str(path)

    def run_with(self, store, name, **changes):
        config = dataclasses.replace(self.config, soft_targets=store, **changes)
        return training.run_distillation(config, self.folder / name)

    @pytest.mark.slow
    def test_as_if_it_stored_them_itself(self):
        expected, _ = training.run_distillation(
            self.config, self.folder / "itself"
        )
        store = self.store("targets")
        found, _ = self.run_with(store, "given")
        self.assertEqual(found, expected)
        record = cards.find_record(self.folder / "given/student.keras")
        self.assertEqual(
            record["distilled"],
            {
                "teacher": {
                    "name": f"{self.folder.name}/teacher-0.keras",
                    "fingerprint": soft_targets.open_store(
                        store
                    ).manifest.teacher,
                    "records": [],
                },
                "temperature": 4.0,
                "soft_weight": 0.9,
                "chosen": None,
            },
        )
        self.assertEqual(record["metrics"], found[-1])
        config = json.loads((self.folder / "given/config.json").read_text())
        self.assertEqual(config["soft_targets"], store)

    @pytest.mark.slow
    def test_views(self):
        """All arms see the views that the teacher saw."""
        store = self.store("views", num_views=2, max_shift=1)
        views = storing.views_of(store)
        self.assertEqual(views["num_views"], 2)
        job = data.JobData(self.config, views)
        opened = soft_targets.open_store(store)
        for epoch in range(2):
            job.epoch.on_epoch_begin(epoch)
            for (image, label), (same_image, targets) in zip(
                job.batches(0), job.batches(0, store=opened), strict=True
            ):
                self.assertAllEqual(image, same_image)
                self.assertAllEqual(label, targets["label"])
        rows, _ = self.run_with(store, "on_views")
        self.assertEqual(rows[1]["arm"], "hard labels")
        shown = "2 views of each image, shifted at random by up to 1 pixels"
        for name in ("student.json", "config.json"):
            found = json.loads((self.folder / "on_views" / name).read_text())
            self.assertEqual(found["views"], shown)
        (self.folder / "views/config.json").unlink()
        with self.assertRaisesRegex(ValueError, "not written by the program"):
            self.run_with(store, "unknown_views")

    def test_labels_are_hidden_alike(self):
        job = data.JobData(self.config)
        store = soft_targets.open_store(self.store("targets"))
        labels = [
            np.concatenate([y["label"] if store_ else y for _, y in batches])
            for store_, batches in (
                (None, job.batches(0, 0.1)),
                (store, job.batches(0, 0.1, store)),
            )
        ]
        self.assertAllEqual(*labels)
        self.assertEqual((labels[0] >= 0).sum(), 130)

    def test_refusals_come_before_training(self):
        store = self.store("targets")
        bound = self.store(
            "bound",
            teacher=tuple(self.teachers),
            temperature=2.0,
        )
        for changes, message in (
            ({"teacher": (self.teachers[1],)}, "of another teacher"),
            ({"train_split": "train[:500]"}, "split"),
            (
                {"soft_targets": bound, "teacher": tuple(self.teachers)},
                "good for the temperature 2 alone",
            ),
            (
                {"soft_targets": str(self.folder / "none")},
                "no store of soft targets",
            ),
        ):
            with self.subTest(message):
                path = changes.pop("soft_targets", store)
                with (
                    mock.patch.object(
                        training.distillation.ArmTrainer,
                        "_train",
                        side_effect=AssertionError("trained"),
                    ),
                    self.assertRaisesRegex(
                        (ValueError, FileNotFoundError), message
                    ),
                ):
                    self.run_with(path, "refused", **changes)
                self.assertFalse((self.folder / "refused").exists())
                self.assertFalse((self.folder / "refused.partial").exists())
        with self.assertRaisesRegex(ValueError, "needs the `teacher`"):
            dataclasses.replace(self.config, soft_targets=store, teacher=())

    @pytest.mark.slow
    def test_what_its_teacher_saw(self):
        """Of a teacher that a program made it is known."""
        small = training.TeacherConfig(
            data_dir=self.data_dir,
            model="mlp:8",
            epochs=1,
            train_split="train[:1200]",
            test_split="test[:300]",
        )
        row = training.run_teacher(small, self.folder / "known")
        teacher = str(self.folder / "known/teacher.keras")
        config = dataclasses.replace(
            self.config,
            teacher=(teacher,),
            temperature=(2.0, 4.0),
            train_split="train[:500]",
            validation_split="train[1100:]",
        )
        training.run_distillation(config, self.folder / "of_known")
        record = cards.find_record(self.folder / "of_known/student.keras")
        self.assertEqual(
            record["distilled"]["chosen"],
            "of 2 pairs, by the fewest errors on train[1100:], on which a "
            "teacher had been trained, too",
        )
        (known,) = record["distilled"]["teacher"]["records"]
        self.assertEqual(known["test_errors"], row["test_errors"])
        self.assertEqual(known["trained_on"], "train[:1200]")
        self.assertEqual(known["model"], "mlp:8")
        # A record that is left over from another model is not believed.
        self.trained("teacher-0", seed=0)
        other = self.folder / "known/teacher.keras"
        before = other.read_bytes()
        other.write_bytes((self.folder / "teacher-0.keras").read_bytes())
        with self.assertRaisesRegex(ValueError, "is of another model"):
            training.run_distillation(config, self.folder / "left_over")
        other.write_bytes(before)
        record = self.folder / "known/teacher.json"
        record.write_text(
            record.read_text().replace("train[:1200]", "test[300:]")
        )
        with self.assertRaisesRegex(ValueError, "was trained on 'test.300:.'"):
            training.run_distillation(config, self.folder / "cheated")

    # Two jobs more.
    @pytest.mark.slow
    def test_a_student_that_teaches(self):
        """It is described by what it was."""
        self.trained("first", seed=3)
        config = dataclasses.replace(
            self.config, teacher=(str(self.folder / "first.keras"),)
        )
        training.run_distillation(config, self.folder / "first_job")
        again = dataclasses.replace(
            config,
            teacher=(str(self.folder / "first_job/student.keras"),),
            student_epochs=config.student_epochs + 1,
        )
        training.run_distillation(again, self.folder / "second_job")
        record = cards.find_record(self.folder / "second_job/student.keras")
        (known,) = record["distilled"]["teacher"]["records"]
        self.assertEqual(
            (known["model"], known["epochs"]),
            (config.student_model, config.student_epochs),
        )

    @pytest.mark.slow
    def test_files_that_changed(self):
        """Broken work is not gone on with from other weights."""
        self.trained("begins", seed=5)
        config = dataclasses.replace(
            self.config, student_model=str(self.folder / "begins.keras")
        )
        path = self.folder / "changed"
        before = (self.folder / "begins.keras").read_bytes()
        with (
            mock.patch.object(
                training.distillation.ArmTrainer,
                "_store",
                side_effect=KeyboardInterrupt,
            ),
            self.assertRaises(KeyboardInterrupt),
        ):
            training.run_distillation(config, path)
        self.trained("begins", seed=6)
        with self.assertRaisesRegex(ValueError, "`content_of_files` is"):
            training.run_distillation(config, path)
        (self.folder / "begins.keras").write_bytes(before)
        training.run_distillation(config, path)

    def test_another_store_of_the_same_name(self):
        """Broken work is not gone on with on other soft targets."""
        one, other = self.store("targets"), self.store("b", dtype="float32")
        self.assertNotEqual(storing.tag_of(one), storing.tag_of(other))
        self.assertIsNone(storing.tag_of(None))
        self.assertEqual(storing.views_of(one), {})


if __name__ == "__main__":
    tf.test.main()
