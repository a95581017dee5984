"""Students as LiteRT and ONNX files."""

import os
import pathlib
import sys
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

import kd_keras
from kd_keras import export
from kd_keras.export import checking
from kd_keras.export import runners
from kd_keras.training import classifiers

FORMATS = (
    ("model.tflite", export.export_litert, runners.LiteRTModel),
    ("model.onnx", export.export_onnx, runners.OnnxModel),
)


def images(num_examples=130, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_examples, 6, 4, 3), np.uint8)


class PortableTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def path(self, name):
        return os.path.join(self.folder, name)

    @parameterized.parameters(*FORMATS)
    def test_closed_form(self, name, write, runner):
        """Logits and probabilities of a linear student, in float64."""
        inputs = keras.Input((6, 4, 3))
        flat = keras.layers.Flatten()(inputs)
        student = keras.Model(inputs, keras.layers.Dense(5)(flat))
        rng = np.random.default_rng(1)
        kernel = np.float32(rng.normal(0, 0.3, (72, 5)))
        bias = np.float32(rng.normal(0, 0.3, 5))
        student.set_weights([kernel, bias])
        found = write(student, self.path(name), examples=images())
        self.assertEqual(found.examples, 130)
        self.assertLess(found.deviation, 1e-4)
        self.assertEqual(found.changed_decisions, 0)
        model = runner(self.path(name))
        self.assertEqual(model.input_dtype, np.uint8)
        for count in (1, 7, 64):
            pixels = images(count, seed=count)
            logits = pixels.reshape(count, 72) / 255.0 @ np.float64(kernel)
            logits += bias
            answer = model(pixels)
            self.assertEqual(sorted(answer), ["logits", "probabilities"])
            self.assertAllClose(answer["logits"], logits, atol=1e-5)
            self.assertAllClose(
                answer["probabilities"], special.softmax(logits, -1), atol=1e-6
            )
        self.assertEqual(os.listdir(self.folder), [name])

    @parameterized.parameters(*FORMATS)
    def test_layers_in_inference_mode(self, name, write, runner):
        student = kd_keras.models.convnet((6, 4, 3), 4, (4, 6), dropout=0.5)
        write(student, self.path(name))
        pixels = images(20)
        logits = student(np.float32(pixels) / np.float32(255))
        self.assertAllClose(
            runner(self.path(name))(pixels)["logits"], logits, atol=1e-5
        )
        opened = classifiers.open_classifier(self.path(name))
        self.assertAllClose(opened.predict(pixels), logits, atol=1e-5)
        self.assertEqual(opened.num_bytes, os.path.getsize(opened.path))

    @parameterized.parameters(*FORMATS)
    def test_a_file_that_answers_otherwise_is_not_published(
        self, name, write, runner
    ):
        student = kd_keras.models.mlp((6, 4, 3), 4, (5,))

        class Off(runner):
            def __call__(self, images):
                answer = super().__call__(images)
                # Only in one of all examples.
                logits = np.array(answer["logits"])
                logits[-1:, 0] += 0.1 * (len(images) == 29)
                probs = np.float32(special.softmax(np.float64(logits), -1))
                return {"logits": logits, "probabilities": probs}

        pathlib.Path(self.path(name)).write_text("as it was")
        with (
            mock.patch.object(runners, runner.__name__, Off),
            self.assertRaisesRegex(RuntimeError, "Nothing was published"),
        ):
            write(student, self.path(name), examples=images(), overwrite=True)
        self.assertEqual(pathlib.Path(self.path(name)).read_text(), "as it was")
        self.assertEqual(os.listdir(self.folder), [name])
        with self.assertRaisesRegex(FileExistsError, "already"):
            write(student, self.path(name))

    @parameterized.parameters(*FORMATS)
    def test_what_cannot_be_exported(self, name, write, _):
        policy = keras.dtype_policies.DTypePolicy("mixed_float16")
        inputs = keras.Input((6, 4, 3))
        flat = keras.layers.Flatten()(inputs)
        half = keras.Model(inputs, keras.layers.Dense(3, dtype=policy)(flat))
        with self.assertRaisesRegex(ValueError, "computes in float16"):
            write(half, self.path(name))
        student = kd_keras.models.mlp((6, 4, 3), 4, (5,))
        with self.assertRaisesRegex(TypeError, "uint8"):
            write(student, self.path(name), examples=np.zeros((2, 6, 4, 3)))
        with self.assertRaisesRegex(TypeError, "keras.Model"):
            write("student.keras", self.path(name))
        self.assertEqual(os.listdir(self.folder), [])

    @parameterized.parameters(
        (FORMATS[0], "ai_edge_litert", "litert"),
        (FORMATS[1], "tf2onnx", "onnx"),
        (FORMATS[1], "onnxruntime", "onnx"),
    )
    def test_what_is_not_installed(self, form, module, extra):
        name, write, _ = form
        student = kd_keras.models.mlp((6, 4, 3), 4, (5,))
        with (
            mock.patch.dict(sys.modules, {module: None}),
            self.assertRaisesRegex(
                ImportError, rf'{module}.*pip install "kd_keras\[{extra}\]"'
            ),
        ):
            write(student, self.path(name))
        self.assertEqual(os.listdir(self.folder), [])

    @parameterized.parameters(*FORMATS)
    def test_no_such_file(self, name, _, runner):
        pathlib.Path(self.path(name)).write_bytes(b"something else entirely")
        with self.assertRaisesRegex(ValueError, "cannot be run"):
            runner(self.path(name))

    def test_decisions(self):
        """Within rounding, but another class: refused in float32 alone."""
        student = kd_keras.models.mlp((6, 4, 3), 2, (5,))
        student.set_weights([np.zeros_like(w) for w in student.get_weights()])

        def served(pixels):
            return {"logits": np.float32([[0, 1e-7]] * len(pixels))}

        with self.assertRaisesRegex(RuntimeError, "gives 9 of 9 images"):
            checking.compare_on_images(student, served, images(9), 1e-4, "It")


if __name__ == "__main__":
    tf.test.main()
