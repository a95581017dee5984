"""Batches: pixels, order, and which order when."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras.datasets import batches
from kd_keras.datasets import batching
from kd_keras.datasets import examples
from kd_keras.datasets import to_float


def _examples(count=10):
    """Image i is all i, label i."""
    images = np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 3, 1)
    )
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": images,
            "label": np.arange(count, dtype=np.int64),
            "id": [str(i) for i in range(count)],
        }
    )


def _orders(dataset, epochs=1):
    """The labels in the order of each of several iterations."""
    return [
        [int(label) for _, labels in dataset for label in labels]
        for _ in range(epochs)
    ]


class ToFloatTest(tf.test.TestCase):
    def test_all_256_values(self):
        values = np.arange(256, dtype=np.uint8)
        result = to_float(values)
        self.assertEqual(result.dtype, tf.float32)
        self.assertAllEqual(result, values.astype(np.float32) / 255)
        # Nothing is lost: every value is found again.
        self.assertAllEqual(np.rint(result.numpy() * 255), values)

    def test_scaled_pixels_are_refused(self):
        with self.assertRaisesRegex(TypeError, "must be uint8.*float32"):
            to_float(tf.zeros([2, 2, 1]))


class BatchesTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        # Another test may have left a global seed, which takes part.
        tf.random.set_seed(0)

    def test_values_and_order(self):
        result = list(batches(_examples(5), 2))
        self.assertLen(result, 3)
        self.assertAllEqual(result[1][1], [2, 3])
        self.assertAllEqual(result[2][1], [4])
        for images, labels in result:
            self.assertEqual((images.dtype, labels.dtype), ("float32", "int64"))
            self.assertAllEqual(
                images,
                np.broadcast_to(
                    (labels.numpy() / 255).astype(np.float32)[
                        :, None, None, None
                    ],
                    (len(labels), 2, 3, 1),
                ),
            )

    @parameterized.product(cache=[True, False], seed=[None, 3])
    def test_length_and_remainder(self, cache, seed):
        for drop, lengths in ((False, [4, 4, 2]), (True, [4, 4])):
            dataset = batches(
                _examples(),
                4,
                shuffle_seed=seed,
                cache=cache,
                drop_remainder=drop,
            )
            self.assertLen(dataset, len(lengths))
            for _ in range(2):  # From the source, then from the cache.
                self.assertEqual([len(y) for _, y in dataset], lengths)

    def test_without_seed_every_iteration_is_in_order(self):
        dataset = batches(_examples(), 3)
        self.assertEqual(_orders(dataset, 3), [list(range(10))] * 3)

    def test_shuffled_iterations_are_permutations_and_all_different(self):
        orders = _orders(batches(_examples(), 3, shuffle_seed=7), 4)
        for order in orders:
            self.assertEqual(sorted(order), list(range(10)))
        self.assertLen({tuple(order) for order in [*orders, range(10)]}, 5)

    @parameterized.parameters(True, False)
    def test_same_seed_same_sequence_of_orders(self, cache):
        def build(seed, batch_size=3):
            return _orders(
                batches(
                    _examples(), batch_size, shuffle_seed=seed, cache=cache
                ),
                3,
            )

        first = build(seed=7)
        tf.random.uniform([])  # What else is drawn makes no difference.
        self.assertEqual(build(seed=7), first)
        self.assertEqual(build(seed=7, batch_size=5), first)
        self.assertNotEqual(build(seed=8), first)

    def test_every_example_can_come_first(self):
        # A buffer smaller than the set could not bring the last one forward.
        dataset = batches(_examples(), 10, shuffle_seed=0)
        firsts = {order[0] for order in _orders(dataset, 70)}
        self.assertEqual(firsts, set(range(10)))

    def test_shuffle_buffer_size(self):
        dataset = batches(
            _examples(20), 20, shuffle_seed=0, shuffle_buffer_size=5
        )
        for order in _orders(dataset, 20):
            self.assertLess(order[0], 5)

    def test_images_and_labels_stay_together(self):
        for images, labels in batches(_examples(), 4, shuffle_seed=1):
            self.assertAllClose(images[:, 0, 0, 0] * 255, labels)

    def _reads(self, **kwargs):
        """How often the source is read in three iterations."""
        source = _examples(4)
        reads = []

        def note(example):
            tf.py_function(lambda: reads.append(1), [], [])
            return example

        dataset = batches(source.map(note), 2, **kwargs)
        for _ in range(3):
            list(dataset)
        return len(reads) / 4

    @parameterized.parameters(None, 5)
    def test_cache(self, seed):
        self.assertEqual(self._reads(shuffle_seed=seed), 1)
        self.assertEqual(self._reads(shuffle_seed=seed, cache=False), 3)

    def test_large_sets_are_not_cached_by_default(self):
        # 4 images of 2 * 3 * 1 bytes, and labels of 8.
        for limit, reads in ((56, 1), (55, 3)):
            with self.subTest(limit):
                original = batching.MAX_CACHE_BYTES
                batching.MAX_CACHE_BYTES = limit
                try:
                    self.assertEqual(self._reads(), reads)
                finally:
                    batching.MAX_CACHE_BYTES = original

    def test_unknown_length_is_counted(self):
        dataset = batches(_examples().filter(lambda e: e["label"] != 3), 4)
        self.assertLen(dataset, 3)
        self.assertEqual(_orders(dataset), [[0, 1, 2, 4, 5, 6, 7, 8, 9]])

    def test_hidden_labels_pass(self):
        hidden = _examples(2).map(lambda e: {**e, "label": tf.constant(-1)})
        self.assertEqual(_orders(batches(hidden, 2)), [[-1, -1]])

    @parameterized.parameters(0, -1, 2.0, True)
    def test_bad_batch_size(self, batch_size):
        with self.assertRaisesRegex(ValueError, '"batch_size" must be a pos'):
            batches(_examples(), batch_size)

    def test_bad_seed(self):
        with self.assertRaisesRegex(TypeError, '"shuffle_seed" must be an int'):
            batches(_examples(), 2, shuffle_seed=0.5)

    def test_no_batch_left(self):
        with self.assertRaisesRegex(ValueError, "batch_size of at most 10"):
            batches(_examples(), 11, drop_remainder=True)

    def test_scaled_images_are_refused(self):
        scaled = _examples().map(
            lambda e: {**e, "image": tf.cast(e["image"], tf.float32) / 255}
        )
        with self.assertRaisesRegex(TypeError, "uint8.*float32"):
            batches(scaled, 2)


class CheckExamplesTest(tf.test.TestCase):
    def test_refused(self):
        class Images:
            dataset = _examples()

        for dataset, error, message in (
            (Images(), TypeError, "Pass its field: images.dataset"),
            ([1, 2], TypeError, "Received: list"),
            (
                _examples().map(lambda e: (e["image"], e["label"])),
                TypeError,
                "before batches",
            ),
            (
                _examples().map(
                    lambda e: {**e, "label": tf.cast(e["label"], tf.float32)}
                ),
                TypeError,
                "integer class number",
            ),
            (_examples().batch(2), ValueError, "unbatch"),
        ):
            with self.assertRaisesRegex(error, message):
                examples.check_examples(dataset)
        examples.check_examples(_examples())

    def test_count(self):
        self.assertEqual(examples.count_examples(_examples(7)), 7)
        self.assertEqual(
            examples.count_examples(_examples(7).batch(2).unbatch()), 7
        )
        with self.assertRaisesRegex(ValueError, "finite"):
            examples.count_examples(_examples().repeat())
        with self.assertRaisesRegex(ValueError, "no example"):
            examples.count_examples(_examples().take(0))


if __name__ == "__main__":
    tf.test.main()
