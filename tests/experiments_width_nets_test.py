"""The width experiment: its constraint, its nets and their labels."""

import json
import math
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from kd_keras.experiments import laboratory
from kd_keras.experiments import projection
from kd_keras.experiments import width_data
from kd_keras.experiments import width_nets
from kd_keras.experiments import width_students
from kd_keras.experiments import width_training


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
        # On average as far from 1/2 in its logit: (1 + 1/2 + 1/4) / 3.
        self.assertAllClose(
            found["smoothed"], sigmoid(7 / 12, -7 / 12, -7 / 12)
        )

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


if __name__ == "__main__":
    tf.test.main()
