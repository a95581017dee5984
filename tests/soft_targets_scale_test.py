"""Stored soft targets where it is large, and where it counts: MNIST."""

import os
import pathlib
import resource
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import kd_keras
from kd_keras import comparison
from kd_keras import datasets
from kd_keras import models
from kd_keras import soft_targets
from tests import processes
from tests import stored_targets

NUM_CLASSES = 1000


def large_source(num_examples):
    """Images that are made when they are read."""

    def example(position):
        pixels = tf.random.stateless_uniform(
            [4, 4, 1], [0, position], 0, 256, tf.int32
        )
        return {"image": tf.cast(pixels, tf.uint8), "label": position % 7}

    dataset = tf.data.Dataset.range(num_examples).map(example)
    return stored_targets.source(
        stored_targets.pixels(1),
        dataset=dataset,
        num_examples=num_examples,
        num_classes=NUM_CLASSES,
        class_names=tuple(map(str, range(NUM_CLASSES))),
    )


def wide_teacher():
    return stored_targets.teacher(num_classes=NUM_CLASSES)


def read(path, num_examples):
    """Reads a store twice; prints by how many MB the memory grew meanwhile."""
    store = soft_targets.open_store(path)
    source = large_source(num_examples)
    data = store.batches(source, 64, cache=False)

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    # What tf.data needs in any case.
    for _ in data.take(50):
        pass
    before = peak()
    for _ in data:
        pass
    print("grew by", peak() - before)


class ScaleTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    @pytest.mark.slow
    def test_memory_of_reading(self):
        num_examples = 80_000
        path = self.folder / "store"
        stored_targets.write(path, wide_teacher(), large_source(num_examples))
        size = sum(file.stat().st_size for file in path.iterdir()) / 2**20
        self.assertGreater(size, 150)
        program = (
            "from tests import soft_targets_scale_test as t; "
            f"t.read({str(path)!r}, {num_examples})"
        )
        said = processes.finish(processes.start(["-c", program], {}))
        grown = float(said.rsplit("grew by", 1)[1])
        print(f"a store of {size:.0f} MB: memory grew by {grown:.0f} MB")
        self.assertLess(grown, size / 5)

    @pytest.mark.slow
    def test_errors_of_half_precision_are_those_of_the_live_teacher(self):
        if "TFDS_DATA_DIR" not in os.environ:
            self.skipTest("TFDS_DATA_DIR is not set")
        train = datasets.load("mnist", "train[:6000]")
        test = datasets.batches(datasets.load("mnist", "test").dataset, 1000)
        shape = train.image_shape
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        epoch = kd_keras.callbacks.EpochCounter()
        teacher = models.mlp(shape, 10, (400, 400), dropout=0.5, seed=0)
        teacher.compile("adam", loss, metrics=["accuracy"])
        order = {"shuffle_seed": 0, "epoch": epoch.value}
        plain = datasets.batches(train.dataset, 64, **order)
        teacher.fit(plain, epochs=5, verbose=0, callbacks=[epoch])
        stored_targets.write(self.folder / "store", teacher, train)
        store = soft_targets.open_store(self.folder / "store", teacher=teacher)
        errors = {"live": [], "stored": []}
        for seed in range(5):
            order["shuffle_seed"] = seed
            for arm, source, data in (
                ("live", teacher, datasets.batches(train.dataset, 64, **order)),
                ("stored", store, store.batches(train, 64, **order)),
            ):
                distiller = kd_keras.Distiller(
                    student=models.mlp(shape, 10, (100,), seed=seed),
                    teacher=source,
                )
                distiller.compile("adam", loss, metrics=["accuracy"])
                distiller.fit(data, epochs=5, verbose=0, callbacks=[epoch])
                logs = distiller.evaluate(test, verbose=0, return_dict=True)
                errors[arm].append(round(10_000 * (1 - logs["accuracy"])))
        mean, low, high = comparison.paired_difference(
            errors["stored"], errors["live"]
        )
        print(f"test errors of 10,000: {errors}")
        print(f"stored - live: {mean:.1f} ({low:.1f} to {high:.1f})")
        self.assertLess(abs(mean), np.std(errors["live"], ddof=1))
        self.assertBetween(0.0, low, high)


if __name__ == "__main__":
    tf.test.main()
