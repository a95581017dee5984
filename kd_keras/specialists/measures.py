"""What specialists change, as tables 3 and 4 of the paper count it."""

import dataclasses

import numpy as np

from kd_keras.specialists.checks import check_class_sets


@dataclasses.dataclass(frozen=True)
class Coverage:
    """Examples whose class so many specialists know.

    Attributes:
        specialists: How many have the class of the example in their set.
        examples: How many such examples there are.
        gained: Examples that the combined model gets right, less those that
            the generalist does.
        generalist_right: Those that the generalist gets right.
    """

    specialists: int
    examples: int
    gained: int
    generalist_right: int

    @property
    def relative_change(self):
        """`gained / generalist_right`; NaN if that is 0."""
        if not self.generalist_right:
            return float("nan")
        return self.gained / self.generalist_right


def coverage(labels, generalist_logits, combined_logits, class_sets):
    """What is gained, by the number of specialists that cover the class.

    Table 4 of Hinton et al. (2015).

    Args:
        labels: int array, shape `[num_examples]`.
        generalist_logits: Float array, shape `[num_examples, num_classes]`.
        combined_logits: The same of the generalist with its specialists.
        class_sets: List of lists of int, the classes of each specialist.

    Returns:
        List of `Coverage`, by the number of specialists, those that occur.

    Raises:
        TypeError: If classes are no ints.
        ValueError: If the arrays do not fit each other, or there are no such
            classes.

    Example:

    >>> before = np.eye(3)[[0, 1, 0, 0]]
    >>> after = np.eye(3)[[0, 1, 2, 0]]
    >>> for line in coverage([0, 1, 2, 2], before, after, [[1, 2], [2, 0]]):
    ...     print(line.specialists, line.examples, line.gained)
    1 2 0
    2 2 1
    """
    labels, *each = _checked(labels, generalist_logits, combined_logits)
    before, after = (logits.argmax(axis=1) == labels for logits in each)
    counts = np.zeros(each[0].shape[1], int)
    for classes in check_class_sets(class_sets, len(counts)):
        counts[classes] += 1
    covering = counts[labels]
    return [
        Coverage(
            int(number),
            int((covering == number).sum()),
            int(after[covering == number].sum())
            - int(before[covering == number].sum()),
            int(before[covering == number].sum()),
        )
        for number in np.unique(covering)
    ]


def conditional_accuracy(labels, logits, class_sets):
    """Accuracy among the classes of specialists alone.

    Of the examples whose class some specialist has, with the choice left
    between all classes that some specialist has: table 3 of Hinton et al.
    (2015).

    Args:
        labels: int array, shape `[num_examples]`.
        logits: Float array, shape `[num_examples, num_classes]`.
        class_sets: List of lists of int, the classes of each specialist.

    Returns:
        float.

    Raises:
        TypeError: If classes are no ints.
        ValueError: If no example is of such a class, the arrays do not fit
            each other, or there are no such classes.

    Example:

    >>> logits = [[1, 2, 3], [0, 1, 2], [0, 0, 0]]
    >>> conditional_accuracy([0, 1, 2], logits, [[0, 1]])
    0.5
    """
    labels, logits = _checked(labels, logits)
    class_sets = check_class_sets(class_sets, logits.shape[1])
    special = np.unique([one for classes in class_sets for one in classes])
    is_special = np.isin(labels, special)
    if not is_special.any():
        raise ValueError(
            "No example is of a specialist's class. Received the classes "
            f"{special.tolist()}."
        )
    chosen = special[logits[is_special][:, special].argmax(axis=1)]
    return float((chosen == labels[is_special]).mean())


def _checked(labels, *each):
    """The arrays; raises if they do not fit each other."""
    labels = np.asarray(labels)
    each = [np.asarray(logits) for logits in each]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "Labels are ints, shape [num_examples]. Received: "
            f"{labels.dtype} of shape {list(labels.shape)}."
        )
    for logits in each:
        if logits.ndim != 2 or logits.shape != (len(labels), each[0].shape[1]):
            raise ValueError(
                "Logits are of shape [num_examples, num_classes], the same "
                f"for all. Received: {[list(one.shape) for one in each]} for "
                f"{len(labels)} labels."
            )
        if np.isnan(logits).any():
            raise ValueError(
                "Logits that are not numbers name no class. Received: "
                f"{int(np.isnan(logits).any(axis=1).sum())} such rows."
            )
    num_classes = each[0].shape[1]
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"Labels are from 0 to {num_classes - 1}, the classes of the "
            f"logits. Received: {labels.min()} to {labels.max()}."
        )
    return labels, *each
