"""Soft targets without a teacher: how often each class was said of an example.

Several annotators of one image, or several observations of the same input
(clicks, outcomes, answers), give a distribution over the classes. It takes the
place of the teacher's in Hinton et al. (2015), at T = 1: the gradient of the
cross-entropy with it is the mean of the gradients for each of the labels.
"""

import numpy as np
import tensorflow as tf

from kd_keras.datasets.examples import check_examples
from kd_keras.datasets.examples import count_examples
from kd_keras.datasets.transfer import labels_of

# log of the smallest float32 that is not denormal: what was never said gets a
# probability that float32 cannot tell from 0.
_NEVER = float(np.log(np.finfo(np.float32).tiny))


def with_label_counts(dataset, counts):
    """Adds to each example the shares in which its classes were said.

    Train on the result of `kd_keras.datasets.batches` with a Distiller that has
    `temperature=1.0`, no teacher, and `soft_weight=1.0` or, where the label of
    the example is to count besides, less. Another temperature is of no use:
    the logarithm of a share is not a logit that a temperature could soften.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image` and `label`,
            in a fixed order; it is read once for its labels.
        counts: array of numbers that are not negative, shape `[num_examples,
            num_classes]`: how often each class was said of each example. Only
            the shares in a row count.

    Returns:
        `tf.data.Dataset` of the same elements with `teacher_logits`, the
        logarithms of the shares, float32 of shape `[num_classes]`.

    Raises:
        TypeError: If the elements are no such dicts.
        ValueError: If there are not as many rows as examples, fewer than two
            classes, a negative or infinite count, an example of which nothing
            was said, or soft targets already.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices(
    ...     {"image": tf.zeros([2, 8, 8, 1], tf.uint8), "label": [0, 1]}
    ... )
    >>> said = with_label_counts(examples, [[3, 1, 0], [0, 2, 2]])
    >>> for example in said:
    ...     print(tf.nn.softmax(example["teacher_logits"]).numpy())
    [0.75 0.25 0.  ]
    [0.  0.5 0.5]
    """
    check_examples(dataset)
    if "teacher_logits" in dataset.element_spec:
        raise ValueError(
            "The examples have soft targets already, `teacher_logits`. Give "
            "the data set without them."
        )
    logits = _log_shares(counts)
    num_examples = count_examples(dataset)
    if len(logits) != num_examples:
        raise ValueError(
            f"`counts` needs a row for each example. Received: {len(logits)} "
            f"rows for {num_examples} examples."
        )
    labels = labels_of(dataset)
    if labels.max() >= logits.shape[1]:
        raise ValueError(
            f"`counts` needs a column for each class. Received: "
            f"{logits.shape[1]} columns, and an example of class "
            f"{labels.max()}."
        )
    targets = tf.data.Dataset.from_tensor_slices(logits)
    return tf.data.Dataset.zip(dataset, targets).map(
        lambda example, logits: {**example, "teacher_logits": logits}
    )


def _log_shares(counts):
    try:
        counts = np.asarray(counts, np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            "`counts` is an array of numbers, with as many in each row. "
            f"Received: {type(counts).__name__}."
        ) from None
    if counts.ndim != 2 or counts.shape[1] < 2:
        raise ValueError(
            "`counts` is of shape [num_examples, num_classes], with at least 2 "
            f"classes. Received: {list(counts.shape)}."
        )
    bad = ~np.isfinite(counts) | (counts < 0)
    if bad.any():
        row, column = (int(index[0]) for index in np.nonzero(bad))
        raise ValueError(
            "Counts are finite and not negative. Received: "
            f"{counts[row, column]} in row {row}, class {column}."
        )
    totals = counts.sum(axis=1, keepdims=True)
    if not totals.all():
        row = int(np.argmin(totals[:, 0]))
        raise ValueError(
            f"Nothing was said of example {row}: its row of counts is 0. Leave "
            "such examples out."
        )
    with np.errstate(divide="ignore"):
        shares = np.log(counts / totals)
    return np.maximum(shares, _NEVER).astype(np.float32)
