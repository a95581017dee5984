"""What a specialist is trained on: its classes, and some of all others.

Hinton et al. (2015), section 5.2: half of the examples are of the specialist's
classes, the other half are drawn from the rest and share one label, the
dustbin class.
"""

import collections.abc
import numbers

import numpy as np
import tensorflow as tf

from kd_keras.datasets.examples import check_examples
from kd_keras.datasets.selection import random_priorities
from kd_keras.datasets.transfer import checked_classes
from kd_keras.datasets.transfer import keep_marked
from kd_keras.datasets.transfer import labels_of


def dustbin_set(dataset, classes, *, seed, share=0.5, keep_labels=False):
    """The examples of some classes and a sample of the others, as one class.

    All examples of the classes are kept, and so many others that the former
    make up `share` of the result; all others, if there are not as many, and
    one at least. What this oversampling does to a model is put right by
    `kd_keras.specialists.dustbin_shift`.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image` and `label`,
            in a fixed order; it is read once for its labels. Examples without
            label are left out.
        classes: list of int, the specialist's classes.
        seed: int, not negative, of the choice among the others.
        share: float in (0, 1), of the specialist's classes. Defaults to 0.5.
        keep_labels: Whether labels stay as they are, for a specialist that
            tells all classes. Defaults to False.

    Returns:
        A tuple of the `tf.data.Dataset` of the chosen elements, in the same
        order, whose int64 `label` is the position of the class in `classes`
        or, for the dustbin, `len(classes)`; of the share of the classes among
        all examples; and of their share in the result.

    Raises:
        TypeError: If `classes` are no ints, or `share` is no number.
        ValueError: If a class has no example or is named twice, there are no
            others, or `share` is out of range.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices(
    ...     {"image": tf.zeros([10, 8, 8, 1]), "label": tf.range(10) % 5}
    ... )
    >>> chosen, of_all, of_these = dustbin_set(examples, [4, 0], seed=0)
    >>> [int(example["label"]) for example in chosen], of_all, of_these
    ([1, 2, 2, 0, 1, 2, 2, 0], 0.4, 0.5)
    """
    check_examples(dataset)
    if isinstance(share, bool) or not isinstance(share, numbers.Real):
        raise TypeError(f"`share` is a number. Received: {share!r}.")
    if not 0.0 < share < 1.0:
        raise ValueError(
            f"`share` is a share between 0 and 1. Received: {share}."
        )
    labels = labels_of(dataset)
    if isinstance(classes, collections.abc.Iterable):
        classes = list(classes)
    checked_classes(classes, labels)
    if len(set(classes)) != len(classes):
        raise ValueError(f"A class is named twice. Received: {classes}.")
    is_special = np.isin(labels, classes)
    others = np.flatnonzero(~is_special & (labels >= 0))
    if not others.size:
        raise ValueError(
            "A dustbin needs examples of other classes. Received all classes "
            f"there are: {sorted(classes)}."
        )
    num_special = int(is_special.sum())
    # None at all would be no dustbin.
    wanted = max(1, round(num_special * (1.0 - share) / share))
    priorities = random_priorities("dustbin", seed, len(labels))[others]
    sampled = others[np.argsort(priorities, kind="stable")[:wanted]]
    chosen = is_special.copy()
    chosen[sampled] = True
    kept = keep_marked(dataset, chosen)
    if not keep_labels:
        kept = kept.map(_into_dustbin(classes, labels.max() + 1))
    return (
        kept,
        num_special / (num_special + len(others)),
        num_special / (num_special + len(sampled)),
    )


def _into_dustbin(classes, num_classes):
    """A function of an example that gives it the label of a specialist."""
    # By class; what is no special one falls into the dustbin.
    position = np.full(num_classes, len(classes))
    position[classes] = np.arange(len(classes))
    position = tf.constant(position, tf.int64)

    def relabelled(example):
        return {**example, "label": tf.gather(position, example["label"])}

    return relabelled
