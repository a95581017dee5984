"""What a user does to paired examples, and that they stay paired."""

import tensorflow as tf

from kd_keras.soft_targets import records

# Goes with each example through what a user does to them.
_PROOF = "kd_keras_proof"


def transformed(examples, transform):
    """Examples after a function of their data set, if they are the same.

    Args:
        examples: As `SoftTargets.examples` gives them.
        transform: As for `SoftTargets.batches`.

    Returns:
        `tf.data.Dataset` of the same elements. Iterating raises
        `tf.errors.InvalidArgumentError` at one whose id, image or soft
        targets are others.

    Raises:
        TypeError: If the function gives no data set.
        ValueError: If its elements lack something.
    """
    spec = {
        name: examples.element_spec[name]
        for name in ("id", "image", "label", "teacher_logits")
    }
    found = transform(
        examples.map(lambda example: {**example, _PROOF: _proof(example)})
    )
    if not isinstance(found, tf.data.Dataset):
        raise TypeError(
            "`transform` must give a tf.data.Dataset. Received: "
            f"{type(found).__name__}."
        )
    elements = found.element_spec
    for name in (*spec, _PROOF):
        if not isinstance(elements, dict) or name not in elements:
            raise ValueError(
                "`transform` must give elements with all that it was given. "
                f"Missing: {name!r}. To change an element give "
                "{**element, name: changed}."
            )
        if name in ("image", "teacher_logits") and (
            elements[name] != spec[name]
        ):
            raise ValueError(
                f"`transform` must not change {name!r}, which is "
                f"{spec[name]}. Received: {elements[name]}."
            )

    def check(example):
        same = tf.debugging.Assert(
            _proof(example) == example[_PROOF],
            [
                "`transform` changed the id or the image of this example, or "
                "its soft targets, which belong together. Its id now:",
                example["id"],
            ],
        )
        with tf.control_dependencies([same]):
            return {
                name: tf.identity(value)
                for name, value in example.items()
                if name != _PROOF
            }

    return found.map(check)


def _proof(example):
    """A number that is another one for another id, pixels or soft targets."""
    ids = tf.bitcast(tf.cast(example["id"], tf.int64), tf.uint8)
    proof = tf.zeros([], tf.int64)
    for part in (ids, example["image"], example["teacher_logits"]):
        [digest] = tf.unstack(records.digests_of(part[tf.newaxis]), 1)
        proof = tf.bitwise.bitwise_xor(proof, digest)
    return proof
