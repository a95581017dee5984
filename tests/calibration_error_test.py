"""The calibration error, against a loop in float64 NumPy."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import metrics
from tests import metrics_reference


class ExpectedCalibrationErrorTest(parameterized.TestCase):
    @parameterized.parameters(1, 2, 15, 100)
    def test_equals_the_loop_over_several_weighted_batches(self, num_bins):
        metric = metrics.ExpectedCalibrationError(num_bins)
        _, logits, labels, weights = metrics_reference.batch()
        for part in (slice(0, 70), slice(70, 75), slice(75, 200)):
            metric.update_state(labels[part], logits[part], weights[part])
        expected = metrics_reference.calibration_error(
            labels, logits, weights, num_bins
        )
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
        _, logits, labels, _ = metrics_reference.batch(shape=(20, 3))
        one_hot = np.eye(4)[labels]
        expected = metrics_reference.calibration_error(
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
        _, x, y, weights = metrics_reference.batch(num_classes=4)
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
                metrics_reference.calibration_error(y, logits, weight, 15),
                rtol=1e-5,
            )


if __name__ == "__main__":
    tf.test.main()
