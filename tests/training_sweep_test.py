"""Several temperatures and weights on one teacher pass, and the controls."""

import dataclasses
import json
import pathlib
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import datasets
from kd_keras import soft_targets
from kd_keras import training
from kd_keras.training import arm_training
from kd_keras.training import arms
from kd_keras.training import curves
from kd_keras.training import fitting
from kd_keras.training.label_smoothing import SmoothedCrossentropy
from tests import digits_runs


def row(temperature, soft_weight, validation_errors, seed=0):
    return {
        "arm": arms.DISTILLED,
        "seed": seed,
        "temperature": temperature,
        "soft_weight": soft_weight,
        "validation_errors": validation_errors,
        "test_errors": 0,
    }


def together_spied():
    lib = fitting.together
    return mock.patch.object(lib, "fit_together", wraps=lib.fit_together)


class SweepTest(digits_runs.DigitsTestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.teachers = []
        for seed in (1, 2):
            cls.trained(f"teacher-{seed}", seed)
            cls.teachers.append(str(cls.folder / f"teacher-{seed}.keras"))

    def config(self, **kwargs):
        return training.DistillConfig(
            data_dir=self.data_dir, **{**digits_runs.SMALL, **kwargs}
        )

    @pytest.mark.slow
    def test_one_teacher_pass(self):
        config = self.config(
            teacher=tuple(self.teachers),
            temperature=(1.0, 4.0),
            control=(),
            seeds=2,
        )
        with mock.patch.object(
            soft_targets, "write", side_effect=soft_targets.write
        ) as write:
            rows, sizes = training.run_distillation(
                config, self.folder / "sweep"
            )
        self.assertEqual(write.call_count, 1)
        # One teacher for all seeds, and for each seed two students.
        self.assertLen(rows, 1 + 2 * 2)
        self.assertEqual([r["arm"] for r in rows].count("teacher"), 1)
        self.assertIsNone(rows[0]["seed"])
        for each in rows:
            self.assertIsNotNone(each["validation_errors"])
        self.assertNotIn("teacher", sizes)
        text = training.summarise(rows, sizes)
        chosen = arms.chosen(rows)
        self.assertIn(f"Chosen by the validation errors: {chosen.title}", text)
        mine = [r["test_errors"] for r in rows if arms.of_row(r) == chosen]
        self.assertIn(f"{np.mean(mine):.1f} ± ", text)
        # The ensemble's mean is that of its temperature: other targets.
        by_cell = {
            (r["temperature"], r["soft_weight"]): r["negative_log_likelihood"]
            for r in rows
            if r["arm"] == arms.DISTILLED and r["seed"] == 0
        }
        self.assertLen(set(by_cell.values()), 2)
        # What is kept is the chosen one of the first seed.
        student = keras.saving.load_model(self.folder / "sweep/student.keras")
        test = datasets.load(split="test", data_dir=self.data_dir)
        x, y = next(iter(datasets.batches(test.dataset, 500)))
        errors = int((student(x).numpy().argmax(-1) != y.numpy()).sum())
        self.assertEqual(errors, mine[0])
        with np.load(self.folder / "sweep/predictions.npz") as predictions:
            self.assertAllClose(predictions["distilled"], student(x), atol=1e-5)
            self.assertAllEqual(predictions["labels"], y)

    def test_the_test_split_has_no_part_in_the_choice(self):
        config = self.config(temperature=(1.0, 4.0))
        self.assertEqual(config.splits, ("train[:90%]", "train[90%:]", "test"))
        self.assertEqual(self.config().splits, ("train", None, "test"))
        config = self.config(validation_split="train[:10%]")
        self.assertEqual(config.splits, ("train", "train[:10%]", "test"))
        config = self.config(temperature=(1, 2), train_split="train[:50%]")
        with self.assertRaisesRegex(ValueError, "--validation_split"):
            _ = config.splits

    def test_chosen(self):
        rows = [
            row(1.0, 0.5, 9),
            row(2.0, 0.5, 7),
            row(4.0, 0.5, 7),
            row(1.0, 0.5, 2, seed=1),
            row(2.0, 0.5, 7, seed=1),
            row(4.0, 0.5, 3, seed=1),
        ]
        # Over all seeds, not in the first.
        self.assertEqual(arms.chosen(rows).temperature, 4.0)
        self.assertEqual(arms.chosen(rows[:3]).temperature, 2.0)
        rows[5]["test_errors"] = 100
        self.assertEqual(arms.chosen(rows).temperature, 4.0)

    @pytest.mark.slow
    def test_resumed(self):
        """What was done is not done again, and the end is the same."""
        config = self.config(
            temperature=(1.0, 4.0), control=("label_smoothing",)
        )
        whole, _ = training.run_distillation(config, self.folder / "whole")
        measured = []
        original = arm_training.ArmTrainer._measure

        def break_off(*args):
            measured.append(args[2].title)
            if len(measured) == 4:
                raise KeyboardInterrupt
            return original(*args)

        # Of two that trained together one is done.
        with mock.patch.object(arm_training.ArmTrainer, "_measure", break_off):
            with self.assertRaises(KeyboardInterrupt):
                training.run_distillation(config, self.folder / "broken")
        self.assertStartsWith(measured[-1], "T = 4")
        with mock.patch.object(
            soft_targets, "write", side_effect=AssertionError
        ):
            rows, _ = training.run_distillation(config, self.folder / "broken")
        self.assertEqual(rows, whole)
        text = training.summarise(rows, {})
        self.assertIn("No evidence with one seed", text)
        self.assertIn("of label smoothing", text)
        for name in ("curves.jsonl", "metrics.jsonl"):
            self.assertEqual(
                (self.folder / "broken" / name).read_bytes(),
                (self.folder / "whole" / name).read_bytes(),
            )
        lines = [
            json.loads(line)
            for line in (self.folder / "whole/curves.jsonl").open()
        ]
        self.assertLen(lines, 4)
        self.assertEqual(
            {line["arm"] for line in lines},
            {"teacher", "label smoothing", "distilled"},
        )

    @pytest.mark.slow
    def test_together_as_one_by_one(self):
        """On one read of the soft targets, and each on its own."""
        config = self.config(
            temperature=(1.0, 4.0),
            soft_weight=(0.5, 1.0),
            control=(),
            student_epochs=2,
        )
        fit = mock.patch.object(
            fitting.together,
            "fit_together",
            wraps=fitting.together.fit_together,
        )
        with fit as together:
            rows, _ = training.run_distillation(config, self.folder / "four")
        self.assertEqual(together.call_count, 1)
        self.assertLen(together.call_args.args[0], 4)
        one_by_one = mock.patch.object(
            fitting, "sharing_pays", return_value=False
        )
        with fit as together, one_by_one:
            expected, _ = training.run_distillation(config, self.folder / "one")
        self.assertEqual(together.call_count, 0)
        for name in ("metrics.jsonl", "curves.jsonl"):
            found, other = (
                [json.loads(line) for line in (folder / name).open()]
                for folder in (self.folder / "four", self.folder / "one")
            )
            self.assertLen(found, len(other))
            for got, want in zip(found, other, strict=True):
                self.assertEqual(got.keys(), want.keys())
                for key, value in want.items():
                    if isinstance(value, float):
                        self.assertAllClose(got[key], value, 1e-5, 1e-6)
                    else:
                        self.assertEqual(got[key], value)
        likelihoods = {row["negative_log_likelihood"] for row in rows}
        self.assertLen(likelihoods, 5)
        self.assertLen(expected, 5)

    @pytest.mark.slow
    def test_groups(self):
        """Members' mean depends on the temperature: other batches."""
        temperatures = 1.0, 2.0, 4.0
        config = self.config(
            teacher=tuple(self.teachers),
            temperature=temperatures,
            soft_weight=(0.5, 1.0),
            control=(),
        )
        fit = mock.patch.object(
            fitting.together,
            "fit_together",
            wraps=fitting.together.fit_together,
        )
        with (
            fit as together,
            mock.patch.object(arm_training, "_MOST_TOGETHER", 4),
        ):
            training.run_distillation(config, self.folder / "members")
            self.assertEqual(
                [len(call.args[0]) for call in together.call_args_list], [2] * 3
            )
            together.reset_mock()
            config = dataclasses.replace(config, teacher=(self.teachers[0],))
            training.run_distillation(config, self.folder / "alone-4")
        self.assertEqual(
            [len(call.args[0]) for call in together.call_args_list], [4, 2]
        )

    @pytest.mark.slow
    def test_controls(self):
        config = self.config(control=(), labelled_fraction=1.0)
        rows, sizes = training.run_distillation(config, self.folder / "alone")
        self.assertEqual([r["arm"] for r in rows], ["teacher", "distilled"])
        self.assertNotIn("evidence", training.summarise(rows, sizes))


class SmoothedCrossentropyTest(tf.test.TestCase):
    def test_is_keras_own_with_one_hot_labels(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 3, (20, 7)).astype(np.float32)
        labels = rng.integers(0, 7, 20)
        expected = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.3
        )(np.eye(7)[labels], logits)
        loss = SmoothedCrossentropy(0.3)
        self.assertAllClose(loss(labels, logits), expected, rtol=1e-5)
        self.assertAllClose(loss(labels[:, None], logits), expected, rtol=1e-5)
        again = SmoothedCrossentropy.from_config(loss.get_config())
        self.assertEqual(again.label_smoothing, 0.3)


class CurvesTest(tf.test.TestCase):
    def test_epochs_come_once(self):
        path = pathlib.Path(self.get_temp_dir()) / "x.curve"
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        x, y = np.ones((4, 2)), np.ones((4, 1))
        model.fit(x, y, epochs=3, verbose=0, callbacks=[curves.Curve(path)])
        first = curves.read(path)
        self.assertEqual([line["epoch"] for line in first], [0, 1, 2])
        # Epoch 2 is trained again, and goes on.
        model.fit(
            x,
            y,
            initial_epoch=2,
            epochs=4,
            verbose=0,
            callbacks=[curves.Curve(path)],
        )
        lines = curves.read(path)
        self.assertEqual([line["epoch"] for line in lines], [0, 1, 2, 3])
        self.assertEqual(lines[:2], first[:2])
        self.assertNotEqual(lines[2], first[2])

    def test_tensorboard(self):
        folder = pathlib.Path(self.get_temp_dir()) / "events"
        curves.write_for_tensorboard(
            folder, [{"epoch": 0, "loss": 2.5}, {"epoch": 3, "loss": 0.5}]
        )
        (file,) = folder.iterdir()
        found = []
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                self.assertEqual(
                    value.metadata.plugin_data.plugin_name, "scalars"
                )
                number = tf.make_ndarray(value.tensor)
                found.append((value.tag, event.step, float(number)))
        self.assertEqual(
            found, [("epoch_loss", 0, 2.5), ("epoch_loss", 3, 0.5)]
        )


if __name__ == "__main__":
    tf.test.main()
