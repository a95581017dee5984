"""Whether what was written gives what the student in memory gives."""

import dataclasses
import itertools

import keras
import numpy as np
import tensorflow as tf

from kd_keras import keras_hooks
from kd_keras import pixels

# What two runs of one graph may differ by, relative to the largest logit:
# another device or thread count may sum in another order.
TOLERANCE = 1e-5
_HALF_TOLERANCES = {"float16": 1e-2, "bfloat16": 5e-2}
# Images that are compared at once.
_BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How like the student in memory what was written is.

    Attributes:
        examples: Number of images that were compared.
        deviation: Largest difference of logits, relative to the largest logit
            where that is above 1.
        changed_decisions: Images that got another class.
    """

    examples: int
    deviation: float
    changed_decisions: int


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
    return float(difference.max(initial=0.0) / scale)


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


def compare_on_images(student, served, images, accepted, what):
    """Compares what was written with the student, on images.

    Args:
        student: `keras.Model` that takes pixels in [0, 1].
        served: Function of uint8 images to a dict with `logits`.
        images: uint8 array, shape `[num_examples, height, width, channels]`.
        accepted: Largest relative error.
        what: What was written.

    Returns:
        `Comparison`.

    Raises:
        RuntimeError: If the logits are further apart, or, in float32, any
            image gets another class.
    """
    in_memory = tf.function(
        lambda image: tf.cast(
            student(pixels.to_float(image), training=False), tf.float32
        ),
        autograph=False,
        input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.uint8)],
    )
    # Once more often than the other: what is random then differs even where a
    # seed was set.
    in_memory(tf.constant(images[:1]))
    deviation, changed = 0.0, 0
    # One alone first: a batch size that is fixed shows only then.
    bounds = sorted({0, *range(1, len(images), _BATCH_SIZE), len(images)})
    for start, stop in itertools.pairwise(bounds):
        batch = images[start:stop]
        expected = in_memory(tf.constant(batch))
        found = tf.convert_to_tensor(served(batch)["logits"])
        check_logits(student, found, expected, accepted, what)
        deviation = max(deviation, relative_error(found, expected))
        changed += int(
            (np.argmax(found, axis=-1) != np.argmax(expected, axis=-1)).sum()
        )
    if changed and tolerance(student) == TOLERANCE:
        raise RuntimeError(
            f"{what} written for {student.name!r} gives {changed} of "
            f"{len(images)} images another class. Nothing was published."
        )
    return Comparison(len(images), deviation, changed)
