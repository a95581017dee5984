"""What a teacher says of its first examples, before all of them are written."""

import numpy as np
import tensorflow as tf

from kd_keras import teachers
from kd_keras.soft_targets import forward

# How far from 1 the numbers of an example may sum that look like
# probabilities.
_TOLERANCE = 5e-3


def check_logits(teacher, views, keeps_members, said):
    """Raises `ValueError` if a teacher, or a member, gives probabilities.

    Args:
        teacher: Any teacher.
        views: `forward.Views` that it sees.
        keeps_members: Whether logits of members are kept.
        said: Tuple of ids, images, and what `forward.Forward` gives of them.
    """
    ids, images, logits = said
    leaves = teachers.leaves_of(teacher)
    if keeps_members:
        of_leaves = np.moveaxis(logits, -2, 0)
    elif len(leaves) == 1:
        of_leaves = [logits]
    else:
        # Seen in their mean no longer.
        of_leaves = [
            forward.Forward(leaf, views, None, False)(
                tf.constant(images), tf.constant(ids)
            )
            for leaf in leaves
        ]
    for leaf, rows in zip(leaves, of_leaves, strict=True):
        if _are_probabilities(rows):
            raise ValueError(
                "The teacher gives probabilities: each of its rows sums to 1. "
                "Store the logits, or kd_keras.ProbabilityTeacher(teacher). "
                f"Received: {leaf!r}"
            )


def begun_otherwise(folder, what):
    """The error of work that was begun with something else."""
    return ValueError(
        f"{folder} was begun with another `{what}`: examples that are done "
        "come out otherwise now. Go on with the same one, or begin anew with "
        "overwrite=True."
    )


def _are_probabilities(rows):
    sums = rows.sum(axis=-1)
    return bool((rows >= 0).all() and (np.abs(sums - 1) < _TOLERANCE).all())


def reason(error):
    """The line that matters of an error that Keras wrapped in others."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line]
    return (named or lines or [repr(error)])[-1 if named else 0]
