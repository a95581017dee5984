"""Which examples a seed selects: priorities by position, and the lowest.

Every example gets a priority, and a fraction selects the lowest ones. So a
smaller fraction selects a part of what a larger one does, and the selection
depends on nothing but the seed and the position.
"""

import numbers

import numpy as np

# Each use of a seed draws numbers of its own. One stream for all would make the
# examples whose labels are hidden depend on those that were taken before.
_STREAMS = {"take": 1, "strata": 2, "hide": 3, "dustbin": 4}


def random_priorities(purpose, seed, count):
    """Independent random priorities.

    They are the raw output of a bit generator, which NumPy promises never to
    change, unlike its permutations and TensorFlow's shuffling.

    Args:
        purpose: "take", "strata", "hide" or "dustbin"; each has a stream of
            its own.
        seed: int, not negative.
        count: int.

    Returns:
        uint64 array, shape `[count]`.

    Raises:
        TypeError: If `seed` is no int.
        ValueError: If it is negative.

    Example:

    >>> priorities = random_priorities("take", seed=0, count=300)
    >>> print(np.argsort(priorities)[:3])
    [ 93  61 176]
    """
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(f"`seed` is an int. Received: {seed!r}.")
    if seed < 0:
        raise ValueError(f"`seed` is not negative. Received: {seed}.")
    entropy = np.random.SeedSequence([_STREAMS[purpose], int(seed)])
    return np.random.PCG64(entropy).random_raw(count)


def stratified_priorities(labels, seed):
    """Priorities whose lowest part holds nearly the same share of every class.

    Within a class the examples are put in random order; the one of rank `r` of
    `m` gets `(r + offset) / m`, so that a threshold takes nearly the same share
    of all. Each class has a random offset in [0, 1): with one for all, the
    first examples of many small classes would be taken in the same breath.

    Args:
        labels: int array, shape `[n]`.
        seed: int, not negative.

    Returns:
        float64 array, shape `[n]`.

    Example:

    >>> labels = np.array([0, 1, 0, 1])
    >>> half = mark_lowest(stratified_priorities(labels, seed=0), 0.5)
    >>> print(np.bincount(labels[half]))
    [1 1]
    """
    draws = random_priorities("take", seed, len(labels))
    classes = np.unique(labels)
    offsets = random_priorities("strata", seed, len(classes)) / 2.0**64
    priorities = np.empty(len(labels))
    for label, offset in zip(classes, offsets, strict=True):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(draws[members], kind="stable")]
        ranks = np.arange(len(members))
        priorities[members] = (ranks + offset) / len(members)
    return priorities


def mark_lowest(priorities, fraction):
    """Marks the `round(fraction * n)` lowest of `n` priorities.

    Args:
        priorities: array, shape `[n]`.
        fraction: float in [0, 1].

    Returns:
        bool array, shape `[n]`. Of equal priorities the first comes first.

    Example:

    >>> print(mark_lowest(np.array([7, 3, 5, 1]), 0.5))
    [False  True False  True]
    """
    count = round(float(fraction) * len(priorities))
    marked = np.zeros(len(priorities), bool)
    marked[np.argsort(priorities, kind="stable")[:count]] = True
    return marked
