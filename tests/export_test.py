"""Tests of the exported student."""

import os
import tempfile
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import export
from tests import export_models


class ExportStudentTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "student")

    def assert_serves(self, student, inputs, **kwargs):
        """Exports, and compares with `predict` on a batch of 5."""
        export.export_student(student, self.path, **kwargs)
        serve = export_models.signature_of(self.path)
        found = serve(**{k: tf.constant(v) for k, v in inputs.items()})
        return serve, {k: v.numpy() for k, v in found.items()}

    def test_signature_and_logits_of_a_trained_student(self):
        student = export_models.small_student()
        student.compile(
            "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        x = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
        student.fit(x, np.arange(40) % 3, epochs=3, verbose=0)
        serve, found = self.assert_serves(student, {"inputs": x})
        args, kwargs = serve.structured_input_signature
        self.assertEqual(args, ())
        self.assertEqual(
            kwargs,
            {"inputs": tf.TensorSpec((None, 6), tf.float32, name="inputs")},
        )
        self.assertEqual(list(found), ["logits"])
        self.assertEqual(
            serve.structured_outputs["logits"].shape.as_list(), [None, 3]
        )
        np.testing.assert_allclose(
            found["logits"], student.predict(x, verbose=0), atol=1e-6
        )
        # The optimizer and the state of dropout stay at home, and nothing is
        # written twice.
        names = [
            name
            for name, _ in tf.train.list_variables(
                os.path.join(self.path, "variables", "variables")
            )
            if "VARIABLE_VALUE" in name
        ]
        self.assertLen(names, len(student.weights))
        self.assertEqual(
            sorted(v.shape.as_list() for v in serve.variables),
            sorted(list(w.shape) for w in student.weights),
        )

    def test_the_students_own_dtype(self):
        student = keras.Sequential(
            [
                keras.Input((8, 8, 1), dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )
        x = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), "uint8")
        serve, found = self.assert_serves(student, {"inputs": x})
        self.assertEqual(serve.inputs[0].dtype, tf.uint8)
        np.testing.assert_allclose(
            found["logits"], student.predict(x, verbose=0), atol=1e-6
        )

    @parameterized.parameters("mixed_float16", "mixed_bfloat16", "float64")
    def test_dtype_policies(self, policy):
        keras.config.set_dtype_policy(policy)
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        student = export_models.small_student()
        keras.config.set_dtype_policy("float32")
        x = np.random.default_rng(0).normal(size=(5, 6))
        x = x.astype(student.inputs[0].dtype)
        serve, found = self.assert_serves(student, {"inputs": x})
        self.assertEqual(
            serve.structured_outputs["logits"].dtype, student.compute_dtype
        )
        # In half precision, exact at the same batch size and graph only.
        expected = np.float64(student.predict(x, verbose=0))
        tolerance = 1e-6 if policy == "float64" else 2e-2
        np.testing.assert_allclose(
            np.float64(found["logits"]), expected, atol=tolerance
        )

    @parameterized.parameters("dict", "list")
    def test_several_inputs_and_outputs(self, structure):
        student = export_models.two_inputs(structure)
        rng = np.random.default_rng(0)
        inputs = {
            "image": rng.integers(0, 256, (5, 4), "uint8"),
            "words": rng.integers(0, 7, (5, 9), "int32"),
        }
        with warnings.catch_warnings():
            # Keras warns when a model is called with another structure.
            warnings.simplefilter("error", UserWarning)
            serve, found = self.assert_serves(student, inputs)
        self.assertEqual(
            serve.structured_input_signature[1],
            {
                "image": tf.TensorSpec((None, 4), tf.uint8, name="image"),
                "words": tf.TensorSpec((None, None), tf.int32, name="words"),
            },
        )
        expected = student.predict(
            inputs if structure == "dict" else list(inputs.values()), verbose=0
        )
        if structure == "list":
            expected = dict(zip(["coarse", "fine"], expected, strict=True))
        self.assertEqual(sorted(found), sorted(expected))
        for name, logits in expected.items():
            np.testing.assert_allclose(found[name], logits, atol=1e-6)

    def test_one_output_in_a_structure_is_logits(self):
        x = keras.Input((6,), name="x")
        dense = keras.layers.Dense(2)
        batch = np.ones((5, 6), "float32")
        for outputs in ({"head": dense(x)}, [dense(x)]):
            student = keras.Model({"x": x}, outputs)
            _, found = self.assert_serves(
                student, {"inputs": batch}, overwrite=True
            )
            self.assertEqual(list(found), ["logits"])
            np.testing.assert_allclose(found["logits"], dense(batch), atol=1e-6)

    def test_open_sizes_and_names_that_a_signature_cannot_spell(self):
        image = keras.Input((None, None, 1), name="my-image 1")
        size = keras.Input((), name="1size")
        pooled = keras.layers.GlobalMaxPooling2D()(
            keras.layers.Conv2D(2, 5)(image)
        )
        student = keras.Model(
            [image, size], {"a-head 1": pooled * size[:, None], "b/c": pooled}
        )
        x = np.random.default_rng(0).uniform(size=(5, 9, 7, 1))
        inputs = {
            "my_image_1": np.float32(x),
            "inputs_1size": np.full(5, 2.0, "f4"),
        }
        serve, found = self.assert_serves(student, inputs)
        sizes = {
            name: spec.shape.as_list()
            for name, spec in serve.structured_input_signature[1].items()
        }
        self.assertEqual(
            sizes, {"my_image_1": [None, None, None, 1], "inputs_1size": [None]}
        )
        np.testing.assert_allclose(
            found["a-head 1"], 2 * found["b/c"], rtol=1e-6
        )

    def test_subclassed_model(self):
        student = export_models.Subclassed()
        x = np.ones((5, 4), "float32")
        expected = student(x)[0]
        with self.assertRaisesRegex(
            ValueError, "`input_signature`.*TensorSpec"
        ):
            export.export_student(student, self.path)
        self.assertEqual(export_models.leftovers(self.path), [])
        spec = tf.TensorSpec([None, 4], tf.float32)
        for signature in (spec, [spec]):
            serve, found = self.assert_serves(
                student,
                {"inputs": x},
                input_signature=signature,
                overwrite=True,
            )
            np.testing.assert_allclose(found["logits"], expected, atol=1e-6)
            # The layer that inference does not use is not there.
            self.assertLen(serve.variables, 2)

    def test_several_unnamed_outputs(self):
        student = export_models.Subclassed(outputs=2)
        student(np.ones((5, 4), "float32"))
        _, found = self.assert_serves(
            student,
            {"inputs": np.ones((5, 4), "float32")},
            input_signature=tf.TensorSpec([None, 4], tf.float32),
        )
        self.assertEqual(sorted(found), ["logits_0", "logits_1"])

    def test_nested_signature(self):
        student = export_models.Branching()
        x = np.arange(10, dtype="float32").reshape(5, 2)
        student({"pair": (x, x), "scale": x[:, :1]})
        inputs = {"left": x, "right": 2 * x, "scale": x[:, :1]}
        signature = {
            "pair": (
                tf.TensorSpec([None, 2], tf.float32, name="left"),
                tf.TensorSpec([None, 2], tf.float32, name="right"),
            ),
            "scale": tf.TensorSpec([None, 1], tf.float32),
        }
        _, found = self.assert_serves(
            student, inputs, input_signature=signature
        )
        np.testing.assert_array_equal(found["sum"], 3 * x)
        np.testing.assert_array_equal(found["nested_0"], x)
        np.testing.assert_array_equal(found["nested_1"], x[:, :1] * 2 * x)
        left = signature["pair"][0]
        signature["pair"] = (left, left)
        with self.assertRaisesRegex(ValueError, "different names"):
            self.assert_serves(
                student, inputs, input_signature=signature, overwrite=True
            )

    def test_lookup_tables(self):
        words = keras.Input((1,), dtype="string")
        looked_up = keras.layers.StringLookup(vocabulary=["a", "b"])(words)
        inner = keras.Model(words, keras.layers.Embedding(3, 2)(looked_up))
        flat = keras.layers.Flatten()(inner(words))
        student = keras.Model(words, keras.layers.Dense(2)(flat))
        batch = tf.constant([["a"], ["b"], ["c"]])
        _, found = self.assert_serves(student, {"inputs": batch})
        np.testing.assert_allclose(found["logits"], student(batch), atol=1e-6)

    @pytest.mark.slow
    def test_quiet(self):
        code = """
            import keras
            from kd_keras import export
            student = keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(3)])
            export.export_student(student, "student")
            print("done")
        """
        self.assertEqual(export_models.run(code, self.folder).stdout, "done\n")

    def test_refuses(self):
        with self.assertRaisesRegex(TypeError, "keras.Model.*function"):
            export.export_student(lambda x: x, self.path)
        unbuilt = keras.Sequential([keras.layers.Dense(2)])
        with self.assertRaisesRegex(ValueError, "must be built"):
            export.export_student(unbuilt, self.path)
        with self.assertRaisesRegex(TypeError, "TensorSpec.*InputSpec"):
            export.export_student(
                export_models.small_student(),
                self.path,
                input_signature=keras.InputSpec(shape=(None, 6)),
            )
        with self.assertRaisesRegex(ValueError, "local.*gs://"):
            export.export_student(
                export_models.small_student(), "gs://bucket/student"
            )
        self.assertEqual(export_models.leftovers(self.path), [])


if __name__ == "__main__":
    tf.test.main()
