"""With what something was made: which files are the same."""

import json
import pathlib
import subprocess
import tempfile
import zipfile
from unittest import mock

import keras
import tensorflow as tf

from kd_keras.training import provenance


class CommitTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )
        self.package = self.folder / "package"
        self.package.mkdir()
        self.version = self.package / "version.py"
        self.version.write_text("")
        (self.folder / "notes.md").write_text("")
        self.enterContext(
            mock.patch.object(provenance.version, "__file__", str(self.version))
        )

    def git(self, *args):
        done = subprocess.run(
            [
                *("git", "-C", self.folder, "-c", "user.name=a"),
                *("-c", "user.email=b", *args),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self):
        return provenance.commit.__wrapped__()

    def test_of_the_package_alone(self):
        self.git("init", "-q")
        # In a repository of something else.
        self.git("add", "notes.md")
        self.git("commit", "-qm", "first")
        self.assertIsNone(self.commit())
        self.git("add", "package")
        self.git("commit", "-qm", "second")
        name = self.git("rev-parse", "HEAD")
        self.assertEqual(self.commit(), name[:10])
        # What is no part of it changes no number.
        (self.folder / "notes.md").write_text("changed")
        self.assertEqual(self.commit(), name[:10])
        self.version.write_text("changed")
        self.assertEqual(self.commit(), name[:10] + "+")

    def test_without_repository(self):
        self.assertIsNone(self.commit())

    def test_without_git(self):
        with mock.patch.object(
            provenance.subprocess, "run", side_effect=FileNotFoundError
        ):
            self.assertIsNone(self.commit())


class ContentsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "model.keras"

    def digest(self):
        return provenance.contents([self.path, None, "not_there"])

    def test_saved_again_it_is_the_same_model(self):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        model.save(self.path)
        first = self.digest()
        self.assertEqual(list(first), [str(self.path)])
        with zipfile.ZipFile(self.path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        metadata = json.loads(parts["metadata.json"])
        metadata["date_saved"] = "another"
        parts["metadata.json"] = json.dumps(metadata).encode()
        with zipfile.ZipFile(self.path, "w") as archive:
            for name, part in reversed(parts.items()):
                archive.writestr(name, part)
        self.assertEqual(self.digest(), first)
        with zipfile.ZipFile(self.path, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name.replace("config", "configs"), part)
        self.assertNotEqual(self.digest(), first)
        model.set_weights([2 * one for one in model.get_weights()])
        model.save(self.path)
        self.assertNotEqual(self.digest(), first)

    def test_other_files(self):
        self.path.write_text("no archive")
        first = self.digest()
        self.path.write_text("nor this")
        self.assertNotEqual(self.digest(), first)


if __name__ == "__main__":
    tf.test.main()
