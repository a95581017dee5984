"""Names the hook to mend when a new Keras moves a private name."""

from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from kd_keras import keras_hooks
from tests import reference


class KerasHooksTest(tf.test.TestCase):
    def hook(self, name):
        return self.subTest(
            f"keras_hooks.{name} no longer fits Keras {keras.__version__}"
        )

    def test_compiled_loss_and_its_weights(self):
        model = reference.mlp(0)
        x, y, weights = reference.data()
        with self.hook("compiled_loss"):
            model.compile("sgd")
            self.assertIsNone(keras_hooks.compiled_loss(model))
            model.compile("sgd", reference.from_logits(), loss_weights=[3.0])
            loss = keras_hooks.compiled_loss(model)
            expected = (reference.crossentropy(y, model(x)) * weights).mean()
            self.assertAllClose(loss(y, model(x), weights), 3 * expected)
            self.assertEqual(loss.metrics, [])
        with self.hook("loss_weights"):
            self.assertEqual(keras_hooks.loss_weights(model), [3.0])
            model.compile("sgd")
            self.assertIsNone(keras_hooks.loss_weights(model))

    def test_compiled_metrics(self):
        model = reference.mlp(0)
        one, other = (
            keras.metrics.SparseCategoricalAccuracy(name) for name in "ab"
        )
        with self.hook("compiled_metrics"):
            model.compile("sgd", "mse")
            self.assertEqual(keras_hooks.compiled_metrics(model), [])
            model.compile(
                "sgd",
                "mse",
                metrics=["accuracy", one],
                weighted_metrics=[other],
            )
            self.assertEqual(keras_hooks.compiled_metrics(model), [one, other])

    def test_update_compiled_metrics(self):
        with self.hook("update_compiled_metrics"):
            model = reference.mlp(0)
            x, y, weights = reference.data()
            model.compile(
                "sgd",
                reference.from_logits(),
                metrics=["accuracy"],
                weighted_metrics=["accuracy"],
            )
            right = model(x).numpy().argmax(-1) == y
            mask = (np.arange(20) % 3 > 0).astype("float32")
            keras_hooks.update_compiled_metrics(
                model, y, model(x), weights * mask, [mask]
            )
            logs = model.get_metrics_result()
            self.assertAllClose(logs["accuracy"], right[mask > 0].mean())
            self.assertAllClose(
                logs["weighted_accuracy"],
                np.average(right, weights=weights * mask),
            )
            model.reset_metrics()
            keras_hooks.update_compiled_metrics(
                model, y, model(x), weights, [None]
            )
            logs = model.get_metrics_result()
            self.assertAllClose(logs["accuracy"], right.mean())

    def test_mask_of(self):
        with self.hook("mask_of"):
            embedding = keras.layers.Embedding(5, 2, mask_zero=True)
            inputs = np.array([[1, 2, 0]])
            self.assertAllEqual(
                keras_hooks.mask_of(embedding(inputs)), inputs != 0
            )
            self.assertIsNone(keras_hooks.mask_of(tf.zeros(3)))

    def test_is_compiled_built(self):
        with self.hook("is_compiled_built"):
            model = reference.mlp(0)
            x, y, _ = reference.data()
            model.compile("sgd")
            self.assertTrue(keras_hooks.is_compiled_built(model))
            model.compile("sgd", reference.from_logits(), metrics=["accuracy"])
            self.assertFalse(keras_hooks.is_compiled_built(model))
            model.evaluate(x, y, verbose=0)
            self.assertTrue(keras_hooks.is_compiled_built(model))

    def test_own_metrics(self):
        with self.hook("own_metrics"):
            model = reference.mlp(0)
            model.compile("sgd", reference.from_logits(), metrics=["accuracy"])
            self.assertEqual(keras_hooks.own_metrics(model), [])
            model.mine = keras.metrics.Mean()
            self.assertEqual(keras_hooks.own_metrics(model), [model.mine])

    def test_layers_of(self):
        with self.hook("layers_of"):
            inner = reference.mlp(0)
            outer = keras.Sequential([keras.Input((3,)), inner])
            self.assertContainsSubset(
                [outer, inner, *inner.layers], keras_hooks.layers_of(outer)
            )

    def test_build_from_spec(self):
        """Everything is built, and no batch is taken for it."""
        with self.hook("BuildFromSpec"):
            taken = []
            x, y, _ = reference.data()

            def note(x, y):
                tf.py_function(lambda: taken.append(1), [], [])
                return x, y

            dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(5)
            dataset = dataset.map(note)
            with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
                distiller = reference.compiled(
                    keras.Sequential([keras.layers.Dense(4)]),
                    soft_weight=0.0,
                    metrics=["accuracy"],
                )
            distiller.fit(dataset, epochs=2, verbose=0)
            self.assertTrue(distiller._is_all_built())
            self.assertLen(taken, 8)
            # The mean loss and accuracy are those of all.
            logs = distiller.evaluate(dataset, return_dict=True, verbose=0)
            right = distiller.student(x).numpy().argmax(-1) == y
            self.assertAllClose(logs["accuracy"], right.mean())
            unknown = tf.data.Dataset.from_generator(
                lambda: iter([x]), output_types=tf.float32
            )
            with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
                distiller = reference.compiled(
                    reference.mlp(0), reference.mlp(1), soft_weight=1.0
                )
            with self.assertRaisesRegex(ValueError, "number of its dim"):
                distiller.fit(unknown, verbose=0)

    def test_a_step_is_traced_once(self):
        """Without a strategy, too, nothing is made while it is traced."""
        x, y, weights = reference.data()
        traces = []

        class Traced(keras.layers.Layer):
            def call(self, inputs, training=False):
                if training:
                    traces.append(1)
                return inputs

        with self.hook("BuildFromSpec"):
            for targets in (y, {"label": y, "teacher_logits": np.eye(20, 4)}):
                student = keras.Sequential([*reference.mlp(0).layers, Traced()])
                student.build((None, 3))
                distiller = reference.compiled(
                    student,
                    reference.mlp(1) if targets is y else None,
                    optimizer="adam",
                    metrics=["accuracy"],
                    weighted_metrics=["accuracy"],
                    steps_per_execution=2,
                )
                if targets is y:
                    # It needs no optimizer.
                    distiller.evaluate(x, y, verbose=0)
                    self.assertFalse(distiller.optimizer.built)
                traces.clear()
                distiller.fit(
                    x,
                    targets,
                    batch_size=8,
                    sample_weight=weights,
                    epochs=2,
                    verbose=0,
                )
                self.assertLen(traces, 1)
                self.assertEqual(distiller.optimizer.iterations, 6)

    def test_start_at_epoch(self):
        with self.hook("start_at_epoch"):
            model = reference.mlp(0)
            x, y, _ = reference.data()
            model.compile("sgd", reference.from_logits())

            class Start(keras.callbacks.Callback):
                def on_train_begin(self, logs=None):
                    keras_hooks.start_at_epoch(self.model, 3)

            history = model.fit(x, y, epochs=5, callbacks=[Start()], verbose=0)
            self.assertEqual(history.epoch, [3, 4])
            keras_hooks.start_at_epoch(model, None)
            history = model.fit(x, y, epochs=2, initial_epoch=1, verbose=0)
            self.assertEqual(history.epoch, [1])

    def test_producer(self):
        with self.hook("producer"):
            inputs = keras.Input((3,))
            hidden = keras.layers.Dense(4)(inputs)
            last = keras.layers.Softmax()
            model = keras.Model(inputs, last(hidden))
            operation, index, tensors = keras_hooks.producer(model.outputs[0])
            self.assertIs(operation, last)
            self.assertEqual(index, 0)
            self.assertIs(tensors[0], hidden)

    def test_stateful_operations(self):
        with self.hook("stateful_operations"):

            @tf.function
            def drawn(x):
                return tf.cond(x > 0, lambda: x, lambda: tf.random.normal([]))

            @tf.function
            def replayable(x):
                tf.debugging.assert_less(x, 9.0)
                return tf.cond(
                    x > 0,
                    lambda: x,
                    lambda: tf.random.stateless_normal([], [1, 2]),
                )

            spec = tf.TensorSpec([])
            self.assertEqual(
                keras_hooks.stateful_operations(
                    drawn.get_concrete_function(spec)
                ),
                ["RandomStandardNormal"],
            )
            self.assertEmpty(
                keras_hooks.stateful_operations(
                    replayable.get_concrete_function(spec)
                )
            )

    def test_a_newer_keras_is_warned_of(self):
        self.assertIn(
            ".".join(keras.__version__.split(".")[:2]),
            keras_hooks.CHECKED_VERSIONS,
        )
        with mock.patch.object(keras, "__version__", "3.99.0"):
            with self.assertWarnsRegex(UserWarning, "_compile_loss"):
                keras_hooks.warn_if_unchecked()


if __name__ == "__main__":
    tf.test.main()
