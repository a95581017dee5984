"""Whether what was written gives what the student in memory gives."""

import keras
import numpy as np
import tensorflow as tf

from kd_keras import keras_hooks

# What two runs of one graph may differ by, relative to the largest logit:
# another device or thread count may sum in another order.
TOLERANCE = 1e-5
_HALF_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}


def check_student(student):
    """Raises unless this is a model with its variables."""
    if not isinstance(student, keras.Model):
        raise TypeError(
            "`student` must be a `keras.Model`. Received: "
            f"student={student!r} of type {type(student).__name__}."
        )
    if not student.built:
        raise ValueError(
            "`student` must be built before it is exported, otherwise it has "
            "no variables: call it on a batch, or train it. Received: "
            f"student={student!r}"
        )


def tolerance(student):
    """What its logits may be off by, relative to the largest."""
    return max(
        _HALF_TOLERANCES.get(layer.compute_dtype, TOLERANCE)
        for layer in keras_hooks.layers_of(student)
    )


def relative_error(found, expected):
    """Largest difference, relative to the largest value where that is > 1."""
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return float("inf")
    found = tf.cast(found, tf.float64).numpy()
    expected = tf.cast(expected, tf.float64).numpy()
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    # A student may give minus infinity for classes that it rules out.
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(1.0, finite.max(initial=0.0))
    difference = np.abs(np.where(same, 0, found) - np.where(same, 0, expected))
    return float(difference.max(initial=0.0)) / scale


def check_logits(student, found, expected, accepted, what):
    """Raises unless logits are those of the student.

    Args:
        student: `keras.Model`, for its name.
        found: Tensor that the written file gave.
        expected: Tensor that the student gave.
        accepted: Largest relative error.
        what: What was written, and the name of the output.

    Raises:
        RuntimeError: If they are further apart.
    """
    error = relative_error(found, expected)
    # Not `error > accepted`, which a NaN would pass.
    if not error <= accepted:
        raise RuntimeError(
            f"{what} written for {student.name!r} is not the student's: "
            f"relative to the largest they differ by {error:.3g}, accepted is "
            f"{accepted:g}. Nothing was published. A student that is random, "
            "or changes its state, in inference mode cannot be exported: look "
            "for a layer that ignores `training`."
        )
