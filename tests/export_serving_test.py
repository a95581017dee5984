"""Students for clients: pixels in, classes by name out."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import datasets
from kd_keras import export
from kd_keras.export import serving
from tests import export_models

NAMES = ["cat", "grey dog", "owl"]


def images(num_examples=9, height=4, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_examples, height, width, 2), np.uint8)


class ServingTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "served")
        self.student = kd_keras.models.mlp((4, 6, 2), 3, (5,), seed=1)

    def answers(self, images, signature="serving_default"):
        loaded = tf.saved_model.load(self.path)
        answer = loaded.signatures[signature](image=tf.constant(images))
        return {name: tensor.numpy() for name, tensor in answer.items()}

    def assert_answers(self, answer, logits):
        logits = np.float64(logits)
        probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        self.assertAllClose(answer["logits"], logits, atol=1e-6)
        self.assertAllClose(answer["probabilities"], probs, atol=1e-6)
        self.assertAllEqual(answer["class_id"], logits.argmax(-1))
        self.assertEqual(
            [name.decode() for name in answer["class_name"]],
            [NAMES[number] for number in logits.argmax(-1)],
        )
        self.assertEqual(answer["class_id"].dtype, np.int64)
        # Otherwise the names prove nothing.
        self.assertGreater(len(set(logits.argmax(-1))), 1)

    def test_both_signatures(self):
        export.export_for_serving(self.student, self.path, class_names=NAMES)
        pixels = images(50)
        logits = self.student(np.float32(pixels) / np.float32(255))
        self.assert_answers(self.answers(pixels), logits)
        scaled = np.float32(pixels) / np.float32(255)
        self.assert_answers(self.answers(scaled, "serve_float"), logits)
        self.assertAllEqual(self.answers(pixels[:1])["logits"].shape, [1, 3])

    def test_names_are_an_asset(self):
        names = ["ä, b", "2", ""]
        with self.assertRaisesRegex(ValueError, "string of one line.*''"):
            export.export_for_serving(
                self.student, self.path, class_names=names
            )
        names[2] = "c d"
        export.export_for_serving(self.student, self.path, class_names=names)
        text = pathlib.Path(self.path, "assets", "class_names.txt")
        self.assertEqual(text.read_text("utf-8").splitlines(), names)
        # The asset is what is looked up.
        text.write_text("x\ny\nz\n")
        answer = self.answers(images())
        self.assertEqual(
            [name.decode() for name in answer["class_name"]],
            ["xyz"[number] for number in answer["class_id"]],
        )

    def test_names_are_numbers_by_default(self):
        export.export_for_serving(self.student, self.path)
        answer = self.answers(images())
        self.assertEqual(
            [int(name) for name in answer["class_name"]],
            answer["class_id"].tolist(),
        )

    def test_any_size(self):
        export.export_for_serving(
            self.student, self.path, class_names=NAMES, any_size=True
        )
        large = images(40, 11, 9)
        small = datasets.resize(large, (4, 6))
        self.assertEqual(small.dtype, tf.uint8)
        logits = self.student(datasets.to_float(small))
        self.assert_answers(self.answers(large), logits)
        # What has the size already is not touched.
        same = images(40)
        logits = self.student(datasets.to_float(same))
        self.assert_answers(self.answers(same), logits)

    def test_another_size_is_refused(self):
        export.export_for_serving(self.student, self.path)
        with self.assertRaisesRegex(Exception, "[Ss]hape|incompatible"):
            self.answers(images(3, 5, 6))
        with self.assertRaisesRegex(Exception, "uint8|float"):
            self.answers(np.float32(images()))

    def test_half_precision(self):
        policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
        inputs = keras.Input((4, 6, 2))
        x = keras.layers.Flatten()(inputs)
        student = keras.Model(inputs, keras.layers.Dense(3, dtype=policy)(x))
        export.export_for_serving(student, self.path, class_names=NAMES)
        answer = self.answers(images(60))
        self.assertEqual(answer["logits"].dtype, np.float32)
        self.assertAllClose(answer["probabilities"].sum(-1), np.ones(60))

    @pytest.mark.slow
    def test_client_without_keras(self):
        export.export_for_serving(self.student, self.path, class_names=NAMES)
        pixels = images(5)
        expected = self.student(np.float32(pixels) / np.float32(255))
        np.save(os.path.join(self.folder, "pixels.npy"), pixels)
        code = """
            import json, sys
            sys.modules["keras"] = sys.modules["kd_keras"] = None
            import numpy as np
            import tensorflow as tf
            loaded = tf.saved_model.load("served")
            answer = loaded.signatures["serving_default"](
                image=tf.constant(np.load("pixels.npy")))
            print(json.dumps(answer["logits"].numpy().tolist()))
        """
        said = export_models.run(code, self.folder).stdout
        self.assertAllClose(json.loads(said), expected, atol=1e-5)
        cli = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
        if not os.path.exists(cli):
            self.skipTest("saved_model_cli is not installed beside Python")
        done = subprocess.run(
            [cli, "run", "--dir", "served", "--tag_set", "serve"]
            + ["--signature_def", "serving_default"]
            + ["--inputs", "image=pixels.npy", "--outdir", "."],
            cwd=self.folder,
            env=export_models.environment(),
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        found = np.load(os.path.join(self.folder, "logits.npy"))
        self.assertAllClose(found, expected, atol=1e-5)

    @parameterized.parameters(
        ({"class_names": NAMES[:2]}, ValueError, "3 classes. Received: 2"),
        ({"class_names": ["a", "b", "c\nd"]}, ValueError, "one line"),
        ({"class_names": ["a", "b", 3]}, ValueError, "one line"),
        ({"examples": np.zeros((2, 4, 6, 2))}, TypeError, "uint8.*float64"),
        (
            {"examples": np.zeros((2, 4, 5, 2), np.uint8)},
            ValueError,
            r"\(4, 6, 2\).*\(2, 4, 5, 2\)",
        ),
    )
    def test_refuses(self, arguments, error, message):
        with self.assertRaisesRegex(error, message):
            export.export_for_serving(self.student, self.path, **arguments)
        self.assertEqual(os.listdir(self.folder), [])

    def test_refuses_other_students(self):
        flat = export_models.small_student()
        with self.assertRaisesRegex(ValueError, "one batch of images"):
            export.export_for_serving(flat, self.path)
        with self.assertRaisesRegex(ValueError, "one batch of images"):
            export.export_for_serving(export_models.two_inputs(), self.path)
        inputs = keras.Input((None, None, 1))
        pooled = keras.layers.GlobalAveragePooling2D()(inputs)
        anysize = keras.Model(inputs, keras.layers.Dense(2)(pooled))
        with self.assertRaisesRegex(ValueError, "must be fixed"):
            export.export_for_serving(anysize, self.path)
        self.assertEqual(os.listdir(self.folder), [])

    def test_real_examples_are_compared(self):
        # Random only where the image is black, which random pixels never are.
        class Odd(keras.layers.Layer):
            def call(self, x):
                dark = tf.reduce_all(x == 0, axis=[1, 2, 3], keepdims=True)
                noise = tf.random.uniform(tf.shape(x))
                return x + noise * tf.cast(dark, tf.float32)

        inputs = keras.Input((4, 6, 2))
        x = keras.layers.Flatten()(Odd()(inputs))
        student = keras.Model(inputs, keras.layers.Dense(3)(x))
        export.export_for_serving(student, self.path)
        black = np.concatenate([images(), np.zeros((1, 4, 6, 2), np.uint8)])
        with self.assertRaisesRegex(RuntimeError, "Nothing was published"):
            export.export_for_serving(
                student, self.path, examples=black, overwrite=True
            )
        self.assertEqual(os.listdir(self.folder), ["served"])

    def test_wrong_names_are_noticed(self):
        answer = {
            "logits": np.float32([[0, 1]]),
            "probabilities": np.float32([[0.25, 0.75]]),
            "class_id": np.int64([1]),
            "class_name": tf.constant(["b"]),
        }
        serving.check_classes(answer, ["a", "b"])
        for wrong in (
            {"class_name": tf.constant(["a"])},
            {"class_id": np.int64([0])},
            {"probabilities": np.float32([[0.5, 0.75]])},
        ):
            with self.assertRaisesRegex(RuntimeError, "does not name"):
                serving.check_classes({**answer, **wrong}, ["a", "b"])


if __name__ == "__main__":
    tf.test.main()
