"""Values: what is stored is what the teacher says, for every use."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import datasets
from kd_keras import soft_targets
from tests import stored_targets


def logits_of(store, source):
    """All stored logits, in order."""
    return np.stack(
        [
            e["teacher_logits"]
            for e in store.examples(source).as_numpy_iterator()
        ]
    )


def inputs_of(images):
    return np.float32(images) / 255


class SoftTargetsTest(stored_targets.StoreTestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.images = stored_targets.pixels(70)
        self.source = stored_targets.source(self.images)

    @parameterized.parameters((1, 256), (3, 8), (8, 32), (70, 256), (200, 7))
    def test_values(self, num_ranges, batch_size):
        teacher = stored_targets.teacher()
        expected = teacher(inputs_of(self.images)).numpy()
        for dtype in ("float16", "float32"):
            path = self.path.with_name(dtype)
            stored_targets.write(
                path,
                teacher,
                self.source,
                dtype=dtype,
                num_ranges=num_ranges,
                batch_size=batch_size,
            )
            store = soft_targets.open_store(path, teacher=teacher)
            self.assertLen(
                list(path.glob("range-*")), min(num_ranges, len(self.images))
            )
            found = logits_of(store, self.source)
            if dtype == "float32":
                # Another batch size may sum in another order.
                self.assertAllClose(found, expected, rtol=1e-6, atol=2e-6)
            else:
                self.assertAllClose(
                    found,
                    stored_targets.centred(expected),
                    rtol=2**-11,
                    atol=1e-5,
                )

    def test_size(self):
        stored_targets.write(
            self.path, stored_targets.teacher(), self.source, num_ranges=1
        )
        file = self.path / "range-00000-of-00001.tfrecord"
        # An id, a digest and the logits of each; of one record tag and frame.
        self.assertEqual(file.stat().st_size, 70 * (8 + 8 + 2 * 5) + 8 + 16)

    def test_ids_of_the_source(self):
        ids = np.random.default_rng(0).permutation(1000)[:70]
        source = stored_targets.source(self.images, ids)
        teacher = stored_targets.teacher()
        stored_targets.write(self.path, teacher, source, dtype="float32")
        store = soft_targets.open_store(self.path)
        found = {
            e["id"]: e["teacher_logits"]
            for e in store.examples(source).as_numpy_iterator()
        }
        for id, image in zip(ids, self.images, strict=True):
            self.assertAllClose(
                found[id], teacher(inputs_of(image[None]))[0], atol=2e-6
            )

    @parameterized.parameters(1.0, 4.0, 20.0)
    def test_members_of_an_arithmetic_mean(self, temperature):
        members = [stored_targets.teacher(seed) for seed in range(3)]
        ensemble = kd_keras.EnsembleTeacher(members, weights=[1, 2, 3])
        expected = ensemble(inputs_of(self.images), temperature).numpy()
        stored_targets.write(self.path, ensemble, self.source, dtype="float32")
        store = soft_targets.open_store(
            self.path, temperature=temperature, teacher=ensemble
        )
        self.assertEqual(store.temperature, temperature)
        self.assertAllClose(
            logits_of(store, self.source), expected, rtol=1e-5, atol=1e-5
        )
        with self.assertRaisesRegex(ValueError, "3 members"):
            soft_targets.open_store(self.path)

    def test_bound_to_one_temperature(self):
        members = [stored_targets.teacher(seed) for seed in range(3)]
        expected = kd_keras.EnsembleTeacher(members)(
            inputs_of(self.images), 4.0
        )
        stored_targets.write(
            self.path, members, self.source, dtype="float32", temperature=4
        )
        store = soft_targets.open_store(self.path, teacher=members)
        self.assertAllClose(
            logits_of(store, self.source), expected, rtol=1e-6, atol=1e-5
        )
        with self.assertRaisesRegex(
            ValueError, "found temperature=4.0, expected 2.0"
        ):
            soft_targets.open_store(self.path, temperature=2.0)

    def test_geometric_mean(self):
        members = [stored_targets.teacher(seed) for seed in range(3)]
        ensemble = kd_keras.EnsembleTeacher(members, mean="geometric")
        expected = np.mean([m(inputs_of(self.images)) for m in members], axis=0)
        stored_targets.write(self.path, ensemble, self.source, dtype="float32")
        store = soft_targets.open_store(self.path, temperature=7.0)
        self.assertIsNone(store.temperature)
        self.assertAllClose(
            logits_of(store, self.source), expected, rtol=1e-5, atol=1e-5
        )

    def test_constructor_refuses_other_temperatures(self):
        members = [stored_targets.teacher(seed) for seed in range(2)]
        stored_targets.write(self.path, members, self.source)
        store = soft_targets.open_store(self.path, temperature=4.0)

        def distiller(**kwargs):
            student = stored_targets.teacher(9)
            return kd_keras.Distiller(student=student, teacher=store, **kwargs)

        fits = distiller(temperature=4.0)
        for kwargs in (
            {"temperature": 2.0},
            {"soft_loss": kd_keras.losses.LogitMatching()},
            {"fidelity_metrics": [kd_keras.metrics.TeacherAgreement()]},
        ):
            with self.assertRaisesRegex(ValueError, "temperature 4.0 alone"):
                distiller(**kwargs)
        with self.assertRaisesRegex(ValueError, "temperature 4.0 alone"):
            fits.temperature = 8.0
        self.assertEqual(fits.temperature, 4.0)
        with self.assertRaisesRegex(ValueError, "of 5 classes"):
            kd_keras.Distiller(
                student=stored_targets.teacher(num_classes=6), teacher=store
            )
        self.assertRaisesRegex(
            ValueError,
            "temperature 4.0 alone",
            setattr,
            distiller(),
            "temperature",
            1.0,
        )

    def test_a_store_is_not_called(self):
        stored_targets.write(self.path, stored_targets.teacher(), self.source)
        store = soft_targets.open_store(self.path)
        distiller = kd_keras.Distiller(
            student=stored_targets.teacher(1), teacher=store
        )
        distiller.compile(
            "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        plain = datasets.batches(self.source.dataset, 10)
        with self.assertRaisesRegex(ValueError, "no teacher to call"):
            distiller.fit(plain, verbose=0)
        # Evaluation needs none.
        self.assertEqual(
            list(distiller.evaluate(plain, verbose=0, return_dict=True)),
            ["loss"],
        )
        logs = distiller.fit(store.batches(self.source, 10), verbose=0).history
        self.assertIn("soft_loss", logs)


class SameTrainingTest(stored_targets.StoreTestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.digits = datasets.load("digits", "train[:300]")

    def train(self, teacher, data, epoch, temperature=4.0):
        student = kd_keras.models.mlp((8, 8, 1), 10, (16,), seed=1)
        distiller = kd_keras.Distiller(
            student=student, teacher=teacher, temperature=temperature
        )
        distiller.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        distiller.fit(data, epochs=3, verbose=0, callbacks=[epoch])
        return student.get_weights()

    @parameterized.parameters("model", "ensemble", "views")
    def test_live_and_stored(self, kind):
        teacher = kd_keras.models.mlp((8, 8, 1), 10, (32,), seed=0)
        if kind == "ensemble":
            other = kd_keras.models.mlp((8, 8, 1), 10, (32,), seed=2)
            teacher = kd_keras.EnsembleTeacher([teacher, other])
        views, augment = {}, {}
        if kind == "views":
            augment = {"augment": datasets.random_shift(1)}
            views = {**augment, "augment_seed": 5, "num_views": 2}
        order = {"shuffle_seed": 3}
        weights = []
        for stored in (False, True):
            epoch = kd_keras.callbacks.EpochCounter()
            if stored:
                stored_targets.write(
                    self.path, teacher, self.digits, dtype="float32", **views
                )
                store = soft_targets.open_store(self.path, temperature=4.0)
                data = store.batches(
                    self.digits, 64, epoch=epoch.value, **order, **augment
                )
            else:
                data = datasets.batches(
                    self.digits.dataset,
                    64,
                    epoch=epoch.value,
                    **order,
                    **views,
                )
            weights.append(
                self.train(store if stored else teacher, data, epoch)
            )
        for live, stored in zip(*weights, strict=True):
            self.assertAllClose(live, stored, rtol=0, atol=1e-6)
        # Not for want of soft targets.
        self.assertNotAllClose(
            weights[0][0],
            kd_keras.models.mlp((8, 8, 1), 10, (16,), seed=1).get_weights()[0],
            atol=1e-3,
        )


class ViewsTest(stored_targets.StoreTestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.images = stored_targets.pixels(40)
        ids = np.random.default_rng(0).permutation(500)[:40]
        self.source = stored_targets.source(self.images, ids)
        self.teacher = stored_targets.teacher()
        self.shift = datasets.random_shift(2)

    def write(self, **kwargs):
        stored_targets.write(
            self.path,
            self.teacher,
            self.source,
            dtype="float32",
            **{
                "augment": self.shift,
                "augment_seed": 7,
                "num_views": 3,
                **kwargs,
            },
        )
        return soft_targets.open_store(self.path)

    def test_each_view_has_its_own_targets(self):
        store = self.write()
        seen = []
        for epoch in range(4):
            data = store.batches(
                self.source,
                9,
                augment=self.shift,
                shuffle_seed=1,
                epoch=epoch,
                # All of them, or five at a time.
                shuffle_buffer_size=(None, 5)[epoch % 2],
            )
            for image, targets in data:
                self.assertAllClose(
                    targets["teacher_logits"], self.teacher(image), atol=5e-6
                )
            unshuffled = store.batches(
                self.source, 40, augment=self.shift, epoch=epoch
            )
            seen.append(next(iter(unshuffled))[0].numpy())
        self.assertAllEqual(seen[0], seen[3])
        self.assertNotAllEqual(seen[0], seen[1])

    def test_what_is_filtered_keeps_its_views(self):
        store = self.write()
        data = store.batches(
            self.source,
            4,
            augment=self.shift,
            transform=lambda d: datasets.keep_classes(d, [2, 4]),
            shuffle_seed=0,
            epoch=2,
        )
        for image, targets in data:
            self.assertAllClose(
                targets["teacher_logits"], self.teacher(image), atol=5e-6
            )
            self.assertAllInSet(targets["label"].numpy(), [2, 4])

    def test_other_augmentations_are_refused(self):
        store = self.write()
        with self.assertRaisesRegex(ValueError, "3 views by random_shift"):
            store.batches(self.source, 4)
        with self.assertRaisesRegex(ValueError, "other pixels"):
            store.batches(
                self.source, 4, augment=datasets.random_shift(1), epoch=0
            )
        with self.assertRaisesRegex(ValueError, "written with num_views=3"):
            store.batches(
                self.source, 4, augment=self.shift, epoch=0, num_views=2
            )
        with self.assertRaisesRegex(ValueError, "which their store replays"):
            datasets.batches(store.examples(self.source), 4)

    def test_a_plain_store_has_no_views(self):
        stored_targets.write(self.path, self.teacher, self.source)
        store = soft_targets.open_store(self.path)
        with self.assertRaisesRegex(ValueError, "with the teacher itself"):
            store.batches(self.source, 4, augment=self.shift, epoch=0)
        with self.assertRaisesRegex(ValueError, "the images as they are"):
            datasets.batches(
                store.examples(self.source),
                4,
                augment=self.shift,
                augment_seed=0,
                epoch=0,
            )

    def test_what_cannot_be_replayed_is_refused(self):
        layer = keras.layers.RandomFlip()

        def drawn(image, seed):
            return tf.image.random_flip_left_right(image)

        def hidden(image, seed):
            return tf.cond(
                seed[0] > 0,
                lambda: image,
                lambda: tf.image.random_flip_left_right(image),
            )

        def of_keras(image, seed):
            return layer(image[None], training=True)[0]

        def of_python(image, seed):
            return tf.numpy_function(lambda i: i, [image], tf.uint8)

        for augment in (drawn, hidden, of_keras, of_python):
            with self.assertRaisesRegex(ValueError, "must be replayable"):
                self.write(augment=augment)
        self.assertEmpty(list(self.path.parent.iterdir()))


if __name__ == "__main__":
    tf.test.main()
