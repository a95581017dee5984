import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import ops
from tests import reference


class TemperedSoftmaxTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(0.5, 1.0, 4.0, 20.0)
    def test_equation_1(self, temperature):
        logits = np.random.default_rng(0).normal(size=(5, 7)) * 10
        expected = np.exp(logits / temperature)
        expected /= expected.sum(axis=-1, keepdims=True)
        self.assertAllClose(
            ops.tempered_softmax(logits, temperature), expected, 1e-12, 1e-12
        )
        self.assertAllClose(
            ops.tempered_log_softmax(logits, temperature),
            np.log(expected),
            1e-12,
            1e-12,
        )

    def test_axis(self):
        logits = np.random.default_rng(0).normal(size=(5, 7))
        self.assertAllClose(
            ops.tempered_softmax(logits.T, 2.0, axis=0),
            reference.softmax(logits, 2.0).T,
        )
        self.assertAllClose(
            ops.tempered_log_softmax(logits.T, 2.0, axis=0),
            reference.log_softmax(logits, 2.0).T,
        )

    def test_known_values(self):
        # exp(0.5), exp(0.25), exp(0) over their sum.
        self.assertAllClose(
            ops.tempered_softmax([2.0, 1.0, 0.0], 4.0),
            [0.419229, 0.326496, 0.254275],
            atol=1e-6,
        )

    def test_log_space_survives_where_the_softmax_underflows(self):
        self.assertAllClose(
            ops.tempered_log_softmax([4000.0, 0.0], 4.0), [0.0, -1000.0]
        )

    @parameterized.parameters("float16", "bfloat16", "float32")
    def test_half_precision_is_computed_in_float32(self, dtype):
        logits = tf.cast([3.0, 1.0, -2.0], dtype)
        result = ops.tempered_log_softmax(logits, 4.0)
        self.assertEqual(result.dtype, tf.float32)
        self.assertAllClose(
            result, reference.log_softmax([3.0, 1.0, -2.0], 4.0), 1e-6, 1e-6
        )

    def test_float64_stays(self):
        logits = tf.constant([1.0], tf.float64)
        self.assertEqual(ops.tempered_softmax(logits, 1).dtype, tf.float64)

    @parameterized.parameters(
        0, -1.0, float("nan"), float("inf"), None, "4", True, ([4.0, 2.0],)
    )
    def test_bad_temperature(self, temperature):
        with self.assertRaisesRegex(ValueError, "positive finite number"):
            ops.tempered_softmax([1.0, 2.0], temperature)
        with self.assertRaisesRegex(ValueError, "positive finite number"):
            ops.tempered_log_softmax([1.0, 2.0], temperature)


class AverageLogProbsTest(tf.test.TestCase):
    def test_arithmetic_mean(self):
        probs = np.random.default_rng(0).dirichlet(np.ones(6), (3, 4))
        self.assertAllClose(
            np.exp(ops.average_log_probs(np.log(probs))),
            probs.mean(axis=0),
            1e-12,
            1e-12,
        )

    def test_weights_and_axis(self):
        probs = np.random.default_rng(0).dirichlet(np.ones(6), (4, 3))
        weights = [1.0, 2.0, 5.0]
        self.assertAllClose(
            np.exp(ops.average_log_probs(np.log(probs), weights, axis=1)),
            np.average(probs, axis=1, weights=weights),
            1e-12,
            1e-12,
        )

    def test_does_not_underflow(self):
        log_probs = tf.constant([[-1000.0, 0.0], [-1001.0, 0.0]])
        expected = -1000.0 + np.log((1 + np.exp(-1.0)) / 2)
        self.assertAllClose(
            ops.average_log_probs(log_probs), [expected, 0.0], 1e-6, 1e-6
        )

    def test_wrong_number_of_weights(self):
        with self.assertRaisesRegex(ValueError, "2 weights for 3 members"):
            ops.average_log_probs(np.zeros((3, 4)), weights=[1, 2])


if __name__ == "__main__":
    tf.test.main()
