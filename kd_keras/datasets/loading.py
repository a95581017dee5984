"""Any TFDS image-classification set by name, as plain images and labels."""

import contextlib
import dataclasses
import difflib
import logging
import os
import sys
from collections.abc import Callable

import tensorflow as tf

from kd_keras import distribution
from kd_keras import pixels
from kd_keras.datasets import slicing
from kd_keras.datasets import tuning
from kd_keras.datasets.embedded import digits_builder


@dataclasses.dataclass(frozen=True, eq=False)
class ImageDataset:
    """One split of an image-classification set, and what is known of it.

    Attributes:
        dataset: unbatched `tf.data.Dataset` of dicts with `image`, uint8 of
            shape `[height, width, channels]`, and `label`, int64 scalar. The
            order is the same at every iteration and in every process. Ids and
            file names are left out: strings cannot be copied to a GPU.
        name: str, the TFDS name, as "mnist" or "cifar10_corrupted/fog_1".
        version: str, the version of the prepared files, as "3.0.1".
        split: str, the split as it was asked for, as "train[:80%]".
        num_examples: int.
        num_classes: int.
        class_names: tuple of str, by label.
        image_shape: tuple of int, `(height, width, channels)`.
        resized: whether the images were resized to that shape.
        file_lengths: tuple of int, how many examples come from each file, in
            order; empty if that is not known.
        parts: tuple of tuples `(name, start, stop)`, of which parts of named
            splits it is composed; empty if that is not known.
        opener: function of a split that opens it of the same set; None if
            there is no such way.
        reader: function `(start, stop)` that gives the part of `dataset`
            between two positions without reading what is before. None if
            there is no such way.

    A set that does not come from TFDS is described in the same way: give
    `ImageDataset` the first eight, with a name and a version of your own.
    """

    dataset: tf.data.Dataset
    name: str
    version: str
    split: str
    num_examples: int
    num_classes: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    resized: bool = False
    file_lengths: tuple[int, ...] = ()
    parts: tuple[tuple[str, int, int], ...] = ()
    opener: Callable[[str], "ImageDataset"] | None = None
    reader: Callable[[int, int], tf.data.Dataset] | None = None

    def other_split(self, split):
        """Another split of the same prepared set, an `ImageDataset`."""
        return self.opener(split)

    def shares_examples(self, other):
        """Whether it has examples in common with another split of its set."""
        return any(
            name == other_name and start < other_stop and other_start < stop
            for name, start, stop in self.parts
            for other_name, other_start, other_stop in other.parts
        )

    def part(self, start, stop):
        """The examples from one position to before another.

        Args:
            start: int, position of the first.
            stop: int, position after the last.

        Returns:
            `tf.data.Dataset`, as `dataset.skip(start).take(stop - start)`.
        """
        if start == 0:
            return self.dataset.take(stop)
        if not self.is_as_loaded:
            return self.dataset.skip(start).take(stop - start)
        return self.reader(start, stop)

    @property
    def is_as_loaded(self):
        """Whether `reader` and `file_lengths` are of this very `dataset`.

        They are not after `dataclasses.replace(source, dataset=...)`.
        """
        return getattr(self.reader, "dataset", None) is self.dataset


def load(
    name="digits",
    split="train",
    *,
    data_dir=None,
    image_size=None,
    download=False,
):
    """Opens a split of an image-classification set by its TFDS name.

    `digits` is inside scikit-learn, and is prepared at first use without a
    network: see `kd_keras.datasets.digits` for its splits. Every other set must
    have been prepared by TFDS, unless `download` allows that here.

    Args:
        name: str, a TFDS name, with configuration and version if wanted:
            "mnist", "cifar10_corrupted/fog_1", "mnist:3.0.1". Defaults to
            "digits".
        split: str, a split or a slice of it in the TFDS syntax: "test",
            "train[:80%]", "train[1000:]", "train+test". Defaults to "train".
        data_dir: directory with the prepared sets. Defaults to None: the
            environment variable `TFDS_DATA_DIR`, or else
            `~/tensorflow_datasets`. Where `digits` is in neither and that
            directory cannot be written, it goes to the user's cache, or to a
            temporary directory.
        image_size: `(height, width)` to which every image is resized, bilinear
            (averaging over the area when it shrinks), rounded back to uint8.
            Defaults to None: as they are, which must be all of one size.
        download: whether TFDS may download and prepare a set that is not in
            `data_dir`. Defaults to False.

    Returns:
        `ImageDataset`.

    Raises:
        FileNotFoundError: If the set is not prepared; the message has the line
            that prepares it.
        ValueError: If there is no set of that name, if it is not an image
            classification set, if the split is unknown or empty, or if images
            differ in size and `image_size` is None.
        TypeError: If `name` or `split` is not a string.

    Example:

    >>> test = load("digits", "test")
    >>> test.num_examples, test.num_classes, test.image_shape
    (500, 10, (8, 8, 1))
    >>> sorted(test.dataset.element_spec)
    ['image', 'label']
    """
    for argument, value in (("name", name), ("split", split)):
        if not isinstance(value, str):
            raise TypeError(
                f'Argument "{argument}" must be a str. Received: '
                f"{argument}={value!r}."
            )
    if image_size is not None:
        image_size = _check_image_size(image_size)
    data_dir = None if data_dir is None else os.fspath(data_dir)
    with _quiet_tfds():
        builder = _find_builder(name, data_dir, download)
        image_shape, class_names = _check_features(builder, image_size)
        num_examples = _count(builder, split)
        parts = slicing.parts_of_split(builder, split)
        # An image of the size wanted is not resized: that would only blur.
        resized = image_size is not None and image_shape[:2] != image_size
        if resized:
            image_shape = (*image_size, image_shape[2])

        def read(split):
            dataset = _read(builder, split)
            if not resized:
                return dataset
            return dataset.map(
                lambda example: {
                    "image": pixels.resize(example["image"], image_shape[:2]),
                    "label": example["label"],
                },
                num_parallel_calls=tf.data.AUTOTUNE,
            )

        dataset = read(split)

    def read_part(start, stop):
        with _quiet_tfds():
            return read(slicing.part_of_split(builder, split, start, stop))

    read_part.dataset = dataset

    return ImageDataset(
        dataset=dataset,
        name=_full_name(builder),
        version=str(builder.version),
        split=split,
        num_examples=num_examples,
        num_classes=len(class_names),
        class_names=class_names,
        image_shape=image_shape,
        resized=resized,
        file_lengths=tuple(stop - start for _, start, stop in parts),
        parts=parts,
        opener=lambda other: load(
            name, other, data_dir=data_dir, image_size=image_size
        ),
        reader=read_part,
    )


def _find_builder(name, data_dir, download):
    """The builder of a prepared set; prepares it where that is allowed."""
    import tensorflow_datasets as tfds

    # "name/config:version"; only digits itself is the embedded set.
    base_name = name.split("/")[0].split(":")[0]
    if base_name == "digits":
        prepared = digits_builder(data_dir)
        if name == "digits":
            return prepared
        data_dir = prepared.data_dir_root

    root = data_dir or tfds.core.constants.DATA_DIR
    # Looking up an unknown name, TFDS goes to the network. Sets of its own
    # index are known by code, anybody else's by their directory.
    known = tfds.list_builders(with_community_datasets=False)
    files = os.path.join(os.path.expanduser(root), base_name)
    if base_name not in known and not (base_name and os.path.isdir(files)):
        near = difflib.get_close_matches(base_name, {*known, "digits"}, n=3)
        raise ValueError(
            f'There is no TFDS data set named "{base_name}"'
            + (f"; near names: {', '.join(near)}. " if near else ". ")
            + f"There is none prepared in {root} either. For all names see "
            "tensorflow_datasets.list_builders()."
        )
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (AssertionError, ValueError) as error:
        # A version, a configuration, or files of a set that TFDS lacks.
        raise ValueError(f'TFDS cannot open "{name}": {error}') from error
    if builder.data_path.exists():
        return builder
    if download:
        builder.download_and_prepare()
        return builder
    parent = builder.data_path.parent
    others = (
        sorted(path.name for path in parent.iterdir())
        if parent.exists()
        else []
    )
    raise FileNotFoundError(
        f'The data set "{_full_name(builder)}", version {builder.version}, is '
        f"not prepared in {builder.data_dir_root}"
        + (f" (that holds: {', '.join(others)})" if others else "")
        + ". Prepare it once, with a network: "
        f"tfds build {_full_name(builder)} --data_dir={builder.data_dir_root} "
        "or load(..., download=True). If it is prepared elsewhere, pass that "
        "directory as data_dir or in the environment variable TFDS_DATA_DIR."
    )


def _full_name(builder):
    """The name with its configuration, but without the version."""
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def _check_features(builder, image_size):
    """Image shape and class names; raises unless the set has both."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    named = (
        dict(features.items())
        if isinstance(features, tfds.features.FeaturesDict)
        else {}
    )
    image, label = named.get("image"), named.get("label")
    if (
        not isinstance(image, tfds.features.Image)
        or not isinstance(label, tfds.features.ClassLabel)
        or not label.num_classes
    ):
        raise ValueError(
            f'The data set "{_full_name(builder)}" is not an image '
            'classification set: it must have an Image under "image" and a '
            f'ClassLabel under "label". Its features: {features}.'
        )
    if image.np_dtype != tf.uint8.as_numpy_dtype or image.shape[2] is None:
        raise ValueError(
            f'The images of "{_full_name(builder)}" must be uint8 with a fixed '
            f"number of channels. Received: {image}."
        )
    if None in image.shape and image_size is None:
        raise ValueError(
            f'The images of "{_full_name(builder)}" vary in size (shape '
            f"{tuple(image.shape)}). Give one size for all, as "
            "image_size=(224, 224)."
        )
    return tuple(image.shape), tuple(label.names)


def _count(builder, split):
    try:
        num_examples = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise ValueError(
            f'The data set "{_full_name(builder)}" has no split "{split}". Its '
            f"splits: {', '.join(sorted(builder.info.splits))}. A slice is "
            'written as "train[:80%]" or "train[1000:2000]".'
        ) from error
    if not num_examples:
        raise ValueError(
            f'The split "{split}" of "{_full_name(builder)}" holds no example. '
            "Widen the slice."
        )
    return num_examples


def _read(builder, split):
    """The split in its fixed order, nothing decoded but image and label."""
    import tensorflow_datasets as tfds

    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding({"image": True, "label": True}),
        # Caching and prefetching are done once, by batches(). One file after
        # the other: the position of an example is its place in the split, so
        # that a part of the split is read as what is there in the whole.
        read_config=tfds.ReadConfig(
            try_autocache=False, skip_prefetch=True, interleave_cycle_length=1
        ),
    )
    return tuning.untuned(distribution.shard_by_elements(dataset))


def _check_image_size(image_size):
    try:
        height, width = image_size
        valid = height == int(height) > 0 and width == int(width) > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            'Argument "image_size" must be (height, width), two positive ints. '
            f"Received: image_size={image_size!r}."
        )
    return int(height), int(width)


@contextlib.contextmanager
def _quiet_tfds():
    """Keeps TFDS' notes on reading a set out of the caller's log."""
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # In a log file it is thousands of lines.
    logger = logging.getLogger("absl")
    logger.addFilter(_is_worth_logging)
    try:
        yield
    finally:
        logger.removeFilter(_is_worth_logging)


def _is_worth_logging(record):
    return (
        record.levelno >= logging.ERROR
        or "tensorflow_datasets" not in record.pathname
    )
