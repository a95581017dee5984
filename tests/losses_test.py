import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import losses
from tests import reference

CLASSES = (2, 10, 1000, 32000)
DEVIATIONS = (0.1, 3.0, 30.0, 300.0)
TEMPERATURES = (0.5, 1.0, 4.0, 20.0)


def _logits(num_classes, deviation, batch=8, dtype="float32"):
    rng = np.random.default_rng(num_classes)
    shape = (2, batch, num_classes)
    return (rng.normal(size=shape) * deviation).astype(dtype)


def _gradient(loss, teacher_logits, student_logits):
    student_logits = tf.constant(student_logits)
    with tf.GradientTape() as tape:
        tape.watch(student_logits)
        value = loss(teacher_logits, student_logits)
    return tape.gradient(value, student_logits).numpy()


class GradientTest(tf.test.TestCase, parameterized.TestCase):
    """Equation 2 of Hinton et al. (2015), times T**2."""

    @parameterized.product(
        num_classes=CLASSES, deviation=DEVIATIONS, temperature=TEMPERATURES
    )
    def test_soft_targets(self, num_classes, deviation, temperature):
        v, z = _logits(num_classes, deviation)
        p = reference.softmax(v, temperature)
        q = reference.softmax(z, temperature)
        expected = temperature * (q - p) / len(v)
        bound = 3e-6 * np.linalg.norm(expected)
        bound += 5e-7 * np.linalg.norm(temperature * q / len(v))
        for kind in (
            losses.SoftTargetKLDivergence,
            losses.SoftTargetCrossentropy,
        ):
            gradient = _gradient(kind(temperature), v, z)
            self.assertTrue(np.all(np.isfinite(gradient)))
            self.assertLess(np.linalg.norm(gradient - expected), bound)

    @parameterized.parameters(0.5, 4.0)
    def test_finite_differences(self, temperature):
        v, z = _logits(5, 3.0, batch=2, dtype="float64")
        for function in (
            losses.soft_target_kl_divergence,
            losses.soft_target_crossentropy,
        ):

            def summed(v, z, function=function):
                return tf.reduce_sum(function(v, z, temperature))

            gradient = _gradient(summed, v, z)
            for i in np.ndindex(*z.shape):
                step = np.zeros_like(z)
                step[i] = 1e-5
                difference = summed(v, z + step) - summed(v, z - step)
                self.assertAllClose(gradient[i], difference / 2e-5, 1e-6, 1e-8)

    @parameterized.parameters(1.0, 20.0)
    def test_second_derivatives(self, temperature):
        """Those of equation 2: `diag(q) - q q^T`, whatever the teacher says."""
        other, z = _logits(5, 1.0, batch=1, dtype="float64")
        loss = losses.SoftTargetKLDivergence(temperature)
        # As near as it can be, shifted, and elsewhere; near and far.
        for v in (z, z + 1.5, other, other + [[0, 0, 99, 0, 0]]):
            student_logits = tf.constant(z)
            with tf.GradientTape() as outer:
                outer.watch(student_logits)
                with tf.GradientTape() as tape:
                    tape.watch(student_logits)
                    value = loss(v, student_logits)
                gradient = tape.gradient(value, student_logits)
            found = outer.jacobian(gradient, student_logits)[0, :, 0]
            q = reference.softmax(z, temperature)[0]
            self.assertAllClose(found, np.diag(q) - np.outer(q, q), atol=2e-7)

    def test_who_looks_for_infinities_finds_none(self):
        """As `tf.debugging` can; inside, too, where both say the same."""
        _, z = _logits(10, 3.0)
        tf.debugging.enable_check_numerics()
        try:
            gradient = _gradient(losses.SoftTargetKLDivergence(4.0), z, z)
        finally:
            tf.debugging.disable_check_numerics()
        self.assertAllClose(gradient, np.zeros_like(z), atol=1e-18)

    @parameterized.parameters(100.0, 1e4, 1e6)
    def test_keeps_its_digits_at_high_temperatures(self, temperature):
        """Where `q - p` in float32 has few or none left."""
        v, z = _logits(10, 3.0)
        gradient = _gradient(losses.SoftTargetKLDivergence(temperature), v, z)
        exact = _gradient(
            losses.SoftTargetKLDivergence(temperature, dtype="float64"),
            v.astype("float64"),
            z.astype("float64"),
        )
        self.assertAllClose(gradient, exact, 1e-5, 1e-7)

    def test_logit_matching(self):
        v, z = _logits(10, 3.0, dtype="float64")
        loss = losses.LogitMatching(dtype="float64")
        difference = (z - z.mean(-1, keepdims=True)) - (
            v - v.mean(-1, keepdims=True)
        )
        # d/dz of mean(d**2) / 2 over 10 classes and 8 examples.
        self.assertAllClose(
            _gradient(loss, v, z), difference / 10 / 8, 1e-12, 1e-14
        )

    @parameterized.parameters((1000.0, 0.005), (10000.0, 0.0005))
    def test_high_temperature_limit(self, temperature, bound):
        """Equation 4: soft targets become logit matching."""
        v, z = _logits(10, 3.0, dtype="float64")
        soft = losses.SoftTargetKLDivergence(temperature, dtype="float64")
        matching = losses.LogitMatching(dtype="float64")
        expected = _gradient(matching, v, z)
        error = _gradient(soft, v, z) - expected
        self.assertLess(np.linalg.norm(error) / np.linalg.norm(expected), bound)
        value, limit = float(soft(v, z)), float(matching(v, z))
        self.assertLess(abs(value - limit) / limit, bound)

    def test_no_gradient_reaches_the_teacher(self):
        v, z = map(tf.constant, _logits(4, 1.0))
        for loss in (
            losses.SoftTargetKLDivergence(2.0),
            losses.SoftTargetCrossentropy(2.0),
            losses.LogitMatching(),
        ):
            with tf.GradientTape() as tape:
                tape.watch(v)
                value = loss(v, z)
            gradient = tape.gradient(value, v, unconnected_gradients="zero")
            self.assertAllEqual(gradient, tf.zeros_like(v))

    @parameterized.parameters(1.0, 20.0)
    def test_the_same_compiled(self, temperature):
        loss = losses.SoftTargetKLDivergence(temperature)

        @tf.function(jit_compile=True)
        def compiled(v, z):
            with tf.GradientTape() as tape:
                tape.watch(z)
                value = loss(v, z)
            return value, tape.gradient(value, z)

        for deviation in (3.0, 300.0):
            v, z = _logits(100, deviation)
            value, gradient = compiled(v, z)
            self.assertAllClose(value, loss(v, z), 1e-5, 1e-6)
            self.assertAllClose(gradient, _gradient(loss, v, z), 1e-5, 1e-7)


class ValueTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        num_classes=CLASSES, deviation=DEVIATIONS, temperature=TEMPERATURES
    )
    def test_closed_form(self, num_classes, deviation, temperature):
        v, z = _logits(num_classes, deviation)
        expected = reference.kl(v, z, temperature)
        # Some of float32's last digit of the deviation, not of the entropy.
        atol = 2e-7 * deviation / temperature
        self.assertAllClose(
            losses.soft_target_kl_divergence(v, z, temperature),
            expected,
            rtol=1e-5,
            atol=atol,
        )
        self.assertAllClose(
            losses.SoftTargetKLDivergence(temperature)(v, z),
            temperature**2 * expected.mean(),
            rtol=1e-5,
            atol=temperature**2 * atol,
        )

    def test_keeps_its_digits_when_the_student_is_close(self):
        """Where the difference of two cross-entropies has none left."""
        rng = np.random.default_rng(0)
        v = rng.normal(size=(64, 1000)).astype("float32")
        z = v + rng.normal(size=v.shape).astype("float32") * 1e-2
        expected = 400 * reference.kl(v, z, 20.0).mean()
        self.assertAllClose(
            losses.SoftTargetKLDivergence(20.0)(v, z), expected, 1e-4, 0
        )

    def test_literals(self):
        v, z = [[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]
        # p = softmax([.5, 1, 1.5]); KL = (p2 - p0) * (1.5 - .5).
        p = np.exp([0.5, 1.0, 1.5]) / np.exp([0.5, 1.0, 1.5]).sum()
        self.assertAllClose(
            losses.SoftTargetKLDivergence(2.0)(v, z), 4 * (p[2] - p[0])
        )
        # Centred logits differ by (2, 0, -2): (4 + 0 + 4) / 3 / 2.
        self.assertAllClose(losses.LogitMatching()(v, z), 4 / 3)

    @parameterized.parameters(1.0, 4.0, 20.0)
    def test_crossentropy_is_kl_plus_the_teachers_entropy(self, temperature):
        v, z = _logits(10, 3.0, dtype="float64")
        log_p = reference.log_softmax(v, temperature)
        entropy = -(np.exp(log_p) * log_p).sum(axis=-1)
        self.assertAllClose(
            losses.soft_target_crossentropy(v, z, temperature),
            reference.kl(v, z, temperature) + entropy,
            1e-12,
            1e-12,
        )
        self.assertAllClose(
            losses.SoftTargetCrossentropy(temperature, dtype="float64")(v, z),
            temperature**2 * (reference.kl(v, z, temperature) + entropy).mean(),
            1e-12,
            1e-12,
        )

    @parameterized.product(num_classes=CLASSES, deviation=DEVIATIONS)
    def test_zero_at_equal_logits(self, num_classes, deviation):
        v, _ = _logits(num_classes, deviation)
        for loss in (
            losses.SoftTargetKLDivergence(20.0),
            losses.LogitMatching(),
        ):
            self.assertEqual(float(loss(v, v)), 0.0)
        gradient = _gradient(losses.SoftTargetKLDivergence(20.0), v, v)
        q = reference.softmax(v, 20.0)
        self.assertLess(
            np.linalg.norm(gradient), 5e-7 * np.linalg.norm(20 * q / len(v))
        )

    def test_invariant_to_a_constant(self):
        v, z = _logits(10, 3.0)
        shift = np.array([100.0, -50.0] * 4, "float32")[:, np.newaxis]
        for function in (
            lambda v, z: losses.soft_target_kl_divergence(v, z, 4.0),
            lambda v, z: losses.soft_target_crossentropy(v, z, 4.0),
            losses.logit_matching,
        ):
            expected = function(v, z)
            self.assertAllClose(function(v + shift, z), expected, 1e-4, 1e-5)
            self.assertAllClose(function(v, z + shift), expected, 1e-4, 1e-5)

    def test_is_not_symmetric(self):
        v, z = [[4.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]
        loss = losses.SoftTargetKLDivergence(1.0)
        self.assertAllClose(loss(v, z), reference.kl(v, z).mean())
        self.assertAllClose(loss(z, v), reference.kl(z, v).mean())
        self.assertNotAllClose(loss(v, z), loss(z, v))

    @parameterized.parameters("float16", "bfloat16")
    def test_half_precision_is_computed_in_float32(self, dtype):
        v, z = (tf.cast(t, dtype) for t in _logits(10, 3.0))
        expected = reference.kl(*(tf.cast(t, tf.float64) for t in (v, z)), 4.0)
        value = losses.soft_target_kl_divergence(v, z, 4.0)
        self.assertEqual(value.dtype, tf.float32)
        self.assertAllClose(value, expected, 1e-5, 1e-6)
        self.assertAllClose(
            losses.SoftTargetKLDivergence(4.0)(v, z),
            16 * expected.mean(),
            1e-5,
            1e-6,
        )

    def test_float64_needs_both_and_the_loss(self):
        v, z = _logits(10, 3.0, dtype="float64")
        function = losses.soft_target_kl_divergence
        self.assertEqual(function(v, z).dtype, tf.float64)
        self.assertEqual(function(v.astype("float32"), z).dtype, tf.float32)
        loss = losses.SoftTargetKLDivergence
        self.assertEqual(loss(4.0)(v, z).dtype, tf.float32)
        self.assertEqual(loss(4.0, dtype="float64")(v, z).dtype, tf.float64)

    def test_sequences(self):
        v, z = _logits(6, 3.0, batch=10)
        loss = losses.SoftTargetKLDivergence(2.0, reduction=None)
        self.assertAllClose(
            loss(v.reshape(2, 5, 6), z.reshape(2, 5, 6)),
            4 * reference.kl(v, z, 2.0).reshape(2, 5),
            1e-5,
            1e-6,
        )


class LossClassTest(tf.test.TestCase, parameterized.TestCase):
    def test_sample_weight(self):
        v, z = _logits(10, 3.0)
        weights = np.arange(8.0)
        expected = 16 * (reference.kl(v, z, 4.0) * weights).sum() / 8
        self.assertAllClose(
            losses.SoftTargetKLDivergence(4.0)(v, z, weights), expected
        )

    def test_masked_positions_do_not_count(self):
        v, z = _logits(6, 3.0, batch=10)
        z = tf.constant(z.reshape(2, 5, 6))
        mask = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
        z._keras_mask = tf.constant(mask)
        expected = 4 * reference.kl(v, z.numpy().reshape(10, 6), 2.0)
        self.assertAllClose(
            losses.SoftTargetKLDivergence(2.0)(v.reshape(2, 5, 6), z),
            expected[mask.reshape(-1)].mean(),
            1e-5,
        )

    @parameterized.parameters(
        losses.SoftTargetKLDivergence(7.0, name="a", reduction="sum"),
        losses.SoftTargetCrossentropy(3.0, dtype="float64"),
        losses.LogitMatching(name="b"),
    )
    def test_round_trip(self, loss):
        config = keras.saving.serialize_keras_object(loss)
        self.assertEqual(
            config["registered_name"], f"kd_keras>{type(loss).__name__}"
        )
        again = keras.saving.deserialize_keras_object(config)
        self.assertEqual(again.get_config(), loss.get_config())
        v, z = _logits(10, 3.0)
        self.assertAllEqual(again(v, z), loss(v, z))

    def test_bad_arguments(self):
        for kind in (
            losses.SoftTargetKLDivergence,
            losses.SoftTargetCrossentropy,
        ):
            for temperature in (0, -2.0, float("nan"), float("inf"), "hot"):
                with self.assertRaisesRegex(ValueError, "positive finite"):
                    kind(temperature)
            for temperature in (1e-7, 1e7):
                with self.assertRaisesRegex(ValueError, "LogitMatching"):
                    kind(temperature)
        with self.assertRaisesRegex(ValueError, "float32 or float64"):
            losses.LogitMatching(dtype="float16")
        with self.assertRaisesRegex(ValueError, "float32 or float64"):
            losses.SoftTargetKLDivergence(4.0, dtype="mixed_bfloat16")

    def test_nothing_is_broadcast(self):
        v, z = _logits(10, 3.0)
        for loss in (
            losses.SoftTargetKLDivergence(4.0),
            losses.SoftTargetCrossentropy(4.0),
            losses.LogitMatching(),
        ):
            for wrong in (v[:1], v[:, :1], v[0], v[np.newaxis]):
                with self.assertRaisesRegex(ValueError, "the shape of"):
                    loss(wrong, z)

    @parameterized.product(
        jit_compile=(False, True),
        function=(
            losses.soft_target_kl_divergence,
            losses.soft_target_crossentropy,
        ),
    )
    def test_nothing_is_broadcast_at_run_time(self, jit_compile, function):
        compute = tf.function(
            function,
            input_signature=[tf.TensorSpec([None, 10])] * 2,
            jit_compile=jit_compile,
        )
        v, z = _logits(10, 3.0)
        self.assertAllEqual(compute(v, z).shape, [8])
        with self.assertRaises(tf.errors.InvalidArgumentError):
            compute(v[:1], z)

    def test_empty_batch(self):
        v, z = np.zeros((2, 0, 10), "float32")
        values = losses.soft_target_kl_divergence(v, z, 4.0)
        self.assertAllEqual(values.shape, [0])


if __name__ == "__main__":
    tf.test.main()
