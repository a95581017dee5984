"""What belongs to one store is never mixed with what belongs to another."""

import json
import pathlib
import random
import shutil
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import datasets
from kd_keras import soft_targets
from kd_keras.soft_targets import manifest as manifest_lib
from kd_keras.soft_targets import range_writer
from tests import stored_targets


def dark(amount):
    """An augmentation; all of them have the same name."""

    def augment(image, seed):
        less = tf.random.stateless_uniform([], seed, 0, amount, tf.int32)
        return image // tf.cast(1 + less, tf.uint8)

    return augment


class MixingTest(stored_targets.StoreTestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.images = stored_targets.pixels(80)
        self.source = stored_targets.source(self.images)
        self.teacher = stored_targets.teacher()
        self.other = stored_targets.teacher(1)

    def write(self, teacher=None, source=None, **kwargs):
        kwargs = {"num_ranges": 4, **kwargs}
        stored_targets.write(
            self.path, teacher or self.teacher, source or self.source, **kwargs
        )

    def broken_off(self, teacher=None, **kwargs):
        """Writes two of four ranges."""
        written = []
        original = range_writer.RangeWriter.write

        def write(writer, part, *args):
            if len(written) == 2:
                raise KeyboardInterrupt
            written.append(part)
            return original(writer, part, *args)

        with mock.patch.object(range_writer.RangeWriter, "write", write):
            with self.assertRaises(KeyboardInterrupt):
                self.write(teacher, **kwargs)
        self.assertFalse(self.path.exists())

    def refuses(self, message, *args, **kwargs):
        with self.assertRaisesRegex(ValueError, message):
            self.write(*args, **kwargs)
        self.assertFalse(self.path.exists())
        self.write(*args, **kwargs, overwrite=True)

    def test_another_teacher_of_the_same_name(self):
        name = {"teacher_fingerprint": "prod"}
        self.broken_off(lambda x: self.teacher(x), **name)
        self.refuses("another `teacher`", lambda x: self.other(x), **name)
        soft_targets.open_store(self.path, teacher=self.other_callable, **name)

    def other_callable(self, x):
        return self.other(x)

    def test_another_augmentation_of_the_same_name(self):
        views = {"augment_seed": 0, "num_views": 2}
        self.broken_off(augment=dark(3), **views)
        self.refuses("another `augment`", augment=dark(200), **views)

    def test_another_source_of_the_same_name(self):
        self.broken_off()
        images = stored_targets.pixels(80, seed=1)
        self.refuses("another `source`", source=stored_targets.source(images))

    def test_the_same_goes_on(self):
        self.broken_off(augment=dark(3), augment_seed=0, num_views=2)
        self.write(augment=dark(3), augment_seed=0, num_views=2)
        store = soft_targets.open_store(self.path, teacher=self.teacher)
        batches = store.batches(self.source, 80, augment=dark(3), epoch=1)
        [(x, y)] = list(batches)
        self.assertAllClose(
            y["teacher_logits"],
            stored_targets.centred(self.teacher(x).numpy()),
            rtol=1e-3,
            atol=1e-3,
        )

    @parameterized.parameters("damaged", "gone")
    def test_a_finished_range_that_is_not_what_it_was(self, how):
        self.broken_off()
        folder = self.path.with_name("store.partial")
        file = folder / "range-00001-of-00004.tfrecord"
        if how == "gone":
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[100] ^= 1
            file.write_bytes(content)
        self.write()
        store = soft_targets.open_store(self.path, teacher=self.teacher)
        self.assertLen(list(store.examples(self.source)), 80)

    def read(self, store):
        return list(store.examples(self.source).as_numpy_iterator())

    def test_written_anew_after_it_was_opened(self):
        self.write()
        store = soft_targets.open_store(self.path)
        self.read(store)
        self.write(self.other, overwrite=True)
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "of another store"
        ):
            self.read(store)
        self.read(soft_targets.open_store(self.path))
        # Also where it has the same name.
        named = {"teacher_fingerprint": "prod", "overwrite": True}
        self.write(lambda x: self.teacher(x), **named)
        store = soft_targets.open_store(self.path)
        self.write(lambda x: self.other(x), **named)
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "of another store"
        ):
            self.read(store)

    def test_a_file_of_another_store(self):
        self.write()
        mine = self.path.with_name("mine")
        shutil.move(self.path, mine)
        self.write(self.other)
        name = "range-00002-of-00004.tfrecord"
        shutil.copy(self.path / name, mine / name)
        with self.assertRaisesRegex(ValueError, name):
            soft_targets.open_store(mine)
        store = soft_targets.open_store(mine, verify=False)
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "of another store"
        ):
            self.read(store)

    def test_views_are_seen_by_the_teacher_that_is_compared(self):
        views = {"augment": dark(3), "augment_seed": 0, "num_views": 2}
        name = {"teacher_fingerprint": "prod"}
        self.write(lambda x: self.teacher(x), **views, **name)
        soft_targets.open_store(
            self.path, teacher=lambda x: 1.0 * self.teacher(x), **name
        )
        with self.assertRaisesRegex(ValueError, "computes other logits"):
            soft_targets.open_store(
                self.path, teacher=self.other_callable, **name
            )

    def test_views_in_batches_of_ones_own(self):
        self.write(augment=dark(3), augment_seed=0, num_views=2)
        store = soft_targets.open_store(self.path)
        with self.assertRaisesRegex(ValueError, "store.batches.*transform"):
            datasets.batches(
                store.examples(self.source),
                10,
                shuffle_seed=5,
                epoch=1,
                augment=dark(3),
                num_views=2,
            )
        batches = store.batches(
            self.source,
            50,
            augment=dark(3),
            epoch=1,
            transform=lambda examples: examples.filter(
                lambda example: example["label"] > 2
            ),
        )
        [(x, y)] = list(batches)
        self.assertLen(x, 32)
        self.assertGreater(y["label"].numpy().min(), 2)
        self.assertAllClose(
            y["teacher_logits"],
            stored_targets.centred(self.teacher(x).numpy()),
            rtol=1e-3,
            atol=1e-3,
        )

    @parameterized.parameters(
        ("Missing: 'id'", lambda e: {k: e[k] for k in e if k != "id"}),
        ("Missing", lambda e: {k: e[k] for k in ("image", "label")}),
        ("not change 'image'", lambda e: {**e, "image": e["image"][:2]}),
        ("not change 'teacher", lambda e: {**e, "teacher_logits": e["label"]}),
    )
    def test_transforms_that_take_something(self, message, change):
        self.write(augment=dark(3), augment_seed=0, num_views=2)
        store = soft_targets.open_store(self.path)
        with self.assertRaisesRegex(ValueError, message):
            store.batches(
                self.source,
                10,
                augment=dark(3),
                epoch=0,
                transform=lambda d: d.map(change),
            )

    @parameterized.parameters(
        lambda e: {**e, "image": 255 - e["image"]},
        lambda e: {**e, "id": e["id"] + 1},
        lambda e: {**e, "teacher_logits": e["teacher_logits"][::-1]},
    )
    def test_transforms_that_change_something(self, change):
        self.write()
        store = soft_targets.open_store(self.path)
        # Labels may change.
        batches = store.batches(
            self.source,
            10,
            transform=lambda d: d.map(lambda e: {**e, "label": e["label"] * 0}),
        )
        for _, y in batches:
            self.assertAllEqual(y["label"], [0] * 10)
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "changed the id or the image"
        ):
            batches = store.batches(
                self.source, 10, transform=lambda d: d.map(change)
            )
            for _ in batches:
                pass

    def test_another_source_but_for_its_beginning(self):
        """Where one of the finished ranges begins otherwise."""
        self.images = stored_targets.pixels(160)
        self.source = stored_targets.source(self.images)
        self.broken_off()
        images = self.images.copy()
        images[40] += 1
        self.refuses(
            "another `source`",
            source=stored_targets.source(images),
        )

    def test_a_teacher_that_differs_elsewhere(self):
        name = {"teacher_fingerprint": "prod"}
        self.images = stored_targets.pixels(160)
        self.source = stored_targets.source(self.images)
        self.broken_off(lambda x: self.teacher(x), **name)
        # Where the second range begins, unlike a canary.
        rare = np.float32(self.images[40]) / 255

        def other(x):
            found = tf.reduce_all(tf.abs(x - rare) < 1e-6, axis=[1, 2, 3])
            return self.teacher(x) + tf.where(found, 9.0, 0.0)[:, None] * [
                [1.0, 0.0, 0.0, 0.0, 0.0]
            ]

        with self.assertRaisesRegex(ValueError, "another `teacher`"):
            self.write(other, **name)

    def test_a_repeated_id_is_no_dead_end(self):
        ids = np.arange(80)
        ids[79] = 78
        with self.assertRaisesRegex(ValueError, "id 78 comes 2 times"):
            self.write(source=stored_targets.source(self.images, ids))
        self.write(source=stored_targets.source(self.images, np.arange(80)))

    def test_nothing_is_left_where_nothing_was_done(self):
        def fails(*args):
            raise ValueError("no such runner")

        with mock.patch.object(range_writer.RangeWriter, "write", fails):
            with self.assertRaisesRegex(ValueError, "no such runner"):
                self.write()
        self.assertEqual(list(self.path.parent.iterdir()), [])

    def test_a_random_teacher(self):
        def random_teacher(x):
            logits = self.teacher(x)
            return logits + tf.random.normal(tf.shape(logits))

        with self.assertRaisesRegex(ValueError, "it is random"):
            self.write(random_teacher, teacher_fingerprint="x")

    def test_an_augmentation_that_cannot_be_replayed(self):
        def augment(image, seed):
            return tf.roll(image, random.randint(-2, 2), 1)

        generator = np.random.default_rng(0)

        def other(image, seed):
            return tf.roll(image, generator.integers(-2, 3), 1)

        for each in (augment, other):
            with self.assertRaisesRegex(ValueError, "cannot be replayed"):
                self.write(augment=each, augment_seed=0, num_views=2)
        self.assertFalse(self.path.exists())

    def test_weights_of_members(self):
        members = [self.teacher, self.other]
        self.write(members)
        manifest = json.loads((self.path / "manifest.json").read_text())
        for weights, message in (
            ([0.99, 0.01], "ensemble with the weights"),
            ([5.0, 5.0], "members cannot be"),
        ):
            del manifest["checksum"]
            manifest["members"]["weights"] = weights
            manifest["checksum"] = manifest_lib._checksum(manifest)
            path = pathlib.Path(self.path, "manifest.json")
            path.write_text(json.dumps(manifest))
            with self.assertRaisesRegex(ValueError, message):
                soft_targets.open_store(
                    self.path, temperature=2.0, teacher=members
                )

    def test_audit_of_other_weights(self):
        members = [self.teacher, self.other]
        self.write(members)
        store = soft_targets.open_store(self.path, temperature=2.0)
        self.assertTrue(soft_targets.audit(store, members, self.source).passed)
        other = kd_keras.EnsembleTeacher(members, weights=[0.99, 0.01])
        with self.assertRaisesRegex(ValueError, "ensemble with the weights"):
            soft_targets.audit(store, other, self.source)
        with self.assertRaisesRegex(ValueError, "logits of an ensemble"):
            soft_targets.audit(store, self.teacher, self.source)

    def test_audit_of_a_teacher_that_is_not_one(self):
        def random_teacher(x):
            noise = tf.random.normal(tf.shape(self.teacher(x)))
            return self.teacher(x) + noise

        self.write(lambda x: self.teacher(x), teacher_fingerprint="x")
        store = soft_targets.open_store(self.path)
        found = soft_targets.audit(store, random_teacher, self.source)
        self.assertFalse(found.passed)
        self.assertIn("DOES NOT AGREE WITH ITSELF", str(found))


if __name__ == "__main__":
    tf.test.main()
