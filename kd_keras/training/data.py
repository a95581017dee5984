"""The data of the programs that train, and what models say of it."""

import functools
import itertools

import numpy as np
import tensorflow as tf

from kd_keras import callbacks
from kd_keras import datasets
from kd_keras import diagnostics
from kd_keras import teachers

# Images of the test split that are kept for reports.
_NUM_IMAGES = 1000


class JobData:
    """The data of a job: built once, read in the order of each seed.

    Attributes:
        train: `datasets.ImageDataset` of the training split.
        test: `Examples` of the test split.
        validation: The same of the validation split, or None.
        epoch: `callbacks.EpochCounter` that every `fit` takes.
        steps_per_epoch: Batches of the training split.

    Args:
        config: A `DistillConfig` or `TeacherConfig`.
        views: Dict of `max_shift`, pixels by which images are shifted, and as
            far as there are any `augment_seed` and `num_views`, as
            `datasets.batches` takes them. Defaults to None: as they are.
    """

    def __init__(self, config, views=None):
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
        _check_apart(self.train, self.validation, self.test)
        self.epoch = callbacks.EpochCounter()
        self.steps_per_epoch = -(-self.train.num_examples // config.batch_size)
        self._batch_size = config.batch_size
        self._views = dict(views or {})
        self._max_shift = self._views.pop("max_shift", None)
        if self._max_shift is not None:
            shift = datasets.random_shift(self._max_shift)
            self._views["augment"] = shift
        self._last = None, None

    def describe_views(self):
        """What is shown of the images, as text; None for them as they are."""
        if self._max_shift is None:
            return None
        count = self._views.get("num_views")
        shift = f"shifted at random by up to {self._max_shift} pixels"
        if count is None:
            return f"each image {shift}, anew in every epoch"
        return f"{count} views of each image, {shift}"

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
            self._last = key, self._batches(seed, labelled_fraction, store)
        return self._last[1]

    def _batches(self, seed, labelled_fraction, store):
        transform = None
        if labelled_fraction < 1.0:
            transform = functools.partial(
                datasets.hide_labels,
                fraction=1.0 - labelled_fraction,
                seed=seed,
            )
        if store is None:
            dataset = self.train.dataset
            return self.batches_of(
                transform(dataset) if transform else dataset, seed
            )
        return store.batches(
            self.train,
            self._batch_size,
            augment=self._views.get("augment"),
            transform=transform,
            shuffle_seed=seed,
            epoch=self.epoch.value,
        )

    def batches_of(self, dataset, seed):
        """Examples in the order of a seed and of the epoch.

        Args:
            dataset: Unbatched `tf.data.Dataset` of some of the training split.
            seed: int.

        Returns:
            `tf.data.Dataset` for `fit`.
        """
        return datasets.batches(
            dataset,
            self._batch_size,
            shuffle_seed=seed,
            epoch=self.epoch.value,
            **self._views,
        )


def _check_apart(train, validation, test):
    """Raises if a split that is measured on shares examples with another."""
    named = {"train_split": train, "test_split": test.source}
    if validation:
        named["validation_split"] = validation.source
    for (name, one), (other_name, other) in itertools.combinations(
        named.items(), 2
    ):
        if one.shares_examples(other):
            raise ValueError(
                f"`{name}` and `{other_name}` share examples: {one.split!r} "
                f"and {other.split!r}. What is measured on them would say "
                "nothing of new ones. Choose splits that do not overlap."
            )


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

    @property
    def first_images(self):
        """The first of the images, uint8."""
        batches = self.source.dataset.take(_NUM_IMAGES).batch(_NUM_IMAGES)
        return next(batches.as_numpy_iterator())["image"]

    def logits(self, model):
        """What a model or another teacher says of them, at T = 1.

        Args:
            model: As `teachers.forward` takes it.

        Returns:
            float32 array, shape `[num_examples, num_classes]`.
        """

        @tf.function(reduce_retracing=True)
        def forward(images):
            return tf.cast(teachers.forward(model, images)(1.0), tf.float32)

        return np.concatenate(
            [forward(images).numpy() for images, _ in self.batches]
        )

    def errors(self, logits):
        """How many get another class than their label."""
        return int((logits.argmax(axis=-1) != self.labels).sum())

    def quality(self, logits):
        """The columns of `metrics.jsonl` that all models have, a dict."""
        quality = diagnostics.quality(self.labels, logits)
        return {
            "test_examples": quality.examples,
            "test_errors": quality.errors,
            "test_accuracy": quality.accuracy,
            "negative_log_likelihood": quality.negative_log_likelihood,
            "calibration_error": quality.calibration_error,
        }
