"""Damaged stores are refused by name, or read as if nothing had happened."""

import json
import pathlib
import random
import shutil
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import soft_targets
from kd_keras.soft_targets import manifest as manifest_lib
from tests import stored_targets


class DamageTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.path = pathlib.Path(folder) / "store"
        cls.source = stored_targets.source(stored_targets.pixels(60))
        cls.teacher = stored_targets.teacher()
        stored_targets.write(cls.path, cls.teacher, cls.source, num_ranges=4)
        cls.names = sorted(file.name for file in cls.path.iterdir())
        cls.rows = cls.read(cls.path)

    @classmethod
    def read(cls, path):
        store = soft_targets.open_store(path)
        return [
            example["teacher_logits"].tobytes()
            for example in store.examples(cls.source).as_numpy_iterator()
        ]

    def damaged(self, name, content):
        """A copy in which a file has another content, or None."""
        copy = self.path.with_name("damaged")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.path, copy)
        (copy / name).unlink()
        if content is not None:
            (copy / name).write_bytes(content)
        return copy

    def test_anything(self):
        rng = random.Random(0)
        refused = 0
        for _ in range(1000):
            name = rng.choice(self.names)
            content = bytearray((self.path / name).read_bytes())
            kind = rng.choice(["flip", "flip", "flip", "cut", "grow", "gone"])
            if kind == "flip":
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            elif kind == "cut":
                content = content[: rng.randrange(len(content))]
            elif kind == "grow":
                content += bytes(rng.randint(1, 50))
            path = self.damaged(name, None if kind == "gone" else content)
            try:
                rows = self.read(path)
            except (ValueError, FileNotFoundError) as error:
                self.assertIn(name, str(error))
                refused += 1
            else:
                self.assertEqual(rows, self.rows)
        # What is left are flips in the white space of the manifest.
        self.assertGreater(refused, 900)

    def test_without_verification(self):
        rng = random.Random(0)
        file = self.names[2]
        for _ in range(30):
            content = bytearray((self.path / file).read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            store = soft_targets.open_store(
                self.damaged(file, content), verify=False
            )
            with self.assertRaises(tf.errors.DataLossError):
                for _ in store.examples(self.source):
                    pass

    def forged(self, change):
        """A copy with another manifest, its checksum right."""
        manifest = json.loads((self.path / "manifest.json").read_text())
        del manifest["checksum"]
        change(manifest)
        manifest["checksum"] = manifest_lib._checksum(manifest)
        content = json.dumps(manifest).encode()
        return self.damaged("manifest.json", content)

    @parameterized.parameters(
        ("file", lambda m: m["ranges"][0].update(file="../../etc/passwd")),
        ("file", lambda m: m["ranges"][0].update(file="/etc/passwd")),
        ("file", lambda m: m["canaries"].update(file="../x.tfrecord")),
        ("huge count", lambda m: m["ranges"][0].update(count=2**60)),
        (
            "huge counts that fit",
            lambda m: (
                m["ranges"][0].update(count=2**60 + m["ranges"][0]["count"]),
                m["source"].update(num_examples=2**60 + 60),
            ),
        ),
        ("negative count", lambda m: m["ranges"][0].update(count=-1)),
        ("a type", lambda m: m["source"].update(num_examples="60")),
        ("a bool", lambda m: m.update(batch_size=True)),
        ("a dict", lambda m: m.update(source=[])),
        ("unknown", lambda m: m.update(code="import os")),
        ("missing", lambda m: m.pop("dtype")),
        ("dtype", lambda m: m.update(dtype="object")),
        ("schema", lambda m: m.update(schema=1)),
        ("classes", lambda m: m.update(num_classes=2**40)),
        (
            "views",
            lambda m: m.update(
                views={"count": 2**40, "seed": 0, "augmentation": "x"}
            ),
        ),
        ("members", lambda m: m.update(members={"weights": [0.5, 0.5]})),
        ("temperature", lambda m: m.update(temperature=-1.0)),
        ("preprocessing", lambda m: m.update(preprocessing="x / 127 - 1")),
        ("endless", lambda m: m.update(temperature=float("inf"))),
        ("infinite", lambda m: m.update(temperature=float("nan"))),
        ("shape", lambda m: m["source"].update(image_shape=[2**40, 4, 1])),
    )
    def test_forged_manifests(self, _, change):
        path = self.forged(change)
        with self.assertRaises(ValueError):
            store = soft_targets.open_store(path, temperature=4.0)
            store.canaries()

    def test_not_a_manifest(self):
        for content in (
            b"",
            b"[]",
            b"{}",
            b"[" * 100_000,
            b"\xff\xfe",
            b"null",
        ):
            path = self.damaged("manifest.json", content)
            with self.assertRaisesRegex(ValueError, "manifest.json is damaged"):
                soft_targets.open_store(path)

    def test_another_teacher(self):
        with self.assertRaisesRegex(ValueError, "of another teacher"):
            soft_targets.open_store(
                self.path, teacher=stored_targets.teacher(1)
            )
        same = stored_targets.teacher(0)
        soft_targets.open_store(self.path, teacher=same)
        weights = same.get_weights()
        weights[0][0, 0] = np.nextafter(weights[0][0, 0], 1, dtype=np.float32)
        same.set_weights(weights)
        with self.assertRaisesRegex(ValueError, "of another teacher"):
            soft_targets.open_store(self.path, teacher=same)

    def test_a_callable_that_changed(self):
        path = self.path.with_name("callable")
        stored_targets.write(
            path,
            lambda x: self.teacher(x),
            self.source,
            teacher_fingerprint="squares 1",
        )
        soft_targets.open_store(
            path,
            teacher=lambda x: 1.0 * self.teacher(x),
            teacher_fingerprint="squares 1",
        )
        with self.assertRaisesRegex(ValueError, "given: squares 2"):
            soft_targets.open_store(
                path,
                teacher=lambda x: self.teacher(x),
                teacher_fingerprint="squares 2",
            )
        # Its name says that it is the same, and the canaries that it is not.
        with self.assertRaisesRegex(ValueError, "computes other logits"):
            soft_targets.open_store(
                path,
                teacher=lambda x: 1.01 * self.teacher(x),
                teacher_fingerprint="squares 1",
            )


if __name__ == "__main__":
    tf.test.main()
