"""The same numbers on GPUs as on the CPU."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import reference


def student(dtype=None, batch_normalization=True):
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((3,)),
            # Without a bias, which batch normalisation takes out again.
            keras.layers.Dense(
                16, use_bias=False, kernel_regularizer="l2", dtype=dtype
            ),
            keras.layers.BatchNormalization(dtype=dtype)
            if batch_normalization
            else keras.layers.Identity(dtype=dtype),
            keras.layers.Activation("tanh", dtype=dtype),
            keras.layers.Dense(4, dtype=dtype),
        ]
    )


def trained(where, model=student, **kwargs):
    """Fits on a device or under a strategy.

    Args:
        where: `tf.device`, or the scope of a strategy.
        model: Function that makes the student.
        **kwargs: For `reference.compiled`.

    Returns:
        The Distiller, its logs, and how the student's weights moved.
    """
    x, y, weights = reference.data(64)
    with where:
        made = model()
        before = made.get_weights()
        distiller = reference.compiled(
            made,
            [reference.mlp(1), reference.mlp(3)],
            keras.optimizers.SGD(0.05, momentum=0.9),
            **kwargs,
        )
        logs = distiller.fit(
            x, y, 16, 3, sample_weight=weights, shuffle=False, verbose=0
        ).history
    moved = [
        new - old for new, old in zip(made.get_weights(), before, strict=True)
    ]
    return distiller, logs, np.concatenate([np.ravel(m) for m in moved])


@pytest.mark.gpu
class GpuTest(tf.test.TestCase):
    """The same numbers on GPUs as on the CPU."""

    def setUp(self):
        super().setUp()
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            self.skipTest("TensorFlow sees no GPU")
        self.gpus = gpus
        # TensorFloat-32 has no more digits than float16.
        before = tf.config.experimental.tensor_float_32_execution_enabled()
        self.addCleanup(
            tf.config.experimental.enable_tensor_float_32_execution, before
        )
        tf.config.experimental.enable_tensor_float_32_execution(False)

    def test_fit_is_that_of_the_cpu(self):
        _, expected, on_cpu = trained(tf.device("/cpu:0"), jit_compile=False)
        distiller, logs, moved = trained(tf.device("/gpu:0"))
        self.assertIn("GPU", distiller.student.weights[0].value.device)
        if len(self.gpus) == 1:
            # Keras decides so by itself.
            self.assertTrue(distiller.jit_compile)
        self.assertAllClose(moved, on_cpu, 1e-4, 1e-4)
        self.assertAllClose(logs, expected, 1e-4)

    def test_mixed_float16(self):
        _, expected, in_float32 = trained(tf.device("/gpu:0"))
        distiller, logs, moved = trained(
            tf.device("/gpu:0"), lambda: student("mixed_float16")
        )
        self.assertIsInstance(
            distiller.optimizer, keras.optimizers.LossScaleOptimizer
        )
        self.assertEqual(distiller.optimizer.iterations, 12)
        self.assertAllClose(logs["loss"], expected["loss"], 0.01)
        error = np.linalg.norm(moved - in_float32)
        self.assertLess(error, 0.05 * np.linalg.norm(in_float32))

    def test_a_bad_label_raises(self):
        x, y, _ = reference.data(64)
        y[40] = 4
        distiller = reference.compiled(student(), reference.mlp(1))
        with self.assertRaisesRegex(ValueError, "Step 3 of training met a la"):
            distiller.fit(x, y, 16, shuffle=False, verbose=0)

    def test_two_gpus_are_as_one(self):
        if len(self.gpus) < 2:
            self.skipTest("TensorFlow sees only one GPU")

        # Batch normalisation would see half of each batch.
        def model():
            return student(batch_normalization=False)

        one = tf.distribute.OneDeviceStrategy("/gpu:0")
        two = tf.distribute.MirroredStrategy(["/gpu:0", "/gpu:1"])
        _, expected, on_one = trained(one.scope(), model)
        _, logs, moved = trained(two.scope(), model)
        self.assertAllClose(moved, on_one, 1e-4, 1e-4)
        self.assertAllClose(logs, expected, 1e-4)


if __name__ == "__main__":
    tf.test.main()
