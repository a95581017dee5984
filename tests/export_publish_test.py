"""How an exported student is published, and used elsewhere."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import export
from kd_keras.export import checking
from tests import export_models


class PublishTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(self.folder, "student")

    def test_makes_parents_and_fills_an_empty_directory(self):
        path = pathlib.Path(self.folder, "a", "b", "student")
        export.export_student(export_models.small_student(), path)
        self.assertEqual(export_models.leftovers(path), ["student"])
        self.assertTrue((path / "saved_model.pb").is_file())
        # Readable by whom the umask lets: a server is seldom the trainer.
        beside = path.parent / "beside"
        beside.mkdir()
        self.assertEqual(path.stat().st_mode, beside.stat().st_mode)
        export.export_student(export_models.small_student(), beside)
        self.assertTrue((beside / "saved_model.pb").is_file())

    def test_keeps_what_is_there(self):
        os.mkdir(self.path)
        kept = pathlib.Path(self.path, "kept.txt")
        kept.write_text("mine")
        link = os.path.join(self.folder, "link")
        os.symlink("nowhere", link)
        for path in (self.path, str(kept), link):
            with self.assertRaisesRegex(FileExistsError, "overwrite=True"):
                export.export_student(export_models.small_student(), path)
        self.assertEqual(kept.read_text(), "mine")
        self.assertEqual(
            export_models.leftovers(self.path), ["link", "student"]
        )

    def test_overwrite(self):
        student = export_models.small_student()
        export.export_student(student, self.path)
        pathlib.Path(self.path, "stale.txt").write_text("old")
        student.set_weights([w + 1.0 for w in student.get_weights()])
        export.export_student(student, self.path, overwrite=True)
        self.assertEqual(export_models.leftovers(self.path), ["student"])
        self.assertNotIn("stale.txt", os.listdir(self.path))
        x = np.ones((2, 6), "float32")
        np.testing.assert_allclose(
            export_models.signature_of(self.path)(inputs=x)["logits"],
            student(x),
            rtol=1e-6,
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
            export.export_student(
                export_models.small_student(), path, overwrite=True
            )
            self.assertIn("saved_model.pb", os.listdir(path))
        self.assertEqual(os.listdir(target), ["kept.txt"])
        self.assertEqual(
            export_models.leftovers(file), ["file", "link", "target"]
        )

    def test_failed_rename_restores_what_was_there(self):
        export.export_student(export_models.small_student(), self.path)
        pathlib.Path(self.path, "mine.txt").write_text("old")
        rename = os.rename

        def no_publishing(source, target):
            if "partial" in source:
                raise OSError("disk on fire")
            rename(source, target)

        with mock.patch.object(os, "rename", no_publishing):
            with self.assertRaisesRegex(OSError, "disk on fire"):
                export.export_student(
                    export_models.small_student(), self.path, overwrite=True
                )
        self.assertIn("mine.txt", os.listdir(self.path))
        self.assertEqual(export_models.leftovers(self.path), ["student"])

    @parameterized.parameters(True, False)
    def test_mismatch_publishes_nothing(self, exists):
        # A student that is random in inference mode: what was written can
        # never agree with what is in memory.
        student = export_models.Subclassed(noise=0.01)
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
        self.assertEqual(
            export_models.leftovers(self.path), ["student"] if exists else []
        )
        if exists:
            self.assertEqual(os.listdir(self.path), ["kept.txt"])

    def test_nan_is_a_mismatch(self):
        with mock.patch.object(
            checking, "relative_error", return_value=float("nan")
        ):
            with self.assertRaisesRegex(RuntimeError, "differ by nan"):
                export.export_student(export_models.small_student(), self.path)
        self.assertEqual(export_models.leftovers(self.path), [])

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
        error = checking.relative_error(
            tf.constant([found], tf.float64),
            tf.constant([expected], tf.float64),
        )
        self.assertEqual(error <= checking.TOLERANCE, is_equal)

    def test_other_shapes_and_dtypes_are_not_equal(self):
        x = tf.zeros([2, 3])
        self.assertEqual(checking.relative_error(x, x), 0.0)
        for other in (tf.zeros([2, 1]), tf.zeros([2, 3], tf.float64)):
            self.assertEqual(checking.relative_error(other, x), float("inf"))


class OtherProcessTest(parameterized.TestCase):
    """What somebody has who got nothing but the directory."""

    def setUp(self):
        super().setUp()
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.student = export_models.small_student()
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
        logits, modules = export_models.run(
            code, self.folder
        ).stdout.splitlines()
        self.assertEqual(modules, "None None")
        x = np.arange(12, dtype="float32").reshape(2, 6) / 12
        np.testing.assert_allclose(
            eval(logits), self.student(x).numpy(), atol=1e-6
        )

    @pytest.mark.slow
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
            env=export_models.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


if __name__ == "__main__":
    tf.test.main()
