"""What specialists are told: numbers, and some of all classes, each once."""

import numbers

import numpy as np

# How far the probabilities of an example may sum from 1: what half precision
# rounds them to.
_SUM_TOLERANCE = 1e-2


def check_whole(name, value, least, most=None):
    """Raises unless an argument is an int in a range.

    Args:
        name: Its name, for the message.
        value: Any object.
        least: int.
        most: int. Defaults to None: no limit.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is out of range.

    Example:

    >>> check_whole("top_n", 2, 1, 10)
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` is an int. Received: {value!r}.")
    if value < least or (most is not None and value > most):
        upto = "" if most is None else f" to {most}"
        raise ValueError(
            f"`{name}` is an int from {least}{upto}. Received: {value}."
        )


def check_number(name, value):
    """Raises unless an argument is a number.

    Args:
        name: What it is called, for the message.
        value: Any object.

    Raises:
        TypeError: If it is none.

    Example:

    >>> check_number("sampled_share", 0.5)
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` is a number. Received: {value!r}.")


def check_class_sets(class_sets, num_classes):
    """The classes of each specialist as lists of int.

    Args:
        class_sets: Iterable of iterables of ints.
        num_classes: How many classes there are; infinity if that is not known.

    Returns:
        List of lists of int, as they came.

    Raises:
        TypeError: If they are not that, or classes are no ints.
        ValueError: If a set is empty, names a class twice, or one that there
            is not.

    Example:

    >>> check_class_sets([(0, 2), range(1, 2)], 3)
    [[0, 2], [1]]
    """
    try:
        sets = [list(classes) for classes in class_sets]
    except TypeError:
        raise TypeError(
            "`class_sets` is a list with a list of classes for each "
            f"specialist. Received: {class_sets!r}."
        ) from None
    for number, classes in enumerate(sets):
        for one in classes:
            if isinstance(one, bool) or not isinstance(one, numbers.Integral):
                raise TypeError(
                    f"The classes of specialist {number} are to be ints. "
                    f"Received: {one!r} in {classes}."
                )
        if (
            not classes
            or len(set(classes)) != len(classes)
            or not all(0 <= one < num_classes for one in classes)
        ):
            raise ValueError(
                f"The classes of specialist {number} are to be some of 0 to "
                f"{num_classes - 1}, each once. Received: {classes}."
            )
    return [[int(one) for one in classes] for classes in sets]


def check_distributions(name, probs):
    """Raises unless rows are distributions, or hold what is not a number.

    Args:
        name: What they are called, for the message.
        probs: Float array, shape `[num_examples, num_classes]`.

    Raises:
        ValueError: If a row has a negative value, or does not sum to 1.

    Example:

    >>> check_distributions("probs", np.array([[0.25, 0.75]]))
    """
    sums = probs.sum(axis=-1)
    is_bad = (probs < 0).any(axis=-1) | ~(np.abs(sums - 1) <= _SUM_TOLERANCE)
    # What is not a number is answered so.
    is_bad &= ~np.isnan(probs).any(axis=-1)
    if is_bad.any():
        row = int(is_bad.argmax())
        raise ValueError(
            f"Rows of `{name}` are distributions: not negative, of sum 1; of "
            f"logits take the softmax. Received, in row {row}: "
            f"{np.array2string(probs[row], threshold=8, edgeitems=3)}."
        )


def membership(class_sets, num_classes):
    """1 where a class is one of a specialist's.

    Args:
        class_sets: List of lists of int, checked.
        num_classes: int.

    Returns:
        float64 array, shape `[num_specialists, num_classes]`.
    """
    member = np.zeros((len(class_sets), num_classes))
    for number, classes in enumerate(class_sets):
        member[number, classes] = 1.0
    return member
