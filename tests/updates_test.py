"""Kernels update variables as the optimizers of Keras do."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import models
from kd_keras import updates


class OwnSGD(keras.optimizers.SGD):
    """Not one of Keras' own: it is left to Keras."""


class OwnAdam(keras.optimizers.Adam):
    """The same."""


class OwnAdamW(keras.optimizers.AdamW):
    """The same."""


SGD = keras.optimizers.SGD, OwnSGD
ADAM = keras.optimizers.Adam, OwnAdam
ADAMW = keras.optimizers.AdamW, OwnAdamW
# What Keras does around a bare update, and the update of each kind.
OPTIMIZERS = {
    "sgd": (SGD, {"learning_rate": 0.1}),
    "momentum": (SGD, {"learning_rate": 0.1, "momentum": 0.9}),
    "nesterov": (
        SGD,
        {"learning_rate": 0.1, "momentum": 0.8, "nesterov": True},
    ),
    "adam": (ADAM, {"learning_rate": 0.01, "beta_1": 0.8, "epsilon": 1e-3}),
    "clipped": (ADAM, {"learning_rate": 0.01, "global_clipnorm": 0.05}),
    "averaged": (
        ADAM,
        {
            "learning_rate": 0.01,
            "use_ema": True,
            "ema_overwrite_frequency": 4,
        },
    ),
    "accumulated": (
        ADAM,
        {"learning_rate": 0.01, "gradient_accumulation_steps": 3},
    ),
    "adamw": (
        ADAMW,
        {
            "learning_rate": keras.optimizers.schedules.CosineDecay(0.02, 12),
            "weight_decay": 0.1,
        },
    ),
}


def embedding_student():
    """A student whose gradients are sparse."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input([5])
    hidden = keras.layers.Embedding(9, 4)(inputs)
    hidden = keras.layers.Flatten()(hidden)
    return keras.Model(inputs, keras.layers.Dense(3)(hidden))


def fit(optimizer, student=None, x=None, **compile_args):
    """Trains a small student for 12 steps; returns the Distiller."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 5)).astype("float32") if x is None else x
    y = rng.integers(0, 3, 48)
    v = 3 * rng.normal(size=(48, 3)).astype("float32")
    distiller = kd_keras.Distiller(
        student=student or models.mlp((5,), 3, (7,), seed=1)
    )
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


def operations(optimizer, variable, gradient=None):
    """The kinds of operations that an update takes."""

    @tf.function
    def update():
        given = tf.ones(variable.shape) if gradient is None else gradient()
        updates.apply_gradients(optimizer, [given], [variable])

    graph = update.get_concrete_function().graph.as_graph_def()
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes.extend(function.node_def)
    return {node.op for node in nodes}


def adam_in_float64(gradients, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """What Adam adds to a weight, by the paper's second, efficient order."""
    m = v = weight = np.zeros(gradients.shape[1])
    for step, gradient in enumerate(gradients.astype(np.float64), start=1):
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
        size = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        weight = weight - size * m / (np.sqrt(v) + epsilon)
    return weight


class UpdatesTest(tf.test.TestCase, parameterized.TestCase):
    def check_same(self, one, other):
        self.assertAllClose(
            one.get_weights(), other.get_weights(), rtol=1e-5, atol=1e-6
        )
        for here, there in zip(
            one.optimizer.variables, other.optimizer.variables, strict=True
        ):
            self.assertAllClose(here, there, rtol=1e-4, atol=1e-6)
        # One that does nothing would pass the rest.
        before = models.mlp((5,), 3, (7,), seed=1).get_weights()
        self.assertNotAllClose(one.student.get_weights()[0], before[0])

    @parameterized.parameters(*OPTIMIZERS)
    def test_as_keras(self, name):
        (of_keras, own), arguments = OPTIMIZERS[name]
        self.check_same(fit(of_keras(**arguments)), fit(own(**arguments)))

    def test_scaled_loss(self):
        scaled, by_keras = (
            fit(
                keras.optimizers.LossScaleOptimizer(
                    kind(0.01), initial_scale=2.0**20
                )
            )
            for kind in ADAM
        )
        self.check_same(scaled, by_keras)

    def test_an_overflow_is_skipped(self):
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1), initial_scale=2.0**127
        )
        distiller = fit(optimizer, x=np.full([48, 5], 100.0, np.float32))
        self.assertLess(float(optimizer.dynamic_scale), 2.0**127)
        for value in distiller.student.get_weights():
            self.assertTrue(np.isfinite(value).all())

    def test_a_constraint_holds(self):
        student = models.mlp((5,), 3, (7,), seed=1)
        kernel = student.trainable_variables[0]
        kernel.constraint = keras.constraints.MaxNorm(0.5)
        fit(keras.optimizers.SGD(1.0), student)
        self.assertAllLessEqual(np.linalg.norm(kernel, axis=0), 0.5 + 1e-5)

    @parameterized.parameters(
        {"steps_per_execution": 4}, {"run_eagerly": True}, {"jit_compile": True}
    )
    def test_however_a_step_runs(self, **compile_args):
        self.check_same(
            fit(keras.optimizers.Adam(0.01)),
            fit(keras.optimizers.Adam(0.01), **compile_args),
        )

    def test_sparse_gradients(self):
        x = np.arange(240).reshape(48, 5) % 9
        sparse, by_keras = (
            fit(kind(0.1), embedding_student(), x) for kind in SGD
        )
        self.assertAllClose(sparse.get_weights(), by_keras.get_weights())

    def test_adam_is_its_formula(self):
        gradients = np.random.default_rng(0).normal(size=(300, 9))
        gradients[:, :3] *= 1e-6
        errors = []
        for kind in ADAM:
            weight = keras.Variable(np.zeros(9, np.float32))
            optimizer = kind(0.01)
            for gradient in gradients.astype(np.float32):
                updates.apply_gradients(optimizer, [gradient], [weight])
            expected = adam_in_float64(gradients, 0.01)
            errors.append(np.abs(weight.numpy() - expected).max())
        self.assertLess(max(errors), 5e-6)

    def test_float64(self):
        weight = keras.Variable(np.zeros(9), dtype="float64")
        gradients = np.random.default_rng(0).normal(size=(20, 9))
        optimizer = keras.optimizers.Adam(0.01)
        for gradient in gradients:
            updates.apply_gradients(optimizer, [gradient], [weight])
        self.assertAllClose(
            weight,
            # Keras keeps the rate in float32.
            adam_in_float64(gradients, float(np.float32(0.01))),
            rtol=1e-11,
            atol=0,
        )

    @parameterized.parameters(1, 10, 300, 3_000, 100_000)
    def test_adam_of_a_constant_gradient_after_many_steps(self, step):
        # Moments as they are before the step, in each one's own rounding; all
        # of it ends in a step of exactly the rate: m = v = 1, bias corrected.
        def moments(weights):
            return [-np.expm1((step - 1) * np.log1p(-w)) for w in weights]

        of_keras = [float(np.float32(1 - beta)) for beta in (0.9, 0.999)]
        of_kernel = [1 - float(np.float32(beta)) for beta in (0.9, 0.999)]
        sizes = []
        for kind, weights in zip(ADAM, (of_kernel, of_keras), strict=True):
            weight = keras.Variable([0.0])
            optimizer = kind(1.0)
            optimizer.build([weight])
            optimizer.iterations.assign(step - 1)
            slots = optimizer._momentums[0], optimizer._velocities[0]
            for slot, value in zip(slots, moments(weights), strict=True):
                slot.assign([value])
            updates.apply_gradients(optimizer, [tf.ones([1])], [weight])
            sizes.append(-weight.numpy()[0])
        self.assertAllClose(*sizes, rtol=5e-7, atol=0)

    def test_rates_that_are_no_plain_numbers_are_left_to_keras(self):
        for beta in (keras.Variable(0.999), 1 - 1e-9):
            weight = keras.Variable(np.zeros([6, 2], np.float32))
            optimizer = keras.optimizers.Adam()
            optimizer.beta_2 = beta
            found = operations(optimizer, weight)
            self.assertNotIn("ResourceApplyAdam", found)

    def test_numbers_are_computed_once_for_all_variables(self):
        weights = [keras.Variable(np.zeros(3, np.float32)) for _ in range(5)]
        optimizer = keras.optimizers.Adam()

        @tf.function
        def update():
            ones = [tf.ones(3)] * len(weights)
            updates.apply_gradients(optimizer, ones, weights)

        graph = update.get_concrete_function().graph
        kinds = [operation.type for operation in graph.get_operations()]
        self.assertEqual(kinds.count("ResourceApplyAdam"), 5)
        self.assertEqual(kinds.count("Pow"), 3)  # One is a square root.
        self.assertEqual(kinds.count("Expm1"), 4)

    def test_who_has_a_kernel(self):
        weight = keras.Variable(np.zeros([6, 2], np.float32))
        half = keras.Variable(np.zeros([6, 2]), dtype="bfloat16")
        for optimizer in (keras.optimizers.SGD(), keras.optimizers.Adam()):
            found = operations(optimizer, half)
            self.assertFalse([n for n in found if n.startswith("ResourceAp")])

        def sparse():
            return tf.IndexedSlices(tf.ones([1, 2]), [3], [6, 2])

        def other_idea():
            optimizer = keras.optimizers.SGD(0.1)
            optimizer.update_step = lambda *args: None
            return optimizer

        for kernel, optimizer, *gradient in (
            ("ResourceApplyGradientDescent", keras.optimizers.SGD(0.1)),
            ("ResourceApplyKerasMomentum", keras.optimizers.SGD(0.1, 0.9)),
            ("ResourceApplyAdam", keras.optimizers.Adam()),
            ("ResourceApplyAdam", keras.optimizers.AdamW()),
            (None, keras.optimizers.Adam(amsgrad=True)),
            (None, keras.optimizers.Adam(), sparse),
            (None, keras.optimizers.RMSprop()),
            (None, OwnAdam()),
            (None, other_idea()),
        ):
            found = operations(optimizer, weight, *gradient)
            applied = {name for name in found if name.startswith("ResourceAp")}
            self.assertEqual(applied, {kernel} if kernel else set())

    def test_the_optimizer_stays_as_it_was(self):
        optimizer = keras.optimizers.SGD(0.1)
        weight = keras.Variable([1.0])
        updates.apply_gradients(optimizer, [tf.ones([1])], [weight])
        self.assertNotIn("update_step", vars(optimizer))
        with self.assertRaises(ValueError):
            updates.apply_gradients(
                optimizer, [tf.ones([1])], [keras.Variable([1.0])]
            )
        self.assertNotIn("update_step", vars(optimizer))
        optimizer.apply_gradients([(tf.ones([1]), weight)])
        self.assertAllClose(weight, [0.8])


if __name__ == "__main__":
    tf.test.main()
