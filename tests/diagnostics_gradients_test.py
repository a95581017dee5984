"""Gradient noise against per-example gradients that are written down."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

from kd_keras import distiller
from kd_keras import losses
from kd_keras import models
from kd_keras.diagnostics import gradients


def linear(num_inputs, weights):
    """A linear model in float64 and its weights."""
    model = keras.Sequential(
        [
            keras.Input((num_inputs,), dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    model.set_weights([weights[:-1, None], weights[-1:]])
    return model


def example_gradients(weights, x, y):
    """Those of `(w . x + c - y) ** 2`, one row for each example."""
    ones = np.concatenate([x, np.ones([len(x), 1])], axis=1)
    return 2 * (ones @ weights - y[:, 0])[:, None] * ones


def batched(batch_size, *arrays):
    parts = [np.split(a, len(a) // batch_size) for a in arrays]
    return list(zip(*parts, strict=True))


def squared_error(targets, predictions):
    return tf.reduce_sum((predictions - targets) ** 2, axis=-1)


class GradientNoiseTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.weights = rng.normal(size=6)
        self.x = rng.normal(size=(4000, 5))
        self.y = rng.normal(size=(4000, 1)) * 2
        self.model = linear(5, self.weights)
        self.expected = example_gradients(self.weights, self.x, self.y)

    def test_single_examples(self):
        """Batches of one are the sample variance, to the last digits."""
        found = gradients.gradient_noise(
            self.model, batched(1, self.x[:50], self.y[:50]), squared_error
        )
        rows = self.expected[:50]
        variance = np.trace(np.cov(rows.T))
        self.assertAllClose(found.variance, variance, 1e-12)
        squared_mean = (rows.mean(axis=0) ** 2).sum() - variance / 50
        self.assertAllClose(found.squared_mean, squared_mean, 1e-12)
        self.assertAllClose(found.ratio, variance / squared_mean, 1e-12)
        self.assertEqual((found.num_examples, found.batch_size), (50, 1))

    @parameterized.parameters(4, 10, 40)
    def test_batches_tell_of_single_examples(self, size):
        """The covariance is that of single examples, whatever the batches."""
        found = gradients.gradient_noise(
            self.model, batched(size, self.x, self.y), squared_error
        )
        rows = self.expected
        means = rows.reshape(-1, size, 6).mean(axis=1)
        self.assertAllClose(
            found.variance, size * np.trace(np.cov(means.T)), 1e-12
        )
        variance = np.trace(np.cov(rows.T))
        self.assertAllClose(found.variance, variance, 0.2)
        self.assertAllClose(
            found.squared_mean,
            (rows.mean(axis=0) ** 2).sum() - found.variance / 4000,
            1e-12,
        )
        self.assertEqual(found.num_examples, 4000)

    def test_squared_mean_has_no_bias(self):
        """A mean of 0 is found to be 0, on average over many sets."""
        rng = np.random.default_rng(1)
        model = linear(5, np.zeros(6))
        found = []
        for _ in range(12):
            x, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 1))
            found.append(
                gradients.gradient_noise(
                    model, batched(10, x, y), squared_error
                )
            )
        means = [noise.squared_mean for noise in found]
        error = np.std(means, ddof=1) / len(means) ** 0.5
        self.assertLess(abs(np.mean(means)), 3 * error)
        # Without its correction it would be this much.
        self.assertGreater(found[0].variance / 200, 5 * error)
        self.assertIn(np.inf, [noise.ratio for noise in found])

    def test_scale_of_the_loss(self):
        batches = batched(20, self.x[:400], self.y[:400])
        one = gradients.gradient_noise(self.model, batches, squared_error)
        many = gradients.gradient_noise(
            self.model, batches, lambda y, z: 400 * squared_error(y, z)
        )
        self.assertAllClose(many.ratio, one.ratio, 1e-10)
        self.assertAllClose(many.variance, 400**2 * one.variance, 1e-10)

    def test_mean_or_values(self):
        batches = batched(20, self.x[:400], self.y[:400])
        of_values = gradients.gradient_noise(self.model, batches, squared_error)
        of_mean = gradients.gradient_noise(
            self.model, batches, keras.losses.MeanSquaredError(dtype="float64")
        )
        self.assertAllClose(of_mean.variance, of_values.variance, 1e-12)

    def test_norms_of_a_network(self):
        """Second moments are those of activations times deltas, by layers."""
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((7,), dtype="float64")]
            + [
                keras.layers.Dense(
                    units,
                    activation,
                    dtype="float64",
                    bias_initializer="normal",
                )
                for units, activation in ((9, "relu"), (8, "relu"), (4, None))
            ]
        )
        rng = np.random.default_rng(2)
        x, teacher_logits = rng.normal(size=(30, 7)), rng.normal(size=(30, 4))
        found = gradients.gradient_noise(
            model,
            batched(1, x, teacher_logits),
            losses.SoftTargetKLDivergence(3.0, dtype="float64"),
        )
        kernels, biases = model.get_weights()[::2], model.get_weights()[1::2]
        inputs = [x]
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            inputs.append(np.maximum(inputs[-1] @ kernel + bias, 0))
        logits = inputs[-1] @ kernels[-1] + biases[-1]
        # T ** 2 times (q - p) / T.
        delta = 3.0 * (
            special.softmax(logits / 3.0, axis=1)
            - special.softmax(teacher_logits / 3.0, axis=1)
        )
        squared = np.zeros(30)
        for h, kernel in zip(inputs[::-1], kernels[::-1], strict=True):
            squared += ((h**2).sum(1) + 1) * (delta**2).sum(1)
            delta = (delta @ kernel.T) * (h > 0)
        self.assertAllClose(
            found.variance + found.squared_mean, squared.mean(), 1e-10
        )

    def test_distiller(self):
        """A Distiller is measured by its student, the teacher left alone."""
        student = models.mlp((3,), 4, (5,), dropout=0.5, seed=0)
        teacher = models.mlp((3,), 4, (6,), seed=1)
        whole = distiller.Distiller(student=student, teacher=teacher)
        rng = np.random.default_rng(3)
        x = np.repeat(rng.normal(size=(1, 8, 3)), 3, axis=0)
        batches = [(part, part) for part in x.astype(np.float32)]

        def loss(inputs, logits):
            return whole.soft_loss(teacher(inputs), logits)

        # Batches are the same: what differs is dropout.
        found = gradients.gradient_noise(whole, batches, loss)
        self.assertEqual(found.variance, 0.0)
        self.assertGreater(found.squared_mean, 0.0)
        noisy = gradients.gradient_noise(whole, batches, loss, training=True)
        self.assertGreater(noisy.variance, 0.0)

    def test_embedding(self):
        """Gradients that come as slices count like others."""
        embedding = keras.layers.Embedding(6, 2)
        model = keras.Sequential([keras.Input((1,), dtype="int32"), embedding])
        words = np.array([[1], [1], [4], [2]])
        targets = np.arange(8.0, dtype=np.float32).reshape(4, 1, 2)
        found = gradients.gradient_noise(
            model, batched(1, words, targets), squared_error
        )
        rows = np.zeros([4, 6, 2])
        table = embedding.get_weights()[0]
        for row, word, target in zip(rows, words, targets, strict=True):
            row[word[0]] = 2 * (table[word[0]] - target[0])
        expected = np.trace(np.cov(rows.reshape(4, -1).T))
        self.assertAllClose(found.variance, expected, 1e-5)

    def test_refusals(self):
        def noise(batches, loss=squared_error, model=self.model):
            return gradients.gradient_noise(model, batches, loss)

        x, y = self.x[:4], self.y[:4]
        with self.assertRaisesRegex(ValueError, "at least two.*Received: 1"):
            noise([(x, y)])
        with self.assertRaisesRegex(ValueError, "of 4 and of 3"):
            noise([(x, y), (x[:3], y[:3])])
        with self.assertRaisesRegex(ValueError, "tuple of 3"):
            noise([(x, y, y)])
        with self.assertRaisesRegex(TypeError, "Received: 'mse'"):
            noise([(x, y)], "mse")
        with self.assertRaisesRegex(ValueError, "reduction='sum'"):
            noise([], keras.losses.MeanSquaredError(reduction="sum"))
        with self.assertRaisesRegex(ValueError, "batch 1 is NaN"):
            noise([(x, y), (x, y * np.nan)])
        with self.assertRaisesRegex(ValueError, "no trainable weights"):
            noise([], model=keras.Sequential([keras.layers.Dense(1)]))


class LabelNoiseTest(tf.test.TestCase, parameterized.TestCase):
    def test_identity(self):
        """Over all examples and labels, with the weights that they have."""
        rng = np.random.default_rng(4)
        p = special.softmax(rng.normal(0, 2, (20, 5)), axis=1)
        q = special.softmax(rng.normal(0, 2, (20, 5)), axis=1)
        with_labels = q[:, None] - np.eye(5)
        drawn = np.cov(
            with_labels.reshape(-1, 5).T, aweights=p.ravel(), bias=True
        )
        soft = np.cov((q - p).T, bias=True)
        found = gradients.label_noise_covariance(p)
        self.assertAllClose(drawn - soft, found, rtol=0, atol=1e-12)
        self.assertGreater(np.linalg.eigvalsh(found).min(), -1e-12)
        self.assertAllClose(np.trace(found), (1 - (p**2).sum(1)).mean(), 1e-12)

    @parameterized.parameters(
        ([[0.5, 0.4]],), ([[1.5, -0.5]],), ([0.5, 0.5],), ([[np.nan, 1.0]],)
    )
    def test_refusals(self, probs):
        with self.assertRaisesRegex(ValueError, "sum to 1 in each row"):
            gradients.label_noise_covariance(probs)


if __name__ == "__main__":
    tf.test.main()
