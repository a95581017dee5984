"""Data with many classes: CIFAR-100, and in a quick run two digits at once."""

import numpy as np
import tensorflow as tf

from kd_keras import datasets
from kd_keras.experiments import laboratory

PREPARE = (
    "python -c \"import tensorflow_datasets as tfds; tfds.load('cifar100')\""
)
# How often each digit stands on the left in the data of a quick run.
_TIMES = {"mnist": 1, "digits": 4}


def load(settings):
    """The examples to train on and those to count on.

    Args:
        settings: `laboratory.Settings`.

    Returns:
        A tuple of two `datasets.ImageDataset` of 100 classes.

    Raises:
        FileNotFoundError: If a full run has no CIFAR-100, with the line that
            prepares it.
    """
    if settings.quick:
        train, test = laboratory.digits(settings)
        times = _TIMES[train.name]
        return side_by_side(train, times, seed=0), side_by_side(test, 1, seed=1)
    splits = "train", "test"
    if settings.selection:
        splits = "train[:40000]", "train[40000:]"
    try:
        return tuple(
            datasets.load("cifar100", split, data_dir=settings.data_dir)
            for split in splits
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(
            "The full form needs CIFAR-100, prepared by TensorFlow Datasets: "
            f"{PREPARE}. Or take --quick, which makes do with digits. What "
            f"TFDS says: {str(error).splitlines()[0]}"
        ) from error


def side_by_side(source, times, seed):
    """Pairs of digits, one image each: 100 classes, with known confusions.

    Args:
        source: `datasets.ImageDataset` of digits.
        times: How often each digit stands on the left.
        seed: int, of the digits beside it.

    Returns:
        `datasets.ImageDataset`, whose class is the number of two figures.

    Example:

    >>> digits = kd_keras.datasets.load("digits", "test[:50]")
    >>> pairs = side_by_side(digits, 2, seed=0)
    >>> pairs.num_examples, pairs.image_shape, pairs.class_names[7]
    (100, (8, 16, 1), '07')
    """
    examples = list(source.dataset.as_numpy_iterator())
    images = np.stack([one["image"] for one in examples])
    labels = np.array([one["label"] for one in examples])
    draws = np.random.default_rng(seed)
    left = np.tile(np.arange(len(labels)), times)
    right = np.concatenate(
        [draws.permutation(len(labels)) for _ in range(times)]
    )
    height, width, channels = source.image_shape
    return datasets.ImageDataset(
        dataset=tf.data.Dataset.from_tensor_slices(
            {
                "image": np.concatenate([images[left], images[right]], axis=2),
                "label": 10 * labels[left] + labels[right],
            }
        ),
        name=f"{source.name}-100",
        version=source.version,
        split=source.split,
        num_examples=len(left),
        num_classes=100,
        class_names=tuple(f"{number:02}" for number in range(100)),
        image_shape=(height, 2 * width, channels),
    )
