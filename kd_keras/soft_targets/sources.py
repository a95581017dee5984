"""What a store is of: a data set that says what its examples are."""

import tensorflow as tf

from kd_keras import datasets
from kd_keras.datasets import examples
from kd_keras.soft_targets import manifest as manifest_lib


def check_source(source):
    """Raises unless a source is a described data set of uint8 images."""
    if not isinstance(source, datasets.ImageDataset):
        raise TypeError(
            'Argument "source" must be a kd_keras.datasets.ImageDataset, as '
            "datasets.load() returns it, which says what the examples are. "
            f"Received: {type(source).__name__}."
        )
    examples.check_examples(source.dataset)
    spec = source.dataset.element_spec
    if spec["image"].dtype != tf.uint8:
        raise TypeError(
            "The images of a source must be uint8, unscaled. Received: "
            f"{spec['image']}."
        )
    for name, kind in (
        ("name", str),
        ("version", str),
        ("split", str),
        ("num_examples", int),
        ("num_classes", int),
    ):
        value = getattr(source, name)
        if type(value) is not kind:
            raise TypeError(
                f"The `{name}` of a source must be a {kind.__name__}. "
                f"Received: {value!r} of type {type(value).__name__}."
            )
    names = source.class_names
    if len(names) != source.num_classes or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError(
            f"A source with {source.num_classes} classes has as many "
            f"`class_names`, all strings. Received: {names!r:.200}"
        )
    if not spec["image"].shape.is_compatible_with(source.image_shape):
        raise ValueError(
            f"The images of the source are {spec['image'].shape}, and its "
            f"`image_shape` says {source.image_shape}."
        )
    count = int(source.dataset.cardinality())
    if count != source.num_examples and count != tf.data.UNKNOWN_CARDINALITY:
        found = "no end" if count == tf.data.INFINITE_CARDINALITY else count
        raise ValueError(
            f"The source says that it has {source.num_examples} examples, and "
            f"its data set has {found}."
        )
    if "id" in spec and (
        not spec["id"].dtype.is_integer or spec["id"].shape.rank != 0
    ):
        raise TypeError(
            'The "id" of an example must be an integer scalar. Received: '
            f"{spec['id']}."
        )


def describe_source(source):
    """What a manifest says of a source, a `manifest.Source`."""
    return manifest_lib.Source(
        name=source.name,
        version=source.version,
        split=source.split,
        num_examples=source.num_examples,
        class_names=tuple(source.class_names),
        image_shape=tuple(source.image_shape),
        resized=source.resized,
        has_ids="id" in source.dataset.element_spec,
    )
