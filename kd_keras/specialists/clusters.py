"""Which classes a specialist gets: those that are predicted together.

Hinton et al. (2015), section 5.1: the columns of the covariance of the
generalist's predictions are clustered by K-means. No label takes part.
"""

import numpy as np

from kd_keras.specialists.checks import check_class_sets
from kd_keras.specialists.checks import check_distributions
from kd_keras.specialists.checks import check_whole

COVARIANCE = "covariance"
CORRELATION = "correlation"
# Of scikit-learn.
_LARGEST_SEED = 2**32 - 1


def prediction_covariance(probs):
    """Covariance of the predictions of two classes, over the examples.

    Args:
        probs: Float array, shape `[num_examples, num_classes]`: the
            generalist's distributions.

    Returns:
        float64 array, shape `[num_classes, num_classes]`.

    Raises:
        ValueError: If there are fewer than two examples or classes, the shape
            is another one, something is not a number, or rows are no
            distributions.

    Example:

    >>> prediction_covariance([[1.0, 0.0], [0.0, 1.0]])
    array([[ 0.5, -0.5],
           [-0.5,  0.5]])
    """
    probs = np.asarray(probs, np.float64)
    if probs.ndim != 2 or min(probs.shape) < 2:
        raise ValueError(
            "`probs` is of shape [num_examples, num_classes], with at least 2 "
            f"of both. Received: {list(probs.shape)}."
        )
    is_number = np.isfinite(probs).all(axis=1)
    if not is_number.all():
        raise ValueError(
            "`probs` are probabilities, which are finite. Received: "
            f"{int((~is_number).sum())} rows that are not, the first is row "
            f"{int(is_number.argmin())}."
        )
    check_distributions("probs", probs)
    return np.cov(probs, rowvar=False)


def cluster_classes(
    probs, num_sets, set_size=None, *, columns=COVARIANCE, seed=0
):
    """Sets of classes that a generalist confuses, one for each specialist.

    K-means groups the columns of `prediction_covariance`: two classes are near
    if they are predicted together with the same others. The groups are
    disjoint and of any size. With `set_size` a specialist gets the columns
    nearest to the centre of a group instead: sets of one size, which overlap,
    as those of the paper do (61 sets of 300 of 15,000 classes).

    The columns of classes that the generalist hardly ever names are short, and
    so near to every centre: many sets get the same classes, and those the
    least confused. `columns="correlation"` takes the columns of the correlation
    instead, which are of one length.

    Args:
        probs: Float array, shape `[num_examples, num_classes]`: what the
            generalist says of unlabelled examples.
        num_sets: int, from 1 to the number of classes.
        set_size: int, from 1 to the number of classes. Defaults to None.
        columns: `"covariance"`, as the paper has it, or `"correlation"`.
            Defaults to the first; `scripts/train_specialists.py` takes the
            second.
        seed: int, of the first centres, not negative and below 2 ** 32.
            Defaults to 0.

    Returns:
        List of sorted lists of int, by their first class. Fewer than
        `num_sets` if two are equal.

    Raises:
        TypeError: If a number is no int.
        ValueError: If a number is out of range, there are no such columns, or
            `probs` are no distributions, or all the same.

    Example:

    >>> apart = np.kron(np.eye(2), np.full([2, 2], 0.5))  # 0, 1 and 2, 3
    >>> cluster_classes(apart, 2)
    [[0, 1], [2, 3]]
    """
    # Importing it takes longer than all of kd_keras.
    from sklearn import cluster

    if columns not in (COVARIANCE, CORRELATION):
        raise ValueError(
            f"`columns` is {COVARIANCE!r} or {CORRELATION!r}. Received: "
            f"{columns!r}."
        )
    # One row for each column; it is symmetric.
    matrix = prediction_covariance(probs)
    deviations = np.sqrt(np.diag(matrix))
    # A class that is always as probable, but for rounding, goes with none.
    varies = deviations > 1e-12
    if not varies.any():
        raise ValueError(
            "`probs` show what is confused by how they vary. Received: "
            f"{len(probs)} examples with the same probabilities."
        )
    if columns == CORRELATION:
        deviations[~varies] = np.inf
        matrix = matrix / np.outer(deviations, deviations)
        np.fill_diagonal(matrix, 1.0)
    num_classes = len(matrix)
    check_whole("num_sets", num_sets, 1, num_classes)
    if set_size is not None:
        check_whole("set_size", set_size, 1, num_classes)
    check_whole("seed", seed, 0, _LARGEST_SEED)
    # Of equal columns there is one cluster.
    num_sets = min(num_sets, len(np.unique(matrix, axis=0)))
    means = cluster.KMeans(num_sets, n_init=10, random_state=seed).fit(matrix)
    if set_size is None:
        sets = [
            np.flatnonzero(means.labels_ == number)
            for number in range(num_sets)
        ]
    else:
        sets = np.argsort(means.transform(matrix), axis=0, kind="stable")
        sets = np.sort(sets[:set_size], axis=0).T
    unique = {tuple(int(one) for one in classes) for classes in sets}
    return [list(classes) for classes in sorted(unique) if classes]


def random_classes(class_sets, num_classes, seed):
    """Class sets that are like others but for the classes that are in them.

    The control for `cluster_classes`: the classes change places at random. So
    there are as many sets, of the same sizes, that share as many classes, and
    as many classes that no set has, one, or several.

    Args:
        class_sets: List of lists of int.
        num_classes: int.
        seed: int, not negative.

    Returns:
        List of sorted lists of int, in the order of `class_sets`.

    Raises:
        TypeError: If classes or numbers are no ints.
        ValueError: If there are no such classes, or a number is out of range.

    Example:

    >>> random_classes([[0, 1], [1, 2]], 6, seed=0)
    [[2, 3], [2, 5]]
    """
    check_whole("num_classes", num_classes, 1)
    check_whole("seed", seed, 0)
    class_sets = check_class_sets(class_sets, num_classes)
    places = np.random.default_rng(seed).permutation(num_classes)
    return [
        sorted(int(places[one]) for one in classes) for classes in class_sets
    ]
