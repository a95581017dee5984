"""Sources, teachers and stores for the tests of stored soft targets."""

import io
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from kd_keras import datasets
from kd_keras import soft_targets

NUM_CLASSES = 5


class StoreTestCase(tf.test.TestCase):
    """Tests that write a store at `path`."""

    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(folder) / "store"


def pixels(num_examples, seed=0):
    """Random images, each its own."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_examples, 4, 4, 1), np.uint8)


def source(images, ids=None, **fields):
    """A described source; the label is the position modulo the classes."""
    labels = np.arange(len(images)) % NUM_CLASSES
    elements = {"image": images, "label": labels}
    if ids is not None:
        elements["id"] = np.asarray(ids, np.int64)
    described = {
        "dataset": tf.data.Dataset.from_tensor_slices(elements),
        "name": "squares",
        "version": "1.0.0",
        "split": "train",
        "num_examples": len(images),
        "num_classes": NUM_CLASSES,
        "class_names": tuple("abcde"),
        "image_shape": (4, 4, 1),
    }
    return datasets.ImageDataset(**{**described, **fields})


def teacher(seed=0, scale=4.0, num_classes=NUM_CLASSES):
    """A model that gives logits of about this size."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(num_classes),
        ]
    )
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            scale * rng.normal(size=w.shape).astype(np.float32)
            for w in model.get_weights()
        ]
    )
    return model


def write(path, teacher, source, **kwargs):
    """Writes a store without a word."""
    soft_targets.write(path, teacher, source, stream=io.StringIO(), **kwargs)


def centred(logits):
    """Logits less their mean over the classes, in float64."""
    logits = np.float64(logits)
    return logits - logits.mean(axis=-1, keepdims=True)
