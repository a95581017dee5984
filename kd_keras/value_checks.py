"""Checks of what only values show, that survive compilation.

XLA drops assertions without a word, and Keras compiles by itself on a GPU.
So the step records what it saw in a variable, and `fit` reads it.
"""

import contextlib

import keras
import tensorflow as tf

# What is recorded: the first step, counted from 1, in which it was seen.
_BAD_LABEL = 0
_BAD_TEACHER_LOGITS = 1
_TEACHER_GAVE_LOGITS = 2
_STUDENT_GAVE_LOGITS = 3
_NO_EXAMPLES = 4
_STEPS = 5
_NUM_SLOTS = 6

# How far from 1 a row of float16 probabilities may sum.
_TOLERANCE = 5e-3


class ValueChecks:
    """Records bad values in compiled and replicated steps.

    Each replica writes into its own row of one variable, so that reading it,
    which sums over the replicas, loses nothing.

    Args:
        phase: What the steps belong to, for the messages.

    Example:

    >>> checks = kd_keras.value_checks.ValueChecks("training")
    >>> checks.record(bad_label=tf.constant(True))
    >>> checks.raise_if_bad()
    Traceback (most recent call last):
    ValueError: Step 1 of training met a label at or above the number of...
    """

    def __init__(self, phase):
        self._phase = phase
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._seen = tf.Variable(
            tf.zeros([replicas, _NUM_SLOTS], tf.int32),
            trainable=False,
            name="value_checks",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def reset(self):
        """Forgets everything and counts steps from 1 again."""
        self._seen.assign(tf.zeros_like(self._seen))

    def record(
        self,
        bad_label=None,
        no_examples=None,
        soft_loss=None,
        teacher_logits=(),
        unproven_teacher=(),
        unproven_student=(),
    ):
        """Records what one step saw.

        To look at every value of every step costs a small model some
        hundredths of its time. So logits are looked at only where the soft
        loss is not finite, or something else is wrong, and until they are
        proven to be logits.

        Args:
            bad_label: Boolean scalar: some label was at or above the number
                of classes. None if there was nothing to see, as for the
                others.
            no_examples: Boolean scalar: this replica had none, and the
                student has layers that cannot do without.
            soft_loss: Float scalar that is not finite if the student is spoilt
                by teacher logits that are not.
            teacher_logits: List of float tensors.
            unproven_teacher: List of float tensors of shape
                `[..., num_classes]`: outputs of a teacher that may be
                distributions.
            unproven_student: The same of the student.
        """
        seen = self._seen.read_value()
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        own = tf.one_hot(replica, self._seen.shape[0], True, False)
        own = own[:, tf.newaxis]
        is_count = tf.range(_NUM_SLOTS) == _STEPS
        counted = seen + tf.cast(own & is_count, tf.int32)  # A constant.
        proven = seen[replica, _TEACHER_GAVE_LOGITS : _STUDENT_GAVE_LOGITS + 1]
        reasons = [tf.reduce_any(proven == 0)]
        reasons += [one for one in (bad_label, no_examples) if one is not None]
        if teacher_logits:
            reasons.append(~tf.math.is_finite(soft_loss))

        def looked():
            flags = [
                False if bad_label is None else bad_label,
                _are_not_finite(teacher_logits),
                _are_no_distributions(unproven_teacher),
                _are_no_distributions(unproven_student),
                False if no_examples is None else no_examples,
                False,
            ]
            is_first = own & tf.stack(flags) & (seen == 0)
            return tf.where(is_first, counted[:, _STEPS:], counted)

        self._seen.assign(
            tf.cond(tf.reduce_any(reasons), looked, lambda: counted)
        )

    def raise_if_bad(self):
        """Raises if a step since the last reset met bad values.

        Raises:
            ValueError: Naming what was met and in which step.
        """
        seen = self._seen.numpy()
        num_steps = seen[:, _STEPS].max()
        if not num_steps:
            return
        message = self._message(seen, num_steps)
        if message:
            # Reported once: what comes next starts anew.
            self.reset()
            raise ValueError(message)

    def _message(self, seen, num_steps):
        first = [_first(column) for column in seen.T]
        if first[_BAD_LABEL]:
            return (
                f"Step {first[_BAD_LABEL]} of {self._phase} met a label at or "
                "above the number of classes. Labels are 0 to num_classes - "
                "1, num_classes being the width of the student's logits; a "
                "negative one means that the example has no label."
            )
        if first[_NO_EXAMPLES]:
            return (
                f"Step {first[_NO_EXAMPLES]} of {self._phase} had fewer "
                f"examples than there are replicas, {len(seen)}, and batch "
                "normalisation has no mean of nothing: the student is "
                "spoilt. Batch with drop_remainder=True, or choose a batch "
                "size that leaves more for the last batch."
            )
        if first[_BAD_TEACHER_LOGITS]:
            return (
                f"Step {first[_BAD_TEACHER_LOGITS]} of {self._phase} met "
                "teacher logits that are NaN or infinite, and the student is "
                "spoilt from there on. Look at the inputs of the teacher; one "
                "that overflows in float16 needs float32, one that gives "
                "probabilities needs kd_keras.ProbabilityTeacher, and stored "
                "soft targets with top_k need their store as the teacher."
            )
        for slot, who, mend in (
            (
                _TEACHER_GAVE_LOGITS,
                "teacher",
                "Wrap it: kd_keras.ProbabilityTeacher(teacher).",
            ),
            (
                _STUDENT_GAVE_LOGITS,
                "student",
                "Drop the softmax from its last layer.",
            ),
        ):
            if not first[slot]:
                return (
                    f"In all {num_steps} steps of {self._phase} the {who}'s "
                    "outputs were non-negative and summed to 1: these are "
                    f"probabilities, and distillation needs logits. {mend}"
                )
        return None


@contextlib.contextmanager
def checked_first(callbacks, checks):
    """Puts the check in front of all callbacks of a `fit`.

    Args:
        callbacks: What `fit` was given: None, a callback, a list of them, or
            a `keras.callbacks.CallbackList`, which is used as it is and left
            as it was.
        checks: `ValueChecks` to be read at the end of each epoch.

    Yields:
        What to give to Keras.
    """
    check = _Check(checks)
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        yield [check, *keras.tree.flatten(callbacks or [])]
        return
    callbacks.callbacks.insert(0, check)
    try:
        yield callbacks
    finally:
        callbacks.callbacks.remove(check)


class _Check(keras.callbacks.Callback):
    """Raises before any other callback sees the end of the epoch."""

    def __init__(self, checks):
        super().__init__()
        self._checks = checks

    def on_epoch_end(self, epoch, logs=None):
        self._checks.raise_if_bad()


def _are_not_finite(tensors):
    """Whether any value of any is NaN or infinite."""
    return tf.reduce_any(
        [tf.reduce_any(~tf.math.is_finite(tensor)) for tensor in tensors]
    )


def _are_no_distributions(tensors):
    """Whether any row of any is no probability distribution; True of none."""
    found = [] if tensors else [True]
    for tensor in tensors:
        tensor = tf.cast(tensor, tf.float32)
        sums = tf.reduce_sum(tensor, axis=-1)
        found.append(tf.reduce_any(tf.abs(sums - 1.0) > _TOLERANCE))
        found.append(tf.reduce_any(tensor < 0))
    return tf.reduce_any(found)


def _first(column):
    """The earliest step over the replicas; 0 if none saw it."""
    return min((int(step) for step in column if step), default=0)
