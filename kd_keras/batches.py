"""The forms of data that a Distiller takes, brought into one.

A batch is `(x, y)`, `(x, y, sample_weight)`, `x` alone, or has stored targets
as `y = {"label": ..., "teacher_logits": ...}`. Labels may be missing, one by
one (negative) or altogether.
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

STORED_KEYS = ("label", "teacher_logits")


@dataclasses.dataclass(frozen=True)
class Batch:
    """One batch, taken apart.

    Attributes:
        x: Inputs of the student.
        labels: Labels as they came, or None.
        teacher_logits: Stored logits as they came, or None.
        sample_weight: Weights as they came, or None.
    """

    x: Any
    labels: Any
    teacher_logits: Any
    sample_weight: Any


@dataclasses.dataclass(frozen=True)
class Targets:
    """What the terms of the objective need besides the logits.

    Attributes:
        labels: Labels in the structure of the logits, every one of them a
            class (0 where there is no label), or None.
        label_masks: For each output None, or weights `[batch, ...]`: 1 where
            there is a label and 0 where not.
        hard_weight: None, or weights of the hard term in the structure of
            the logits.
        soft_weights: For each output None, or weights of the soft term.
        bad_label: Boolean scalar, whether a label is at or above the number
            of classes; None if there are no class labels.
    """

    labels: Any
    label_masks: list
    hard_weight: Any
    soft_weights: list
    bad_label: Any


def unpack(data):
    """Takes apart what a data set yields.

    Args:
        data: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.

    Returns:
        A `Batch`.

    Raises:
        ValueError: If `y` has stored targets next to unknown keys.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if not is_stored(y):
        return Batch(x, y, None, sample_weight)
    unknown = sorted(set(y) - set(STORED_KEYS))
    if unknown:
        raise ValueError(
            "Stored targets are a dict with the keys 'teacher_logits' and, "
            f"optionally, 'label'. Received also: {unknown}"
        )
    if isinstance(sample_weight, dict) and set(sample_weight) == set(y):
        sample_weight = sample_weight.get(
            "label", sample_weight["teacher_logits"]
        )
    return Batch(x, y.get("label"), y["teacher_logits"], sample_weight)


def size(x):
    """The number of examples in inputs, an integer scalar tensor."""
    inputs = keras.tree.flatten(x)
    return tf.shape(next(t for t in inputs if t is not None))[0]


def is_stored(y):
    """Whether the targets of a data set bring the teacher's logits."""
    return isinstance(y, dict) and "teacher_logits" in y


def has_labels(y):
    """Whether targets, stored or not, hold labels."""
    return y is not None and not (is_stored(y) and y.get("label") is None)


def weights_like_targets(y, sample_weight):
    """Gives weights of stored targets the structure that Keras wants.

    Keras wants one array of weights for each leaf of `y`, and for one array
    alone only a number for each example.

    Args:
        y: Targets, stored or not.
        sample_weight: Weights of the examples, as for plain labels.

    Returns:
        The weights, which `unpack` turns back.
    """
    if sample_weight is None or not is_stored(y):
        return sample_weight
    if isinstance(sample_weight, dict) and set(sample_weight) == set(y):
        return sample_weight
    return {
        key: (
            sample_weight
            if keras.tree.is_nested(sample_weight)
            else keras.tree.map_structure(lambda _: sample_weight, leaf)
        )
        for key, leaf in y.items()
    }


def only(structure, logits):
    """Takes the single leaf of a list for a student with a single output."""
    if isinstance(structure, (list, tuple)) and len(structure) == 1:
        if not keras.tree.is_nested(logits):
            return structure[0]
    return structure


def match(structure, logits, output_names, what, partial=False):
    """Lists the leaves of a structure in the order of the student's outputs.

    Args:
        structure: Structure to match: labels, weights or teacher logits.
        logits: The student's outputs.
        output_names: The names that the student has for them, or None.
        what: What is matched, for the message.
        partial: Whether a dict may leave out some outputs.

    Returns:
        A list with one leaf for each output; None where one is left out.

    Raises:
        ValueError: If the structures do not fit.
    """
    leaves = keras.tree.flatten(structure)
    num_outputs = len(keras.tree.flatten(logits))
    if isinstance(structure, dict) and keras.tree.is_nested(logits):
        # A dict by name, of which Keras takes one for a list of outputs, too.
        numbers = keras.tree.pack_sequence_as(logits, list(range(num_outputs)))
        if not isinstance(numbers, dict):
            numbers = dict(zip(output_names or (), numbers, strict=False))
        fits = set(structure) == set(numbers) or (
            partial and set(structure) < set(numbers)
        )
        if fits and len(numbers) == num_outputs:
            found = [None] * num_outputs
            for name, leaf in structure.items():
                found[numbers[name]] = leaf
            return found
        if fits and len(leaves) == num_outputs:
            return leaves
    elif not keras.tree.is_nested(logits):
        if not keras.tree.is_nested(structure):
            return leaves
    elif not isinstance(logits, dict) and len(leaves) == num_outputs:
        return leaves
    hint = ""
    if isinstance(structure, dict) and "label" in structure:
        hint = f". The keys of stored targets are {STORED_KEYS}."
    raise ValueError(
        f"The {what} must have the structure of the student's outputs, "
        f"{_sketch(logits)}. Received: {_sketch(structure)}{hint}"
    )


def targets_for(batch, logits, output_names, distilled, class_weight=None):
    """Finds the labelled examples and the weights of both terms.

    Args:
        batch: A `Batch`.
        logits: The student's outputs.
        output_names: The names that the student has for them, or None.
        distilled: For each output, whether it has a soft term.
        class_weight: Optional dict of classes and weights.

    Returns:
        `Targets`.

    Raises:
        ValueError: If the structures do not fit.
    """
    outputs = keras.tree.flatten(logits)
    weights = only(batch.sample_weight, logits)
    if keras.tree.is_nested(weights):
        weights = match(weights, logits, output_names, "sample weights")
    else:
        weights = [weights] * len(outputs)
    weights = [None if w is None else tf.convert_to_tensor(w) for w in weights]
    masks = [None] * len(outputs)
    labels = None
    bad_label = None
    if batch.labels is not None:
        labels = match(
            only(batch.labels, logits),
            logits,
            output_names,
            "labels",
            partial=True,
        )
        bad = []
        for i, (leaf, output) in enumerate(zip(labels, outputs, strict=True)):
            if leaf is None:
                continue
            labels[i] = leaf = tf.convert_to_tensor(leaf)
            if _are_classes(leaf, output, distilled[i]):
                labels[i], masks[i], is_bad = _split(leaf, output.shape)
                bad.append(is_bad)
        if bad:
            bad_label = bad[0] if len(bad) == 1 else tf.reduce_any(bad)
        if class_weight is not None:
            if batch.sample_weight is not None:
                raise ValueError(
                    "You cannot give `class_weight` and weights in the data "
                    "at the same time. Multiply them into the latter."
                )
            weights = [
                _class_weights(labels[0], masks[0], outputs[0], class_weight)
            ]
    ranks = [
        None if output.shape.rank is None else output.shape.rank - 1
        for output in outputs
    ]
    soft_weights = [
        _align(weight, rank)
        for weight, rank in zip(weights, ranks, strict=True)
    ]
    # One-hot labels and values have no mask: theirs are Keras' own weights.
    hard_weights = [
        weight if mask is None else mask * (1.0 if aligned is None else aligned)
        for weight, aligned, mask in zip(
            weights, soft_weights, masks, strict=True
        )
    ]
    has_weights = any(weight is not None for weight in hard_weights)
    return Targets(
        labels=_pack(logits, labels),
        label_masks=masks,
        hard_weight=_pack(logits, hard_weights if has_weights else None),
        soft_weights=soft_weights,
        bad_label=bad_label,
    )


def _are_classes(labels, logits, is_distilled):
    """Whether labels are class numbers rather than one-hot or real values."""
    rank = logits.shape.rank
    if rank is None or labels.shape.rank is None:
        return False
    if not (is_distilled or labels.dtype.is_integer):
        return False
    if logits.shape[-1] == 1:
        return False
    return labels.shape.rank == rank - 1 or (
        labels.shape.rank == rank and labels.shape[-1] == 1
    )


def _split(labels, logits_shape):
    """Gives classes without gaps, the weights of the labelled, and a flag."""
    # In a type that holds the number of classes, as int8 may not.
    numbers = tf.cast(
        labels, tf.float32 if labels.dtype.is_floating else tf.int64
    )
    # Not `numbers >= num_classes`, which is false for NaN.
    in_range = numbers < logits_shape[-1]
    valid = in_range & (numbers >= 0)
    # Through another type, and so through other memory: TensorFlow may write
    # the result of one operation where its input was, and that may be an
    # array of the user's, if a generator yields views of it.
    other = tf.int64 if labels.dtype == tf.int32 else tf.int32
    safe = tf.cast(tf.where(valid, tf.cast(labels, other), 0), labels.dtype)
    mask = tf.cast(valid, tf.float32)
    if mask.shape.rank == logits_shape.rank:
        mask = tf.squeeze(mask, axis=-1)
    return safe, mask, ~tf.reduce_all(in_range)


def _class_weights(labels, mask, logits, class_weight):
    """Looks up the weight of each label; 1 where there is none."""
    num_classes = logits.shape[-1]
    table = tf.constant(
        [float(class_weight.get(c, 1.0)) for c in range(num_classes)]
    )
    if mask is None:
        return tf.gather(table, tf.argmax(labels, axis=-1))
    classes = tf.reshape(tf.cast(labels, tf.int32), tf.shape(mask))
    return tf.where(mask > 0, tf.gather(table, classes), 1.0)


def _align(weight, rank):
    """Gives weights the rank of per-example losses: `[batch]`, `[batch, 1]`."""
    if weight is None or rank is None or weight.shape.rank is None:
        return weight
    weight = tf.cast(weight, tf.float32)
    if weight.shape.rank == rank + 1 and weight.shape[-1] == 1:
        return tf.squeeze(weight, axis=-1)
    while weight.shape.rank < rank:
        weight = weight[..., tf.newaxis]
    return weight


def _pack(logits, leaves):
    if leaves is None:
        return None
    return keras.tree.pack_sequence_as(logits, leaves)


def _sketch(structure):
    return keras.tree.map_structure(
        lambda leaf: "*" if leaf is None else _dimensions(leaf), structure
    )


def _dimensions(tensor):
    return tuple(getattr(tensor, "shape", ()))
