"""Measurements against closed forms in float64."""

import time

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

from kd_keras import diagnostics


def log_softmax(logits):
    logits = np.float64(logits)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


class PredictionsTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.labels = rng.integers(0, 4, 200)
        self.teacher, self.student = rng.normal(0, 3, (2, 200, 4))
        # Somewhat like the teacher, who is somewhat right.
        self.teacher[np.arange(200), self.labels] += 4
        self.student += self.teacher

    def test_quality(self):
        found = diagnostics.quality(self.labels, np.float32(self.student))
        log_probs = log_softmax(self.student)
        errors = int((self.student.argmax(-1) != self.labels).sum())
        self.assertEqual((found.examples, found.errors), (200, errors))
        self.assertAllClose(found.accuracy, 1 - errors / 200)
        self.assertAllClose(
            found.negative_log_likelihood,
            -log_probs[np.arange(200), self.labels].mean(),
            rtol=1e-6,
        )
        confidence = np.exp(log_probs.max(-1))
        right = self.student.argmax(-1) == self.labels
        bins = np.ceil(confidence * 15)
        expected = sum(
            abs((right - confidence)[bins == b].sum()) for b in range(1, 16)
        )
        self.assertAllClose(found.calibration_error, expected / 200, rtol=1e-5)
        self.assertEqual(found.num_bins, 15)

    @parameterized.parameters((200, 7), (10, 0), (10, 10))
    def test_interval(self, count, errors):
        logits = np.zeros((count, 2))
        logits[:errors, 1] = 1
        logits[errors:, 0] = 1
        found = diagnostics.quality(np.zeros(count, int), logits)
        low, high = found.accuracy_interval
        right = count - errors
        # Clopper and Pearson, by the beta distribution.
        if right:
            expected = stats.beta.ppf(0.025, right, errors + 1)
            self.assertAllClose(low, expected)
        else:
            self.assertEqual(low, 0)
        if errors:
            expected = stats.beta.ppf(0.975, right + 1, errors)
            self.assertAllClose(high, expected)
        else:
            self.assertEqual(high, 1)

    def test_fidelity(self):
        found = diagnostics.fidelity(self.labels, self.teacher, self.student)
        p, q = log_softmax(self.teacher), log_softmax(self.student)
        self.assertAllClose(
            found.predictive_kl, (np.exp(p) * (p - q)).sum(-1).mean()
        )
        same = self.teacher.argmax(-1) == self.student.argmax(-1)
        self.assertAllClose(found.agreement, same.mean())
        teacher_right = self.teacher.argmax(-1) == self.labels
        student_right = self.student.argmax(-1) == self.labels
        self.assertEqual(found.teacher_errors, 200 - teacher_right.sum())
        self.assertAllClose(
            found.accuracy_where_teacher_wrong,
            student_right[~teacher_right].mean(),
        )
        self.assertAllClose(
            found.accuracy_where_teacher_right,
            student_right[teacher_right].mean(),
        )
        self.assertNotAllClose(found.agreement, 1.0)

    def test_a_perfect_teacher(self):
        found = diagnostics.fidelity([0], [[1.0, 0.0]], [[0.0, 1.0]])
        self.assertIsNone(found.accuracy_where_teacher_wrong)
        self.assertEqual(found.accuracy_where_teacher_right, 0.0)

    @parameterized.parameters(
        ([0, 1], [[1.0, 0.0]], "shape"),
        ([0.0], [[1.0, 0.0]], "ints"),
        ([], np.zeros((0, 2)), "shape"),
        ([2], [[1.0, 0.0]], "from 0 to 1. Received: 2"),
        ([-1], [[1.0, 0.0]], "from 0 to 1. Received: -1"),
    )
    def test_refuses(self, labels, logits, message):
        with self.assertRaisesRegex(ValueError, message):
            diagnostics.quality(labels, logits)

    def test_refuses_other_classes(self):
        with self.assertRaisesRegex(ValueError, "same classes"):
            diagnostics.fidelity([0], [[1.0, 0.0]], [[1.0, 0.0, 0.0]])


class LatencyTest(tf.test.TestCase):
    def test_times(self):
        seen = []

        def function(batch):
            seen.append(len(batch))
            time.sleep(0.002 * len(batch))

        found = diagnostics.measure_latency(
            function, np.zeros([2, 3]), (1, 5), num_rounds=6, num_warm_up=2
        )
        self.assertEqual(seen, [1, 5] * 8)
        for batch_size, latency in zip((1, 5), found, strict=True):
            self.assertEqual(latency.batch_size, batch_size)
            self.assertEqual(latency.rounds, 6)
            self.assertBetween(latency.low, 2 * batch_size, latency.median)
            self.assertLessEqual(latency.median, latency.high)
        # The first calls, which are slow, are not counted.
        calls = iter([0.2] + [0.0] * 9)
        found = diagnostics.measure_latency(
            lambda _: time.sleep(next(calls)),
            np.zeros([1]),
            (1,),
            num_rounds=9,
            num_warm_up=1,
        )
        self.assertLess(found[0].high, 100)

    def test_refuses(self):
        with self.assertRaisesRegex(ValueError, "positive. Received: 0"):
            diagnostics.measure_latency(len, np.zeros([1]), (0,))


if __name__ == "__main__":
    tf.test.main()
