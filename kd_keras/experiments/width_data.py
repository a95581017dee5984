"""The tasks of the width experiment, each a pair of classes, as arrays."""

import dataclasses
import functools

import numpy as np

from kd_keras import datasets

# Two groups of CIFAR-100, and the classes of each. Both hold large
# mammals in the open, so that they are not easily told apart.
GROUPS = {
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_omnivores_and_herbivores": (
        "camel",
        "cattle",
        "chimpanzee",
        "elephant",
        "kangaroo",
    ),
}
_FROM_DIGIT = 5
_LEFT_OUT = (1, 7, 4, 9)


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Two classes to tell apart.

    Attributes:
        train: float32 array, pixels in [0, 1] without noise, one row for each
            training example.
        train_labels: int64 array of 0 and 1.
        test: As `train`, of what is counted on.
        test_labels: As `train_labels`.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    def scaled(self):
        """The same with inputs of norm 1 at most, of the training examples."""
        largest = np.linalg.norm(self.train, axis=1).max()
        return dataclasses.replace(
            self, train=self.train / largest, test=self.test / largest
        )

    def noisy(self, deviation, seed):
        """The same with Gaussian noise on each pixel, which is not clipped.

        Args:
            deviation: Its standard deviation, in pixels of [0, 1].
            seed: int; with the place of an example it decides its noise.

        Returns:
            A `Task`.
        """
        train, test = (
            array
            + np.float32(deviation)
            * np.random.default_rng([seed, number]).standard_normal(
                array.shape, np.float32
            )
            for number, array in enumerate((self.train, self.test))
        )
        return dataclasses.replace(self, train=train, test=test)


def digits(lab, reduced=False):
    """Digits below 5 against those from 5 on.

    Args:
        lab: `laboratory.Laboratory`.
        reduced: Whether 1, 7, 4 and 9 are left out, as in the paper. Defaults
            to False.

    Returns:
        A `Task` with inputs `[examples, pixels]`.
    """
    arrays = []
    for examples in (lab.probe, lab.test):
        images = np.concatenate(
            [images.numpy() for images, _ in examples.batches]
        ).reshape(len(examples.labels), -1)
        kept = ~np.isin(examples.labels, _LEFT_OUT if reduced else ())
        labels = examples.labels[kept] >= _FROM_DIGIT
        arrays += [images[kept], labels.astype(np.int64)]
    return Task(*arrays)


def groups(settings):
    """Two groups of CIFAR-100 that are easily confused.

    Args:
        settings: `laboratory.Settings`. To select a recipe, the training split
            is taken apart.

    Returns:
        A `Task` with inputs `[examples, 32, 32, 3]`.

    Raises:
        FileNotFoundError: If CIFAR-100 is not prepared, with the line that
            prepares it.
    """
    train, test = "train", "test"
    if settings.selection:
        train, test = "train[:40000]", "train[40000:]"
    load = functools.partial(_images_of_groups, settings.data_dir)
    return Task(*load(train), *load(test))


def check_groups(settings):
    """Raises the FileNotFoundError of `groups`, and reads nothing else."""
    datasets.load("cifar100", "test[:1]", data_dir=settings.data_dir)


@functools.lru_cache(maxsize=2)
def _images_of_groups(data_dir, split):
    source = datasets.load("cifar100", split, data_dir=data_dir)
    classes = [
        [source.class_names.index(name) for name in names]
        for names in GROUPS.values()
    ]
    images, labels = [], []
    for batch in source.dataset.batch(1000).as_numpy_iterator():
        kept = np.isin(batch["label"], classes)
        images.append(batch["image"][kept])
        labels.append(np.isin(batch["label"][kept], classes[1]))
    pixels = np.concatenate(images).astype(np.float32) / 255
    return pixels, np.concatenate(labels).astype(np.int64)
