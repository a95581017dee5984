"""Transfer sets: the data a student is trained on, cut from a larger set.

Hinton et al. (2015) leave a class out (section 3), keep 3% of the examples
(section 6), and need no labels at all where only soft targets are matched. The
functions here do these three things to a data set of examples, see
`kd_keras.datasets.load`. They return new data sets, never reorder, and know
their length.

What is random depends on the seed and on the position of an example alone, so
that it is the same for every batch size, shuffling after it, and process. The
data set that goes in must therefore have a fixed order: shuffle afterwards.
"""

import numbers

import numpy as np
import tensorflow as tf

from kd_keras import distribution
from kd_keras.datasets.examples import check_examples
from kd_keras.datasets.examples import count_examples
from kd_keras.datasets.selection import mark_lowest
from kd_keras.datasets.selection import random_priorities
from kd_keras.datasets.selection import stratified_priorities

# The label that says "no label": the Distiller gives such an example no hard
# target.
NO_LABEL = -1


def keep_classes(dataset, classes):
    """Keeps the examples of some classes, as the 7s and 8s of section 3.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image` and `label`;
            it is read once to count.
        classes: iterable of int, the labels to keep.

    Returns:
        `tf.data.Dataset` of the same elements, in the same order.

    Raises:
        TypeError: If `classes` is not an iterable of ints.
        ValueError: If it is empty, or names a class without any example.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices(
    ...     {"image": tf.zeros([6, 8, 8, 1]), "label": [0, 1, 2, 2, 1, 0]}
    ... )
    >>> kept = keep_classes(examples, [0, 2])
    >>> [int(example["label"]) for example in kept]
    [0, 2, 2, 0]
    """
    check_examples(dataset)
    labels = labels_of(dataset)
    classes = checked_classes(classes, labels)
    return _filter_labels(dataset, labels, classes)


def drop_classes(dataset, classes):
    """Leaves out the examples of some classes, as the 3s of section 3.

    The labels of the others stay what they are, and the student keeps an output
    for every class: it may learn of a class it never saw from soft targets.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image` and `label`;
            it is read once to count.
        classes: iterable of int, the labels to leave out.

    Returns:
        `tf.data.Dataset` of the same elements, in the same order.

    Raises:
        TypeError: If `classes` is not an iterable of ints.
        ValueError: If it is empty, names a class without any example, or if
            nothing would be left.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices(
    ...     {"image": tf.zeros([6, 8, 8, 1]), "label": [0, 1, 2, 2, 1, 0]}
    ... )
    >>> len(drop_classes(examples, [1]))
    4
    """
    check_examples(dataset)
    labels = labels_of(dataset)
    dropped = checked_classes(classes, labels)
    kept = np.setdiff1d(labels, dropped)
    if not kept.size:
        raise ValueError(
            "drop_classes would leave no example: every class present, "
            f"{_listed(np.unique(labels))}, is among classes={list(dropped)}. "
            "Leave out fewer."
        )
    return _filter_labels(dataset, labels, kept)


def take_fraction(dataset, fraction, *, seed, stratified=False):
    """Keeps a random part of the examples: exactly `round(fraction * n)`.

    With one seed the parts are nested: what a smaller fraction keeps, a larger
    one keeps too, so that a sweep over fractions only ever adds examples.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image` and `label`,
            in a fixed order.
        fraction: float in (0, 1].
        seed: int, not negative.
        stratified: whether every class keeps the same share of its examples:
            of `m` examples one of the two whole numbers next to `share * m`,
            with one share, nearly `fraction`, for all classes. Then the data
            set is read once for its labels. Defaults to False.

    Returns:
        `tf.data.Dataset` of the same elements, in the same order.

    Raises:
        TypeError: If `seed` is not an int, or `fraction` not a number.
        ValueError: If `fraction` is out of range, or nothing would be left.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices(
    ...     {"image": tf.zeros([200, 8, 8, 1]), "label": tf.range(200) % 10}
    ... )
    >>> len(take_fraction(examples, 0.03, seed=0))
    6
    """
    check_examples(dataset)
    _check_fraction(fraction)
    _check_seed(seed)
    if stratified:
        labels = labels_of(dataset)
        priorities = stratified_priorities(labels, seed)
    else:
        priorities = random_priorities("take", seed, count_examples(dataset))
    taken = mark_lowest(priorities, fraction)
    if not taken.any():
        raise ValueError(
            f"take_fraction would leave no example: {fraction} of "
            f"{len(taken)} rounds to 0. Use a fraction of at least "
            f"{1 / len(taken):.3g}."
        )
    return keep_marked(dataset, taken)


def hide_labels(dataset, fraction, *, seed):
    """Replaces the label of a random part of the examples by `NO_LABEL`.

    Exactly `round(fraction * n)` labels are hidden. With one seed the hidden
    ones at a smaller fraction are among those at a larger, so that the labelled
    examples of a sweep are nested too.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image` and `label`,
            in a fixed order.
        fraction: float in (0, 1], the part without labels; 1 hides all.
        seed: int, not negative.

    Returns:
        `tf.data.Dataset` of all the examples, in the same order, with `label`
        int64.

    Raises:
        TypeError: If `seed` is not an int, or `fraction` not a number.
        ValueError: If `fraction` is out of range, or no label would be hidden.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices(
    ...     {"image": tf.zeros([8, 8, 8, 1]), "label": tf.range(8)}
    ... )
    >>> half = hide_labels(examples, 0.5, seed=0)
    >>> sum(int(example["label"]) == NO_LABEL for example in half)
    4
    """
    check_examples(dataset)
    _check_fraction(fraction)
    _check_seed(seed)
    hidden = mark_lowest(
        random_priorities("hide", seed, count_examples(dataset)), fraction
    )
    if not hidden.any():
        raise ValueError(
            f"hide_labels would hide no label: {fraction} of {len(hidden)} "
            "rounds to 0. Use a larger fraction, or the data set itself."
        )

    def hide(example, hide):
        label = tf.cast(example["label"], tf.int64)
        no_label = tf.constant(NO_LABEL, tf.int64)
        return {**example, "label": tf.where(hide, no_label, label)}

    return _declare(_zip_with(dataset, hidden).map(hide), len(hidden))


def keep_marked(dataset, mask):
    """The elements that a bool array marks, by their positions."""
    return _declare(
        _zip_with(dataset, mask)
        .filter(lambda _, keep: keep)
        .map(lambda example, _: example),
        int(mask.sum()),
    )


def _filter_labels(dataset, labels, classes):
    # By the label itself, not by position, so this holds in any order.
    wanted = tf.constant(classes, tf.int64)

    def is_wanted(example):
        return tf.reduce_any(tf.cast(example["label"], tf.int64) == wanted)

    return _declare(
        dataset.filter(is_wanted), int(np.isin(labels, classes).sum())
    )


def _zip_with(dataset, mask):
    return tf.data.Dataset.zip(
        dataset, tf.data.Dataset.from_tensor_slices(mask)
    )


def _declare(dataset, count):
    """Declares the length, and that workers share the set by elements."""
    return distribution.shard_by_elements(
        dataset.apply(tf.data.experimental.assert_cardinality(count))
    )


def labels_of(dataset):
    """All labels in order: int64 `[n]`."""
    count_examples(dataset)  # Refuses infinite and empty data sets.
    labels = dataset.map(lambda example: tf.cast(example["label"], tf.int64))
    return np.concatenate(list(labels.batch(4096).as_numpy_iterator()))


def checked_classes(classes, labels):
    """The classes as a sorted int64 array, each of which has an example."""
    try:
        classes = list(classes)
    except TypeError:
        raise TypeError(
            'Argument "classes" must be an iterable of ints. Received: '
            f"classes={classes!r}. For one class pass [{classes!r}]."
        ) from None
    for label in classes:
        if isinstance(label, bool) or not isinstance(label, numbers.Integral):
            raise TypeError(
                'Argument "classes" must hold ints, as the labels do. '
                f"Received: {label!r} in classes={classes}."
            )
    if not classes:
        raise ValueError(
            'Argument "classes" must name at least one class. Received: '
            "classes=[]."
        )
    present = np.unique(labels)
    absent = np.setdiff1d(classes, present)
    if absent.size:
        raise ValueError(
            f"No example has the label {_listed(absent)}. Received: "
            f"classes={classes}. Labels present: {_listed(present)}."
        )
    return np.unique(classes).astype(np.int64)


def _listed(labels):
    """Labels for a message, the middle of a long list left out."""
    labels = [str(label) for label in labels]
    if len(labels) > 20:
        labels = labels[:10] + ["..."] + labels[-2:]
    return ", ".join(labels)


def _check_fraction(fraction):
    if isinstance(fraction, bool) or not isinstance(fraction, numbers.Real):
        raise TypeError(
            'Argument "fraction" must be a number in (0, 1]. Received: '
            f"fraction={fraction!r}."
        )
    if not 0 < fraction <= 1:
        raise ValueError(
            'Argument "fraction" must be in (0, 1]; 0.03 is 3%. Received: '
            f"fraction={fraction}."
        )


def _check_seed(seed):
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(
            f'Argument "seed" must be an int. Received: seed={seed!r}.'
        )
    if seed < 0:
        raise ValueError(
            f'Argument "seed" must not be negative. Received: seed={seed}.'
        )
