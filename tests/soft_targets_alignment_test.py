"""Every example carries its own target, whatever is done to the data."""

import dataclasses
import pathlib
import random
import re
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import datasets
from kd_keras import models
from kd_keras import soft_targets
from tests import stored_targets

NUM_EXAMPLES = 97


class AlignmentTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.images = stored_targets.pixels(NUM_EXAMPLES)
        cls.ids = np.random.default_rng(1).permutation(10_000)[:NUM_EXAMPLES]
        cls.source = stored_targets.source(cls.images, cls.ids)
        teacher = stored_targets.teacher()
        logits = teacher(np.float32(cls.images) / 255).numpy()
        # By their pixels, so that no id or order has a say.
        cls.expected = {
            image.tobytes(): row
            for image, row in zip(
                cls.images, stored_targets.centred(logits), strict=True
            )
        }
        cls.stores = []
        rng = random.Random(0)
        for number in range(8):
            path = pathlib.Path(folder) / f"{number}"
            stored_targets.write(
                path,
                teacher,
                cls.source,
                num_ranges=rng.randint(1, 12),
                batch_size=rng.choice([1, 5, 16, 40, 256]),
            )
            cls.stores.append(soft_targets.open_store(path))
        cls.datasets = [store.examples(cls.source) for store in cls.stores]

    def assert_own(self, images, logits):
        """Images as uint8, or as float32 in [0, 1]."""
        if images.dtype != np.uint8:
            images = np.rint(images * 255).astype(np.uint8)
        expected = [self.expected[image.tobytes()] for image in images]
        self.assertAllClose(logits, expected, rtol=2**-11, atol=1e-5)

    def changed(self, dataset, rng):
        """The data set after something random was done to it."""
        change = rng.choice(
            ["shuffle", "shard", "filter", "repeat", "skip", "interleave"]
        )
        seed, size = rng.randrange(1000), rng.randint(2, 120)
        if change == "shuffle":
            return dataset.shuffle(
                size, seed=seed, reshuffle_each_iteration=rng.random() < 0.5
            )
        if change == "shard":
            count = rng.randint(2, 4)
            return dataset.shard(count, rng.randrange(count))
        if change == "filter":
            return dataset.filter(lambda e: (e["id"] + seed) % 3 != 0)
        if change == "repeat":
            return dataset.repeat(2)
        if change == "skip":
            return dataset.skip(rng.randint(0, 9)).take(size)
        return tf.data.Dataset.range(3).interleave(
            lambda i: dataset.shard(3, i),
            cycle_length=rng.randint(1, 3),
            block_length=rng.randint(1, 7),
            num_parallel_calls=rng.choice([None, tf.data.AUTOTUNE]),
            deterministic=rng.random() < 0.5,
        )

    def test_any_pipeline(self):
        self.check_pipelines(seed=0, count=40)

    def test_any_batches(self):
        self.check_batches(seed=1, count=10)

    @pytest.mark.slow
    def test_200_pipelines(self):
        self.check_pipelines(seed=2, count=160)
        self.check_batches(seed=3, count=40)

    def check_pipelines(self, seed, count):
        rng = random.Random(seed)
        num_checked = 0
        for _ in range(count):
            dataset = rng.choice(self.datasets)
            for _ in range(rng.randint(0, 4)):
                dataset = self.changed(dataset, rng)
            for batch in dataset.batch(rng.randint(1, 50)).as_numpy_iterator():
                self.assert_own(batch["image"], batch["teacher_logits"])
                num_checked += len(batch["image"])
        self.assertGreater(num_checked, 12 * count)

    def check_batches(self, seed, count):
        rng = random.Random(seed)
        for _ in range(count):
            whole = rng.random() < 0.5
            data = rng.choice(self.stores).batches(
                self.source,
                rng.randint(1, 120),
                shuffle_seed=rng.randrange(100),
                epoch=rng.choice([None, rng.randrange(9)]),
                shuffle_buffer_size=None if whole else rng.randint(1, 50),
                cache=rng.choice([None, True, False]),
            )
            seen = []
            for images, targets in data.as_numpy_iterator():
                self.assert_own(images, targets["teacher_logits"])
                seen.extend(np.rint(images * 255).astype(np.uint8))
            self.assertSameElements(
                [image.tobytes() for image in seen], self.expected
            )

    @parameterized.parameters(
        ("reordered", [1, 0, *range(2, NUM_EXAMPLES)]),
        ("reordered at the end", [*range(NUM_EXAMPLES - 2), 96, 95]),
        ("dropped", [*range(50), *range(51, NUM_EXAMPLES)]),
        ("dropped first", range(1, NUM_EXAMPLES)),
        ("dropped last", range(NUM_EXAMPLES - 1)),
        ("doubled", [*range(50), *range(49, NUM_EXAMPLES)]),
        ("doubled last", [*range(NUM_EXAMPLES), NUM_EXAMPLES - 1]),
    )
    def test_other_examples(self, _, order):
        order = list(order)
        # Ids that go on counting, as positions do, say nothing.
        for ids in (self.ids[order], np.resize(self.ids, len(order))):
            source = stored_targets.source(self.images[order], ids)
            # Its length is not to be seen beforehand.
            source = dataclasses.replace(
                source,
                dataset=source.dataset.filter(lambda e: True),
                num_examples=NUM_EXAMPLES,
            )
            for store in self.stores[:2]:
                with self.assertRaises(tf.errors.InvalidArgumentError):
                    for _ in store.batches(source, 20, cache=False):
                        pass

    def test_other_order_is_refused_at_the_first_example(self):
        path = self.create_store_of_positions()
        store = soft_targets.open_store(path)
        order = np.random.default_rng(0).permutation(NUM_EXAMPLES)
        rebuilt = stored_targets.source(self.images[order])
        iterator = iter(store.examples(rebuilt))
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "do not belong together"
        ):
            next(iterator)

    def test_other_ids(self):
        # Of the same pixels: views are drawn by the id.
        ids = self.ids.copy()
        ids[50] += 1
        source = stored_targets.source(self.images, ids)
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, f"{ids[50]}"
        ):
            for _ in self.stores[0].examples(source):
                pass

    def test_other_pixels(self):
        for position in (0, 50, NUM_EXAMPLES - 1):
            images = self.images.copy()
            images[position, 3, 3, 0] ^= 1
            source = stored_targets.source(images, self.ids)
            with self.assertRaisesRegex(
                tf.errors.InvalidArgumentError, f"{self.ids[position]}"
            ):
                for _ in self.stores[0].examples(source):
                    pass

    def create_store_of_positions(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "store"
        stored_targets.write(
            path,
            stored_targets.teacher(),
            stored_targets.source(self.images),
            num_ranges=3,
        )
        return path

    @parameterized.parameters(
        ("name", {"name": "circles"}),
        ("version", {"version": "1.0.1"}),
        ("split", {"split": "test"}),
        ("class_names", {"class_names": tuple("abced")}),
        ("resized", {"resized": True}),
        ("has_ids", {}),
    )
    def test_other_data_sets(self, field, fields):
        ids = None if field == "has_ids" else self.ids
        source = stored_targets.source(self.images, ids, **fields)
        value = fields.get(field, False)
        with self.assertRaisesRegex(
            ValueError, re.escape(f"its `{field}` is {value!r}, and")
        ):
            self.stores[0].examples(source)

    def test_a_subset_by_tfds(self):
        digits = datasets.load("digits", "train[10:300]")
        path = self.create_store_of_positions().with_name("digits")
        model = models.mlp((8, 8, 1), 10, (8,), seed=0)
        stored_targets.write(path, model, digits, num_ranges=4)
        store = soft_targets.open_store(path, teacher=model)
        for images, targets in store.batches(digits, 50, shuffle_seed=0):
            self.assertAllClose(
                targets["teacher_logits"],
                stored_targets.centred(model(images)),
                atol=1e-3,
            )


if __name__ == "__main__":
    tf.test.main()
