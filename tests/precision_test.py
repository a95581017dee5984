"""Teachers that compute in a lower precision."""

import json
import random

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import keras_hooks
from kd_keras import precision
from tests import reference

# The unit roundoff: half the distance from 1 to the next number.
ROUNDOFF = {"bfloat16": 2.0**-8, "float16": 2.0**-11}
LOW = ("bfloat16", "float16", "mixed_bfloat16", "mixed_float16")


def compute_dtype(dtype):
    return dtype.removeprefix("mixed_")


def inputs(num_examples=16):
    return reference.data(num_examples)[0]


def intricate():
    """A graph with what makes copying hard, and how many kernels it has."""
    keras.utils.set_random_seed(0)
    x = keras.Input((3,), name="x")
    shared = keras.layers.Dense(8, activation="tanh", name="shared")
    hidden = shared(x) + shared(keras.layers.Dense(3, name="first")(x))
    hidden = keras.layers.BatchNormalization(name="normal")(hidden)
    inner = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(8, activation="relu", name="inside"),
            keras.layers.Dense(4, name="logits"),
        ],
        name="inner",
    )
    outputs = keras.layers.Dropout(0.5, name="drop")(inner(hidden))
    model = keras.Model(x, outputs, name="intricate")
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    for weight in model.get_layer("normal").weights:
        weight.assign(np.linspace(0.5, 1.5, 8))
    shared.trainable = False
    return model


class Coded(keras.Model):
    """A model whose graph is not known."""

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        # Not in the order in which they are called.
        self.logits = keras.layers.Dense(4, name="logits")
        self.blocks = [
            keras.layers.Dense(width, activation="tanh", name="first"),
            keras.Sequential([keras.layers.Dense(width, name="second")]),
        ]
        self.unused = keras.layers.Dense(2, name="unused")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        self.unused(x)
        return self.logits(x) * 2.0

    def get_config(self):
        return {"width": self.width, **super().get_config()}


def policies(model):
    return {
        layer.name: layer.dtype_policy.name
        for layer in keras_hooks.layers_of(model)
        if layer.weights and not isinstance(layer, keras.Model)
    }


def short_path(variable):
    """Names of the layer and the variable."""
    return "/".join(variable.path.split("/")[-2:])


def state_of(model):
    """All that must not change in a caller's model."""
    return (
        json.dumps(model.get_config(), default=str),
        [w.path for w in model.weights],
        [w.numpy().tobytes() for w in model.variables],
        [layer.trainable for layer in keras_hooks.layers_of(model)],
        [layer.dtype_policy.name for layer in keras_hooks.layers_of(model)],
        [id(layer) for layer in keras_hooks.layers_of(model)],
        [v.numpy().tobytes() for v in model.optimizer.variables],
        model(inputs()).numpy().tobytes(),
    )


class PrecisionTest(tf.test.TestCase, parameterized.TestCase):
    """One model."""

    @parameterized.parameters(*LOW)
    def test_logits_are_within_rounding(self, dtype):
        x = inputs()
        teacher = reference.mlp(1, hidden=64)
        low = precision.low_precision(teacher, dtype)
        self.assertEqual(low(x).dtype, tf.float32)
        kernel, bias, last, _ = [np.abs(w) for w in teacher.get_weights()]
        u = ROUNDOFF[compute_dtype(dtype)]
        # Rounded are inputs, kernel, their product, the bias and the sum;
        # tanh stretches nothing, and its own value is rounded twice at most.
        before_tanh = ((1 + u) ** 5 - 1) * (np.abs(x) @ kernel + bias)
        bound = (before_tanh + 2 * u) @ last
        error = np.abs(low(x) - teacher(x))
        self.assertAllLessEqual(error - bound, 0.0)
        # It is not the higher precision under another name.
        self.assertGreater(np.max(error), 0.05 * u)

    @parameterized.parameters(*LOW)
    def test_hidden_layers_compute_low(self, dtype):
        low = precision.low_precision(intricate(), dtype)
        seen = {}
        for layer in keras_hooks.layers_of(low):

            def call(*args, layer=layer, call=layer.call, **kwargs):
                outputs = call(*args, **kwargs)
                seen[layer.name] = outputs.dtype.name
                return outputs

            layer.call = call
        low(inputs())
        hidden = compute_dtype(dtype)
        for name in ("shared", "first", "normal", "inside"):
            self.assertEqual(seen[name], hidden, name)
        for name in ("logits", "drop"):
            self.assertEqual(seen[name], "float32", name)
        kernels = {w.path: w.dtype for w in low.weights if "kernel" in w.path}
        self.assertLen(kernels, 4)
        for path, stored in kernels.items():
            is_low = dtype == hidden and "logits" not in path
            self.assertEqual(stored, hidden if is_low else "float32", path)

    @parameterized.parameters("bfloat16", "mixed_float16", "float32")
    def test_variables_are_copied(self, dtype):
        teacher = intricate()
        low = precision.low_precision(teacher, dtype)
        self.assertFalse(low.compiled)
        self.assertEqual(low.name, "intricate")
        copies = {short_path(w): w for w in low.weights}
        self.assertLen(copies, len(teacher.weights))
        for weight in teacher.weights:
            copied = copies[short_path(weight)]
            self.assertAllEqual(
                tf.cast(copied.value, tf.float32),
                tf.cast(tf.cast(weight.value, copied.dtype), tf.float32),
            )
            if "normal" in weight.path:
                self.assertEqual(copied.dtype, "float32")
        self.assertNotAllClose(copies["normal/moving_mean"], np.zeros(8))
        if dtype == "float32":
            self.assertAllEqual(low(inputs()), teacher(inputs()))

    def test_the_teacher_is_untouched(self):
        teacher = intricate()
        before = state_of(teacher)
        generator = random.getstate()
        low = precision.low_precision(teacher, "bfloat16")
        self.assertEqual(generator, random.getstate())
        self.assertEqual(state_of(teacher), before)
        mine = {id(v) for v in teacher.variables}
        self.assertEmpty([v for v in low.variables if id(v) in mine])
        for weight in low.weights:
            weight.assign(weight + 1)
        self.assertEqual(state_of(teacher), before)

    def test_what_is_shared_stays_shared(self):
        inner = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(3, name="both")]
        )
        dense = inner.layers[0]
        x = keras.Input((3,))
        outputs = keras.layers.Dense(4)(inner(dense(inner(x))))
        low = precision.low_precision(keras.Model(x, outputs), "bfloat16")
        self.assertLen(low.weights, 4)
        found = [
            layer
            for layer in keras_hooks.layers_of(low)
            if layer.name == "both"
        ]
        self.assertLen({id(layer) for layer in found}, 1)

    @parameterized.parameters(
        (lambda h: keras.layers.Dense(4, name="a")(h), "a"),
        (lambda h: keras.layers.Dense(4, name="a")(h) * 2, "a"),
        (
            lambda h: keras.layers.Activation("linear", dtype="float32")(
                keras.layers.Dense(4, name="a")(h)
            ),
            "a",
        ),
        (
            lambda h: keras.layers.LayerNormalization(axis=(1, 2), name="b")(
                keras.layers.Reshape((2, 2))(keras.layers.Dense(4, name="a")(h))
            ),
            "ab",
        ),
        (
            lambda h: keras.layers.BatchNormalization(name="b")(
                keras.layers.Dense(4, name="a")(h)
            ),
            "ab",
        ),
        (
            lambda h: (
                keras.layers.Dense(4, name="a")(h)
                + keras.layers.Dense(4, name="b")(keras.ops.relu(h))
            ),
            "ab",
        ),
        (
            lambda h: {
                "u": keras.layers.Dense(4, name="a")(h),
                "v": keras.layers.Reshape((2, 2))(
                    keras.layers.Dense(4, name="b")(h)
                ),
            },
            "ab",
        ),
        (
            lambda h: keras.layers.TimeDistributed(
                keras.layers.Dense(4), name="a"
            )(keras.layers.Reshape((8, 1))(h)),
            "a",
        ),
    )
    def test_what_produces_the_logits_keeps_its_dtype(self, outputs, kept):
        x = keras.Input((3,))
        hidden = keras.layers.Dense(8, name="hidden")(x)
        model = keras.Model(x, outputs(hidden))
        low = precision.low_precision(model, "mixed_bfloat16")
        found = {k: v for k, v in policies(low).items() if len(k) == 1}
        self.assertEqual(found, dict.fromkeys(kept, "float32"))
        self.assertEqual(policies(low)["hidden"], "mixed_bfloat16")
        keras.tree.assert_same_structure(low.output, model.output)

    def test_kept_logits_hold_their_differences(self):
        # Around 1000 the numbers of bfloat16 are 4 apart.
        x = inputs(64)
        teacher = reference.mlp(1)
        teacher.layers[-1].bias.assign(np.full(4, 1000.0))
        low = precision.low_precision(teacher, "mixed_bfloat16")
        lower = reference.mlp(1, dtype="mixed_bfloat16")
        lower.set_weights(teacher.get_weights())
        exact = teacher(x).numpy()
        kept = reference.kl(exact, low(x).numpy())
        lost = reference.kl(exact, tf.cast(lower(x), tf.float32).numpy())
        self.assertLess(kept.max(), 1e-5)
        self.assertGreater(lost.mean(), 1e-4)
        self.assertGreater(lost.mean(), 100 * kept.mean())

    def test_layers_for_raw_inputs_keep_their_dtype(self):
        # 1000 and 1001 are the same number in bfloat16.
        x = 1000 + inputs(64)
        normalize = keras.layers.Normalization(name="raw")
        normalize.adapt(x)
        teacher = keras.Sequential(
            [keras.Input((3,)), normalize, *reference.mlp(1).layers]
        )
        low = precision.low_precision(teacher, "bfloat16")
        self.assertEqual(policies(low)["raw"], "float32")
        self.assertAllClose(low(x), teacher(x), atol=0.02)
        # A lambda too is copied, from what is at hand.
        scale = keras.layers.Lambda(lambda t, by: t * by, arguments={"by": 2.0})
        teacher = keras.Sequential([keras.Input((3,)), scale, teacher])
        low = precision.low_precision(teacher, "bfloat16")
        self.assertAllClose(low(x / 2), teacher(x / 2), atol=8.0)

    @parameterized.parameters(*LOW)
    def test_subclassed_models(self, dtype):
        x = inputs()
        teacher = Coded(width=6)
        teacher(x)
        before = teacher.get_weights()
        low = precision.low_precision(teacher, dtype)
        hidden = f"mixed_{compute_dtype(dtype)}"
        self.assertEqual(
            policies(low),
            {
                "logits": "float32",
                "first": hidden,
                "second": hidden,
                "unused": hidden,
            },
        )
        self.assertEqual(set(policies(teacher).values()), {"float32"})
        for one, other in zip(before, teacher.get_weights(), strict=True):
            self.assertAllEqual(one, other)
        scale = np.abs(teacher(x)).max()
        u = ROUNDOFF[compute_dtype(dtype)]
        error = np.abs(low(x) - teacher(x)).max()
        self.assertLess(error, 10 * u * scale)
        self.assertGreater(error, 0.05 * u * scale)
        # A part of a graph as the whole of one.
        graph = keras.Sequential([keras.Input((3,)), teacher])
        nested = precision.low_precision(graph, dtype)
        self.assertAllEqual(nested(x), low(x))

    def test_a_precision_that_was_chosen_stays(self):
        model = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(5, dtype="mixed_float16"),
                keras.layers.Dense(5, dtype="float32"),
                keras.layers.Dense(4, dtype="float32"),
            ]
        )
        for dtype in (*LOW, "float32"):
            low = precision.low_precision(model, dtype)
            self.assertEqual(policies(low), policies(model))
            self.assertAllEqual(low(inputs()), model(inputs()))

    def test_float64_becomes_float32(self):
        model = reference.mlp(1)
        wide = keras.Sequential(
            [
                keras.Input((3,), dtype="float64"),
                keras.layers.Dense(5, "tanh", dtype="float64"),
                keras.layers.Dense(4, dtype="float64"),
            ]
        )
        wide.set_weights(model.get_weights())
        low = precision.low_precision(wide, "float32")
        self.assertEqual(
            [layer.dtype for layer in low.layers[1:]], ["float32", "float64"]
        )
        self.assertAllClose(low(inputs()), wide(inputs()), 1e-6, 1e-6)
        self.assertNotAllEqual(low(inputs()), wide(inputs()))


if __name__ == "__main__":
    tf.test.main()
