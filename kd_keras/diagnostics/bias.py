"""Shifts of the logits of classes that a transfer set lacked.

A student that never saw a class gives it too low a bias, one that saw little
else too high a one, and says most of what it knows about the class by the
other logits. Hinton et al. (2015), section 3, shift the bias of the class to
see that: by what "optimizes overall performance on the test set", which is a
diagnostic and no way to train. Without labels the shift follows from how often
the class occurs.
"""

import numpy as np
from scipy import optimize
from scipy import special


def prior_matching_shift(logits, classes, prior):
    """The shift at which classes are predicted as often as they occur.

    Args:
        logits: float array, shape `[num_examples, num_classes]`, of examples
            as they will come. Their labels are not needed.
        classes: Sequence of int, the classes whose logits are shifted, all by
            the same amount.
        prior: Share of all examples that is of these classes, in (0, 1).

    Returns:
        float: `shift` such that the mean over the examples of the
        probabilities of `classes`, summed, is `prior`, with
        `logits[:, classes] + shift`.

    Raises:
        ValueError: If a class is none, a logit is no number, or `prior` is
            out of range.

    Example:

    >>> shift = prior_matching_shift([[0.0, 0.0, 0.0]], [2], 0.5)
    >>> round(shift, 4)
    0.6931
    """
    logits, classes = _checked(logits, classes)
    if not 0.0 < prior < 1.0:
        raise ValueError(
            f"The prior must be between 0 and 1. Received: {prior!r}."
        )
    others = np.setdiff1d(np.arange(logits.shape[1]), classes)
    # What the odds of the classes are, example by example.
    log_odds = special.logsumexp(logits[:, classes], axis=1)
    log_odds -= special.logsumexp(logits[:, others], axis=1)

    def excess(shift):
        return special.expit(log_odds + shift).mean() - prior

    # At these ends every example is on the same side of the prior.
    target = special.logit(prior)
    low, high = target - log_odds.max(), target - log_odds.min()
    return float(optimize.brentq(excess, low - 1e-6, high + 1e-6, xtol=1e-10))


def best_shift(labels, logits, classes):
    """The shift at which the fewest examples get the wrong class.

    It is fitted to the labels: on a test split a diagnostic, and nothing that
    a student could be trained by.

    Args:
        labels: int array, shape `[num_examples]`.
        logits: float array, shape `[num_examples, num_classes]`.
        classes: Sequence of int, the classes whose logits are shifted, all by
            the same amount.

    Returns:
        A tuple of the shift, float, and of the errors that are left, int. 0
        if no shift is better than none. Of an interval of equally good shifts
        it is the middle, of several intervals the one nearest to 0.

    Raises:
        ValueError: If a class is none, a logit is no number, or there is not
            one label for each example.

    Example:

    >>> shift, errors = best_shift([1, 0], [[2.0, 1.0], [2.0, -1.0]], [1])
    >>> shift, errors
    (2.0, 0)
    """
    logits, classes = _checked(logits, classes)
    labels = np.asarray(labels)
    if labels.shape != (len(logits),):
        raise ValueError(
            f"`labels` needs one class for each of {len(logits)} examples. "
            f"Received: an array of shape {labels.shape}."
        )
    others = np.setdiff1d(np.arange(logits.shape[1]), classes)
    best_in = classes[logits[:, classes].argmax(axis=1)]
    best_out = others[logits[:, others].argmax(axis=1)]
    rows = np.arange(len(logits))
    # Above this shift an example gets one of the classes.
    flips = logits[rows, best_out] - logits[rows, best_in]
    order = np.argsort(flips, kind="stable")
    flips = flips[order]
    gain = (best_in == labels).astype(int) - (best_out == labels)
    wrong = (best_out != labels).sum() - np.concatenate(
        [[0], np.cumsum(gain[order])]
    )
    # Between two flips the errors are constant; equal flips come together.
    edges = np.concatenate([[flips[0] - 2.0], flips, [flips[-1] + 2.0]])
    wide = np.diff(edges) > 0
    middles = (edges[1:] + edges[:-1]) / 2
    least = wrong[wide].min()
    if (logits.argmax(axis=1) != labels).sum() == least:
        return 0.0, int(least)
    candidates = middles[wide & (wrong == least)]
    nearest = candidates[np.abs(candidates).argmin()]
    return float(nearest), int(least)


def _checked(logits, classes):
    logits = np.asarray(logits, np.float64)
    classes = np.unique(np.asarray(classes, int))
    if logits.ndim != 2 or not len(logits):
        raise ValueError(
            "Logits must be of shape [num_examples, num_classes]. Received: "
            f"{logits.shape}."
        )
    if not np.isfinite(logits).all():
        raise ValueError("Logits must be finite. Received some that are not.")
    num_classes = logits.shape[1]
    if (
        not 0 < len(classes) < num_classes
        or classes[0] < 0
        or classes[-1] >= num_classes
    ):
        raise ValueError(
            f"Some of the classes 0 to {num_classes - 1} are to be shifted, "
            f"and not all. Received: {classes.tolist()}."
        )
    return logits, classes
