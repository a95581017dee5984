"""Students and teachers that compute in 16 bits."""

import functools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import batches
from kd_keras import objective
from tests import reference


def student(dtype, seed=2):
    """A model of three layers whose weights do not depend on the dtype."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(16, activation="tanh", dtype=dtype),
            keras.layers.Dense(16, activation="relu", dtype=dtype),
            keras.layers.Dense(4, dtype=dtype),
        ]
    )


class Recorder(keras.metrics.Metric):
    """Keeps the logits that the step computed with."""

    def __init__(self):
        super().__init__(name="recorder")
        self.kept = [
            self.add_variable((20, 4), "zeros", name=name)
            for name in ("teacher", "student")
        ]

    def update_state(self, teacher_logits, student_logits, sample_weight=None):
        for kept, logits in zip(
            self.kept, (teacher_logits, student_logits), strict=True
        ):
            kept.assign(tf.cast(logits, tf.float32))

    def result(self):
        return tf.constant(0.0)

    def reset_state(self):
        pass


def wide(tensor):
    return tf.cast(tensor, tf.float64).numpy()


def flat(weights):
    return np.concatenate([np.ravel(w) for w in weights]).astype("float64")


def trained(model, optimizer, num_steps=1, x=None, **kwargs):
    """Trains on one batch; returns the Distiller and how the weights moved."""
    inputs, y, weights = reference.data(32)
    before = flat(model.get_weights())
    distiller = reference.compiled(
        model, reference.mlp(1), optimizer, soft_weight=0.7, **kwargs
    )
    distiller.fit(
        inputs if x is None else x,
        y,
        sample_weight=weights,
        batch_size=32,
        epochs=num_steps,
        verbose=0,
    )
    return distiller, flat(model.get_weights()) - before


@functools.cache
def in_float32(optimizer, num_steps):
    return trained(student("float32"), optimizer, num_steps)[1]


class PrecisionTest(tf.test.TestCase, parameterized.TestCase):
    """Students and teachers that compute in 16 bits."""

    def setUp(self):
        super().setUp()
        self._policy = keras.config.dtype_policy()

    def tearDown(self):
        keras.config.set_dtype_policy(self._policy)
        super().tearDown()

    def assert_same_movement(self, given, expected, share=0.01):
        """Off sideways by no more than a share, in length by 5% at most."""
        length = np.linalg.norm(given) / np.linalg.norm(expected)
        cosine = given @ expected / np.linalg.norm(given)
        cosine /= np.linalg.norm(expected)
        self.assertGreater(cosine, np.sqrt(1 - share**2))
        most = min(share, 0.05)
        self.assertBetween(length, 1 - most, 1 + most)

    @parameterized.parameters(
        ("float32", "bfloat16"),
        ("float32", "mixed_bfloat16"),
        ("float32", "mixed_float16"),
        ("bfloat16", "float32"),
        ("mixed_float16", "mixed_bfloat16"),
    )
    def test_losses_are_those_of_the_logits_in_float64(
        self, teacher, student_dtype
    ):
        x, y, weights = reference.data()
        recorder = Recorder()
        learner = student(student_dtype)
        distiller = reference.compiled(
            learner,
            student(teacher, seed=1),
            keras.optimizers.SGD(0.0),
            temperature=3.0,
            fidelity_metrics=[recorder],
        )
        history = distiller.fit(
            x, y, 20, sample_weight=weights, shuffle=False, verbose=0
        ).history
        v, z = (wide(kept) for kept in recorder.kept)
        soft = 9 * reference.weighted_mean(reference.kl(v, z, 3.0), weights)
        hard = reference.weighted_mean(reference.crossentropy(y, z), weights)
        for name, expected in (
            ("soft_loss", soft),
            ("hard_loss", hard),
            ("loss", 0.1 * hard + 0.9 * soft),
        ):
            self.assertAllClose(history[name], [expected], 3e-6, 1e-7)
        # In 16 bits the losses would be numbers of 16 bits.
        batch = batches.unpack((x, y, weights))
        logits = learner(x)
        self.assertEqual(logits.dtype.name, learner.layers[-1].compute_dtype)
        found = objective.terms(
            distiller,
            batch,
            logits,
            objective.find_soft_targets(distiller, batch, logits),
        )
        for value in (found.soft_loss, found.hard_loss, found.loss):
            self.assertEqual(value.dtype, tf.float32)

    @parameterized.parameters(
        ("float32", "mixed_float16", True),
        ("float32", "float16", True),
        ("mixed_float16", "mixed_float16", True),
        ("mixed_bfloat16", "mixed_float16", True),
        ("float32", "mixed_bfloat16", False),
        ("mixed_float16", "float32", False),
        ("mixed_float16", "mixed_bfloat16", False),
    )
    def test_the_layers_decide_on_loss_scaling(self, policy, layers, scaled):
        keras.config.set_dtype_policy(policy)
        distiller = reference.compiled(student(layers), reference.mlp(1))
        self.assertEqual(
            isinstance(
                distiller.optimizer, keras.optimizers.LossScaleOptimizer
            ),
            scaled,
        )

    def test_one_layer_in_float16_is_enough(self):
        inner = keras.Sequential(
            [keras.layers.Dense(5), keras.layers.Dense(5, dtype="float16")]
        )
        model = keras.Sequential(
            [keras.Input((3,)), inner, keras.layers.Dense(4)]
        )
        optimizer = reference.compiled(model, reference.mlp(1)).optimizer
        self.assertIsInstance(optimizer, keras.optimizers.LossScaleOptimizer)

    # Adam divides by the size of each component, so that what is rounded in
    # a small one counts as much as in a large one.
    @parameterized.parameters(
        ("mixed_float16", "sgd", 1, False, 0.01),
        ("mixed_float16", "sgd", 1, True, 0.01),
        ("mixed_float16", "adam", 4, False, 0.02),
        ("mixed_bfloat16", "sgd", 1, False, 0.05),
        ("mixed_bfloat16", "adam", 4, False, 0.05),
    )
    def test_updates_are_those_of_float32(
        self, dtype, optimizer, num_steps, jit_compile, share
    ):
        expected = in_float32(optimizer, num_steps)
        _, given = trained(
            student(dtype), optimizer, num_steps, jit_compile=jit_compile
        )
        self.assert_same_movement(given, expected, share)
        self.assertNotAllEqual(given, expected)

    def test_a_growing_scale_leaves_updates_as_they_are(self):
        # The scale doubles after every step.
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.01), 2.0**5, dynamic_growth_steps=1
        )
        _, given = trained(student("mixed_float16"), optimizer, 6)
        expected = in_float32("sgd", 6)
        self.assertEqual(optimizer.dynamic_scale, 2.0**11)
        self.assert_same_movement(given, expected)

    def test_small_gradients_do_not_vanish(self):
        # Below 6e-8 there is nothing left in float16.
        movements = {}
        for dtype in ("float32", "mixed_float16"):
            _, movements[dtype] = trained(
                student(dtype),
                keras.optimizers.SGD(1e5),
                loss_weights=1e-6,
            )
        self.assert_same_movement(
            movements["mixed_float16"], movements["float32"]
        )

    def test_an_overflow_skips_the_step_and_halves_the_scale(self):
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1, momentum=0.9), initial_scale=2.0**40
        )
        model = student("mixed_float16")
        distiller, moved = trained(model, optimizer, 3)
        self.assertAllEqual(moved, np.zeros_like(moved))
        self.assertEqual(optimizer.dynamic_scale, 2.0**37)
        self.assertEqual(optimizer.iterations, 0)
        # It comes down to where steps are possible again.
        x, y, _ = reference.data(32)
        before = flat(model.get_weights())
        distiller.fit(x, y, batch_size=32, epochs=27, verbose=0)
        num_steps = int(optimizer.iterations)
        self.assertBetween(num_steps, 5, 20)
        self.assertEqual(optimizer.dynamic_scale, 2.0 ** (37 - 27 + num_steps))
        self.assertNotAllEqual(flat(model.get_weights()), before)

    def test_inputs_that_overflow_skip_the_step(self):
        # Above 65504 float16 is infinite; the teacher does not mind.
        x, _, _ = reference.data(32)
        x[3] = 1e6
        distiller, moved = trained(student("mixed_float16"), "adam", x=x)
        self.assertAllEqual(moved, np.zeros_like(moved))
        self.assertEqual(distiller.optimizer.dynamic_scale, 2.0**14)
        _, moved = trained(student("mixed_bfloat16"), "adam", x=x)
        self.assertGreater(np.abs(moved).max(), 0.0)


if __name__ == "__main__":
    tf.test.main()
