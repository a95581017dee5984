"""Shifts of logits against brute force and closed forms."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

from kd_keras import diagnostics


def errors_at(labels, logits, classes, shift):
    shifted = np.array(logits)
    shifted[:, classes] += shift
    return int((shifted.argmax(axis=1) != labels).sum())


class BiasTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(([3],), ([7, 8],), ([0, 1, 9],))
    def test_prior_is_matched(self, classes):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 3, (500, 10))
        for prior in (0.02, 0.1, 0.7):
            shift = diagnostics.prior_matching_shift(logits, classes, prior)
            shifted = np.array(logits)
            shifted[:, classes] += shift
            probs = special.softmax(shifted, axis=1)
            self.assertAllClose(probs[:, classes].sum(1).mean(), prior, 1e-9)

    def test_a_known_shift_is_taken_back(self):
        """Calibrated predictions need none."""
        rng = np.random.default_rng(1)
        logits = rng.normal(0, 2, (200, 5))
        prior = special.softmax(logits, axis=1)[:, 2].mean()
        logits[:, 2] -= 4.25
        found = diagnostics.prior_matching_shift(logits, [2], prior)
        self.assertAllClose(found, 4.25, atol=1e-8)

    @parameterized.parameters(range(5))
    def test_best_shift_is_brute_forces(self, seed):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 2, (60, 6))
        labels = rng.integers(0, 6, 60)
        classes = [1] if seed % 2 else [2, 4]
        shift, errors = diagnostics.best_shift(labels, logits, classes)
        self.assertEqual(errors_at(labels, logits, classes, shift), errors)
        grid = np.linspace(-15, 15, 6001)
        brute = [errors_at(labels, logits, classes, value) for value in grid]
        self.assertLessEqual(errors, min(brute))
        nearest = np.abs(grid[np.array(brute) == min(brute)]).min()
        if errors == min(brute):
            self.assertLess(abs(shift), nearest + 1.0)

    def test_no_shift_is_better_than_none(self):
        logits = [[5.0, 0.0, 1.0], [7.0, 1.0, 0.0], [0.0, 9.0, 1.0]]
        self.assertEqual(
            diagnostics.best_shift([0, 0, 1], logits, [2]), (0.0, 0)
        )
        with self.assertRaisesRegex(ValueError, "3 examples"):
            diagnostics.best_shift([0, 0], logits, [2])

    @parameterized.parameters(
        ([[1.0, 2.0]], [2], 0.5, "0 to 1"),
        ([[1.0, 2.0]], [0, 1], 0.5, "not all"),
        ([[1.0, 2.0]], [], 0.5, "not all"),
        ([[1.0, 2.0]], [-1], 0.5, "0 to 1"),
        ([[1.0, 2.0]], [0], 1.0, "between 0 and 1"),
        ([1.0, 2.0], [0], 0.5, "shape"),
        ([[1.0, float("nan")]], [0], 0.5, "finite"),
    )
    def test_refusals(self, logits, classes, prior, message):
        with self.assertRaisesRegex(ValueError, message):
            diagnostics.prior_matching_shift(logits, classes, prior)


if __name__ == "__main__":
    tf.test.main()
