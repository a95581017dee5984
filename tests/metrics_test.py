"""Tests of the metrics, against loops in float64 NumPy."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import metrics


def softmax(logits, temperature=1.0):
    exps = [np.exp(np.float64(logit) / temperature) for logit in logits]
    return [value / sum(exps) for value in exps]


def agreement(teacher_logits, student_logits, weights):
    agreed = 0.0
    for teacher, student, weight in zip(
        teacher_logits, student_logits, weights, strict=True
    ):
        agreed += weight * (
            list(teacher).index(max(teacher))
            == list(student).index(max(student))
        )
    return agreed / sum(weights)


def predictive_kl(teacher_logits, student_logits, weights, temperature):
    total = 0.0
    for teacher, student, weight in zip(
        teacher_logits, student_logits, weights, strict=True
    ):
        p = softmax(teacher, temperature)
        q = softmax(student, temperature)
        total += weight * sum(
            a * (np.log(a) - np.log(b)) for a, b in zip(p, q, strict=True)
        )
    return total / sum(weights)


def calibration_error(labels, logits, weights, num_bins):
    error = 0.0
    for lower in range(num_bins):
        count = correct = confidence = 0.0
        for label, row, weight in zip(labels, logits, weights, strict=True):
            probs = softmax(row)
            top = max(probs)
            if lower / num_bins < top <= (lower + 1) / num_bins:
                count += weight
                correct += weight * (probs.index(top) == label)
                confidence += weight * top
        if count:
            error += (
                count / sum(weights) * abs(correct / count - confidence / count)
            )
    return error


def batch(seed=0, shape=(200,), num_classes=4):
    rng = np.random.default_rng(seed)
    teacher = rng.normal(scale=2.0, size=(*shape, num_classes))
    student = teacher + rng.normal(size=teacher.shape)
    weights = rng.uniform(size=shape) * (rng.uniform(size=shape) < 0.8)
    # About equally right at every confidence: too confident in some bins and
    # not confident enough in others, so that the bins matter.
    labels = np.where(
        rng.uniform(size=shape) < 0.6,
        student.argmax(axis=-1),
        rng.integers(0, num_classes, size=shape),
    )
    return (
        teacher.astype("float32"),
        student.astype("float32"),
        labels,
        weights.astype("float32").astype("float64"),
    )


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
        teacher, student, _, weights = batch()
        for part in (slice(0, 70), slice(70, 75), slice(75, 200)):
            metric.update_state(teacher[part], student[part], weights[part])
        expected = agreement(teacher, student, weights)
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
        teacher, student, _, weights = batch()
        for part in (slice(0, 70), slice(70, 75), slice(75, 200)):
            metric.update_state(teacher[part], student[part], weights[part])
        expected = predictive_kl(teacher, student, weights, temperature)
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
        teacher, student, _, weights = batch()
        metric = metrics.PredictiveKLDivergence(2.0, dtype="float64")
        metric.update_state(
            teacher.astype("float64"), student.astype("float64"), weights
        )
        expected = predictive_kl(teacher, student, weights, 2.0)
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-12)

    @parameterized.parameters(0.0, -1.0, float("nan"), float("inf"))
    def test_refuses_temperature(self, temperature):
        with self.assertRaisesRegex(ValueError, "temperature"):
            metrics.PredictiveKLDivergence(temperature)


class ExpectedCalibrationErrorTest(parameterized.TestCase):
    @parameterized.parameters(1, 2, 15, 100)
    def test_equals_the_loop_over_several_weighted_batches(self, num_bins):
        metric = metrics.ExpectedCalibrationError(num_bins)
        _, logits, labels, weights = batch()
        for part in (slice(0, 70), slice(70, 75), slice(75, 200)):
            metric.update_state(labels[part], logits[part], weights[part])
        expected = calibration_error(labels, logits, weights, num_bins)
        self.assertGreater(expected, 0.02)
        np.testing.assert_allclose(metric.result(), expected, rtol=2e-6)

    def test_hand_made_bins(self):
        # Bin (0.5, 0.75]: 2 examples at 0.6, 1 right, gap 0.1. Bin (0.75, 1]:
        # 3 at 0.9, all right, gap 0.1, and 1 at 0.8, wrong: together 3 of 4
        # right at a mean of 0.875, gap 0.125. In all 2/6 * 0.1 + 4/6 * 0.125.
        tops = [0.6, 0.6, 0.9, 0.9, 0.9, 0.8]
        labels = [0, 1, 0, 0, 0, 1]
        metric = metrics.ExpectedCalibrationError(num_bins=4)
        metric.update_state(labels, np.log([[p, 1 - p] for p in tops]))
        np.testing.assert_allclose(
            metric.result(), 2 / 6 * 0.1 + 4 / 6 * 0.125, rtol=1e-6
        )
        np.testing.assert_array_equal(metric.counts, [0, 0, 2, 4])

    def test_bins_are_closed_above(self):
        # softmax([0, 0]) is exactly 0.5, the edge between two bins. Its
        # example is wrong and the other one right: in one bin the gaps would
        # partly cancel.
        sure = [np.log(0.7), np.log(0.3)]
        metric = metrics.ExpectedCalibrationError(num_bins=2)
        metric.update_state([1, 0], [[0.0, 0.0], sure])
        np.testing.assert_array_equal(metric.counts, [1, 1])
        np.testing.assert_allclose(metric.result(), (0.5 + 0.3) / 2, rtol=1e-6)

    def test_edges_that_floats_cannot_hold(self):
        # softmax([0] * 5) is float32(0.2), the upper edge of bin 3 of 15.
        metric = metrics.ExpectedCalibrationError(num_bins=15)
        metric.update_state([0], [[0.0] * 5])
        self.assertEqual(int(np.argmax(metric.counts)), 2)

    def test_certain_predictions_are_in_the_last_bin(self):
        metric = metrics.ExpectedCalibrationError(num_bins=5)
        metric.update_state([0, 1], [[500.0, 0.0], [500.0, 0.0]])
        np.testing.assert_array_equal(metric.counts, [0, 0, 0, 0, 2])
        self.assertEqual(float(metric.result()), 0.5)

    def test_forms_of_labels(self):
        _, logits, labels, _ = batch(shape=(20, 3))
        one_hot = np.eye(4)[labels]
        expected = calibration_error(
            labels.reshape(-1), logits.reshape(-1, 4), np.ones(60), 15
        )
        for given in (labels, labels[..., None], one_hot, 0.8 * one_hot + 0.05):
            for dtype in ("int64", "float32", "uint8"):
                if given.shape == one_hot.shape and dtype != "float32":
                    continue
                metric = metrics.ExpectedCalibrationError()
                metric.update_state(given.astype(dtype), logits)
                np.testing.assert_allclose(metric.result(), expected, rtol=2e-6)

    @parameterized.parameters((3,), (20, 3), (20, 2), (20, 1, 1))
    def test_refuses_labels(self, *shape):
        with self.assertRaisesRegex(ValueError, "class numbers"):
            metrics.ExpectedCalibrationError().update_state(
                np.zeros(shape), np.zeros((20, 4))
            )

    @parameterized.parameters(0, -1, 2.0, "15", True, None)
    def test_refuses_num_bins(self, num_bins):
        with self.assertRaisesRegex(ValueError, "num_bins"):
            metrics.ExpectedCalibrationError(num_bins)

    @parameterized.parameters(True, False)
    def test_in_compile(self, jit_compile):
        keras.utils.set_random_seed(0)
        _, x, y, weights = batch(num_classes=4)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        model.compile(
            "sgd",
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[metrics.ExpectedCalibrationError()],
            weighted_metrics=[
                metrics.ExpectedCalibrationError(name="weighted")
            ],
            jit_compile=jit_compile,
        )
        history = model.fit(
            x, y, sample_weight=weights, batch_size=64, verbose=0
        )
        self.assertIn("calibration_error", history.history)
        # A short last batch, and the state of `fit` must be gone.
        logs = model.evaluate(
            x,
            y,
            sample_weight=weights,
            batch_size=64,
            verbose=0,
            return_dict=True,
        )
        logits = model.predict(x, verbose=0)
        for name, weight in (
            ("calibration_error", np.ones(200)),
            ("weighted", weights),
        ):
            np.testing.assert_allclose(
                logs[name],
                calibration_error(y, logits, weight, 15),
                rtol=1e-5,
            )

    def test_sums_over_replicas(self):
        # The error of the whole is not the mean of the replicas' errors.
        # Devices can only be split before TensorFlow starts: another process.
        code = textwrap.dedent("""
            import keras
            import numpy as np
            import tensorflow as tf
            from kd_keras import metrics

            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
            strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
            rng = np.random.default_rng(0)
            logits = rng.normal(scale=2.0, size=(64, 4)).astype("float32")
            labels = rng.integers(0, 4, size=(64,))
            with strategy.scope():
                model = keras.Sequential(
                    [keras.Input((4,)), keras.layers.Activation("linear")])
                model.compile(
                    loss=keras.losses.SparseCategoricalCrossentropy(True),
                    metrics=[metrics.ExpectedCalibrationError()])
            logs = model.evaluate(
                logits, labels, batch_size=16, verbose=0, return_dict=True)
            alone = metrics.ExpectedCalibrationError()
            alone.update_state(labels, logits)
            print(strategy.num_replicas_in_sync, logs["calibration_error"],
                  float(alone.result()))
        """)
        replicas, found, expected = run(code).split()[-3:]
        self.assertEqual(replicas, "2")
        np.testing.assert_allclose(float(found), float(expected), rtol=1e-5)


def update(metric, data, dtype="float32", part=slice(None), weights=None):
    """Updates any of the metrics from one `batch`."""
    teacher, student, labels, _ = data
    first = (
        labels[part]
        if isinstance(metric, metrics.ExpectedCalibrationError)
        else tf.cast(teacher[part], dtype)
    )
    metric.update_state(first, tf.cast(student[part], dtype), weights)
    return metric


class EveryMetricTest(parameterized.TestCase):
    """What holds for all three."""

    every = parameterized.named_parameters(
        ("agreement", metrics.TeacherAgreement),
        ("kl", lambda **kw: metrics.PredictiveKLDivergence(2.0, **kw)),
        ("ece", lambda **kw: metrics.ExpectedCalibrationError(7, **kw)),
    )

    @every
    def test_zero_weight_is_absence(self, make):
        data = batch()
        weights = np.ones(200, "float32")
        weights[50:] = 0.0
        for values in data[:2]:
            values[60:70] = np.nan
        found = update(make(), data, weights=weights)
        expected = update(make(), data, part=slice(0, 50))
        self.assertGreater(float(expected.result()), 0.0)
        self.assertEqual(float(found.result()), float(expected.result()))

    @every
    def test_integer_weights_are_repetition(self, make):
        data = batch(shape=(3,))
        found = update(make(), data, weights=[1, 2, 0])
        expected = make()
        for part in ([0], [1], [1]):
            update(expected, data, part=part)
        np.testing.assert_allclose(found.result(), expected.result(), rtol=1e-6)

    @every
    def test_weights_of_sequences(self, make):
        data = batch(shape=(10, 5))
        flat = [v.reshape(50, *v.shape[2:]) for v in data]
        weights = data[3]
        found = update(make(), data, weights=weights)
        expected = update(make(), flat, weights=weights.reshape(-1))
        np.testing.assert_allclose(found.result(), expected.result(), rtol=1e-6)
        # [batch] and [batch, 1] weigh every position of their example.
        for given in (weights[:, 0], weights[:, :1]):
            found = update(make(), data, weights=given)
            expected = update(make(), flat, weights=np.repeat(weights[:, 0], 5))
            np.testing.assert_allclose(
                found.result(), expected.result(), rtol=1e-6
            )

    @every
    def test_keras_mask(self, make):
        teacher, student, labels, weights = batch(shape=(10, 5))
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
                update(make(), batch(), weights=np.ones(shape))

    @parameterized.product(
        dtype=["float16", "bfloat16", "float64"],
        index=[0, 1, 2],
    )
    def test_input_dtype(self, dtype, index):
        # Rounded before, so that only the arithmetic can differ.
        data = [tf.cast(v, "bfloat16") for v in batch()[:2]]
        data = [tf.cast(v, "float16") for v in data]
        data = [tf.cast(v, "float32").numpy() for v in data] + [*batch()[2:]]
        make = [
            metrics.TeacherAgreement,
            metrics.PredictiveKLDivergence,
            metrics.ExpectedCalibrationError,
        ][index]
        found = update(make(), data, dtype=dtype)
        expected = update(make(), data)
        self.assertEqual(found.result().dtype, "float32")
        np.testing.assert_allclose(found.result(), expected.result(), rtol=1e-6)

    @every
    def test_counts_beyond_half_precision(self, make):
        keras.config.set_floatx("bfloat16")
        self.addCleanup(keras.config.set_floatx, "float32")
        data = batch()
        found = make()
        for _ in range(5):
            update(found, data)
        keras.config.set_floatx("float32")
        np.testing.assert_allclose(
            found.result(), update(make(), data).result(), rtol=1e-5
        )
        with self.assertRaisesRegex(ValueError, "half precision"):
            make(dtype="bfloat16")

    @every
    def test_compiled_by_xla(self, make):
        data, metric = batch(), make()

        @tf.function(jit_compile=True)
        def step(labels, teacher, student, weights):
            update(metric, (teacher, student, labels, None), weights=weights)

        step(data[2], data[0], data[1], data[3])
        expected = update(make(), data, weights=data[3])
        np.testing.assert_allclose(
            metric.result(), expected.result(), rtol=2e-6
        )

    @every
    def test_reset_and_empty(self, make):
        metric = make()
        self.assertEqual(float(metric.result()), 0.0)
        update(metric, batch(seed=1))
        self.assertGreater(float(metric.result()), 0.0)
        metric.reset_state()
        self.assertEqual(float(metric.result()), 0.0)
        for variable in metric.variables:
            np.testing.assert_array_equal(variable, np.zeros(variable.shape))
        update(metric, batch())
        self.assertEqual(
            float(metric.result()), float(update(make(), batch()).result())
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
            float(update(again, batch()).result()),
            float(update(metric, batch()).result()),
        )


def run(code):
    """Runs Python code in a process of its own and returns its output."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


if __name__ == "__main__":
    tf.test.main()
