"""Tests of the metrics, against loops in float64 NumPy."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import metrics
from tests import metrics_reference


class TeacherAgreementTest(parameterized.TestCase):
    def test_literal(self):
        metric = metrics.TeacherAgreement()
        metric.update_state(
            [[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 5.0, 0.0]],
            [[1.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.1, 0.0]],
        )
        self.assertAlmostEqual(float(metric.result()), 2 / 3, places=6)

    def test_equals_the_loop_over_several_weighted_batches(self):
        metric = metrics.TeacherAgreement()
        teacher, student, _, weights = metrics_reference.batch()
        for part in (slice(0, 70), slice(70, 75), slice(75, 200)):
            metric.update_state(teacher[part], student[part], weights[part])
        expected = metrics_reference.agreement(teacher, student, weights)
        self.assertTrue(0.3 < expected < 0.95)
        self.assertAlmostEqual(float(metric.result()), expected, places=6)

    def test_does_not_round_float64_logits(self):
        # In float32 the two logits of 1.0 and a little more are equal.
        metric = metrics.TeacherAgreement()
        metric.update_state(
            np.array([[1.0, 1.0 + 1e-12], [0.0, 1.0]]),
            np.array([[0.0, 1.0], [1.0, 1.0 + 1e-12]]),
        )
        self.assertEqual(float(metric.result()), 1.0)

    def test_refuses_other_classes(self):
        with self.assertRaisesRegex(ValueError, r"\(2, 3\).*\(2, 4\)"):
            metrics.TeacherAgreement().update_state(
                np.zeros((2, 3)), np.zeros((2, 4))
            )


class PredictiveKLDivergenceTest(parameterized.TestCase):
    @parameterized.parameters(1.0, 2.5, 20.0)
    def test_equals_the_loop_over_several_weighted_batches(self, temperature):
        metric = metrics.PredictiveKLDivergence(temperature)
        self.assertEqual(metric.temperature, temperature)
        teacher, student, _, weights = metrics_reference.batch()
        for part in (slice(0, 70), slice(70, 75), slice(75, 200)):
            metric.update_state(teacher[part], student[part], weights[part])
        expected = metrics_reference.predictive_kl(
            teacher, student, weights, temperature
        )
        np.testing.assert_allclose(metric.result(), expected, rtol=2e-6)

    def test_is_not_symmetric(self):
        # KL([.75, .25] || [.5, .5]): the teacher's distribution is the weight.
        teacher, student = np.log([[0.75, 0.25]]), np.log([[0.5, 0.5]])
        metric = metrics.PredictiveKLDivergence()
        metric.update_state(teacher, student)
        expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)

    def test_saturated_logits(self):
        # p is one-hot and log q of its class is exactly -1e4.
        metric = metrics.PredictiveKLDivergence()
        metric.update_state([[1e4, 0.0]], [[0.0, 1e4]])
        np.testing.assert_allclose(metric.result(), 1e4, rtol=1e-6)

    def test_float64(self):
        teacher, student, _, weights = metrics_reference.batch()
        metric = metrics.PredictiveKLDivergence(2.0, dtype="float64")
        metric.update_state(
            teacher.astype("float64"), student.astype("float64"), weights
        )
        expected = metrics_reference.predictive_kl(
            teacher, student, weights, 2.0
        )
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-12)

    @parameterized.parameters(0.0, -1.0, float("nan"), float("inf"))
    def test_refuses_temperature(self, temperature):
        with self.assertRaisesRegex(ValueError, "temperature"):
            metrics.PredictiveKLDivergence(temperature)


class EveryMetricTest(parameterized.TestCase):
    """What holds for all three."""

    every = parameterized.named_parameters(
        ("agreement", metrics.TeacherAgreement),
        ("kl", lambda **kw: metrics.PredictiveKLDivergence(2.0, **kw)),
        ("ece", lambda **kw: metrics.ExpectedCalibrationError(7, **kw)),
    )

    @every
    def test_zero_weight_is_absence(self, make):
        data = metrics_reference.batch()
        weights = np.ones(200, "float32")
        weights[50:] = 0.0
        for values in data[:2]:
            values[60:70] = np.nan
        found = metrics_reference.update(make(), data, weights=weights)
        expected = metrics_reference.update(make(), data, part=slice(0, 50))
        self.assertGreater(float(expected.result()), 0.0)
        self.assertEqual(float(found.result()), float(expected.result()))

    @every
    def test_integer_weights_are_repetition(self, make):
        data = metrics_reference.batch(shape=(3,))
        found = metrics_reference.update(make(), data, weights=[1, 2, 0])
        expected = make()
        for part in ([0], [1], [1]):
            metrics_reference.update(expected, data, part=part)
        np.testing.assert_allclose(found.result(), expected.result(), rtol=1e-6)

    @every
    def test_weights_of_sequences(self, make):
        data = metrics_reference.batch(shape=(10, 5))
        flat = [v.reshape(50, *v.shape[2:]) for v in data]
        weights = data[3]
        found = metrics_reference.update(make(), data, weights=weights)
        expected = metrics_reference.update(
            make(), flat, weights=weights.reshape(-1)
        )
        np.testing.assert_allclose(found.result(), expected.result(), rtol=1e-6)
        # [batch] and [batch, 1] weigh every position of their example.
        for given in (weights[:, 0], weights[:, :1]):
            found = metrics_reference.update(make(), data, weights=given)
            expected = metrics_reference.update(
                make(), flat, weights=np.repeat(weights[:, 0], 5)
            )
            np.testing.assert_allclose(
                found.result(), expected.result(), rtol=1e-6
            )

    @every
    def test_keras_mask(self, make):
        teacher, student, labels, weights = metrics_reference.batch(
            shape=(10, 5)
        )
        mask = weights > 0.3
        masked = tf.constant(student)
        masked._keras_mask = tf.constant(mask)
        first = teacher
        found, expected = make(), make()
        if isinstance(found, metrics.ExpectedCalibrationError):
            first = labels
        found.update_state(first, masked, weights)
        expected.update_state(first, student, weights * mask)
        self.assertGreater(float(expected.result()), 0.0)
        self.assertEqual(float(found.result()), float(expected.result()))

    @every
    def test_refuses_weights(self, make):
        for shape in ((199,), (200, 4), (200, 1, 1)):
            with self.assertRaisesRegex(ValueError, "sample_weight"):
                metrics_reference.update(
                    make(), metrics_reference.batch(), weights=np.ones(shape)
                )

    @parameterized.product(
        dtype=["float16", "bfloat16", "float64"],
        index=[0, 1, 2],
    )
    def test_input_dtype(self, dtype, index):
        # Rounded before, so that only the arithmetic can differ.
        data = [tf.cast(v, "bfloat16") for v in metrics_reference.batch()[:2]]
        data = [tf.cast(v, "float16") for v in data]
        data = [tf.cast(v, "float32").numpy() for v in data] + [
            *metrics_reference.batch()[2:]
        ]
        make = [
            metrics.TeacherAgreement,
            metrics.PredictiveKLDivergence,
            metrics.ExpectedCalibrationError,
        ][index]
        found = metrics_reference.update(make(), data, dtype=dtype)
        expected = metrics_reference.update(make(), data)
        self.assertEqual(found.result().dtype, "float32")
        np.testing.assert_allclose(found.result(), expected.result(), rtol=1e-6)

    @every
    def test_counts_beyond_half_precision(self, make):
        keras.config.set_floatx("bfloat16")
        self.addCleanup(keras.config.set_floatx, "float32")
        data = metrics_reference.batch()
        found = make()
        for _ in range(5):
            metrics_reference.update(found, data)
        keras.config.set_floatx("float32")
        np.testing.assert_allclose(
            found.result(),
            metrics_reference.update(make(), data).result(),
            rtol=1e-5,
        )
        with self.assertRaisesRegex(ValueError, "half precision"):
            make(dtype="bfloat16")

    @every
    def test_compiled_by_xla(self, make):
        data, metric = metrics_reference.batch(), make()

        @tf.function(jit_compile=True)
        def step(labels, teacher, student, weights):
            metrics_reference.update(
                metric, (teacher, student, labels, None), weights=weights
            )

        step(data[2], data[0], data[1], data[3])
        expected = metrics_reference.update(make(), data, weights=data[3])
        np.testing.assert_allclose(
            metric.result(), expected.result(), rtol=2e-6
        )

    @every
    def test_reset_and_empty(self, make):
        metric = make()
        self.assertEqual(float(metric.result()), 0.0)
        metrics_reference.update(metric, metrics_reference.batch(seed=1))
        self.assertGreater(float(metric.result()), 0.0)
        metric.reset_state()
        self.assertEqual(float(metric.result()), 0.0)
        for variable in metric.variables:
            np.testing.assert_array_equal(variable, np.zeros(variable.shape))
        metrics_reference.update(metric, metrics_reference.batch())
        self.assertEqual(
            float(metric.result()),
            float(
                metrics_reference.update(
                    make(), metrics_reference.batch()
                ).result()
            ),
        )

    @every
    def test_serialisation(self, make):
        metric = make(name="mine", dtype="float64")
        config = keras.saving.serialize_keras_object(metric)
        self.assertEqual(
            config["registered_name"], f"kd_keras>{type(metric).__name__}"
        )
        again = keras.saving.deserialize_keras_object(config)
        self.assertIs(type(again), type(metric))
        self.assertEqual(again.get_config(), metric.get_config())
        self.assertEqual(again.name, "mine")
        self.assertEqual(again.dtype, "float64")
        self.assertEqual(
            float(
                metrics_reference.update(
                    again, metrics_reference.batch()
                ).result()
            ),
            float(
                metrics_reference.update(
                    metric, metrics_reference.batch()
                ).result()
            ),
        )


if __name__ == "__main__":
    tf.test.main()
