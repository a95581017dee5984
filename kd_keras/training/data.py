"""The data of the main job."""

import functools

import numpy as np

from kd_keras import callbacks
from kd_keras import datasets


class JobData:
    """The data of the job: built once, read in the order of each seed.

    Attributes:
        train: `datasets.ImageDataset` of the training split.
        test: `Examples` of the test split.
        validation: The same of the validation split, or None.
        epoch: `callbacks.EpochCounter` that every `fit` takes.
        steps_per_epoch: Batches of the training split.

    Args:
        config: A `DistillConfig`.
    """

    def __init__(self, config):
        load = functools.partial(
            datasets.load,
            config.dataset,
            data_dir=config.data_dir,
            image_size=config.image_size,
        )
        train, validation, test = config.splits
        self.train = load(train)
        self.test = Examples(load(test))
        self.validation = validation and Examples(load(validation))
        self.epoch = callbacks.EpochCounter()
        self.steps_per_epoch = -(-self.train.num_examples // config.batch_size)
        self._batch_size = config.batch_size
        self._last = None, None

    def batches(self, seed, labelled_fraction=1.0, store=None):
        """The training split in the order of a seed and of the epoch.

        Args:
            seed: int.
            labelled_fraction: Share of the examples that keep their label.
                Defaults to 1.
            store: `soft_targets.SoftTargets` to bring besides. Defaults to
                None.

        Returns:
            `tf.data.Dataset` for `fit`.
        """
        # The last one is kept: arms read the same.
        key = (
            seed,
            labelled_fraction,
            store and (store.path, store.temperature),
        )
        if self._last[0] != key:
            dataset = (
                store.examples(self.train) if store else self.train.dataset
            )
            if labelled_fraction < 1.0:
                dataset = datasets.hide_labels(
                    dataset, 1.0 - labelled_fraction, seed=seed
                )
            self._last = (
                key,
                datasets.batches(
                    dataset,
                    self._batch_size,
                    shuffle_seed=seed,
                    epoch=self.epoch.value,
                ),
            )
        return self._last[1]


class Examples:
    """Labelled examples to predict.

    Attributes:
        source: `datasets.ImageDataset`.
        batches: `tf.data.Dataset` of them for `predict`.
        labels: int array, shape `[num_examples]`.

    Args:
        source: As above.
    """

    def __init__(self, source):
        self.source = source
        self.batches = datasets.batches(source.dataset, 500)
        self.labels = np.concatenate(
            [labels for _, labels in self.batches.as_numpy_iterator()]
        )
