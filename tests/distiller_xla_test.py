"""Steps that XLA compiles: the same updates, and nothing that a TPU lacks."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference

# What a device cannot run by itself, by the name of the operation.
HOST = re.compile(
    "PyFunc|OutsideCompilation|HostCompute|Infeed|Outfeed|XlaSend|XlaRecv"
    "|_Send|_Recv|Print|Assert|Summary"
)


def student(dtype=None):
    """A student with all that can be compiled otherwise than meant."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((3,)),
            # Without a bias: batch normalisation takes it out again, and of
            # a gradient of rounding errors Adam makes a full step.
            keras.layers.Dense(
                8, use_bias=False, kernel_regularizer="l2", dtype=dtype
            ),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.Activation("relu", dtype=dtype),
            keras.layers.Dense(4, activity_regularizer="l2", dtype=dtype),
        ]
    )


def data():
    """Examples with weights, of which every third has no label."""
    x, y, weights = reference.data(16)
    labels = np.where(np.arange(16) % 3 == 0, -1, y).astype("int32")
    return x, labels, weights


def teacher(kind="arithmetic"):
    """Two teachers, or one that holds all other kinds."""
    models = [reference.mlp(1), reference.mlp(3)]
    if kind == "nested":
        probs = keras.Sequential([reference.mlp(4), keras.layers.Softmax()])
        models = [
            kd_keras.EnsembleTeacher(models, mean="geometric"),
            kd_keras.ProbabilityTeacher(probs),
        ]
    return kd_keras.EnsembleTeacher(models, weights=[1, 2])


def compiled(model=None, kind="arithmetic", **kwargs):
    return reference.compiled(
        model or student(),
        teacher(kind),
        "adam",
        temperature=3.0,
        soft_weight=0.7,
        **kwargs,
    )


def metrics():
    """Metrics of every kind, which take a while to compile."""
    return {
        "metrics": ["accuracy"],
        "weighted_metrics": [
            keras.metrics.SparseCategoricalCrossentropy("ce", from_logits=True)
        ],
        "fidelity_metrics": [kd_keras.metrics.TeacherAgreement()],
    }


def fit(distiller):
    x, y, weights = data()
    return distiller.fit(
        x, y, 8, 3, sample_weight=weights, shuffle=False, verbose=0
    ).history


def jitted_step(distiller):
    """The whole step as one compiled function, after it made its variables."""
    distiller.train_step(data())
    return tf.function(
        lambda *batch: distiller.train_step(batch), jit_compile=True
    )


def host_operations(function, *tensors):
    """Operations in the graph and its functions that need the host."""
    graph = function.get_concrete_function(*tensors).graph.as_graph_def()
    nodes = list(graph.node)
    for inner in graph.library.function:
        nodes.extend(inner.node_def)
    return sorted({node.op for node in nodes if HOST.search(node.op)})


def faults_of_hlo(function, *tensors):
    """What in the compiler's input calls the host or has no fixed shape."""
    hlo = function.experimental_get_compiler_ir(*tensors)(stage="hlo")
    return re.findall(
        r"custom_call_target=\S*|\b(?:infeed|outfeed|send|recv)\(|<=\d+", hlo
    )


class UpdateTest(tf.test.TestCase, parameterized.TestCase):
    """The same weights and logs as without XLA."""

    def assert_same(self, given, expected):
        for one, other in zip(
            given.student.get_weights(),
            expected.student.get_weights(),
            strict=True,
        ):
            self.assertAllClose(one, other, 1e-5, 1e-6)

    def test_fit(self, kind="nested"):
        plain = compiled(kind=kind, jit_compile=False, **metrics())
        jitted = compiled(kind=kind, jit_compile=True, **metrics())
        before = plain.student.get_weights()[0]
        self.assertAllEqual(before, jitted.student.get_weights()[0])
        expected, logs = fit(plain), fit(jitted)
        self.assertTrue(jitted.jit_compile)
        self.assertGreater(
            np.abs(before - plain.student.get_weights()[0]).max(), 1e-3
        )
        self.assert_same(jitted, plain)
        self.assertAllClose(logs, expected, 1e-5, 1e-6)

    @pytest.mark.slow
    def test_fit_in_a_one_device_strategy(self):
        plain = compiled(jit_compile=False)
        expected = fit(plain)
        with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
            jitted = compiled(jit_compile=True)
            logs = fit(jitted)
        self.assert_same(jitted, plain)
        self.assertAllClose(logs, expected, 1e-5, 1e-6)

    def test_a_step_of_a_one_device_strategy(self):
        plain = compiled(jit_compile=False)
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        with strategy.scope():
            distiller = compiled()
        batch = tuple(tf.constant(part) for part in data())
        for _ in range(3):
            plain.train_step(batch)
        step = tf.function(distiller.train_step, jit_compile=True)
        # Variables are made outside of what is compiled.
        strategy.run(distiller.train_step, args=(batch,))

        @tf.function
        def two_steps():
            for _ in tf.range(2):
                strategy.run(step, args=(batch,))

        two_steps()
        self.assert_same(distiller, plain)
        self.assertAllClose(
            distiller.get_metrics_result(),
            plain.get_metrics_result(),
            1e-5,
            1e-6,
        )


class ValueChecksTest(tf.test.TestCase):
    """Bad values raise, although XLA drops assertions."""

    def test_a_bad_label(self):
        x, y, _ = data()
        y[11] = 4
        distiller = compiled(jit_compile=True)
        with self.assertRaisesRegex(
            ValueError, "Step 2 of training met a label at or above"
        ):
            distiller.fit(x, y, 8, shuffle=False, verbose=0)
        with self.assertRaisesRegex(
            ValueError, "Step 2 of evaluation met a label at or above"
        ):
            distiller.evaluate(x, np.maximum(y, 0), 8, verbose=0)

    def test_teacher_logits_that_are_not_finite(self):
        x, y, _ = data()
        v = reference.mlp(1)(x).numpy()
        v[3, 2] = np.nan
        distiller = compiled(jit_compile=True)
        with self.assertRaisesRegex(
            ValueError, "Step 1 of training met teacher logits that are NaN"
        ):
            distiller.fit(
                x,
                {"label": y, "teacher_logits": v},
                8,
                shuffle=False,
                verbose=0,
            )


class DeviceTest(tf.test.TestCase, parameterized.TestCase):
    """The whole step runs on a device, with shapes known beforehand."""

    @parameterized.parameters("float32", "mixed_bfloat16")
    def test_the_step_needs_no_host(self, dtype):
        distiller = compiled(student(dtype), **metrics())
        step = jitted_step(distiller)
        batch = tuple(tf.constant(part) for part in data())
        self.assertEmpty(host_operations(step, *batch))
        self.assertEmpty(faults_of_hlo(step, *batch))
        # Metrics and value checks are part of it.
        x, y, weights = batch
        distiller.reset_metrics()
        logs = step(x, tf.fill([16], 7), weights)
        self.assertContainsSubset(
            ["loss", "hard_loss", "soft_loss", "accuracy", "ce"], logs
        )
        self.assertEqual(logs["accuracy"], 0.0)
        self.assertIn("teacher_agreement", logs)
        with self.assertRaisesRegex(ValueError, "Step 2 of training met a l"):
            distiller.evaluate(x, y, verbose=0)

    def test_a_step_on_the_host_is_noticed(self):
        model = reference.mlp(1)

        def on_host(x):
            logits = tf.py_function(model, [x], tf.float32)
            return tf.ensure_shape(logits, [16, 4])

        distiller = reference.compiled(student(), on_host)
        batch = tuple(tf.constant(part) for part in data())
        self.assertEqual(
            host_operations(jitted_step(distiller), *batch), ["EagerPyFunc"]
        )
        # So is one of which the shapes depend on values.
        x, y, _ = batch
        labelled = tf.function(
            lambda x, y: tf.reduce_sum(tf.boolean_mask(x, y >= 0)),
            jit_compile=True,
        )
        self.assertContainsSubset(["<=16"], faults_of_hlo(labelled, x, y))

    @pytest.mark.slow
    def test_mixed_precision(self):
        plain = compiled(student("mixed_bfloat16"), jit_compile=False)
        jitted = compiled(student("mixed_bfloat16"), jit_compile=True)
        before = plain.student.get_weights()
        expected, logs = fit(plain), fit(jitted)
        # XLA leaves out roundings, of 1/256, between operations it merges.
        self.assertAllClose(logs["loss"], expected["loss"], 0.02)
        moved = [
            np.concatenate(
                [
                    np.ravel(new - old)
                    for new, old in zip(
                        model.get_weights(), before, strict=True
                    )
                ]
            )
            for model in (jitted.student, plain.student)
        ]
        error = np.linalg.norm(moved[0] - moved[1])
        self.assertLess(error, 0.1 * np.linalg.norm(moved[1]))


if __name__ == "__main__":
    tf.test.main()
