"""The dustbin class of a specialist, and what its sampling does to it.

Hinton et al. (2015), sections 5.2 and 5.3. A specialist tells its own classes
apart and puts all others into one dustbin class. It is trained on data half of
which are its own classes, far more than there are: so it thinks too little of
the dustbin until its logit is corrected.
"""

import math

from kd_keras.specialists.checks import check_number

BAYES = "bayes"
PAPER = "paper"
NONE = "none"


def dustbin_shift(special_share, sampled_share=0.5, rule=BAYES):
    """What to add to the dustbin's logit of a specialist after training.

    With `pi` the share of the specialist's classes among all examples, and `s`
    their share in what it was trained on, a posterior of the training data
    becomes one of all data by weighing each class with how often it is over
    how often it was seen:

        bayes:  log((1 - pi) / (1 - s)) - log(pi / s)

    The paper says that the logit is raised by the logarithm of the proportion
    by which the specialist class is oversampled. Taken by the letter this is

        paper:  log(s / pi)

    which leaves out that the other classes were seen less often: by
    `log((1 - pi) / (1 - s))` too little, at `s = 1/2` up to `log(2)` where the
    specialist's classes are rare. With `none` the logit stays as it was
    learnt.

    The first is exact of a posterior that is. A net that is too sure of
    itself knows less than it says, and then no correction is certain to help:
    compare them on examples that took no part.

    Args:
        special_share: float in (0, 1), `pi`.
        sampled_share: float in (0, 1), `s`. Defaults to 0.5.
        rule: `"bayes"`, `"paper"` or `"none"`. Defaults to `"bayes"`.

    Returns:
        float, nats.

    Raises:
        TypeError: If a share is no number.
        ValueError: If a share is out of range, or there is no such rule.

    Example:

    >>> rules = "bayes", "paper", "none"
    >>> [round(dustbin_shift(0.02, rule=rule), 2) for rule in rules]
    [3.89, 3.22, 0.0]
    """
    for name, share in (
        ("special_share", special_share),
        ("sampled_share", sampled_share),
    ):
        check_number(name, share)
        if not 0 < share < 1:
            raise ValueError(
                f"`{name}` is a share between 0 and 1. Received: {share}."
            )
    oversampled = math.log(sampled_share) - math.log(special_share)
    if rule == NONE:
        return 0.0
    if rule == PAPER:
        return oversampled
    if rule == BAYES:
        return oversampled + math.log((1 - special_share) / (1 - sampled_share))
    raise ValueError(
        f"`rule` is {BAYES!r}, {PAPER!r} or {NONE!r}. Received: {rule!r}."
    )
