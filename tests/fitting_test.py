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
    def pays(self, model, strategy=None, num_steps=1_000_000):
        return fitting.compiling_pays(
            model, strategy or tf.distribute.get_strategy(), num_steps
        )

    def test_of_small_perceptrons_alone_that_train_for_long(self):
        small = models.mlp((28, 28, 1), 10, (100,), dropout=0.5)
        self.assertTrue(self.pays(small))
        self.assertFalse(self.pays(small, Twice()))
        for num_steps, pays in ((7_999, False), (8_000, True)):
            self.assertEqual(self.pays(small, num_steps=num_steps), pays)
        # What does not know its length.
        self.assertFalse(self.pays(small, num_steps=-2))
        self.assertFalse(self.pays(models.mlp((28, 28, 1), 10, (800, 800))))
        convnet = models.convnet((28, 28, 1), 10, (8,), dense_units=(8,))
        self.assertFalse(self.pays(convnet))

    def test_not_with_very_many_classes(self):
        for num_classes, pays in ((1000, True), (12000, False)):
            model = models.mlp((8,), num_classes, (30,))
            self.assertLess(model.count_params(), 500_000)
            self.assertEqual(self.pays(model), pays)

    def test_not_in_low_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = models.mlp((28, 28, 1), 10, (100,))
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
