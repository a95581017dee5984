"""The order of the data: a function of seed, epoch and number of examples."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras.datasets import batches
from kd_keras.datasets import hide_labels
from kd_keras.datasets import memory
from kd_keras.datasets import order
from tests import sources

# From memory; through a buffer, from memory and not.
WAYS = (
    {},
    {"shuffle_buffer_size": 4},
    {"shuffle_buffer_size": 4, "cache": False},
    {"cache": False},
)
# Orders of ten examples with seed 3 in epochs 0 and 1, from memory and through
# a buffer. Whoever changes them spoils the runs that are to be taken up again.
FIXED = [
    [[8, 3, 2, 4, 5, 7, 9, 1, 0, 6], [1, 4, 0, 2, 6, 7, 3, 8, 5, 9]],
    [[7, 1, 8, 5, 0, 9, 2, 3, 6, 4], [1, 4, 5, 3, 7, 6, 9, 0, 8, 2]],
]


def examples(count=10):
    """Image i is all i, label i."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return tf.data.Dataset.from_tensor_slices(
        {"image": images, "label": np.arange(count)}
    )


def labels(dataset):
    return [int(label) for _, batch in dataset for label in batch]


class BatchesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(*WAYS)
    def test_function_of_seed_and_epoch(self, **way):
        epoch = tf.Variable(0, dtype=tf.int64)

        def build(seed=3, batch_size=4):
            return batches(
                examples(), batch_size, shuffle_seed=seed, epoch=epoch, **way
            )

        dataset = build()
        orders = []
        for number in range(4):
            epoch.assign(number)
            orders.append(labels(dataset))
            self.assertEqual(sorted(orders[-1]), list(range(10)))
        self.assertLen({tuple(o) for o in orders}, 4)
        for number in (2, 0, 0, 3):
            # However often it was iterated over, whatever the global seed.
            tf.random.set_seed(number + 17)
            epoch.assign(number)
            self.assertEqual(labels(dataset), orders[number])
            self.assertEqual(labels(build()), orders[number])
            self.assertEqual(labels(build(batch_size=7)), orders[number])
            self.assertNotEqual(labels(build(seed=4)), orders[number])

    @parameterized.parameters(*WAYS)
    def test_values_length_and_remainder(self, **way):
        for drop, lengths in ((False, [4, 4, 2]), (True, [4, 4])):
            dataset = batches(
                examples(),
                4,
                shuffle_seed=0,
                epoch=5,
                drop_remainder=drop,
                **way,
            )
            self.assertLen(dataset, len(lengths))
            found = list(dataset)
            self.assertEqual([len(y) for _, y in found], lengths)
            for images, y in found:
                self.assertEqual((images.dtype, y.dtype), ("float32", "int64"))
                self.assertAllClose(images[:, 0, 0, 0] * 255, y)
            size = 4 if drop else None
            self.assertEqual(
                [spec.shape.as_list() for spec in dataset.element_spec],
                [[size, 1, 1, 1], [size]],
            )

    def test_an_epoch_counted_on_changes_the_next_iteration_only(self):
        for way in WAYS:
            epoch = tf.Variable(0)
            dataset = batches(examples(), 2, shuffle_seed=3, epoch=epoch, **way)
            expected = labels(dataset)
            found = []
            for _, batch in dataset:
                epoch.assign_add(1)
                found += batch.numpy().tolist()
            self.assertEqual(found, expected)
            self.assertNotEqual(labels(dataset), expected)

    def test_every_order_is_as_likely(self):
        # 6 orders of 3 examples. A sum of squares that one in a thousand
        # correct generators exceeds; the seed is fixed.
        counts = {}
        for epoch in range(600):
            found = tuple(order.epoch_order(1, epoch, 3).numpy())
            counts[found] = counts.get(found, 0) + 1
        self.assertLen(counts, 6)
        chi_square = sum((c - 100) ** 2 / 100 for c in counts.values())
        self.assertLess(chi_square, 20.5)

    def test_neighbouring_seeds_and_epochs_have_nothing_in_common(self):
        # Of 1000 examples one is expected at the same place by chance.
        one = order.epoch_order(5, 8, 1000).numpy()
        for seed, epoch in ((5, 9), (6, 8), (8, 5), (-5, 8)):
            other = order.epoch_order(seed, epoch, 1000).numpy()
            self.assertLess(np.sum(one == other), 8)
            self.assertLess(abs(np.corrcoef(one, other)[0, 1]), 0.12)

    def test_buffer(self):
        for epoch in range(20):
            found = labels(
                batches(
                    examples(30),
                    30,
                    shuffle_seed=0,
                    epoch=epoch,
                    shuffle_buffer_size=5,
                )
            )
            # At most 4 places early.
            self.assertLess(np.max(found - np.arange(30)), 5)

    def test_hidden_labels_stay_with_their_images(self):
        hidden = hide_labels(examples(), 0.5, seed=0)
        expected = {int(e["image"][0, 0, 0]): int(e["label"]) for e in hidden}
        for images, y in batches(hidden, 4, shuffle_seed=0, epoch=1):
            numbers = np.rint(images[:, 0, 0, 0] * 255)
            self.assertAllEqual(y, [expected[int(n)] for n in numbers])

    def test_a_set_kept_in_memory_is_read_once(self):
        reads = []

        def note(example):
            tf.py_function(lambda: reads.append(1), [], [])
            return example

        chunk, memory._CHUNK = memory._CHUNK, 3
        self.addCleanup(setattr, memory, "_CHUNK", chunk)
        dataset = batches(examples().map(note), 2, shuffle_seed=0, epoch=0)
        found = [labels(dataset) for _ in range(3)]
        self.assertLen(reads, 10)
        self.assertEqual(sorted(found[0]), list(range(10)))

    def test_workers_share_by_elements(self):
        for way in WAYS:
            dataset = batches(examples(), 2, shuffle_seed=0, epoch=0, **way)
            self.assertEqual(
                dataset.options().experimental_distribute.auto_shard_policy,
                tf.data.experimental.AutoShardPolicy.DATA,
            )

    @pytest.mark.slow
    def test_in_a_fresh_process(self):
        code = """
            import tensorflow as tf
            tf.random.set_seed(99)
            from tests import datasets_order_test
            print("orders:", datasets_order_test.fixed_orders())
        """
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=sources.ROOT,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"orders: {FIXED}\n", done.stdout)
        self.assertEqual(fixed_orders(), FIXED)

    @parameterized.parameters(
        ({"epoch": -1}, ValueError, "not be negative.*-1"),
        ({"epoch": 1.5}, TypeError, "must be an int.*1.5"),
        ({"epoch": True}, TypeError, "must be an int"),
        ({"shuffle_seed": None}, ValueError, "nothing to decide"),
        ({"shuffle_seed": 2**63}, ValueError, "fit in 64 bits"),
        ({"shuffle_seed": 0.5}, TypeError, '"shuffle_seed" must be an int'),
    )
    def test_refused(self, change, error, message):
        arguments = {"shuffle_seed": 0, "epoch": 0, **change}
        with self.assertRaisesRegex(error, message):
            batches(examples(), 2, **arguments)

    def test_refused_variables(self):
        for value, message in (
            (tf.Variable(0.0), "integer scalar.*float32"),
            (tf.Variable([0]), r"integer scalar.*\(1,\)"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                batches(examples(), 2, shuffle_seed=0, epoch=value)

        class Counter:
            value = tf.Variable(0)

        with self.assertRaisesRegex(TypeError, "counter.value"):
            batches(examples(), 2, shuffle_seed=0, epoch=Counter())


def fixed_orders():
    return [
        [
            labels(batches(examples(), 10, shuffle_seed=3, epoch=epoch, **way))
            for way in WAYS[:2]
        ]
        for epoch in range(2)
    ]


if __name__ == "__main__":
    tf.test.main()
