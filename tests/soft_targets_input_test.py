"""What cannot be stored is refused, and nothing is lost."""

import dataclasses
import resource

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import soft_targets
from tests import stored_targets


class InputTest(stored_targets.StoreTestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.images = stored_targets.pixels(40)
        self.source = stored_targets.source(self.images)
        self.teacher = stored_targets.teacher()

    def write(self, teacher=None, source=None, **kwargs):
        stored_targets.write(
            self.path,
            self.teacher if teacher is None else teacher,
            self.source if source is None else source,
            **kwargs,
        )

    def refuses(self, message, *args, error=ValueError, **kwargs):
        with self.assertRaisesRegex(error, message):
            self.write(*args, **kwargs)
        self.assertFalse(self.path.exists())

    def at_example(self, position, value):
        """A teacher that gives this value for one example."""
        pixels = np.float32(self.images[position]) / 255

        def teacher(x):
            found = tf.reduce_all(tf.abs(x - pixels) < 1e-6, axis=[1, 2, 3])
            rare = tf.where(found, value, 0.0)[:, None]
            return self.teacher(x) + rare * [[0.0, 0.0, 1.0, 0.0, 0.0]]

        return teacher

    @parameterized.parameters(
        (float("nan"), "NaN or infinite"),
        (float("inf"), "NaN or infinite"),
        (1e5, "differ from their mean by up to .*float16 does not hold"),
    )
    def test_bad_logits(self, value, message):
        ids = np.arange(40) * 10 + 3
        self.refuses(
            f"example with id 333, .*{message}",
            self.at_example(33, value),
            stored_targets.source(self.images, ids),
            teacher_fingerprint="x",
            num_ranges=4,
        )
        # What was done before is not lost: three ranges of four.
        partial = self.path.with_name("store.partial")
        self.assertLen(list(partial.glob("range-*")), 3)

    def test_large_logits_fit_into_float32(self):
        self.write(
            self.at_example(33, 1e5), dtype="float32", teacher_fingerprint="x"
        )
        store = soft_targets.open_store(self.path)
        rows = [
            e["teacher_logits"]
            for e in store.examples(self.source).as_numpy_iterator()
        ]
        self.assertGreater(rows[33][2], 9e4)

    def test_a_common_offset_is_no_overflow(self):
        # Added to all logits of an example it changes no distribution.
        self.write(lambda x: self.teacher(x) + 1e5, teacher_fingerprint="x")
        store = soft_targets.open_store(self.path)
        example = next(iter(store.examples(self.source)))
        expected = self.teacher(np.float32(self.images[:1]) / 255)
        self.assertAllClose(
            example["teacher_logits"][None],
            stored_targets.centred(expected),
            # Of float32 at 1e5.
            atol=0.02,
        )

    def test_teachers(self):
        self.refuses(
            r"shape \(6,\) .* the 5 classes",
            stored_targets.teacher(num_classes=6),
        )
        ends = keras.Sequential([self.teacher, keras.layers.Softmax()])
        ends.build((None, 4, 4, 1))
        self.refuses("ends in softmax", ends)
        self.refuses(
            "gives probabilities",
            lambda x: tf.nn.softmax(self.teacher(x)),
            teacher_fingerprint="x",
            overwrite=True,
        )
        self.refuses("a name by", lambda x: self.teacher(x))
        self.refuses("is computed", teacher_fingerprint="x")
        self.refuses("serve every temperature", temperature=4.0)
        self.refuses(
            "one output",
            lambda x: [self.teacher(x)] * 2,
            teacher_fingerprint="x",
            overwrite=True,
        )
        self.refuses("A teacher is", "teacher.keras", error=TypeError)
        nested = kd_keras.EnsembleTeacher([[self.teacher] * 2] * 2)
        self.refuses("ensembles themselves", nested)
        self.write(nested, temperature=4.0, overwrite=True)
        store = soft_targets.open_store(self.path)
        with self.assertRaisesRegex(TypeError, "no logits to give"):
            soft_targets.write(self.path, store, self.source)

    def test_sources(self):
        self.refuses(
            "ImageDataset", source=self.source.dataset, error=TypeError
        )
        scaled = dataclasses.replace(
            self.source,
            dataset=self.source.dataset.map(
                lambda e: {**e, "image": tf.cast(e["image"], tf.float32)}
            ),
        )
        self.refuses("must be uint8", source=scaled, error=TypeError)
        self.refuses(
            "says that it has 41",
            source=dataclasses.replace(self.source, num_examples=41),
        )
        hidden = dataclasses.replace(
            self.source,
            num_examples=41,
            dataset=self.source.dataset.filter(lambda e: True),
        )
        self.refuses("ended 1 examples before", source=hidden)
        ids = [*range(39), 7]
        self.refuses(
            "id 7 comes 2 times",
            source=stored_targets.source(self.images, ids),
            overwrite=True,
        )
        strings = dataclasses.replace(
            self.source,
            dataset=self.source.dataset.map(lambda e: {**e, "id": "a"}),
        )
        self.refuses("integer scalar", source=strings, error=TypeError)

    def test_numbers(self):
        for name, values in (
            ("num_ranges", (0, -1, 2.0, True, None)),
            ("batch_size", (0, -1, 2.0, True, None)),
            ("dtype", ("bfloat16", "float64", None, 16)),
        ):
            for value in values:
                self.refuses(name, **{name: value})
        self.refuses("temperature", [self.teacher] * 2, temperature=0.0)
        self.refuses("all of augment", num_views=2)

    def test_what_the_teacher_fails_at_is_not_the_disk(self):
        def teacher(x):
            # The canaries are 32.
            bad = tf.debugging.Assert(tf.shape(x)[0] == 32, ["no memory"])
            with tf.control_dependencies([bad]):
                return self.teacher(x)

        self.refuses(
            "no memory",
            teacher,
            teacher_fingerprint="x",
            error=tf.errors.InvalidArgumentError,
        )

    def test_images_that_the_teacher_does_not_take(self):
        larger = kd_keras.models.mlp((5, 4, 1), 5, (3,))
        self.refuses(
            r"does not take the images of squares, shape \(4, 4, 1\): .*"
            "incompatible",
            larger,
        )

    def test_probabilities_are_refused_early(self):
        batches = []

        def teacher(x):
            note = tf.py_function(lambda: batches.append(1), [], [])
            with tf.control_dependencies([note]):
                return tf.nn.softmax(self.teacher(x))

        self.refuses(
            "gives probabilities",
            teacher,
            teacher_fingerprint="x",
            num_ranges=1,
            batch_size=16,
        )
        self.assertLen(batches, 1)

    @parameterized.parameters(None, 4.0)
    def test_probabilities_of_one_member(self, temperature):
        softmax = lambda x: tf.nn.softmax(self.teacher(x))  # noqa: E731
        for members in ([self.teacher, softmax], [softmax, softmax]):
            self.refuses(
                "gives probabilities",
                members,
                temperature=temperature,
                teacher_fingerprint="x",
            )
        geometric = kd_keras.EnsembleTeacher(
            [softmax, self.teacher], mean="geometric"
        )
        self.refuses("gives probabilities", geometric, teacher_fingerprint="x")

    def test_what_is_there_already(self):
        self.write()
        before = (self.path / "manifest.json").read_bytes()
        with self.assertRaisesRegex(FileExistsError, "something at .*already"):
            self.write()
        with self.assertRaisesRegex(FileExistsError, "`dtype` is .float16."):
            self.write(dtype="float32")
        self.assertEqual((self.path / "manifest.json").read_bytes(), before)
        self.write(dtype="float32", overwrite=True)
        self.assertEqual(
            soft_targets.open_store(self.path).manifest.dtype, "float32"
        )
        other = self.path.with_name("other")
        other.mkdir()
        (other / "mine").write_text("mine")
        with self.assertRaisesRegex(FileExistsError, "no manifest.json"):
            stored_targets.write(
                other, self.teacher, self.source, overwrite=True
            )
        self.assertEqual((other / "mine").read_text(), "mine")

    def test_a_broken_one_is_not_read_and_goes_on(self):
        teacher = self.at_example(33, float("nan"))
        with self.assertRaisesRegex(ValueError, "id 33"):
            self.write(teacher, num_ranges=4, teacher_fingerprint="x")
        with self.assertRaisesRegex(FileNotFoundError, "not complete"):
            soft_targets.open_store(self.path)
        partial = self.path.with_name("store.partial")
        with self.assertRaisesRegex(ValueError, "manifest.json is damaged"):
            soft_targets.open_store(partial)
        with self.assertRaisesRegex(ValueError, "`batch_size` is 256 there"):
            self.write(
                teacher, num_ranges=4, teacher_fingerprint="x", batch_size=7
            )
        times = {p.name: p.stat().st_mtime_ns for p in partial.glob("range-*")}
        self.write(
            lambda x: self.teacher(x), num_ranges=4, teacher_fingerprint="x"
        )
        for name, time in times.items():
            self.assertEqual((self.path / name).stat().st_mtime_ns, time)
        self.assertLen(
            list(soft_targets.open_store(self.path).examples(self.source)), 40
        )

    def test_sources_that_are_not_what_they_say(self):
        described = dict(vars(self.source))
        for change, error, message in (
            ({"class_names": ("a", "b")}, ValueError, "5 classes"),
            ({"class_names": (1, 2, 3, 4, 5)}, ValueError, "all strings"),
            ({"version": 1}, TypeError, "`version` of a source"),
            ({"num_examples": np.int64(40)}, TypeError, "`num_examples`"),
            ({"image_shape": (2, 8, 1)}, ValueError, "`image_shape` says"),
            (
                {"dataset": self.source.dataset.repeat()},
                ValueError,
                "has no end",
            ),
        ):
            source = kd_keras.datasets.ImageDataset(**{**described, **change})
            self.refuses(message, source=source, error=error)

    def test_a_data_set_put_in_place_of_a_loaded_one(self):
        digits = kd_keras.datasets.load("digits", "train[:60]")
        teacher = kd_keras.models.mlp((8, 8, 1), 10, (4,), seed=0)
        odd = dataclasses.replace(
            digits,
            dataset=digits.dataset.enumerate()
            .filter(lambda i, _: i % 2 == 1)
            .map(lambda _, example: example),
            num_examples=30,
        )
        self.assertTrue(digits.is_as_loaded)
        self.assertFalse(odd.is_as_loaded)
        first = next(odd.part(3, 4).as_numpy_iterator())
        expected = list(digits.dataset.as_numpy_iterator())[7]
        self.assertAllEqual(first["image"], expected["image"])
        for num_ranges in (1, 4):
            path = self.path.with_name(f"odd {num_ranges}")
            stored_targets.write(path, teacher, odd, num_ranges=num_ranges)
            store = soft_targets.open_store(path, teacher=teacher)
            self.assertLen(list(store.examples(odd)), 30)

    def test_more_than_can_be_batched(self):
        def elements():
            for number in range(40):
                yield {
                    "image": self.images[number],
                    "label": number % 5,
                    "boxes": np.zeros([number % 3, 4], np.float32),
                    "weight": np.float32(number),
                }

        dataset = tf.data.Dataset.from_generator(
            elements,
            output_signature={
                "image": tf.TensorSpec([4, 4, 1], tf.uint8),
                "label": tf.TensorSpec([], tf.int64),
                "boxes": tf.TensorSpec([None, 4], tf.float32),
                "weight": tf.TensorSpec([], tf.float32),
            },
        )
        source = dataclasses.replace(self.source, dataset=dataset)
        self.write(source=source)
        store = soft_targets.open_store(self.path)
        found = list(store.examples(source).as_numpy_iterator())
        self.assertNotIn("boxes", found[0])
        self.assertEqual([x["weight"] for x in found], list(range(40)))

    def test_traced_once(self):
        traces = []

        def teacher(x):
            traces.append(x.shape)
            return self.teacher(x)

        # Batches of 7, 6, and canaries of 32.
        self.write(teacher, teacher_fingerprint="x", num_ranges=3, batch_size=7)
        self.assertLen(traces, 1)

    @parameterized.parameters(
        ("range-00000", 2000, (4, 4, 1)), ("canaries", 40, (30, 30, 1))
    )
    def test_full_disk(self, name, num_examples, shape):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        images = np.arange(num_examples * np.prod(shape)) % 251
        source = stored_targets.source(
            np.uint8(images).reshape(-1, *shape), image_shape=shape
        )
        case = dict(
            teacher=lambda x: tf.reshape(x, [tf.shape(x)[0], -1])[:, :5],
            teacher_fingerprint="x",
            source=source,
            num_ranges=1,
        )
        try:
            # Room for the manifest to begin with, not for this file.
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
            self.refuses(name, **case, error=OSError)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.write(**case)
        store = soft_targets.open_store(self.path)
        self.assertLen(list(store.examples(source)), num_examples)


if __name__ == "__main__":
    tf.test.main()
