"""What the experiments share: data, training, and measuring."""

import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib

import keras
import tensorflow as tf

from kd_keras import callbacks
from kd_keras import datasets
from kd_keras import locks
from kd_keras import progress
from kd_keras import soft_targets
from kd_keras.training import curves
from kd_keras.training import data as data_lib
from kd_keras.training import fitting

# How a `Recipe` trains, in words, for what is written down.
OPTIMIZER = "Adam, with a rate that falls to 0 along a cosine"
PREPARE = "python -c \"import tensorflow_datasets as tfds; tfds.load('mnist')\""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How an experiment is run.

    Attributes:
        quick: Whether in a small form that shows the direction only.
        selection: Whether to train on a part of the training split and to
            count on the rest (of MNIST the first 50,000 examples and the other
            10,000), to choose a recipe without the test split.
        data_dir: Where TFDS keeps its data sets; None for its own default.
    """

    quick: bool = False
    selection: bool = False
    data_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained: Adam, with a learning rate that falls to 0.

    Attributes:
        epochs: Passes over the data.
        batch_size: Examples per step.
        learning_rate: The one at the start, of a cosine decay.
        precision: Name of the dtype policy in which the model computes.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    precision: str = "float32"

    def optimizer(self, num_steps):
        """An optimizer for so many steps."""
        return keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                self.learning_rate, num_steps
            )
        )


@dataclasses.dataclass(frozen=True)
class _Watched:
    """The data that `fitting.Fitter` asks for."""

    epoch: tf.Variable
    validation: data_lib.Examples | None


class Laboratory:
    """The data of an experiment, and how models are trained on it.

    Attributes:
        settings: `Settings`.
        folder: `pathlib.Path` for models and soft targets, outside of the
            results; what is there is used again.
        train: `datasets.ImageDataset` of the training examples.
        test: `data.Examples` to count errors on.
        epoch: `callbacks.EpochCounter`.

    Args:
        settings: As above.
        folder: Where models of all experiments are kept.
        scope: What a training that was broken off belongs to, anything of
            JSON: no other one goes on with it.
        load: Function of the settings that gives the examples to train on and
            those to count on, a tuple of `datasets.ImageDataset`. Defaults to
            `digits`.

    Raises:
        FileNotFoundError: If the full form lacks its data, with the line that
            prepares them.
    """

    def __init__(self, settings, folder, scope, load=None):
        self.settings = settings
        self.epoch = callbacks.EpochCounter()
        if settings.quick and settings.selection:
            raise ValueError(
                "The small form and the choice of a recipe do not go together. "
                "Give --quick or --selection."
            )
        self.train, test = (load or digits)(settings)
        self.test = data_lib.Examples(test)
        self.folder = pathlib.Path(folder) / digest(
            self.train.name, self.train.version, self.train.split
        )
        self._broken_off = self.folder / f"broken-off-{digest(scope)}"

    @functools.cached_property
    def probe(self):
        """The training examples as `data.Examples`, to predict on."""
        return data_lib.Examples(self.train)

    def fit(
        self,
        unit,
        build,
        recipe,
        seed,
        *,
        store=None,
        transform=None,
        augment=None,
        curve=None,
        **soft,
    ):
        """Trains one model.

        Args:
            unit: Name of what is trained, for files on the way.
            build: Function that builds the model.
            recipe: `Recipe`.
            seed: int, of the order of the data.
            store: `soft_targets.SoftTargets` that the data brings. Defaults
                to None.
            transform: Function of the data set to one of the same elements,
                as `SoftTargets.batches` takes it. Defaults to None.
            augment: As `datasets.batches` takes it; of a store of views the
                one that made them. Defaults to None.
            curve: List that gets the logs of each epoch, a dict each; then
                `test` is looked at along the way, 20 times, and nothing is
                chosen by that. Defaults to None.
            **soft: As of `fitting.Fitter.fit`.

        Returns:
            The trained model, which computes in float32.
        """
        order = {"shuffle_seed": seed, "epoch": self.epoch.value}
        if store is not None:
            batches = store.batches(
                self.train,
                recipe.batch_size,
                augment=augment,
                transform=transform,
                **order,
            )
            soft.setdefault("teacher", store)
        else:
            dataset = self.train.dataset
            batches = datasets.batches(
                transform(dataset) if transform else dataset,
                recipe.batch_size,
                augment=augment,
                **order,
            )
        self._broken_off.mkdir(parents=True, exist_ok=True)
        with locks.hold(self._broken_off / f"{unit}-{seed}", wait=True):
            return self._fit(unit, build, recipe, seed, batches, curve, soft)

    def _fit(self, unit, build, recipe, seed, batches, curve, soft):
        num_steps = recipe.epochs * len(batches)
        files = {
            name: self._broken_off / f"{unit}-{seed}.{suffix}"
            for name, suffix in (("state", "npz"), ("curve", "curve"))
        }
        with progress.Report(num_steps) as report:
            report.start(f"seed {seed}: {unit}")
            fitter = fitting.Fitter(
                _Watched(self.epoch, None if curve is None else self.test),
                tf.distribute.get_strategy(),
                report,
                lambda: recipe.optimizer(num_steps),
            )
            model = fitter.fit(
                lambda: _in_precision(recipe.precision, build),
                batches,
                recipe.epochs,
                **files,
                **soft,
            )
        if curve is not None:
            curve += curves.read(files["curve"])
        for file in files.values():
            file.unlink(missing_ok=True)
        # In whatever precision it was trained, it is measured in float32.
        measured = build()
        measured.set_weights(model.get_weights())
        return measured

    def kept(self, name, make):
        """A model that is made once and kept in `folder`.

        Args:
            name: Name of its file, without suffix.
            make: Function that makes it.

        Returns:
            `keras.Model`.
        """
        path = self.folder / f"{name}.keras"
        self.folder.mkdir(parents=True, exist_ok=True)
        # Another process that makes the same is waited for.
        with locks.hold(path, wait=True):
            if not path.exists():
                aside = self.folder / f".{name}.partial.keras"
                make().save(aside)
                os.replace(aside, path)
        try:
            return keras.saving.load_model(path, compile=False)
        except Exception as error:
            raise ValueError(
                f"{path} cannot be read: it is damaged, or of another version "
                "of Keras. Remove it, and it is made again. Keras says: "
                f"{str(error).splitlines()[0]}"
            ) from error

    def store(self, name, teacher, **views):
        """Soft targets of the training examples, written once and kept.

        Args:
            name: Name of their directory.
            teacher: Whose they are.
            **views: `augment`, `augment_seed` and `num_views`, as
                `soft_targets.write` takes them.

        Returns:
            `soft_targets.SoftTargets`.
        """
        path = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        with locks.hold(self.folder / f"{name}.writing", wait=True):
            if not path.exists():
                soft_targets.write(
                    path, teacher, self.train, stream=io.StringIO(), **views
                )
        return soft_targets.open_store(path, teacher=teacher)


def digest(*parts):
    """A short name for anything of JSON, another one for anything else."""
    text = json.dumps(parts, sort_keys=True).encode()
    return hashlib.sha256(text).hexdigest()[:12]


def digits(settings, num_examples=None):
    """The digits to train on and those to count on, by the settings.

    Args:
        settings: `Settings`.
        num_examples: How many to train on at most. Defaults to None: all.

    Returns:
        A tuple of two `datasets.ImageDataset`.

    Raises:
        FileNotFoundError: If a full run has no MNIST.
    """
    name = dataset_name(settings)
    splits = "train", "test"
    if settings.selection:
        splits = f"train[:{num_examples or 50_000}]", "train[50000:]"
    elif num_examples and not settings.quick:
        splits = f"train[:{num_examples}]", "test"
    elif settings.quick and name == "mnist":
        splits = "train[:6000]", "test[:2000]"
    return tuple(
        datasets.load(name, split, data_dir=settings.data_dir)
        for split in splits
    )


def dataset_name(settings):
    """MNIST if it is there; in a quick run else the embedded digits.

    Raises:
        FileNotFoundError: If a full run has no MNIST.
    """
    try:
        datasets.load("mnist", "test[:1]", data_dir=settings.data_dir)
    except (FileNotFoundError, ValueError, OSError) as error:
        if settings.quick:
            return "digits"
        raise FileNotFoundError(
            "The full form needs MNIST, prepared by TensorFlow Datasets: "
            f"{PREPARE}. Or take --quick, which makes do with the embedded "
            f"digits. What TFDS says: {str(error).splitlines()[0]}"
        ) from error
    return "mnist"


def _in_precision(precision, build):
    """A model whose layers were built under a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(before)
