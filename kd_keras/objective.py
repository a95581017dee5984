"""The objective of a Distiller on one batch, and what it takes to check it.

These functions belong to `Distiller`, which they are given: they read its
settings and change nothing but metrics.
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from kd_keras import batches
from kd_keras import keras_hooks
from kd_keras import model_checks
from kd_keras import ops
from kd_keras import replication
from kd_keras import stored_teachers
from kd_keras import teachers


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a step computes of a batch.

    Attributes:
        loss: What is reported as the loss of these examples; a scalar.
        minimised: What a replica minimises; of training only. The same as
            `loss` if every replica has as many examples.
        hard_loss: The hard term before its weight, or None.
        soft_loss: The soft term before its weight, with `T**2`, or None.
        targets: The `batches.Targets`.
        soft_targets: For each output None, or a `teachers.LogitsAt`; None
            altogether if there are none at hand.
        seen: Arguments for `value_checks.ValueChecks.record`.
    """

    loss: Any
    minimised: Any
    hard_loss: Any
    soft_loss: Any
    targets: batches.Targets
    soft_targets: list | None
    seen: dict


def output_names(distiller):
    """Names of the student's outputs, or None if it has no names for them."""
    return getattr(distiller.student, "output_names", None)


def soft_losses(distiller, logits):
    """Lists the soft loss of each output; None if it is not distilled."""
    if isinstance(distiller.soft_loss, keras.losses.Loss):
        return [distiller.soft_loss] * len(keras.tree.flatten(logits))
    return batches.match(
        distiller.soft_loss,
        logits,
        output_names(distiller),
        "soft losses",
        partial=True,
    )


def find_soft_targets(
    distiller, batch, logits, forward=teachers.forward, training=True
):
    """Takes the teacher's logits from the batch, or calls the teacher.

    Args:
        distiller: The `Distiller`.
        batch: A `batches.Batch`.
        logits: The student's outputs.
        forward: What runs a teacher, as `teachers.forward`.
        training: Whether this is a step of training. Evaluation calls the
            teacher only for fidelity metrics or where nothing else is left.

    Returns:
        For each output a `teachers.LogitsAt`, or None; None altogether if
        there are none at hand.

    Raises:
        ValueError: If a teacher is needed and missing, or its logits do not
            fit the student's.
    """
    if batch.teacher_logits is not None:
        what = "stored teacher_logits"
        found = batch.teacher_logits
        if isinstance(distiller.teacher, stored_teachers.StoredTeacher):
            found = distiller.teacher.completed(found, logits)
        found = keras.tree.map_structure(teachers.constant, found)
    else:
        only_soft = keras_hooks.compiled_loss(distiller) is None
        if distiller.teacher is None or isinstance(
            distiller.teacher, stored_teachers.StoredTeacher
        ):
            if only_soft or (training and distiller.soft_weight > 0):
                raise ValueError(
                    "This Distiller has no teacher to call, and the data "
                    "brings no teacher_logits. Attach one: distiller.teacher = "
                    "teacher. (A teacher is never saved with a Distiller.) Or "
                    "give stored targets: store.batches(...) of "
                    "kd_keras.soft_targets.open_store, or "
                    '(x, {"label": y, "teacher_logits": v}).'
                )
            return None
        if not (training or only_soft or distiller.fidelity_metrics):
            return None
        what = "teacher's logits"
        found = forward(distiller.teacher, batch.x, like=logits)
    found = batches.match(
        found, logits, output_names(distiller), what, partial=True
    )
    outputs = keras.tree.flatten(logits)
    losses = soft_losses(distiller, logits)
    for i, (logits_at, loss) in enumerate(zip(found, losses, strict=True)):
        if logits_at is None and loss is not None:
            raise ValueError(
                f"The {what} lack output {i} of the student, which has a "
                "soft loss. Give its logits, or None as its soft loss."
            )
        if logits_at is not None and loss is not None:
            found[i] = _without_broadcasting(logits_at, outputs[i], what)
    return found


def terms(distiller, batch, logits, soft_targets, training=True):
    """Computes the objective of a batch, or what an evaluation reports.

    Args:
        distiller: The `Distiller`.
        batch: A `batches.Batch`.
        logits: The student's outputs.
        soft_targets: What `find_soft_targets` gave.
        training: Whether this is a step of training.

    Returns:
        `Terms`, the losses divided by the number of replicas as Keras' are.

    Raises:
        ValueError: If labels are needed and missing, or structures or shapes
            do not fit.
    """
    outputs = keras.tree.flatten(logits)
    losses = soft_losses(distiller, logits)
    for output, loss in zip(outputs, losses, strict=True):
        if loss is not None:
            model_checks.check_classes(output.shape)
    targets = batches.targets_for(
        batch,
        logits,
        output_names(distiller),
        [loss is not None for loss in losses],
        distiller.class_weight if training else None,
    )
    teacher_logits = [None] * len(outputs)
    soft_loss = None
    if soft_targets is not None:
        teacher_logits = [
            None if loss is None else at(getattr(loss, "temperature", None))
            for loss, at in zip(losses, soft_targets, strict=True)
        ]
        soft_loss = _weighted_sum(
            distiller, logits, losses, teacher_logits, outputs, targets
        )
    hard = keras_hooks.compiled_loss(distiller)
    hard_loss = minimised = None
    if hard is not None and targets.labels is not None:
        _check_complete(distiller, targets.labels)
    if training:
        if hard is not None and targets.labels is not None:
            hard_loss = _cast(hard(targets.labels, logits, targets.hard_weight))
        of_examples = _of_examples(distiller, hard_loss, soft_loss)
        size = batches.size(batch.x)
        additional = _additional(distiller, size)
        share = replication.share_of_batch(size)
        loss = of_examples + additional
        minimised = of_examples * share + additional
    elif hard is None:
        loss = soft_loss + _additional(distiller, batches.size(batch.x))
    else:
        _check_labels(targets.labels, "evaluation")
        # Keras' own sum: the number is that of the student by itself.
        loss = distiller.compute_loss(
            batch.x, targets.labels, logits, targets.hard_weight, training=False
        )
    return Terms(
        loss=loss,
        minimised=minimised,
        hard_loss=hard_loss,
        soft_loss=soft_loss,
        targets=targets,
        soft_targets=soft_targets,
        seen=_seen(
            distiller,
            batch,
            bad_label=targets.bad_label,
            soft_loss=soft_loss,
            teacher_logits=[t for t in teacher_logits if t is not None],
            student_logits=[
                output
                for output, loss in zip(outputs, losses, strict=True)
                if loss is not None
            ],
        )
        | (_seen_of_replica(distiller, batch) if training else {}),
    )


def update_metrics(distiller, logits, terms):
    """Updates compiled and fidelity metrics.

    Args:
        distiller: The `Distiller`.
        logits: The student's outputs.
        terms: `Terms` of the batch.

    Returns:
        The names of the metrics that have something to report.
    """
    reported = set()
    targets = terms.targets
    if targets.labels is not None:
        keras_hooks.update_compiled_metrics(
            distiller,
            targets.labels,
            logits,
            targets.hard_weight,
            targets.label_masks,
        )
        reported.add("compile_metrics")
        hard = keras_hooks.compiled_loss(distiller)
        if hard is not None:
            reported.update(metric.name for metric in hard.metrics)
    if terms.soft_targets is not None:
        for metric, i in _metrics_by_output(distiller, logits):
            logits_at = terms.soft_targets[i]
            metric.update_state(
                logits_at(getattr(metric, "temperature", 1.0)),
                keras.tree.flatten(logits)[i],
            )
            reported.add(metric.name)
    return reported


def _without_broadcasting(logits_at, output, what):
    """The same, sure to have the shape of the student's logits."""
    return teachers.LogitsAt(
        output.shape,
        lambda temperature: ops.without_broadcasting(
            logits_at(temperature), output, what
        ),
    )


def _cast(loss):
    """Terms are added in float32, or in float64 where Keras computes in it."""
    is_double = keras.config.floatx() == "float64"
    return tf.cast(loss, tf.float64 if is_double else tf.float32)


def _check_labels(labels, phase):
    if labels is None:
        raise ValueError(
            f"The data has no labels, and {phase} needs them. Give (x, y), "
            "with negative labels where there are none; or train with "
            "soft_weight=1 and compile(loss=None) to do without."
        )


def _check_complete(distiller, labels):
    """Raises if an output has a loss and no labels."""
    leaves = keras.tree.flatten(labels)
    if all(leaf is not None for leaf in leaves):
        return
    wanted = [distiller.loss] * len(leaves)
    if keras.tree.is_nested(distiller.loss):
        wanted = batches.match(
            distiller.loss, labels, output_names(distiller), "losses", True
        )
    for loss, leaf in zip(wanted, leaves, strict=True):
        if loss is not None and leaf is None:
            raise ValueError(
                "The labels lack an output that `compile` was given a loss "
                "for. Give its labels, negative where there are none, or None "
                "as its loss."
            )


def _weighted_sum(distiller, logits, losses, teacher_logits, outputs, targets):
    """The soft term: each output's soft loss times its loss weight."""
    weights = keras_hooks.loss_weights(distiller)
    if weights is None:
        weights = [None] * len(outputs)
    else:
        weights = batches.match(
            batches.only(weights, logits),
            logits,
            output_names(distiller),
            "loss_weights",
            partial=True,
        )
    total = 0.0
    for loss, target, output, weight, sample_weight in zip(
        losses,
        teacher_logits,
        outputs,
        weights,
        targets.soft_weights,
        strict=True,
    ):
        if loss is not None:
            value = _cast(loss(target, output, sample_weight))
            total += value if weight is None else value * weight
    return total


def _of_examples(distiller, hard_loss, soft_loss):
    """The two terms, weighed."""
    soft_weight = distiller.soft_weight
    if soft_weight < 1 and hard_loss is None:
        _check_labels(None, f"training at soft_weight={soft_weight}")
    # A term of weight zero is left out, not multiplied: it may be infinite.
    loss = 0.0
    if soft_weight < 1:
        loss += hard_loss if soft_weight == 0 else (1 - soft_weight) * hard_loss
    if soft_weight > 0:
        loss += soft_loss if soft_weight == 1 else soft_weight * soft_loss
    return loss


def _additional(distiller, size):
    """Regularisers and `add_loss`, divided by the number of replicas."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    values = [_cast(tf.reduce_sum(value)) for value in distiller.losses]
    if replicas > 1:
        # Activity regularisers of a replica without examples divide by 0.
        values = [
            tf.where((size == 0) & tf.math.is_nan(value), 0.0, value)
            for value in values
        ]
    return tf.add_n(values) / replicas if values else 0.0


def _seen(
    distiller, batch, *, bad_label, soft_loss, teacher_logits, student_logits
):
    """What the values show, for the checks."""
    seen = {}
    if bad_label is not None:
        seen["bad_label"] = bad_label
    if teacher_logits:
        seen["soft_loss"] = soft_loss
        seen["teacher_logits"] = teacher_logits
        if batch.teacher_logits is not None or not teachers.is_known(
            distiller.teacher
        ):
            seen["unproven_teacher"] = teacher_logits
    if None in model_checks.final_activations(distiller.student):
        seen["unproven_student"] = student_logits
    return seen


def _seen_of_replica(distiller, batch):
    """What a replica shows that has none of the examples."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return {}
    if not any(
        # Frozen it computes no mean, synchronised it has that of all.
        isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not layer.synchronized
        for layer in keras_hooks.layers_of(distiller.student)
    ):
        return {}
    return {"no_examples": batches.size(batch.x) == 0}


def _metrics_by_output(distiller, logits):
    """Pairs each fidelity metric with the number of its output."""
    metrics = distiller.fidelity_metrics
    if not keras.tree.is_nested(logits):
        return [(metric, 0) for metric in keras.tree.flatten(metrics)]
    if not metrics:
        return []
    names = (
        sorted(logits)
        if isinstance(logits, dict)
        else output_names(distiller) or []
    )
    if not isinstance(metrics, dict) or not set(metrics) <= set(names):
        raise ValueError(
            "With several outputs, `fidelity_metrics` must be a dict of lists "
            f"by the output's name, {list(names)}. Received: {metrics}"
        )
    return [
        (metric, names.index(name))
        for name, group in metrics.items()
        for metric in group
    ]
