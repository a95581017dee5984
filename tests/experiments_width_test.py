"""The width experiment: its constraint, nets, labels, bounds and findings."""

import dataclasses
import json
import math
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from kd_keras import distiller as distiller_lib
from kd_keras import experiments
from kd_keras import reports
from kd_keras.experiments import bounds
from kd_keras.experiments import laboratory
from kd_keras.experiments import projection
from kd_keras.experiments import running
from kd_keras.experiments import width
from kd_keras.experiments import width_data
from kd_keras.experiments import width_findings
from kd_keras.experiments import width_nets
from kd_keras.experiments import width_students
from kd_keras.experiments import width_training
from tests import digits_runs


def _inputs(count=64, pixels=6):
    return np.random.default_rng(0).random((count, pixels), np.float32)


def _theorem_model(units=4, seed=3, radius=10.0, pixels=6):
    return width_nets.side_by_side(
        pixels,
        {
            "net": lambda inputs, name: width_nets.theorem(
                inputs, units, seed, name, radius
            )
        },
    )


def _task(count=64):
    x = _inputs(count)
    labels = (x[:, 0] > x[:, 1]).astype(np.int64)
    return width_data.Task(x, labels, x, labels)


class NearStartTest(tf.test.TestCase):
    def test_closed_form(self):
        """Outside: same direction, exact distance; inside: untouched."""
        start = width_nets.MirroredNormal(5)
        centre = start((3, 4), "float64").numpy()
        moves = np.random.default_rng(1).normal(size=(3, 4))
        moves /= np.linalg.norm(moves, axis=0)
        lengths = np.array([0.0, 0.3, 0.7, 50.0])
        near = projection.NearStart(0.7, start)
        found = near(tf.constant(centre + moves * lengths)).numpy()
        self.assertAllClose(
            found,
            centre + moves * np.minimum(lengths, 0.7),
            rtol=1e-14,
            atol=1e-14,
        )

    def test_serialization(self):
        near = projection.NearStart(0.5, width_nets.MirroredNormal(7))
        config = json.loads(
            json.dumps(keras.saving.serialize_keras_object(near))
        )
        copy = keras.saving.deserialize_keras_object(config)
        w = np.full((3, 4), 9.0, np.float32)
        self.assertAllEqual(copy(w), near(w))
        other = projection.NearStart(0.5, width_nets.MirroredNormal(8))
        self.assertNotAllClose(other(w), near(w))

    def test_a_loaded_model_goes_on_around_the_same_start(self):
        model = _theorem_model(radius=0.5)
        path = f"{self.get_temp_dir()}/model.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
        for one in (model, loaded):
            kernel = one.get_layer("net_hidden").kernel
            kernel.assign(kernel.constraint(kernel + 3.0))
        self.assertAllEqual(loaded.get_weights()[0], model.get_weights()[0])

    def test_bad_arguments(self):
        with self.assertRaisesRegex(ValueError, "positive and finite"):
            projection.NearStart(0.0, keras.initializers.Zeros())
        with self.assertRaisesRegex(ValueError, "an int as its seed"):
            projection.NearStart(1.0, keras.initializers.RandomNormal())
        with self.assertRaisesRegex(TypeError, "`start` must be"):
            projection.NearStart(1.0, lambda shape, dtype: tf.zeros(shape))


class NetsTest(tf.test.TestCase):
    def test_starts_as_zero(self):
        for units in (2, 4, 64):
            model = _theorem_model(units)
            hidden, signs = model.get_weights()
            half = units // 2
            self.assertAllEqual(hidden[:, :half], hidden[:, half:])
            self.assertAllEqual(signs[:half], -signs[half:])
            self.assertAllClose(np.abs(signs), np.full((units, 1), units**-0.5))
            logits = model.predict(_inputs(), verbose=0)["net"]
            self.assertAllClose(logits, np.zeros((64, 2)), atol=1e-5)
        with self.assertRaisesRegex(ValueError, "even number"):
            _theorem_model(3)

    def test_formula(self):
        model = _theorem_model(4)
        kernel = model.get_layer("net_hidden").kernel
        moved = kernel + np.random.default_rng(2).normal(size=(6, 4))
        kernel.assign(moved)
        w, a = (np.asarray(x, np.float64) for x in model.get_weights())
        x = _inputs()
        f = sum(
            np.sign(a[j, 0]) * np.maximum(x @ w[:, j], 0.0) for j in range(4)
        )
        self.assertAllClose(
            model.predict(x, verbose=0)["net"],
            np.stack([np.zeros(64), f / 2], axis=1),
            atol=1e-5,
        )

    def test_projected_descent(self):
        """Only `w` trains; it is projected, also within a `fit`."""
        task, radius, units = _task(), 0.4, 4
        model = _theorem_model(units, radius=radius)
        free = _theorem_model(units, radius=None)
        start, signs = model.get_weights()
        of = width_students.Descent(4, 16, 50.0)
        for one in (model, free):
            self.assertLen(one.trainable_weights, 1)
            width_training.fit_given(
                one,
                task.train,
                width_training.one_hot(task.train_labels),
                of,
                0,
                "",
            )
        self.assertAllEqual(model.get_weights()[1], signs)
        moved = [
            np.linalg.norm(one.get_weights()[0] - start, axis=0)
            for one in (model, free)
        ]
        limit = radius / units**0.5
        self.assertAllLessEqual(moved[0], limit * (1 + 1e-5))
        # The limit was met, and would have been passed.
        self.assertAllClose(moved[0].max(), limit)
        self.assertGreater(moved[1].max(), 2 * limit)

    def test_two_logits(self):
        """Softmax cross-entropy of (0, f) is the logistic loss of f."""
        f = np.linspace(-9, 9, 7)
        p = np.linspace(0.05, 0.95, 7)
        logits = width_nets._two_logits(tf.constant(f[:, None]))
        loss = keras.losses.CategoricalCrossentropy(
            from_logits=True, reduction=None, dtype="float64"
        )(np.stack([1 - p, p], axis=1), logits)
        logistic = p * np.log1p(np.exp(-f)) + (1 - p) * np.log1p(np.exp(f))
        self.assertAllClose(loss, logistic, rtol=1e-12)

    def test_side_by_side_is_each_alone(self):
        task = _task()
        recipe = laboratory.Recipe(3, 16, 0.02)
        logits = np.random.default_rng(3).normal(size=(64, 2))
        soft = logits.astype(np.float32), 4.0

        def trained(widths):
            model = width_nets.side_by_side(
                6,
                {
                    str(units): width_students._net(
                        width_nets.practical, units, 0
                    )
                    for units in widths
                },
            )
            width_training.distil(
                model, task.train, task.train_labels, recipe, 0, "", soft
            )
            return width_training.predict(model, task.test)

        both = trained((2, 5))
        for units in (2, 5):
            alone = trained((units,))[str(units)]
            self.assertAllClose(both[str(units)], alone, atol=1e-5)


class LabelsTest(tf.test.TestCase):
    def test_theorem_labels(self):
        logits = np.array([[0.0, 6.0], [1.0, -2.0], [0.0, 1.5]])
        found = width_students.theorem_labels(logits, np.array([1, 0, 0]))

        def sigmoid(*values):
            p = [1 / (1 + math.exp(-value)) for value in values]
            return [[1 - x, x] for x in p]

        self.assertAllClose(found["hard"], [[0, 1], [1, 0], [1, 0]])
        self.assertAllClose(found["soft"], sigmoid(1, -0.5, 0.25))
        self.assertAllClose(found["raw"], sigmoid(6, -3, 1.5))
        self.assertAllClose(found["smooth"], sigmoid(1, -1, -1))

    def test_divergence(self):
        p, q = np.array([0.9, 0.1]), np.array([0.25, 0.75])
        expected = 0.9 * math.log(0.9 / 0.25) + 0.1 * math.log(0.1 / 0.75)
        found = width_students.mean_divergence([p, p], [np.log(q) + 3, p * 0])
        even = math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
        self.assertAllClose(found, (expected + even) / 2, rtol=1e-12)

    def test_given_labels_are_a_distiller_at_1(self):
        """Plain `fit` on soft labels, and a Distiller on their logits."""
        task = _task()
        z = np.random.default_rng(4).normal(size=64).astype(np.float32)
        logits = np.stack([0 * z, z], axis=1)
        plain, other = _theorem_model(8), _theorem_model(8)
        of = width_students.Descent(5, 16, 2.0)
        labels = width_students.theorem_labels(logits, task.train_labels)
        width_training.fit_given(plain, task.train, labels["raw"], of, 0, "")
        with mock.patch.object(
            laboratory.Recipe, "optimizer", lambda *_: of.optimizer(0)
        ):
            width_training.distil(
                other,
                task.train,
                task.train_labels,
                laboratory.Recipe(5, 16, 0.0),
                0,
                "",
                (logits, 1.0),
            )
        start = _theorem_model(8).get_weights()[0]
        self.assertNotAllClose(plain.get_weights()[0], start, atol=1e-2)
        self.assertAllClose(
            plain.get_weights()[0], other.get_weights()[0], atol=1e-5
        )


class DataTest(digits_runs.DigitsTestCase):
    def test_noise(self):
        task = _task(4000)
        first, again, other = (task.noisy(0.5, seed) for seed in (0, 0, 1))
        self.assertAllEqual(first.train, again.train)
        self.assertAllEqual(first.test, again.test)
        noise = [
            first.train - task.train,
            first.test - task.test,
            other.train - task.train,
        ]
        for one in noise:
            # 24,000 numbers: three standard errors.
            self.assertAllClose(one.mean(), 0.0, atol=0.01)
            self.assertAllClose(one.std(), 0.5, atol=0.007)
        correlations = np.corrcoef([one.ravel() for one in noise])
        self.assertAllClose(correlations, np.eye(3), atol=0.03)

    def test_digits(self):
        settings = laboratory.Settings(quick=True, data_dir=self.data_dir)
        lab = laboratory.Laboratory(settings, self.folder / "models", 0)
        whole = width_data.digits(lab)
        self.assertAllEqual(whole.test_labels, lab.test.labels > 4)
        images = np.concatenate([x.numpy() for x, _ in lab.test.batches])
        self.assertAllEqual(whole.test, images.reshape(500, 64))
        reduced = width_data.digits(lab, reduced=True)
        kept = [label not in (1, 4, 7, 9) for label in lab.test.labels]
        self.assertAllEqual(reduced.test, whole.test[kept])
        self.assertAllEqual(reduced.test_labels, whole.test_labels[kept])
        norms = np.linalg.norm(whole.scaled().train, axis=1)
        self.assertAllClose(norms.max(), 1.0)

    def test_groups_need_cifar(self):
        settings = laboratory.Settings(data_dir=str(self.folder))
        with self.assertRaisesRegex(FileNotFoundError, "tfds build cifar100"):
            width_data.groups(settings)


class BoundsTest(tf.test.TestCase):
    def test_by_hand(self):
        # sqrt(2 / pi) / 0.3 = 2.659615; ln(2 * 60000 / 0.01) = 16.300417,
        # whose root is 4.037378: (2.659615 + 12.112134)**2 = 218.204559.
        # 96 * (1 + e**2) = 805.349386.
        self.assertAllClose(
            bounds.soft_width(0.1, 60000, 0.3), 8053.49386 * 218.204559, 1e-6
        )
        self.assertAllClose(bounds.soft_steps(0.1), 900.0)
        # 25771.18 / (0.01 * 0.05) = 51542361.
        self.assertAllClose(
            bounds.soft_error_width(0.05, 0.1, 60000, 0.3),
            51542361 * 218.204559,
            1e-6,
        )
        self.assertAllClose(bounds.soft_error_steps(0.05, 0.1), 3.6e7)
        # ln(2 / 0.480453 / 0.05) = ln(83.254779) = 4.421905;
        # 2 * 2.659615 * 4.421905 + 12.112134 = 35.633266, squared 1269.7296.
        self.assertAllClose(
            bounds.hard_error_width(0.05, 0.1, 60000, 0.3),
            160000 * 1269.7296,
            1e-6,
        )
        self.assertAllClose(bounds.hard_radius(0.05, 0.1), 20 * 4.421905, 1e-6)

    def test_relations(self):
        """Where the bounds meet, and that of corollary 4 from theorem 2."""
        of = 60000, 0.3
        for margin, soft_is_less in ((0.0133, True), (0.0136, False)):
            soft = bounds.soft_error_width(0.05, margin, *of)
            hard = bounds.hard_error_width(0.05, margin, *of)
            self.assertEqual(soft < hard, soft_is_less)
        self.assertAllClose(
            bounds.soft_error_width(0.2, 0.1, *of),
            bounds.soft_width(0.1**2 * 0.2 / 32, *of),
        )


_SMALL = dataclasses.replace(
    width.QUICK,
    teacher_width=8,
    teacher=laboratory.Recipe(1, 128, 1e-2),
    widths=(2,),
    student=laboratory.Recipe(1, 128, 1e-2),
    theorem_widths=(4,),
    radii=(1.0, 10.0),
    descent=width_students.Descent(1, 128, 20.0),
)


class RunTest(digits_runs.DigitsTestCase):
    @pytest.mark.slow
    def test_quick(self):
        settings = experiments.Settings(quick=True, data_dir=self.data_dir)
        path, models = self.folder / "results", self.folder / "models"
        with mock.patch.object(width, "QUICK", _SMALL):
            found = running.run_experiment(
                width,
                settings,
                path,
                arms=["practical-all", "theorem-all"],
                models_dir=models,
            )
        self.assertLen(found.tables, 3)
        self.assertEqual([c.is_certain for c in found.checks], [True])
        self.assertLen(list(models.rglob("width-teacher*.keras")), 1)
        practical, theorem = (
            json.loads((path / f"seed-0-{regime}-all.json").read_text())
            for regime in ("practical", "theorem")
        )
        self.assertEqual(practical["teacher_errors"], theorem["teacher_errors"])
        self.assertEqual(
            list(practical["students"]["2"]), ["hard", "soft-1", "soft-4"]
        )
        self.assertEqual(
            set(theorem["students"]["10"]["4"]),
            {"hard", "soft", "raw", "smooth"},
        )
        self.assertGreater(theorem["divergence"]["1"]["4"], 0.0)
        page = reports.write_experiment_report(path, "Title", found, "command")
        accuracy = 100 - practical["students"]["2"]["hard"] / 5
        self.assertIn(f"{accuracy:.2f}", page)

    @pytest.mark.slow
    def test_deep(self):
        """A convolutional pair on images made up, and how it is taught."""
        made = []

        class Spy(distiller_lib.Distiller):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                made.append((self.soft_weight, self.temperature))

        rng = np.random.default_rng(0)
        images = rng.random((64, 8, 8, 3), np.float32)
        labels = rng.integers(0, 2, 64)
        task = width_data.Task(images, labels, images[:32], labels[:32])
        small = dataclasses.replace(
            _SMALL,
            deep_filters=((4,), (2,)),
            deep_teacher=laboratory.Recipe(1, 32, 1e-3),
            deep_student=laboratory.Recipe(1, 32, 1e-3),
        )
        settings = laboratory.Settings(quick=True, data_dir=self.data_dir)
        lab = laboratory.Laboratory(settings, self.folder / "deep", 0)
        with (
            mock.patch.object(width, "QUICK", small),
            mock.patch.object(width_data, "groups", lambda _: task),
            mock.patch.object(width_training, "Distiller", Spy),
        ):
            result = width.run("deep-0.05", 0, lab)
        self.assertEqual([soft_weight for soft_weight, _ in made], [0, 0, 1, 1])
        self.assertEqual([temperature for _, temperature in made[2:]], [1, 4])
        self.assertEqual(result["test_examples"], 32)
        self.assertEqual(
            list(result["students"]["2"]), ["hard", "soft-1", "soft-4"]
        )


class FindingsTest(tf.test.TestCase):
    def results(self, gap):
        """Three seeds, of 1000 test examples."""
        results = {}
        for seed in range(3):
            students = {
                units: {"hard": 100 + seed, "soft-1": 100, "soft-4": 90}
                for units in ("4", "8")
            }
            hard = 200 + 10 * seed
            limited = {
                units: {
                    "hard": hard,
                    "soft": hard - gap - seed,
                    "raw": hard,
                    "smooth": hard - 20,
                }
                for units in ("4", "8")
            }
            teacher = {"test_examples": 1000, "teacher_errors": 16 + seed}
            for task in ("all", "noise-0.6"):
                results[f"practical-{task}", seed] = {
                    **teacher,
                    "students": students,
                }
            results["deep-0.05", seed] = {
                **teacher,
                "students": {"4-4": students["4"]},
            }
            results["theorem-all", seed] = {
                **teacher,
                "students": {"1": limited, "10": limited},
                "divergence": {"1": {"4": 0.01, "8": 0.02}},
                "train_examples": 60000,
                "smallest_norm": 0.2,
            }
        return results

    def test_findings(self):
        settings = experiments.Settings()
        found = width.find(self.results(50), settings)
        self.assertEqual([c.holds for c in found.checks], [True] * 3)
        practical, theorem, asked = found.tables
        self.assertIn("+0.10 (-0.15 to +0.35)", practical.rows[0])
        self.assertEqual(
            practical.rows[0][1:4:2], ["98.30 (98.05 to 98.55)", "+6.78"]
        )
        self.assertEqual(theorem.rows[0][2][:5], "+5.10")
        self.assertEqual(theorem.rows[0][4][:5], "+0.00")
        self.assertEqual(
            asked.rows[0][2], f"{bounds.soft_width(0.01, 60000, 0.2):.1e}"
        )
        self.assertEqual(
            found.plots[-1].lines["teacher"],
            {
                0.05: [98.4, 98.3, 98.2],
            },
        )
        self.assertEqual(found.headlines[1].ours[:5], "+5.10")
        # Two points are too few.
        found = width.find(self.results(20), settings)
        self.assertEqual([c.holds for c in found.checks], [True, False, False])

    def test_quick_and_single_seeds(self):
        one = {
            key: result
            for key, result in self.results(50).items()
            if key[1] == 0
        }
        found = width.find(one, experiments.Settings())
        self.assertEqual([c.holds for c in found.checks], [True, None, None])
        quick = {key: result for key, result in one.items() if "-all" in key[0]}
        found = width.find(quick, experiments.Settings(quick=True))
        self.assertEqual(
            [(c.holds, c.is_certain) for c in found.checks], [(True, True)]
        )

    def test_arms(self):
        full, quick = (
            width.arms(experiments.Settings(quick=quick))
            for quick in (False, True)
        )
        self.assertLen(full, 10)
        self.assertEqual(quick, full[:2])
        self.assertEqual(
            [f"practical-{task}" for task in width_findings.PAPER_GAPS],
            [full[0], full[2]],
        )


if __name__ == "__main__":
    tf.test.main()
