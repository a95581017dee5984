"""Tests of the exported student, mostly of what another process gets."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import warnings
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import export


def small_student():
    """A student with everything that inference treats in its own way."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )


def two_inputs(outputs="dict"):
    keras.utils.set_random_seed(0)
    image = keras.Input((4,), name="image", dtype="uint8")
    words = keras.Input((None,), name="words", dtype="int32")
    embedded = keras.layers.Embedding(7, 2)(words)
    features = keras.layers.Concatenate()(
        [
            keras.layers.Rescaling(1 / 255)(image),
            keras.layers.GlobalAveragePooling1D()(embedded),
        ]
    )
    coarse = keras.layers.Dense(2, name="coarse")(features)
    fine = keras.layers.Dense(3, name="fine")(features)
    if outputs == "dict":
        return keras.Model(
            {"image": image, "words": words}, {"a": coarse, "b": fine}
        )
    return keras.Model([image, words], [coarse, fine])


class Subclassed(keras.Model):
    """A model whose inputs cannot be read from it."""

    def __init__(self, noise=0.0, outputs=1):
        super().__init__()
        self.dense = keras.layers.Dense(3)
        self.unused = keras.layers.Dense(2)
        self.noise = noise
        self.outputs_wanted = outputs

    def build(self, shape):
        self.dense.build(shape)
        self.unused.build(shape)

    def call(self, x):
        logits = self.dense(x)
        if self.noise:
            logits += self.noise * tf.random.normal([3])
        return [logits] * self.outputs_wanted


class Branching(keras.Model):
    """A model called with a nested structure."""

    def call(self, inputs):
        left, right = inputs["pair"]
        return {"sum": left + right, "nested": [left, inputs["scale"] * right]}


def signature_of(path):
    loaded = tf.saved_model.load(path)
    assert list(loaded.signatures) == ["serving_default"]
    serve = loaded.signatures["serving_default"]
    # Otherwise its variables go with what holds them.
    serve.loaded = loaded
    return serve


def leftovers(path):
    return sorted(set(os.listdir(os.path.dirname(path))))


class ExportStudentTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "student")

    def assert_serves(self, student, inputs, **kwargs):
        """Exports, and compares with `predict` on a batch of 5."""
        export.export_student(student, self.path, **kwargs)
        serve = signature_of(self.path)
        found = serve(**{k: tf.constant(v) for k, v in inputs.items()})
        return serve, {k: v.numpy() for k, v in found.items()}

    def test_signature_and_logits_of_a_trained_student(self):
        student = small_student()
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
        student = small_student()
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
        student = two_inputs(structure)
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
        student = Subclassed()
        x = np.ones((5, 4), "float32")
        expected = student(x)[0]
        with self.assertRaisesRegex(
            ValueError, "`input_signature`.*TensorSpec"
        ):
            export.export_student(student, self.path)
        self.assertEqual(leftovers(self.path), [])
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
        student = Subclassed(outputs=2)
        student(np.ones((5, 4), "float32"))
        _, found = self.assert_serves(
            student,
            {"inputs": np.ones((5, 4), "float32")},
            input_signature=tf.TensorSpec([None, 4], tf.float32),
        )
        self.assertEqual(sorted(found), ["logits_0", "logits_1"])

    def test_nested_signature(self):
        student = Branching()
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

    def test_quiet(self):
        code = """
            import keras
            from kd_keras import export
            student = keras.Sequential(
                [keras.Input((4,)), keras.layers.Dense(3)])
            export.export_student(student, "student")
            print("done")
        """
        self.assertEqual(run(code, self.folder).stdout, "done\n")

    def test_refuses(self):
        with self.assertRaisesRegex(TypeError, "keras.Model.*function"):
            export.export_student(lambda x: x, self.path)
        unbuilt = keras.Sequential([keras.layers.Dense(2)])
        with self.assertRaisesRegex(ValueError, "must be built"):
            export.export_student(unbuilt, self.path)
        with self.assertRaisesRegex(TypeError, "TensorSpec.*InputSpec"):
            export.export_student(
                small_student(),
                self.path,
                input_signature=keras.InputSpec(shape=(None, 6)),
            )
        with self.assertRaisesRegex(ValueError, "local.*gs://"):
            export.export_student(small_student(), "gs://bucket/student")
        self.assertEqual(leftovers(self.path), [])


class PublishTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "student")

    def test_makes_parents_and_fills_an_empty_directory(self):
        path = pathlib.Path(self.folder, "a", "b", "student")
        export.export_student(small_student(), path)
        self.assertEqual(leftovers(path), ["student"])
        self.assertTrue((path / "saved_model.pb").is_file())
        # Readable by whom the umask lets: a server is seldom the trainer.
        beside = path.parent / "beside"
        beside.mkdir()
        self.assertEqual(path.stat().st_mode, beside.stat().st_mode)
        export.export_student(small_student(), beside)
        self.assertTrue((beside / "saved_model.pb").is_file())

    def test_keeps_what_is_there(self):
        os.mkdir(self.path)
        kept = pathlib.Path(self.path, "kept.txt")
        kept.write_text("mine")
        link = os.path.join(self.folder, "link")
        os.symlink("nowhere", link)
        for path in (self.path, str(kept), link):
            with self.assertRaisesRegex(FileExistsError, "overwrite=True"):
                export.export_student(small_student(), path)
        self.assertEqual(kept.read_text(), "mine")
        self.assertEqual(leftovers(self.path), ["link", "student"])

    def test_overwrite(self):
        student = small_student()
        export.export_student(student, self.path)
        pathlib.Path(self.path, "stale.txt").write_text("old")
        student.set_weights([w + 1.0 for w in student.get_weights()])
        export.export_student(student, self.path, overwrite=True)
        self.assertEqual(leftovers(self.path), ["student"])
        self.assertNotIn("stale.txt", os.listdir(self.path))
        x = np.ones((2, 6), "float32")
        np.testing.assert_allclose(
            signature_of(self.path)(inputs=x)["logits"], student(x), rtol=1e-6
        )

    def test_overwrite_replaces_a_file_and_a_link_but_not_its_target(self):
        file = os.path.join(self.folder, "file")
        pathlib.Path(file).write_text("x")
        target = os.path.join(self.folder, "target")
        os.mkdir(target)
        pathlib.Path(target, "kept.txt").write_text("mine")
        link = os.path.join(self.folder, "link")
        os.symlink(target, link)
        for path in (file, link):
            export.export_student(small_student(), path, overwrite=True)
            self.assertIn("saved_model.pb", os.listdir(path))
        self.assertEqual(os.listdir(target), ["kept.txt"])
        self.assertEqual(leftovers(file), ["file", "link", "target"])

    def test_failed_rename_restores_what_was_there(self):
        export.export_student(small_student(), self.path)
        pathlib.Path(self.path, "mine.txt").write_text("old")
        rename = os.rename

        def no_publishing(source, target):
            if "partial" in source:
                raise OSError("disk on fire")
            rename(source, target)

        with mock.patch.object(os, "rename", no_publishing):
            with self.assertRaisesRegex(OSError, "disk on fire"):
                export.export_student(
                    small_student(), self.path, overwrite=True
                )
        self.assertIn("mine.txt", os.listdir(self.path))
        self.assertEqual(leftovers(self.path), ["student"])

    @parameterized.parameters(True, False)
    def test_mismatch_publishes_nothing(self, exists):
        # A student that is random in inference mode: what was written can
        # never agree with what is in memory.
        student = Subclassed(noise=0.01)
        student(np.ones((1, 4), "float32"))
        if exists:
            os.mkdir(self.path)
            pathlib.Path(self.path, "kept.txt").write_text("mine")
        with self.assertRaisesRegex(RuntimeError, "differ by.*Nothing"):
            export.export_student(
                student,
                self.path,
                input_signature=tf.TensorSpec([None, 4], tf.float32),
                overwrite=True,
            )
        self.assertEqual(leftovers(self.path), ["student"] if exists else [])
        if exists:
            self.assertEqual(os.listdir(self.path), ["kept.txt"])

    def test_nan_is_a_mismatch(self):
        with mock.patch.object(
            export, "_relative_error", return_value=float("nan")
        ):
            with self.assertRaisesRegex(RuntimeError, "differ by nan"):
                export.export_student(small_student(), self.path)
        self.assertEqual(leftovers(self.path), [])

    @parameterized.parameters(
        (1.0, 1.0 + 2e-6, True),
        (1.0, 1.0 + 2e-5, False),
        (1000.0, 1000.005, True),
        (1000.0, 1000.02, False),
        (0.0, 2e-5, False),
        (np.nan, np.nan, True),
        (-np.inf, -np.inf, True),
        (np.nan, 0.0, False),
        (0.0, np.nan, False),
        (np.inf, -np.inf, False),
    )
    def test_what_counts_as_equal(self, expected, found, is_equal):
        error = export._relative_error(
            tf.constant([found], tf.float64),
            tf.constant([expected], tf.float64),
        )
        self.assertEqual(error <= export._TOLERANCE, is_equal)

    def test_other_shapes_and_dtypes_are_not_equal(self):
        x = tf.zeros([2, 3])
        self.assertEqual(export._relative_error(x, x), 0.0)
        for other in (tf.zeros([2, 1]), tf.zeros([2, 3], tf.float64)):
            self.assertEqual(export._relative_error(other, x), float("inf"))


class OtherProcessTest(parameterized.TestCase):
    """What somebody has who got nothing but the directory."""

    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.student = small_student()
        export.export_student(
            self.student, os.path.join(self.folder, "student")
        )

    def test_without_keras_and_without_this_package(self):
        code = """
            import sys
            sys.modules["keras"] = sys.modules["kd_keras"] = None
            import tensorflow as tf
            serve = tf.saved_model.load("student").signatures["serving_default"]
            x = tf.reshape(tf.range(12.0), [2, 6]) / 12
            print(serve(inputs=x)["logits"].numpy().tolist())
            print(sys.modules["keras"], sys.modules["kd_keras"])
        """
        logits, modules = run(code, self.folder).stdout.splitlines()
        self.assertEqual(modules, "None None")
        x = np.arange(12, dtype="float32").reshape(2, 6) / 12
        np.testing.assert_allclose(
            eval(logits), self.student(x).numpy(), atol=1e-6
        )

    def test_saved_model_cli(self):
        shown = self.saved_model_cli("show", "--dir", "student", "--all")
        self.assertIn("inputs['inputs'] tensor_info", shown)
        self.assertIn("outputs['logits'] tensor_info", shown)
        self.assertRegex(shown, r"shape: \(-1, 6\)")
        self.assertRegex(shown, r"shape: \(-1, 3\)")
        x = np.arange(12, dtype="float32").reshape(2, 6) / 12
        np.save(os.path.join(self.folder, "x.npy"), x)
        self.saved_model_cli(
            "run", "--dir", "student", "--tag_set", "serve",
            "--signature_def", "serving_default", "--inputs", "inputs=x.npy",
            "--outdir", "out",
        )  # fmt: skip
        np.testing.assert_allclose(
            np.load(os.path.join(self.folder, "out", "logits.npy")),
            self.student(x),
            atol=1e-6,
        )

    def saved_model_cli(self, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
            + list(arguments),
            env=environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def environment():
    """The environment for a process that imports what this one does."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(code, folder):
    """Runs Python code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return done


if __name__ == "__main__":
    tf.test.main()
