"""Checks of what a Distiller is given, before it takes a step."""

import math
import warnings

import keras
import tensorflow as tf

from kd_keras import distribution
from kd_keras import keras_hooks
from kd_keras import model_checks
from kd_keras import replica_checks
from kd_keras import teachers

# What `tf.compat.v1.get_seed` gives while no global seed is set.
_NO_GLOBAL_SEED = 87654321

# Losses of Keras that make no sense between logits.
_OF_PROBABILITIES = (
    keras.losses.BinaryCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.KLDivergence,
    keras.losses.SparseCategoricalCrossentropy,
)


def checked_weight(soft_weight):
    """Returns a soft weight as a float; raises unless it is in [0, 1]."""
    try:
        number = float(soft_weight)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(soft_weight, (bool, str)) or not 0.0 <= number <= 1.0:
        raise ValueError(
            "`soft_weight` must be a number from 0 (labels only) to 1 "
            "(teacher only). "
            f"Received: soft_weight={soft_weight!r}"
        )
    return number


def checked_soft_loss(soft_loss):
    """Returns a soft loss or a structure of them; raises if it is none."""
    leaves = keras.tree.flatten(soft_loss)
    for loss in leaves:
        if loss is not None and not isinstance(loss, keras.losses.Loss):
            raise TypeError(
                "`soft_loss` must be a keras.losses.Loss object called "
                "(teacher_logits, student_logits), such as "
                "kd_keras.losses.SoftTargetKLDivergence(4.0), or a structure "
                "like the student's outputs with None where an output is not "
                f"distilled. Received: {loss!r}"
            )
        if isinstance(loss, _OF_PROBABILITIES):
            warnings.warn(
                f"`soft_loss` {type(loss).__name__} takes probabilities, and "
                "is called with the logits of teacher and student. Use "
                "kd_keras.losses.SoftTargetKLDivergence(temperature)."
            )
        if loss is not None and loss.reduction in (None, "none"):
            raise ValueError(
                "`soft_loss` must reduce to a scalar. "
                f"Received a loss with reduction={loss.reduction!r}; use "
                '"sum_over_batch_size".'
            )
    if all(loss is None for loss in leaves):
        raise ValueError(
            "`soft_loss` must have a loss for at least one output. "
            f"Received: soft_loss={soft_loss!r}"
        )
    return soft_loss


def checked_metrics(metrics):
    """Returns fidelity metrics as list or dict; raises if they are none."""
    if not isinstance(metrics, (list, tuple, dict)):
        raise TypeError(
            "`fidelity_metrics` must be a list of Keras metrics, or for "
            "several outputs a dict of lists. "
            f"Received: fidelity_metrics={metrics!r}"
        )
    leaves = keras.tree.flatten(metrics)
    for metric in leaves:
        if not isinstance(metric, keras.metrics.Metric):
            raise TypeError(
                "`fidelity_metrics` are keras.metrics.Metric objects called "
                "(teacher_logits, student_logits), such as "
                "kd_keras.metrics.TeacherAgreement(). "
                f"Received: {metric!r}"
            )
    names = ["loss", "hard_loss", "soft_loss", *(m.name for m in leaves)]
    if len(set(names)) < len(names):
        raise ValueError(
            "Each fidelity metric needs a name of its own, other than loss, "
            f"hard_loss and soft_loss. Received: {names[3:]}"
        )
    if isinstance(metrics, dict):
        return {
            name: list(keras.tree.flatten(m)) for name, m in metrics.items()
        }
    return list(metrics)


def check_temperatures(soft_loss, teacher):
    """Raises if a loss without temperature meets an arithmetic ensemble."""
    if not teachers.depends_on_temperature(teacher):
        return
    for loss in keras.tree.flatten(soft_loss):
        if loss is not None and getattr(loss, "temperature", None) is None:
            raise ValueError(
                "The arithmetic mean of an ensemble is one of distributions "
                "at a temperature, and this soft loss has none. Use "
                'kd_keras.EnsembleTeacher(members, mean="geometric"), the '
                f"mean of the logits. Received: soft_loss={loss!r}"
            )


def check_class_weight(distiller, class_weight, sample_weight):
    """Raises if class weights do not fit the student or other weights."""
    if sample_weight is not None:
        raise ValueError(
            "You cannot give `class_weight` and `sample_weight` at the same "
            "time. Multiply them into one `sample_weight`."
        )
    outputs = model_checks.outputs(distiller.student)
    num_classes = None
    if outputs is not None:
        if keras.tree.is_nested(outputs):
            raise ValueError(
                "`class_weight` is only supported for Models with a single "
                "output."
            )
        num_classes = outputs.shape[-1]
    if not isinstance(class_weight, dict) or not all(
        isinstance(key, int) or getattr(key, "dtype", None) is not None
        for key in class_weight
    ):
        raise ValueError(
            "`class_weight` must be a dict of class numbers and weights. "
            f"Received: class_weight={class_weight!r}"
        )
    for key, weight in class_weight.items():
        if key < 0 or (num_classes is not None and key >= num_classes):
            raise ValueError(
                f"`class_weight` names class {key}, and the student has "
                f"{num_classes} classes, counted from 0."
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(
                "`class_weight` must hold finite weights that are not "
                f"negative. Received: {weight!r} for class {key}"
            )


def check_compiled(distiller):
    """Raises or warns if what `compile` was given does not fit."""
    replica_checks.check_optimizer(distiller)
    replica_checks.check_reductions(
        distiller.distribute_strategy, [distiller.loss, distiller.soft_loss]
    )
    hard = keras_hooks.compiled_loss(distiller)
    if hard is None and distiller.soft_weight < 1:
        raise ValueError(
            f"At soft_weight={distiller.soft_weight} the labels count, and "
            "`compile` was given no loss for them. Compile with "
            "loss=keras.losses.SparseCategoricalCrossentropy("
            "from_logits=True), or train with soft_weight=1."
        )
    for loss in keras.tree.flatten(distiller.loss):
        if _wants_probabilities(loss):
            warnings.warn(
                f"`compile` was given {loss!r}, which takes probabilities, "
                "and the student gives logits. Use the loss object with "
                "from_logits=True."
            )


def check_data(x, method):
    """Raises if there is no data, of which Keras says nothing one could read.

    Args:
        x: What `method` was given.
        method: `"fit"`, `"evaluate"` or `"predict"`.

    Raises:
        ValueError: If it is None.
    """
    if x is None:
        raise ValueError(
            f'"{method}" needs data. Received: x=None. Give arrays, a '
            "tf.data.Dataset, or what else keras.Model takes as `x`."
        )


def check_shuffle(distiller, x, shuffle):
    """Raises if workers would shuffle arrays each in its own order."""
    if (
        shuffle
        and distribution.is_multi_worker(distiller.distribute_strategy)
        and tf.compat.v1.get_seed(0)[0] == _NO_GLOBAL_SEED
        and all(hasattr(a, "__array__") for a in keras.tree.flatten(x))
    ):
        raise ValueError(
            "Every worker would shuffle the arrays in an order of its own, "
            "and together they would take some examples twice and others "
            "never. Call keras.utils.set_random_seed with the same number on "
            "all, or give shuffle=False."
        )


def _wants_probabilities(loss):
    if isinstance(loss, str):
        return loss in (
            "categorical_crossentropy",
            "sparse_categorical_crossentropy",
            "crossentropy",
            "ce",
        )
    kinds = (
        keras.losses.SparseCategoricalCrossentropy,
        keras.losses.CategoricalCrossentropy,
    )
    return isinstance(loss, kinds) and not loss.get_config()["from_logits"]
