"""Compiling the optimizer's update changes its cost and nothing else."""

from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import models
from kd_keras import updates

# What Keras does around a bare update, and the update of each kind.
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.05),
    "adamw": lambda: keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(0.02, 12), weight_decay=0.1
    ),
    "averaged": lambda: keras.optimizers.Adam(
        0.01, use_ema=True, ema_overwrite_frequency=4
    ),
    "accumulated": lambda: keras.optimizers.Adam(
        0.01, gradient_accumulation_steps=3
    ),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01), initial_scale=2.0**20
    ),
}


class OwnSGD(keras.optimizers.SGD):
    """An optimizer that is not one of Keras' own."""


class OwnSchedule(keras.optimizers.schedules.CosineDecay):
    """A schedule that is not one of Keras' own."""


def fit(optimizer, student=None, x=None, constraint=None, **compile_args):
    """Trains a small student for 12 steps; returns the Distiller."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 5)).astype("float32") if x is None else x
    y = rng.integers(0, 3, 48)
    v = 3 * rng.normal(size=(48, 3)).astype("float32")
    distiller = kd_keras.Distiller(
        student=student or models.mlp((5,), 3, (7,), seed=1)
    )
    if constraint is not None:
        distiller.student.trainable_variables[0].constraint = constraint
    distiller.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **compile_args,
    )
    distiller.fit(
        x,
        {"label": y, "teacher_logits": v},
        batch_size=8,
        epochs=2,
        verbose=0,
        shuffle=False,
    )
    return distiller


def is_compiled(distiller):
    """Whether any function of the training step is compiled by XLA."""
    step = tf.function(distiller.train_step).get_concrete_function(
        (
            tf.TensorSpec([8, *distiller.student.input_shape[1:]]),
            {
                "label": tf.TensorSpec([8], tf.int64),
                "teacher_logits": tf.TensorSpec([8, 3]),
            },
        )
    )
    return any(
        function.attr["_XlaMustCompile"].b
        for function in step.graph.as_graph_def().library.function
    )


class CompiledUpdatesTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        # So small that the compiler would save nothing.
        self.enterContext(mock.patch.object(updates, "MANY_WEIGHTS", 66))

    @parameterized.parameters("adamw", "scaled")
    def test_as_without(self, name):
        self.check_as_without(name)

    @parameterized.parameters("sgd", "adam", "averaged", "accumulated")
    @pytest.mark.slow
    def test_others_as_without(self, name):
        self.check_as_without(name)

    def check_as_without(self, name):
        compiled = fit(OPTIMIZERS[name]())
        plain = fit(OPTIMIZERS[name](), jit_compile=False)
        self.assertTrue(is_compiled(compiled))
        self.assertFalse(is_compiled(plain))
        self.assertAllClose(
            compiled.get_weights(), plain.get_weights(), rtol=1e-5, atol=1e-6
        )
        for one, other in zip(
            compiled.optimizer.variables, plain.optimizer.variables, strict=True
        ):
            self.assertAllClose(one, other, rtol=1e-4, atol=1e-6)
        # One that does nothing would pass the rest.
        before = models.mlp((5,), 3, (7,), seed=1).get_weights()
        self.assertNotAllClose(compiled.student.get_weights()[0], before[0])

    def test_several_steps_per_execution(self):
        one = fit(OPTIMIZERS["adamw"]())
        several = fit(OPTIMIZERS["adamw"](), steps_per_execution=4)
        self.assertAllClose(
            one.get_weights(), several.get_weights(), rtol=1e-5, atol=1e-6
        )

    @pytest.mark.slow
    def test_an_overflow_is_skipped(self):
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1), initial_scale=2.0**127
        )
        x = np.full([48, 5], 100.0, np.float32)
        distiller = fit(optimizer, x=x)
        self.assertTrue(is_compiled(distiller))
        self.assertLess(float(optimizer.dynamic_scale), 2.0**127)
        for value in distiller.student.get_weights():
            self.assertTrue(np.isfinite(value).all())

    @pytest.mark.slow
    def test_a_constraint_holds(self):
        distiller = fit(
            keras.optimizers.SGD(1.0),
            constraint=keras.constraints.MaxNorm(0.5),
        )
        self.assertTrue(is_compiled(distiller))
        norms = np.linalg.norm(distiller.student.get_weights()[0], axis=0)
        self.assertAllLessEqual(norms, 0.5 + 1e-5)

    @pytest.mark.slow
    def test_what_is_not_of_keras_is_left_alone(self):
        schedule = OwnSchedule(0.1, 100)
        for optimizer in (
            OwnSGD(0.1),
            keras.optimizers.SGD(schedule),
            keras.optimizers.SGD(lambda: 0.1),
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule)),
        ):
            self.assertFalse(is_compiled(fit(optimizer)))
        self.assertFalse(
            is_compiled(fit(keras.optimizers.SGD(), constraint=tf.identity))
        )

    def test_run_eagerly(self):
        eager = fit(OPTIMIZERS["adam"](), run_eagerly=True)
        self.assertAllClose(
            eager.get_weights(),
            fit(OPTIMIZERS["adam"]()).get_weights(),
            rtol=1e-5,
            atol=1e-6,
        )

    def test_sparse_gradients(self):
        def student():
            keras.utils.set_random_seed(0)
            inputs = keras.Input([5])
            hidden = keras.layers.Embedding(9, 4)(inputs)
            hidden = keras.layers.Flatten()(hidden)
            return keras.Model(inputs, keras.layers.Dense(3)(hidden))

        x = np.arange(240).reshape(48, 5) % 9
        sparse = fit(OPTIMIZERS["sgd"](), student(), x)
        self.assertFalse(is_compiled(sparse))
        plain = fit(OPTIMIZERS["sgd"](), student(), x, jit_compile=False)
        self.assertAllClose(sparse.get_weights(), plain.get_weights())

    def test_small_models_are_left_alone(self):
        self.assertTrue(is_compiled(fit(keras.optimizers.SGD())))
        with mock.patch.object(updates, "MANY_WEIGHTS", 67):
            self.assertFalse(is_compiled(fit(keras.optimizers.SGD())))

    def test_auto_is_saved_as_such(self):
        for given, saved in (("auto", "auto"), (False, False), (True, True)):
            distiller = fit(keras.optimizers.SGD(), jit_compile=given)
            config = distiller.get_compile_config()
            self.assertEqual(config["jit_compile"], saved)


if __name__ == "__main__":
    tf.test.main()
