"""How the programs run steps: what XLA compiles, and how many at once."""

import keras
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import models
from kd_keras.training import fitting


class Twice:
    """A strategy of two replicas, as far as it is asked."""

    num_replicas_in_sync = 2


class CompilingPaysTest(tf.test.TestCase, parameterized.TestCase):
    def pays(self, model, strategy=None):
        return fitting.compiling_pays(
            model, strategy or tf.distribute.get_strategy()
        )

    def test_of_large_perceptrons_alone(self):
        large = models.mlp((28, 28, 1), 10, (800, 800), dropout=0.5)
        self.assertTrue(self.pays(large))
        self.assertFalse(self.pays(large, Twice()))
        self.assertFalse(self.pays(models.mlp((28, 28, 1), 10, (300,))))
        convnet = models.convnet((32, 32, 3), 10, (64, 128), dense_units=(64,))
        self.assertGreater(convnet.count_params(), 500_000)
        self.assertFalse(self.pays(convnet))

    def test_not_in_low_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = models.mlp((28, 28, 1), 10, (800, 800))
        finally:
            keras.config.set_dtype_policy(before)
        self.assertFalse(self.pays(model))


class StepsPerExecutionTest(tf.test.TestCase):
    def test_many_of_small_perceptrons_alone(self):
        alone = tf.distribute.get_strategy()
        small = models.mlp((28, 28, 1), 10, (100, 100))
        large = models.mlp((28, 28, 1), 10, (800, 800))
        convnet = models.convnet((28, 28, 1), 10, (8,), dense_units=(8,))
        for model, strategy, expected in (
            (small, alone, 100),
            (small, Twice(), 20),
            (large, alone, 20),
            (convnet, alone, 20),
        ):
            self.assertEqual(
                fitting.steps_per_execution(model, strategy), expected
            )


if __name__ == "__main__":
    tf.test.main()
