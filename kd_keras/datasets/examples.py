"""What every function of this package means by a data set of examples.

An unbatched `tf.data.Dataset` of dicts that hold at least `image` (uint8,
`[height, width, channels]`) and `label` (an integer scalar), in a fixed order.
"""

import tensorflow as tf


def check_examples(dataset):
    """Raises unless `dataset` is an unbatched data set of image examples.

    Args:
        dataset: `tf.data.Dataset` of dicts with `image`, of three dimensions,
            and `label`, an integer scalar. More entries are allowed.

    Raises:
        TypeError: If it is not a `tf.data.Dataset` of such dicts.
        ValueError: If the shapes are those of a batched data set.

    Example:

    >>> check_examples(
    ...     tf.data.Dataset.from_tensor_slices(
    ...         {"image": tf.zeros([2, 8, 8, 1]), "label": [0, 1]}
    ...     )
    ... )
    """
    if not isinstance(dataset, tf.data.Dataset):
        hint = (
            " Pass its field: images.dataset."
            if isinstance(getattr(dataset, "dataset", None), tf.data.Dataset)
            else ""
        )
        raise TypeError(
            'Argument "dataset" must be a tf.data.Dataset of dicts with '
            f'"image" and "label". Received: {type(dataset).__name__}.{hint}'
        )
    spec = dataset.element_spec
    if not isinstance(spec, dict) or not {"image", "label"} <= set(spec):
        raise TypeError(
            'A data set must hold dicts with "image" and "label". Received '
            f"elements: {spec}. Apply the filters before batches(), or map "
            'the elements to {"image": ..., "label": ...}.'
        )
    if not spec["label"].dtype.is_integer:
        raise TypeError(
            'A "label" must be an integer class number. Received: '
            f"{spec['label']}."
        )
    image_rank = spec["image"].shape.rank
    if spec["label"].shape.rank not in (0, None) or image_rank not in (3, None):
        raise ValueError(
            "A data set must be unbatched: image [height, width, channels] and "
            f"scalar label. Received: image {spec['image'].shape}, label "
            f"{spec['label'].shape}. Call .unbatch() on it first."
        )


def count_examples(dataset):
    """The number of examples, by counting where it is not declared.

    Args:
        dataset: finite `tf.data.Dataset`.

    Returns:
        int, at least 1. A data set that does not know its length (one that was
        filtered or unbatched) is read once.

    Raises:
        ValueError: If the data set is infinite or empty.

    Example:

    >>> count_examples(tf.data.Dataset.range(5).filter(lambda i: i != 2))
    4
    """
    count = int(dataset.cardinality())
    if count == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "A data set of examples must be finite. Received one that repeats "
            "for ever. Filter first, then repeat()."
        )
    if count == tf.data.UNKNOWN_CARDINALITY:
        count = int(dataset.reduce(tf.constant(0, tf.int64), _add_one))
    if count == 0:
        raise ValueError("The data set holds no example at all.")
    return count


def _add_one(count, _):
    return count + 1
