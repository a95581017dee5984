"""Tables 3 and 4, counted by hand."""

import math

import numpy as np
import tensorflow as tf

from kd_keras import specialists


class MeasuresTest(tf.test.TestCase):
    def test_coverage(self):
        labels = [0, 0, 1, 1, 2, 3, 3]
        before = np.eye(4)[[0, 1, 1, 2, 0, 3, 3]]
        after = np.eye(4)[[0, 0, 1, 1, 2, 0, 3]]
        lines = specialists.coverage(
            labels, before, after, [[0, 1], [1, 2], [1]]
        )
        self.assertEqual(
            [
                (of.specialists, of.examples, of.gained, of.generalist_right)
                for of in lines
            ],
            [(0, 2, -1, 2), (1, 3, 2, 1), (3, 2, 1, 1)],
        )
        self.assertEqual([of.relative_change for of in lines], [-0.5, 2.0, 1.0])
        nothing = specialists.coverage([0], [[0, 1]], [[1, 0]], [])[0]
        self.assertTrue(math.isnan(nothing.relative_change))
        with self.assertRaisesRegex(ValueError, "7 labels"):
            specialists.coverage(labels, before, after[1:], [])

    def test_conditional_accuracy(self):
        labels = np.array([0, 1, 2, 3])
        logits = np.array(
            [[1, 2, 3, 9], [0, 5, 1, 9], [2, 1, 0, 9], [0, 0, 0, 9]]
        )
        # Among 0, 1 and 2: 2 for the first, 1 for the second, 0 for the third.
        self.assertAllClose(
            specialists.conditional_accuracy(labels, logits, [[2, 0], [1, 2]]),
            1 / 3,
        )
        with self.assertRaisesRegex(ValueError, r"\[1\]"):
            specialists.conditional_accuracy([0], [[1, 2]], [[1]])
        with self.assertRaisesRegex(ValueError, "2 labels"):
            specialists.conditional_accuracy([0, 1], [[1, 2]], [[1]])
        for measure in (
            lambda sets: specialists.conditional_accuracy([0], [[1, 2]], sets),
            lambda sets: specialists.coverage([0], [[1, 2]], [[1, 2]], sets),
        ):
            with self.assertRaisesRegex(ValueError, "some of 0 to 1"):
                measure([[2]])
        nothing = np.full([1, 2], np.nan)
        for labels, logits, says in (
            ([0], nothing, "Received: 1 such rows"),
            ([2], [[1, 2]], "from 0 to 1.* Received: 2 to 2"),
            ([-1], [[1, 2]], "Received: -1 to -1"),
            ([[0]], [[1, 2]], r"shape \[1, 1\]"),
            ([0.0], [[1, 2]], "Received: float64"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                specialists.conditional_accuracy(labels, logits, [[1]])
            with self.assertRaisesRegex(ValueError, says):
                specialists.coverage(labels, [[1, 2]], logits, [[1]])


if __name__ == "__main__":
    tf.test.main()
