"""The reference networks: sizes, seeds, precision, and what they compute."""

import itertools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import models


def _small_mlp(**kwargs):
    # Square layers, so that equal seeds would give equal kernels.
    return models.mlp((4, 4, 1), 16, (16, 16), **kwargs)


def _small_convnet(**kwargs):
    return models.convnet(
        (8, 8, 4), 8, (4, 4, 4), dense_units=(4, 8, 8), **kwargs
    )


_BUILDERS = (("mlp", _small_mlp), ("convnet", _small_convnet))


def _kernels(model):
    return [
        layer.kernel.numpy()
        for layer in model.layers
        if hasattr(layer, "kernel")
    ]


def _images(shape=(4, 4, 1), count=6):
    return np.random.RandomState(0).rand(count, *shape).astype("float32")


class SizeTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        # The student, the teacher, and the small students of section 3:
        # sum of (inputs + 1) * units over the layers.
        ((800, 800), 1_276_810),
        ((1200, 1200), 2_395_210),
        ((300, 300), 328_810),
        ((30, 30), 24_790),
        ((), 7_850),
    )
    def test_networks_of_the_paper(self, hidden_units, parameters):
        model = models.mlp((28, 28, 1), 10, hidden_units)
        self.assertEqual(model.count_params(), parameters)

    def test_convnet(self):
        # 3*3*1*32 + 32, 3*3*32*64 + 64, 7*7*64*128 + 128, 128*10 + 10.
        model = models.convnet((28, 28, 1), 10)
        self.assertEqual(model.count_params(), 320 + 18_496 + 401_536 + 1_290)
        # Batch normalization: four numbers a channel, in place of one bias.
        normalized = models.convnet((28, 28, 1), 10, batch_norm=True)
        self.assertEqual(
            normalized.count_params() - model.count_params(), 3 * (32 + 64)
        )

    def test_names(self):
        self.assertEqual(_small_mlp(name="student").name, "student")
        self.assertEqual(_small_convnet(name="teacher").name, "teacher")


class ValueTest(tf.test.TestCase):
    def test_mlp_computes_relu_layers_and_raw_logits(self):
        model = _small_mlp(seed=1)
        biases = np.random.RandomState(1).randn(3, 16).astype("float32")
        for layer, bias in zip(model.layers[2:], biases, strict=True):
            layer.bias.assign(bias)
        x = _images().reshape(6, 16)
        kernels = _kernels(model)
        for kernel, bias in zip(kernels[:2], biases[:2], strict=True):
            x = np.maximum(x @ kernel + bias, 0)
        logits = x @ kernels[2] + biases[2]
        self.assertLess(logits.min(), 0)
        self.assertAllClose(model(_images()), logits, rtol=1e-5, atol=1e-5)

    def test_convnet_pools_after_each_convolution(self):
        model = models.convnet((4, 4, 1), 2, (1, 1), dense_units=())
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                # Only the centre: each convolution doubles.
                kernel = np.zeros((3, 3, 1, 1), "float32")
                kernel[1, 1] = 2.0
                layer.set_weights([kernel, np.zeros(1, "float32")])
        head = model.get_layer("logits")
        head.set_weights([np.array([[1.0, -1.0]]), np.array([0.0, 0.5])])
        image = _images((4, 4, 1), 1)
        peak = 4 * image.max()
        self.assertAllClose(model(image), [[peak, 0.5 - peak]], rtol=1e-6)

    def test_dropout_in_training_only(self):
        model = models.mlp((1000,), 1000, (), input_dropout=0.25, seed=0)
        head = model.get_layer("logits")
        head.set_weights([np.eye(1000, dtype="float32"), np.zeros(1000)])
        x = np.ones((20, 1000), "float32")
        self.assertAllEqual(model(x, training=False), x)
        dropped = model(x, training=True).numpy()
        self.assertAllClose(np.unique(dropped), [0, 4 / 3])
        # 20,000 draws: the standard deviation is 0.003.
        self.assertNear(np.mean(dropped == 0), 0.25, 0.02)

    def test_where_dropout_stands(self):
        def rates(model):
            return [
                layer.rate
                for layer in model.layers
                if isinstance(layer, keras.layers.Dropout)
            ]

        self.assertEqual(rates(_small_mlp()), [])
        self.assertEqual(
            rates(_small_mlp(input_dropout=0.2, dropout=0.5)), [0.2, 0.5, 0.5]
        )
        self.assertEqual(rates(_small_mlp(input_dropout=0.2)), [0.2])
        # Before three hidden Dense layers and the logits.
        self.assertEqual(rates(_small_convnet(dropout=0.3)), [0.3] * 4)


class SeedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*_BUILDERS)
    def test_same_seed_same_weights(self, build):
        first, second, other = build(seed=3), build(seed=3), build(seed=4)
        for a, b, c in zip(
            _kernels(first), _kernels(second), _kernels(other), strict=True
        ):
            self.assertAllEqual(a, b)
            self.assertNotAllEqual(a, c)

    @parameterized.named_parameters(*_BUILDERS)
    def test_no_two_layers_share_numbers(self, build):
        # Nor across the members of an ensemble, whose seeds are 0, 1, 2.
        for arguments in (
            [{"seed": seed} for seed in range(3)],
            [{}],
            [{"kernel_initializer": keras.initializers.HeNormal()}],
            [{"kernel_initializer": keras.initializers.HeNormal(seed=5)}],
        ):
            kernels = [
                kernel
                for kwargs in arguments
                for kernel in _kernels(build(**kwargs))
            ]
            for a, b in itertools.combinations(kernels, 2):
                if a.shape == b.shape:
                    self.assertNotAllEqual(a, b)

    @parameterized.named_parameters(*_BUILDERS)
    def test_without_seed_the_global_one_counts(self, build):
        def kernels(seed):
            keras.utils.set_random_seed(seed)
            return _kernels(build())

        for a, b, c in zip(kernels(1), kernels(1), kernels(2), strict=True):
            self.assertAllEqual(a, b)
            self.assertNotAllEqual(a, c)

    def test_seed_holds_against_the_global_one(self):
        keras.utils.set_random_seed(1)
        first = _small_mlp(seed=3)
        keras.utils.set_random_seed(2)
        second = _small_mlp(seed=3)
        for a, b in zip(_kernels(first), _kernels(second), strict=True):
            self.assertAllEqual(a, b)

    def test_wider_or_deeper_networks_keep_the_first_layer(self):
        two, three = (
            models.mlp((4,), 3, units, seed=0) for units in ((5, 5), (5, 5, 5))
        )
        self.assertAllEqual(_kernels(two)[0], _kernels(three)[0])

    def test_dropout_masks_follow_the_seed_and_differ_by_layer(self):
        def masks(seed):
            model = models.mlp(
                (64,), 2, (64,), input_dropout=0.5, dropout=0.5, seed=seed
            )
            ones = np.ones((4, 64), "float32")
            return [
                layer(ones, training=True).numpy()
                for layer in model.layers
                if isinstance(layer, keras.layers.Dropout)
                for _ in range(2)
            ]

        for a, b, c in zip(masks(1), masks(1), masks(2), strict=True):
            self.assertAllEqual(a, b)
            self.assertNotAllEqual(a, c)
        for a, b in itertools.combinations(masks(1), 2):
            self.assertNotAllEqual(a, b)

    def test_initializer_is_the_one_asked_for(self):
        kernels = _kernels(
            models.mlp(
                (400,),
                400,
                (400,),
                kernel_initializer=keras.initializers.RandomNormal(0, 0.01),
                seed=0,
            )
        )
        for kernel in kernels:
            self.assertNear(np.std(kernel), 0.01, 2e-4)
        zeros = _kernels(_small_mlp(kernel_initializer="zeros", seed=0))
        self.assertEqual(max(np.abs(kernel).max() for kernel in zeros), 0)

    def test_plain_function_as_initializer(self):
        def halves(shape, dtype=None):
            return keras.ops.full(shape, 0.5, dtype)

        for kernel in _kernels(_small_mlp(kernel_initializer=halves, seed=0)):
            self.assertAllEqual(kernel, np.full_like(kernel, 0.5))


class PrecisionTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(
            keras.config.set_dtype_policy, keras.config.dtype_policy()
        )

    @parameterized.product(
        policy=["float32", "mixed_float16", "mixed_bfloat16"],
        build=[_small_mlp, _small_convnet],
    )
    def test_logits_are_float32(self, policy, build):
        keras.config.set_dtype_policy(policy)
        model = build(seed=0)
        logits = model(_images(model.input_shape[1:]))
        self.assertEqual(logits.dtype, tf.float32)
        head = model.get_layer("logits")
        self.assertEqual(head.compute_dtype, "float32")
        # Computed in float32, not only cast: most of these numbers would
        # change when rounded to the policy's precision.
        low = keras.config.dtype_policy().compute_dtype
        rounded = tf.cast(tf.cast(logits, low), tf.float32)
        changed = np.mean(logits.numpy() != rounded.numpy())
        if low == "float32":
            self.assertEqual(changed, 0)
        else:
            self.assertGreater(changed, 0.8)
            hidden = model.get_layer("hidden_1")
            self.assertEqual(hidden.compute_dtype, low)


class MaxNormTest(tf.test.TestCase):
    def test_bound_after_a_step(self):
        for max_norm in (0.5, None):
            model = _small_mlp(max_norm=max_norm, seed=0)
            model.compile(
                keras.optimizers.SGD(10.0),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
            model.fit(_images(), np.arange(6), verbose=0)
            norms = [np.linalg.norm(k, axis=0) for k in _kernels(model)]
            if max_norm:
                # Of the weights into each hidden unit; some are at the bound.
                for norm in norms[:2]:
                    self.assertAllInRange(norm, 0, 0.5 + 1e-5)
                    self.assertNear(norm.max(), 0.5, 1e-4)
                self.assertGreater(norms[2].max(), 0.6)  # Not the logits'.
            else:
                self.assertGreater(min(norm.max() for norm in norms), 0.6)


class SerializationTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.named_parameters(*_BUILDERS)
    def test_keras_file(self, build):
        model = build(seed=0, dropout=0.1)
        path = f"{self.get_temp_dir()}/model.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
        x = _images(model.input_shape[1:])
        self.assertAllEqual(loaded(x), model(x))


class RefusedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"num_classes": 1}, ValueError, '"num_classes" must be at least 2'),
        ({"num_classes": 10.0}, TypeError, '"num_classes" must be an int'),
        ({"num_classes": True}, TypeError, '"num_classes" must be an int'),
        ({"input_shape": (None, 4, 1)}, ValueError, "without the batch"),
        ({"input_shape": ()}, ValueError, "without the batch"),
        ({"input_shape": 16}, ValueError, "without the batch"),
        ({"dropout": 1.0}, ValueError, r'"dropout" must be .*\[0, 1\)'),
        ({"dropout": -0.1}, ValueError, '"dropout" must be'),
        ({"seed": -1}, ValueError, '"seed" must be at least 0'),
        ({"seed": "1"}, TypeError, '"seed" must be an int'),
        ({"kernel_initializer": None}, ValueError, '"kernel_initializer"'),
    )
    def test_by_both(self, kwargs, error, message):
        for function in (models.mlp, models.convnet):
            with self.assertRaisesRegex(error, message):
                function(
                    **{"input_shape": (8, 8, 1), "num_classes": 10, **kwargs}
                )

    @parameterized.parameters(
        ({"hidden_units": 800}, TypeError, r"pass \(800,\)"),
        ({"hidden_units": (800, 0)}, ValueError, '"hidden_units"'),
        ({"hidden_units": (80.0,)}, TypeError, '"hidden_units"'),
        ({"input_dropout": 2}, ValueError, '"input_dropout"'),
        ({"max_norm": 0}, ValueError, '"max_norm" must be a positive'),
    )
    def test_by_mlp(self, kwargs, error, message):
        with self.assertRaisesRegex(error, message):
            models.mlp((8, 8, 1), 10, **kwargs)

    @parameterized.parameters(
        ({"filters": 32}, TypeError, r"pass \(32,\)"),
        ({"filters": ()}, ValueError, "use mlp"),
        ({"filters": (8,) * 4}, ValueError, "at least 16 pixels a side"),
        ({"dense_units": (0,)}, ValueError, '"dense_units"'),
        ({"input_shape": (8, 8)}, ValueError, r"\(height, width, channels\)"),
    )
    def test_by_convnet(self, kwargs, error, message):
        with self.assertRaisesRegex(error, message):
            models.convnet(
                **{"input_shape": (8, 8, 1), "num_classes": 10, **kwargs}
            )


if __name__ == "__main__":
    tf.test.main()
