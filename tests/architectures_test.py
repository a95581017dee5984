"""Models by name."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras.training import architectures


class ArchitecturesTest(tf.test.TestCase, parameterized.TestCase):
    def test_ours(self):
        found = architectures.build("mlp:20,5", (8, 8, 1), 3, seed=4)
        same = kd_keras.models.mlp((8, 8, 1), 3, (20, 5), seed=4)
        for one, other in zip(found.weights, same.weights, strict=True):
            self.assertAllEqual(one, other)
        found = architectures.build("convnet:4,6", (8, 8, 1), 3, dropout=0.25)
        self.assertEqual(found.get_layer("conv_2").filters, 6)
        rates = [
            layer.rate
            for layer in found.layers
            if isinstance(layer, keras.layers.Dropout)
        ]
        self.assertEqual(set(rates), {0.25})
        self.assertEqual(
            architectures.build("mlp", (8, 8, 1), 3).count_params(),
            kd_keras.models.mlp((8, 8, 1), 3).count_params(),
        )

    def test_applications(self):
        found = architectures.build("MobileNetV3Small", (32, 32, 3), 7, seed=3)
        self.assertEqual(found.output_shape, (None, 7))
        inner = found.layers[-1]
        self.assertEqual(inner.layers[-1].activation, keras.activations.linear)
        same = architectures.build("MobileNetV3Small", (32, 32, 3), 7, seed=3)
        for one, other in zip(found.weights, same.weights, strict=True):
            self.assertAllEqual(one, other)

    @parameterized.parameters(
        # One that wants blue first.
        ("VGG16", "vgg16"),
    )
    def test_pixels_come_as_the_builder_wants(self, name, module):
        """Its weights give what they give in the builder's own model."""
        self.check_preprocessing(name, module)

    @parameterized.parameters(
        ("MobileNetV2", "mobilenet_v2"),
        ("DenseNet121", "densenet"),
        # One that scales pixels itself.
        ("EfficientNetB0", "efficientnet"),
    )
    @pytest.mark.slow
    def test_pixels_of_others(self, name, module):
        self.check_preprocessing(name, module)

    def check_preprocessing(self, name, module):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "its.weights.h5"
        original = getattr(keras.applications, name)(
            weights=None,
            input_shape=(32, 32, 3),
            classes=5,
            classifier_activation=None,
        )
        original.save_weights(path)
        found = architectures.build(name, (32, 32, 3), 5, weights=path)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3))
        pixels = np.float32(pixels)
        prepare = getattr(keras.applications, module).preprocess_input
        self.assertAllClose(
            found(pixels / np.float32(255)),
            original(prepare(pixels.copy())),
            rtol=1e-3,
            atol=1e-5,
        )

    def test_grey_images(self):
        for name, scale in (("MobileNetV3Small", 255.0), ("MobileNetV2", 1.0)):
            grey = architectures.build(name, (32, 32, 1), 5)
            self.assertEqual(grey.get_layer("pixels").scale, scale)

    def test_weights(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "student.weights.h5"
        original = architectures.build("mlp:6", (8, 8, 1), 3, seed=9)
        original.save_weights(path)
        found = architectures.build("mlp:6", (8, 8, 1), 3, weights=path)
        self.assertAllEqual(found.weights[0], original.weights[0])
        with self.assertRaisesRegex(ValueError, "not hold the weights of mlp"):
            architectures.build("mlp:7", (8, 8, 1), 3, weights=path)
        with self.assertRaisesRegex(FileNotFoundError, "no file of weights"):
            architectures.build("mlp:6", (8, 8, 1), 3, weights="none.h5")

    @parameterized.parameters(
        ("mlp:big", "mlp:400,400"),
        ("mlp:0", "at least 1"),
        ("resnet", "no model 'resnet'"),
        ("ResNet5", "no model 'ResNet5'"),
        ("keras", "no model"),
    )
    def test_refuses(self, name, message):
        with self.assertRaisesRegex(ValueError, message):
            architectures.build(name, (8, 8, 1), 3)

    def test_refuses_dropout_of_applications(self):
        with self.assertRaisesRegex(ValueError, "Leave it out"):
            architectures.build("VGG16", (32, 32, 3), 3, dropout=0.5)
        self.assertEqual(architectures.teacher_dropout("VGG16", None), 0.0)
        self.assertEqual(architectures.teacher_dropout("convnet:4", None), 0.5)
        self.assertEqual(architectures.teacher_dropout("mlp:4", 0.0), 0.0)

    def test_saved(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "student.keras"
        original = architectures.build("mlp:6", (8, 8, 1), 3, seed=9)
        original.save(path)
        found = architectures.build(str(path), (8, 8, 1), 3, seed=1)
        for one, other in zip(found.weights, original.weights, strict=True):
            self.assertAllEqual(one, other)
        with self.assertRaisesRegex(ValueError, "4 classes"):
            architectures.build(str(path), (8, 8, 1), 4)
        with self.assertRaisesRegex(ValueError, "8, 9, 1"):
            architectures.build(str(path), (8, 9, 1), 3)
        with self.assertRaisesRegex(ValueError, "can only teach"):
            architectures.build(folder, (8, 8, 1), 3)
        with self.assertRaisesRegex(FileNotFoundError, "no model at"):
            architectures.build(f"{folder}/none.keras", (8, 8, 1), 3)


if __name__ == "__main__":
    tf.test.main()
