"""Augmentation: the same seed, epoch and example give the same pixels."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras.datasets import augmentation
from kd_keras.datasets import batches
from kd_keras.datasets import order
from kd_keras.datasets import philox
from kd_keras.datasets import random_mask
from kd_keras.datasets import random_shift


def examples(count=12):
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (count, 5, 6, 2), np.uint8)
    return tf.data.Dataset.from_tensor_slices(
        {"image": images, "label": np.arange(count)}
    )


def by_label(dataset):
    """The images as bytes, by their labels, which are all different."""
    return {
        int(y): image.numpy().tobytes()
        for images, labels in dataset
        for image, y in zip(images, labels, strict=True)
    }


def shifted(image, down, right):
    """What a shift is, written plainly."""
    result = np.zeros_like(image)
    height, width, _ = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[row, column] = image[row - down, column - right]
    return result


class RandomShiftTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters("uint8", "float32")
    def test_every_shift_is_as_likely(self, dtype):
        image = np.arange(1, 61).reshape(5, 6, 2).astype(dtype)
        moves = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
        possible = {shifted(image, *move).tobytes(): move for move in moves}
        shift = random_shift(2)
        counts = dict.fromkeys(moves, 0)
        for number in range(1000):
            result = shift(image, [0, number])
            self.assertEqual((result.dtype, result.shape), (dtype, image.shape))
            # KeyError if it is none of the 25.
            counts[possible[result.numpy().tobytes()]] += 1
        # A sum of squares that one in a thousand correct generators exceeds.
        chi_square = sum((c - 40) ** 2 / 40 for c in counts.values())
        self.assertLess(chi_square, 51.2)

    @parameterized.parameters(0, -1, 1.5, True)
    def test_refused(self, max_pixels):
        with self.assertRaisesRegex(ValueError, '"max_pixels" must be a pos'):
            random_shift(max_pixels)


class RandomMaskTest(tf.test.TestCase, parameterized.TestCase):
    def test_shares(self):
        image = np.full((100, 100, 3), 51, np.uint8)
        masked = random_mask(0.2)(image, [0, 1]).numpy()
        self.assertEqual(masked.dtype, np.float32)
        taken = masked == 0
        # Four standard errors.
        self.assertBetween(taken.mean(), 0.1907, 0.2093)
        self.assertAllClose(masked[~taken], np.full((~taken).sum(), 0.25))
        # Channels of a pixel are taken away one by one.
        both = (taken[..., 0] & taken[..., 1]).mean()
        self.assertBetween(both, 0.0322, 0.0478)

    def test_it_follows_from_the_seed(self):
        image, mask = np.full((4, 4, 1), 255, np.uint8), random_mask(0.5)
        self.assertAllEqual(mask(image, [3, 4]), mask(image, [3, 4]))
        self.assertNotAllClose(mask(image, [3, 4]), mask(image, [3, 5]))

    def test_in_batches(self):
        (images, _), *_ = batches(
            examples(), 12, augment=random_mask(0.5), augment_seed=0, epoch=0
        )
        (plain, _), *_ = batches(examples(), 12)
        kept = images != 0
        self.assertAllClose(images[kept], 2 * plain[kept])
        share = kept.numpy()[plain != 0].mean()
        self.assertBetween(share, 0.4, 0.6)

    @parameterized.parameters(0, 1, -0.1, 1.5, float("nan"), True, "1")
    def test_refused(self, share):
        with self.assertRaisesRegex(ValueError, '"share" must be a number'):
            random_mask(share)


class BatchTest(tf.test.TestCase, parameterized.TestCase):
    """All images of a batch at once become what each becomes alone."""

    @parameterized.parameters(
        (random_shift(1), "uint8", (5, 6, 2)),
        (random_shift(2), "float32", (28, 28, 1)),
        # By more than there is.
        (random_shift(9), "int32", (4, 7, 3)),
    )
    def test_equal(self, augment, dtype, shape):
        rng = np.random.default_rng(0)
        images = rng.integers(1, 256, (50, *shape)).astype(dtype)
        seeds = order.example_seeds(7, 3, tf.range(50, dtype=tf.int64))
        expected = [
            augment(image, seed).numpy()
            for image, seed in zip(images, seeds, strict=True)
        ]
        spec = tf.TensorSpec(shape, dtype)
        images = tf.constant(images)

        @tf.function
        def call(augment):
            return augmentation.augmented(augment, images, seeds, spec)

        found = call(augment)
        self.assertAllEqual(found, expected)
        self.assertEqual(found.shape, images.shape)
        # The loop is for augmentations of one image.
        found = call(lambda image, seed: augment(image, seed))
        self.assertAllEqual(found, expected)

    def test_no_image(self):
        found = augmentation.augmented(
            random_shift(1),
            tf.zeros((0, 4, 4, 1), tf.uint8),
            tf.zeros((0, 2), tf.int32),
            tf.TensorSpec((4, 4, 1), tf.uint8),
        )
        self.assertEqual(found.shape, (0, 4, 4, 1))

    def test_an_attribute_of_its_own(self):
        """Anybody's augmentation may know how to do all at once."""

        def flip(image, seed):
            del seed
            return image[:, ::-1]

        calls = []

        def of_batch(images, seeds):
            calls.append(seeds.shape)
            return images[:, :, ::-1]

        flip.of_batch = of_batch
        (images, _), *_ = batches(
            examples(), 12, augment=flip, augment_seed=0, epoch=0
        )
        (plain, _), *_ = batches(examples(), 12)
        self.assertAllClose(images, plain[:, :, ::-1])
        self.assertLen(calls, 2)  # Traced to be checked, and to be used.

    def test_a_batch_cannot_be_replayed(self):
        def same(image, seed):
            return image

        same.of_batch = lambda images, seeds: (
            images
            + tf.cast(tf.random.uniform([], maxval=2, dtype=tf.int32), tf.uint8)
        )
        with self.assertRaisesRegex(ValueError, "must be replayable"):
            batches(examples(), 12, augment=same, augment_seed=0, epoch=0)


class PhiloxTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(1, 2, 5, 1000, 2**31 - 1)
    def test_integers(self, bound):
        rng = np.random.default_rng(bound)
        limit = np.iinfo(np.int32)
        seeds = rng.integers(limit.min, limit.max, (60, 2), endpoint=True)
        seeds[:4] = [[0, 0], [-1, -1], [limit.min, limit.max], [1, 0]]
        seeds = tf.constant(seeds, tf.int32)
        expected = [
            tf.random.stateless_uniform([2], seed, 0, bound, tf.int32)
            for seed in seeds
        ]
        self.assertAllEqual(philox.integers_below(bound, seeds), expected)


class SeedsTest(tf.test.TestCase):
    def test_all_different(self):
        found = set()
        for seed in (0, 1):
            for epoch in (0, 1, 2):
                seeds = order.example_seeds(seed, epoch, tf.range(50))
                found |= {tuple(s) for s in seeds.numpy()}
        self.assertLen(found, 2 * 3 * 50)

    def test_draws_of_neighbours_are_independent(self):
        draws = np.array(
            [
                [
                    tf.random.stateless_uniform([], seed).numpy()
                    for seed in order.example_seeds(7, epoch, tf.range(150))
                ]
                for epoch in (0, 1)
            ]
        )
        # Three standard deviations of 150 independent draws.
        self.assertLess(abs(np.corrcoef(draws)[0, 1]), 3 / 150**0.5)
        series = draws[0]
        self.assertLess(
            abs(np.corrcoef(series[1:], series[:-1])[0, 1]), 3 / 150**0.5
        )
        self.assertAllClose(draws.mean(), 0.5, atol=3 / (12 * 300) ** 0.5)


class BatchesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        {"batch_size": 5},
        {"shuffle_buffer_size": 3},
        {"shuffle_buffer_size": 3, "cache": False, "batch_size": 5},
        {"shuffle_seed": None},
        {"shuffle_seed": 9},
    )
    def test_function_of_seed_epoch_and_example(self, **way):
        def build(**change):
            arguments = {
                "batch_size": 4,
                "shuffle_seed": 3,
                "augment": random_shift(2),
                "augment_seed": 8,
                "epoch": 6,
                **way,
                **change,
            }
            return by_label(batches(examples(), **arguments))

        # Computed example by example, from the position in the data set.
        expected = {}
        shift = random_shift(2)
        for position, example in enumerate(examples()):
            seed = order.example_seeds(8, 6, [position])[0]
            image = shift(example["image"], seed)
            expected[position] = (
                (tf.cast(image, tf.float32) / 255.0).numpy().tobytes()
            )
        tf.random.set_seed(len(way))
        self.assertEqual(build(), expected)
        for change in ({"epoch": 7}, {"augment_seed": 9}):
            other = build(**change)
            same = sum(other[i] == expected[i] for i in expected)
            self.assertLess(same, 6)

    def test_shuffle_seed_is_the_seed_if_there_is_no_other(self):
        def build(**seeds):
            return by_label(
                batches(
                    examples(), 4, augment=random_shift(1), epoch=0, **seeds
                )
            )

        self.assertEqual(
            build(shuffle_seed=5), build(shuffle_seed=6, augment_seed=5)
        )

    def test_the_epoch_of_a_variable(self):
        epoch = tf.Variable(2, dtype=tf.int64)

        def build(epoch):
            return batches(
                examples(),
                4,
                shuffle_seed=0,
                augment=random_shift(2),
                epoch=epoch,
            )

        dataset = build(epoch)
        for number in (2, 3):
            epoch.assign(number)
            self.assertEqual(by_label(dataset), by_label(build(number)))

    @parameterized.parameters(None, 5)
    def test_views_come_again(self, buffer_size):
        def epoch(number, num_views):
            return by_label(
                batches(
                    examples(),
                    5,
                    shuffle_seed=number,
                    augment=random_shift(2),
                    augment_seed=4,
                    epoch=number,
                    num_views=num_views,
                    shuffle_buffer_size=buffer_size,
                )
            )

        endless = [epoch(number, None) for number in range(3)]
        views = [epoch(number, 3) for number in range(6)]
        self.assertEqual(views, endless + endless)
        self.assertNotEqual(endless[0], endless[1])

    def test_an_id_takes_the_place_of_the_position(self):
        ids = tf.constant([7, 3, 11, 0, 5, 9, 1, 2, 4, 6, 8, 10], tf.int64)
        numbered = examples().enumerate()

        def epoch(dataset):
            return by_label(
                batches(
                    dataset, 5, augment=random_shift(2), augment_seed=4, epoch=2
                )
            )

        # Each image comes at the position that it has as its id below.
        places = np.argsort(ids)
        elements = list(examples())
        moved = tf.data.Dataset.from_tensor_slices(
            {
                name: tf.stack([elements[i][name] for i in places])
                for name in ("image", "label")
            }
        )
        with_ids = numbered.map(lambda i, e: {**e, "id": tf.gather(ids, i)})
        self.assertEqual(epoch(with_ids), epoch(moved))
        self.assertNotEqual(epoch(with_ids), epoch(examples()))

    def test_float_images_are_taken_as_they_are(self):
        def brighten(image, seed):
            del seed
            return tf.cast(image, tf.float32) / 510.0 + 0.5

        dataset = batches(
            examples(), 4, shuffle_seed=0, epoch=0, augment=brighten
        )
        plain = by_label(batches(examples(), 4))
        for label, image in by_label(dataset).items():
            self.assertAllClose(
                np.frombuffer(image, np.float32),
                np.frombuffer(plain[label], np.float32) / 2 + 0.5,
            )

    def test_another_size(self):
        def crop(image, seed):
            return tf.image.stateless_random_crop(image, [3, 4, 2], seed)

        dataset = batches(
            examples(),
            4,
            shuffle_seed=0,
            epoch=0,
            augment=crop,
            drop_remainder=True,
        )
        self.assertEqual(dataset.element_spec[0].shape, (4, 3, 4, 2))
        self.assertEqual(next(iter(dataset))[0].shape, (4, 3, 4, 2))

    @parameterized.parameters(
        ({"augment": 3}, TypeError, "must be a function.*3"),
        ({"epoch": None}, ValueError, "needs epoch.*EpochCounter"),
        ({"shuffle_seed": None}, ValueError, "needs a seed"),
        (
            {"augment": None, "augment_seed": 3},
            ValueError,
            "for augment=..., which is missing",
        ),
        (
            {"augment": lambda image, seed: (image, seed)},
            TypeError,
            "must give one image",
        ),
        (
            {"augment": lambda image, seed: tf.cast(image, tf.int32)},
            TypeError,
            "must give one image.*int32",
        ),
        (
            {"augment": lambda image, seed: image[0]},
            ValueError,
            r"\(6, 2\).*one image at a time",
        ),
    )
    def test_refused(self, change, error, message):
        arguments = {
            "shuffle_seed": 0,
            "epoch": 0,
            "augment": random_shift(1),
            **change,
        }
        with self.assertRaisesRegex(error, message):
            batches(examples(), 4, **arguments)

    def test_checked_without_a_batch(self):
        spec = augmentation.check_augmentation(
            lambda image, seed: image[:2], tf.TensorSpec([5, 6, 2], tf.uint8)
        )
        self.assertEqual(spec, tf.TensorSpec([2, 6, 2], tf.uint8))


if __name__ == "__main__":
    tf.test.main()
