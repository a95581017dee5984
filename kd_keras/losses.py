"""Losses between the logits of a teacher and those of a student.

Each comes twice, as in Keras: a function that gives one value per example,
and a `keras.losses.Loss` of the same name that reduces, takes weights and
masks, and scales by replica. The order of the arguments is Keras' own: the
targets (teacher logits) first, the predictions (student logits) second.

All take logits, never probabilities, and compute in float32 log space
whatever comes in (float64 if both inputs are, and the loss is). The targets
are constants: no gradient reaches the teacher.
"""

import keras
import tensorflow as tf

from kd_keras import ops
from kd_keras import tempered_kl

# Temperatures with which float32 can still do.
_COLDEST, _HOTTEST = 1e-5, 1e6


def soft_target_kl_divergence(teacher_logits, student_logits, temperature=1.0):
    """KL divergence of the student from the teacher, both tempered.

    Computes, with `p = softmax(teacher_logits / T)` and
    `q = softmax(student_logits / T)`,

        sum(p * (log(p) - log(q)), axis=-1)

    The gradient with respect to the student's logits is `(q - p) / T`:
    equation 2 of Hinton et al. (2015). It does not contain the factor `T**2`;
    the class `SoftTargetKLDivergence` does.

    Args:
        teacher_logits: Float tensor, shape `[..., num_classes]`, finite: mask
            a class by a large negative number, such as -1e9.
        student_logits: Float tensor of the same shape, finite.
        temperature: Positive float, dimensionless. Defaults to `1.0`.

    Returns:
        Float32 tensor (float64 if both inputs are) of shape `[...]`, in nats.

    Raises:
        ValueError: If the temperature is not a positive finite number, or
            the shapes differ.

    Example:

    >>> kd_keras.losses.soft_target_kl_divergence(
    ...     [[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]], temperature=2.0)
    <tf.Tensor: shape=(1,), dtype=float32, numpy=array([0.3202], dtype=float32)>
    """
    temperature = ops.check_temperature(temperature)
    teacher_rows, student_rows, batch_shape = _rows(
        teacher_logits, student_logits
    )
    values = tempered_kl.divergence(
        teacher_rows, student_rows, 1.0 / temperature
    )
    return tf.reshape(values, batch_shape)


def soft_target_crossentropy(teacher_logits, student_logits, temperature=1.0):
    """Cross-entropy of the student under the teacher, both tempered.

    Computes, with `p` and `q` as in `soft_target_kl_divergence`,

        -sum(p * log(q), axis=-1)

    This is the objective as Hinton et al. (2015) write it. It exceeds the KL
    divergence by the entropy of the teacher, which the student cannot change:
    the gradients are the same, equation 2, but this value does not go to zero.

    Args:
        teacher_logits: Float tensor, shape `[..., num_classes]`.
        student_logits: Float tensor of the same shape.
        temperature: Positive float, dimensionless. Defaults to `1.0`.

    Returns:
        Float32 tensor (float64 if both inputs are) of shape `[...]`, in nats.

    Raises:
        ValueError: If the temperature is not a positive finite number, or
            the shapes differ.

    Example:

    >>> kd_keras.losses.soft_target_crossentropy(
    ...     [[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]], temperature=2.0)
    <tf.Tensor: shape=(1,), dtype=float32, numpy=array([1.3404], dtype=float32)>
    """
    temperature = ops.check_temperature(temperature)
    teacher_rows, student_rows, batch_shape = _rows(
        teacher_logits, student_logits
    )
    teacher_probs = tf.nn.softmax(teacher_rows / temperature)
    # The fused operation holds the gradient to float32's last digit, where
    # two log-softmaxes lose some at tens of thousands of classes.
    values = tf.nn.softmax_cross_entropy_with_logits(
        labels=teacher_probs, logits=student_rows / temperature
    )
    return tf.reshape(values, batch_shape)


def logit_matching(teacher_logits, student_logits):
    """Squared distance of the logits, each centred over its classes.

    Computes, with `v` and `z` the teacher's and the student's logits minus
    their own means over the classes,

        mean((z - v) ** 2, axis=-1) / 2

    This is the limit of `T**2 * soft_target_kl_divergence` for large
    temperature (equation 4 of Hinton et al., 2015, which sums over the
    classes what is averaged here, so that one weight serves both).

    Args:
        teacher_logits: Float tensor, shape `[..., num_classes]`.
        student_logits: Float tensor of the same shape.

    Returns:
        Float32 tensor (float64 if both inputs are) of shape `[...]`, in
        squared units of the logits.

    Raises:
        ValueError: If the shapes differ.

    Example:

    >>> kd_keras.losses.logit_matching([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]])
    <tf.Tensor: shape=(1,), dtype=float32, numpy=array([1.3333], dtype=float32)>
    """
    teacher_logits, student_logits = _prepare(teacher_logits, student_logits)
    difference = student_logits - teacher_logits
    # Centring is linear: the difference of the centred is the centred
    # difference.
    difference -= tf.reduce_mean(difference, axis=-1, keepdims=True)
    return tf.reduce_mean(tf.square(difference), axis=-1) / 2


class _LogitsLoss(keras.losses.Loss):
    """A loss on logits, computed in float32 or float64."""

    def __init__(self, name, reduction, dtype):
        dtype = keras.dtype_policies.get(dtype or "float32").compute_dtype
        if dtype not in ("float32", "float64"):
            raise ValueError(
                f"`{type(self).__name__}` is computed in float32 or float64: "
                "half precision keeps too few digits of a log-probability. "
                "Half-precision logits are welcome, they are cast. "
                f"Received: dtype={dtype!r}"
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def get_config(self):
        return {**super().get_config(), "dtype": self.dtype}


class _TemperedLoss(_LogitsLoss):
    """A loss at a temperature, times `T**2`."""

    def __init__(self, temperature, name, reduction, dtype):
        super().__init__(name, reduction, dtype)
        self.temperature = ops.check_temperature(temperature)
        if not _COLDEST <= self.temperature <= _HOTTEST:
            raise ValueError(
                "At this temperature no digits of the logits are left: it "
                f"must be from {_COLDEST} to {_HOTTEST}. The limit of large "
                "temperatures is kd_keras.losses.LogitMatching(). "
                f"Received: temperature={temperature}"
            )

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="kd_keras")
class SoftTargetKLDivergence(_TemperedLoss):
    """`T**2` times the KL divergence of the student from the teacher.

    Computes, with `p = softmax(y_true / T)` and `q = softmax(y_pred / T)`,

        T**2 * sum(p * (log(p) - log(q)), axis=-1)

    The gradients of soft targets shrink as `1 / T**2`; the factor keeps the
    weight of the soft against the hard term where it was when the
    temperature changes (Hinton et al., 2015, section 2). The gradient with
    respect to the student's logits is `T * (q - p)` per example.

    Args:
        temperature: Positive float, dimensionless. Defaults to `4.0`.
        name: Name of the loss. Defaults to `"soft_target_kl_divergence"`.
        reduction: As in every Keras loss. Defaults to
            `"sum_over_batch_size"`.
        dtype: `"float32"` or `"float64"`. Defaults to `"float32"`.

    Call arguments:
        y_true: Teacher logits, shape `[batch, ..., num_classes]`.
        y_pred: Student logits of the same shape.
        sample_weight: Optional weights, shape `[batch, ...]`.

    Raises:
        ValueError: If the temperature is not a positive number from 1e-5 to
            1e6, the dtype is a half-precision one, or the shapes differ.

    Example:

    >>> loss = kd_keras.losses.SoftTargetKLDivergence(temperature=2.0)
    >>> float(loss([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]))
    1.2806
    """

    def __init__(
        self,
        temperature=4.0,
        name="soft_target_kl_divergence",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape `[batch, ...]`."""
        return self.temperature**2 * soft_target_kl_divergence(
            y_true, y_pred, self.temperature
        )


@keras.saving.register_keras_serializable(package="kd_keras")
class SoftTargetCrossentropy(_TemperedLoss):
    """`T**2` times the cross-entropy of the student under the teacher.

    Computes, with `p = softmax(y_true / T)` and `q = softmax(y_pred / T)`,

        -T**2 * sum(p * log(q), axis=-1)

    The objective of Hinton et al. (2015), section 2, as it stands there. Its
    gradients are those of `SoftTargetKLDivergence`; its value has the
    teacher's entropy, times `T**2`, on top.

    Args:
        temperature: Positive float, dimensionless. Defaults to `4.0`.
        name: Name of the loss. Defaults to `"soft_target_crossentropy"`.
        reduction: As in every Keras loss. Defaults to
            `"sum_over_batch_size"`.
        dtype: `"float32"` or `"float64"`. Defaults to `"float32"`.

    Call arguments:
        y_true: Teacher logits, shape `[batch, ..., num_classes]`.
        y_pred: Student logits of the same shape.
        sample_weight: Optional weights, shape `[batch, ...]`.

    Raises:
        ValueError: If the temperature is not a positive number from 1e-5 to
            1e6, the dtype is a half-precision one, or the shapes differ.

    Example:

    >>> loss = kd_keras.losses.SoftTargetCrossentropy(temperature=2.0)
    >>> float(loss([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]))
    5.3615
    """

    def __init__(
        self,
        temperature=4.0,
        name="soft_target_crossentropy",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(temperature, name, reduction, dtype)

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape `[batch, ...]`."""
        return self.temperature**2 * soft_target_crossentropy(
            y_true, y_pred, self.temperature
        )


@keras.saving.register_keras_serializable(package="kd_keras")
class LogitMatching(_LogitsLoss):
    """Squared distance of the centred logits: the limit of large `T`.

    Computes, with `v` and `z` the logits of teacher and student minus their
    own means over the classes,

        mean((z - v) ** 2, axis=-1) / 2

    `SoftTargetKLDivergence(temperature=T)` tends to this for large `T`
    (Hinton et al., 2015, equation 4), so the two are interchangeable at the
    same weight. It has no temperature, and so no arithmetic mean of an
    ensemble's distributions: give the ensemble `mean="geometric"`.

    Args:
        name: Name of the loss. Defaults to `"logit_matching"`.
        reduction: As in every Keras loss. Defaults to
            `"sum_over_batch_size"`.
        dtype: `"float32"` or `"float64"`. Defaults to `"float32"`.

    Call arguments:
        y_true: Teacher logits, shape `[batch, ..., num_classes]`.
        y_pred: Student logits of the same shape.
        sample_weight: Optional weights, shape `[batch, ...]`.

    Raises:
        ValueError: If the dtype is a half-precision one, or the shapes
            differ.

    Example:

    >>> loss = kd_keras.losses.LogitMatching()
    >>> float(loss([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]))
    1.3333
    """

    def __init__(
        self,
        name="logit_matching",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name, reduction, dtype)

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape `[batch, ...]`."""
        return logit_matching(y_true, y_pred)


def _prepare(teacher_logits, student_logits):
    """Gives both in log space, of one shape, the teacher's as constants."""
    teacher_logits, student_logits = ops.as_log_space(
        teacher_logits, student_logits
    )
    teacher_logits = ops.without_broadcasting(teacher_logits, student_logits)
    return tf.stop_gradient(teacher_logits), student_logits


def _rows(teacher_logits, student_logits):
    """Gives both as rows of classes, and the shape of one value each."""
    teacher_logits, student_logits = _prepare(teacher_logits, student_logits)
    num_classes = student_logits.shape[-1] or tf.shape(student_logits)[-1]
    return (
        tf.reshape(teacher_logits, [-1, num_classes]),
        tf.reshape(student_logits, [-1, num_classes]),
        tf.shape(student_logits)[:-1],
    )
