"""Streaming metrics of a student: fidelity to its teacher, and calibration.

All take logits. Two of them compare a student with its teacher and are called
`(teacher_logits, student_logits)`; they go to `Distiller(fidelity_metrics=)`.
`ExpectedCalibrationError` compares with the labels and goes to
`compile(metrics=)` of any model that returns logits.

What is averaged over is positions: every leading dimension of the logits. A
sample weight and the Keras mask of the student's logits weigh them; a
position of weight 0 is as if it were not there, even where its value is NaN.
"""

import keras
import tensorflow as tf

from kd_keras import keras_hooks
from kd_keras import losses
from kd_keras import ops


class _PositionMean(keras.metrics.Mean):
    """The weighted mean of one value per position."""

    def __init__(self, name, dtype):
        super().__init__(name=name, dtype=_state_dtype(dtype, self))

    def _update_mean(self, values, logits, sample_weight):
        values = tf.cast(values, self.dtype)
        weights = _position_weights(values, logits, sample_weight)
        # 0 * NaN is NaN: a value without weight has to be taken out.
        values = tf.where(weights > 0, values, 0)
        super().update_state(
            tf.reshape(values, [-1]), tf.reshape(weights, [-1])
        )


@keras.saving.register_keras_serializable(package="kd_keras")
class TeacherAgreement(_PositionMean):
    """Share of examples on which student and teacher choose the same class.

    Computes

        mean(argmax(teacher_logits, -1) == argmax(student_logits, -1))

    the top-1 agreement of Stanton et al. (2021), "Does knowledge distillation
    really work?", arXiv 2106.05945. It says nothing about who is right. Of
    classes with equal logits the first counts as chosen.

    Args:
        name: Name of the metric. Defaults to `"teacher_agreement"`.
        dtype: `"float32"` or `"float64"`, of the state and the result.
            Defaults to `"float32"`. The logits may have any float dtype.

    Raises:
        ValueError: If `dtype` is a half-precision one.

    Example:

    >>> metric = kd_keras.metrics.TeacherAgreement()
    >>> metric.update_state([[2.0, 1.0], [0.0, 3.0]], [[0.5, 0.1], [1.0, 0.0]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, name="teacher_agreement", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, teacher_logits, student_logits, sample_weight=None):
        """Adds a batch.

        Args:
            teacher_logits: Float tensor, shape `[batch, ..., num_classes]`.
            student_logits: Float tensor of the same shape.
            sample_weight: Optional weights, shape `[batch]` or
                `[batch, ...]`. Defaults to 1 for every position.

        Raises:
            ValueError: If the shapes of the logits differ, or the weights do
                not fit them.
        """
        # No cast: in a narrower dtype distinct logits could become equal.
        teacher = tf.convert_to_tensor(teacher_logits)
        student = tf.convert_to_tensor(student_logits)
        if not teacher.shape.is_compatible_with(student.shape):
            raise ValueError(
                "Teacher and student logits must have the same shape, "
                "[batch, ..., num_classes]: agreement is counted over the "
                "same classes. Received: teacher logits of shape "
                f"{teacher.shape}, student logits of shape {student.shape}."
            )
        agree = tf.equal(tf.argmax(teacher, -1), tf.argmax(student, -1))
        self._update_mean(agree, student_logits, sample_weight)


@keras.saving.register_keras_serializable(package="kd_keras")
class PredictiveKLDivergence(_PositionMean):
    """Mean KL divergence of the student's prediction from the teacher's.

    Computes, with `p = softmax(teacher_logits / T)` and
    `q = softmax(student_logits / T)`,

        mean(sum(p * (log(p) - log(q)), axis=-1))

    in nats and without the factor `T**2` of the loss, so that values at
    different temperatures are divergences and not objectives. At `T = 1` it
    is the predictive KL of Stanton et al. (2021), arXiv 2106.05945.

    Args:
        temperature: Positive float, dimensionless. Defaults to `1.0`.
        name: Name of the metric. Defaults to `"predictive_kl"`.
        dtype: `"float32"` or `"float64"`, of the state and the result.
            Defaults to `"float32"`. The logits may have any float dtype.

    Raises:
        ValueError: If the temperature is not a positive finite number, or
            `dtype` is a half-precision one.

    Example:

    >>> metric = kd_keras.metrics.PredictiveKLDivergence(temperature=2.0)
    >>> metric.update_state([[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]])
    >>> float(metric.result())
    0.3202
    """

    def __init__(self, temperature=1.0, name="predictive_kl", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.temperature = ops.check_temperature(temperature)

    def update_state(self, teacher_logits, student_logits, sample_weight=None):
        """Adds a batch.

        Args:
            teacher_logits: Float tensor, shape `[batch, ..., num_classes]`.
            student_logits: Float tensor of the same shape.
            sample_weight: Optional weights, shape `[batch]` or
                `[batch, ...]`. Defaults to 1 for every position.

        Raises:
            ValueError: If the shapes of the logits differ, or the weights do
                not fit them.
        """
        teacher = tf.convert_to_tensor(teacher_logits)
        student = tf.convert_to_tensor(student_logits)
        # How a divergence is computed depends on the others of the batch:
        # a position without weight must not be one of them.
        weights = _position_weights(
            tf.zeros(tf.shape(student)[:-1]), student_logits, sample_weight
        )[..., tf.newaxis]
        divergence = losses.soft_target_kl_divergence(
            tf.where(weights > 0, teacher, tf.zeros_like(teacher)),
            tf.where(weights > 0, student, tf.zeros_like(student)),
            self.temperature,
        )
        self._update_mean(divergence, student_logits, sample_weight)

    def get_config(self):
        """Returns the arguments that make an equal metric."""
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="kd_keras")
class ExpectedCalibrationError(keras.metrics.Metric):
    """How far the student's confidence is from its accuracy.

    The probability of the predicted class, `max(softmax(logits))` at
    temperature 1, is put into one of `num_bins` bins of equal width, closed
    above: `(b / num_bins, (b + 1) / num_bins]`. Computes

        sum(n[b] / sum(n) * abs(accuracy[b] - confidence[b]) for b in bins)

    with the weighted number of examples, the accuracy and the mean confidence
    in each bin: equation 3 of Guo et al. (2017), "On calibration of modern
    neural networks", arXiv 1706.04599, after Naeini et al. (2015). 0 is
    perfect, 1 the worst; without any example it is 0. The estimate is biased
    upwards on few examples, and depends on `num_bins`.

    Args:
        num_bins: Positive int. Defaults to `15`, as in Guo et al.
        name: Name of the metric. Defaults to `"calibration_error"`.
        dtype: `"float32"` or `"float64"`, of the state and the result.
            Defaults to `"float32"`. The logits may have any float dtype.

    Raises:
        ValueError: If `num_bins` is not a positive int, or `dtype` is a
            half-precision one.

    Example:

    Four predictions, each of class 0 with a probability of 0.8, of which two
    are right:

    >>> metric = kd_keras.metrics.ExpectedCalibrationError(num_bins=10)
    >>> metric.update_state([0, 0, 1, 1], np.log([[0.8, 0.2]] * 4))
    >>> float(metric.result())
    0.3
    """

    def __init__(self, num_bins=15, name="calibration_error", dtype=None):
        super().__init__(name=name, dtype=_state_dtype(dtype, self))
        if (
            isinstance(num_bins, bool)
            or not isinstance(num_bins, int)
            or num_bins < 1
        ):
            raise ValueError(
                "`num_bins` must be a positive int, the number of bins of "
                "equal width between 0 and 1; 15 is usual. "
                f"Received: num_bins={num_bins!r}"
            )
        self.num_bins = num_bins
        self.counts = self._add_bins("counts")
        self.correct = self._add_bins("correct")
        self.confidence = self._add_bins("confidence")

    def update_state(self, labels, logits, sample_weight=None):
        """Adds a batch.

        Args:
            labels: Class numbers, shape `[batch, ...]` or `[batch, ..., 1]`,
                or one-hot labels of the shape of `logits`, of which the
                largest entry is the label.
            logits: Float tensor, shape `[batch, ..., num_classes]`.
            sample_weight: Optional weights, shape `[batch]` or
                `[batch, ...]`. Defaults to 1 for every position.

        Raises:
            ValueError: If the shape of the labels is none of these, or the
                weights do not fit the logits.
        """
        probs = tf.nn.softmax(ops.as_log_space(logits))
        confidence = tf.reduce_max(probs, axis=-1)
        labels = _class_numbers(tf.convert_to_tensor(labels), probs.shape)
        correct = tf.equal(tf.argmax(probs, axis=-1), labels)
        weights = _position_weights(
            tf.cast(confidence, self.dtype), logits, sample_weight
        )

        # Counting the edges below is exact on an edge, where the rounding of
        # `confidence * num_bins` would decide.
        edges = [bin_ / self.num_bins for bin_ in range(1, self.num_bins)]
        edges = tf.constant(edges, probs.dtype, shape=[self.num_bins - 1])
        bins = tf.reduce_sum(
            tf.cast(confidence[..., tf.newaxis] > edges, tf.int32), axis=-1
        )
        # Sums and not a matrix product, which a GPU may do in TF32.
        in_bin = tf.one_hot(bins, self.num_bins, dtype=self.dtype)
        in_bin *= weights[..., tf.newaxis]
        for state, values in (
            (self.counts, tf.ones_like(confidence)),
            (self.correct, correct),
            (self.confidence, confidence),
        ):
            values = tf.where(weights > 0, tf.cast(values, self.dtype), 0)
            sums = tf.reshape(
                in_bin * values[..., tf.newaxis], [-1, self.num_bins]
            )
            state.assign_add(tf.reduce_sum(sums, axis=0))

    def result(self):
        """Returns the calibration error of everything seen, a scalar."""
        # n[b] / sum(n) * |accuracy[b] - confidence[b]|, the n[b] cancelled.
        gaps = tf.abs(
            tf.convert_to_tensor(self.correct)
            - tf.convert_to_tensor(self.confidence)
        )
        return tf.math.divide_no_nan(
            tf.reduce_sum(gaps),
            tf.reduce_sum(tf.convert_to_tensor(self.counts)),
        )

    def get_config(self):
        """Returns the arguments that make an equal metric."""
        return {**super().get_config(), "num_bins": self.num_bins}

    def _add_bins(self, name):
        return self.add_variable(
            shape=(self.num_bins,),
            initializer="zeros",
            dtype=self.dtype,
            name=name,
        )


def _state_dtype(dtype, metric):
    """The dtype of a metric's state: float32 unless another is asked for.

    Not `keras.config.floatx()`, the default of Keras' own metrics: a bfloat16
    counter stops at 256.
    """
    dtype = keras.dtype_policies.get(dtype or "float32").compute_dtype
    if dtype not in ("float32", "float64"):
        raise ValueError(
            f"`{type(metric).__name__}` keeps its sums in float32 or float64: "
            "half precision cannot count beyond a few hundred examples. "
            "Half-precision logits are welcome, they are cast. "
            f"Received: dtype={dtype!r}"
        )
    return dtype


def _position_weights(values, logits, sample_weight):
    """Weights in the shape and dtype of `values`, one for each position."""
    weights = tf.ones_like(values)
    for factor in (keras_hooks.mask_of(logits), sample_weight):
        if factor is None:
            continue
        factor = tf.cast(factor, values.dtype)
        shape = factor.shape
        if shape.rank == values.shape.rank + 1 and shape[-1] == 1:
            factor = tf.squeeze(factor, axis=-1)
        while factor.shape.rank < values.shape.rank:
            factor = factor[..., tf.newaxis]
        if not _broadcasts(factor.shape, values.shape):
            raise ValueError(
                "`sample_weight` must have one weight for each example, "
                "[batch], or for each position, the shape of the logits "
                f"without their classes, {values.shape}. Received: "
                f"sample_weight of shape {shape}."
            )
        weights *= tf.broadcast_to(factor, tf.shape(values))
    return weights


def _broadcasts(shape, target):
    """Whether `shape` can be spread over `target` without enlarging it."""
    return shape.rank == target.rank and all(
        size in (1, None) or wanted in (size, None)
        for size, wanted in zip(shape, target, strict=True)
    )


def _class_numbers(labels, logits_shape):
    """Labels as class numbers, one for each position, from either form."""
    rank, num_classes = logits_shape.rank, logits_shape[-1]
    if labels.shape.rank == rank - 1:
        numbers = labels
    elif labels.shape.rank == rank and labels.shape[-1] == 1:
        numbers = tf.squeeze(labels, axis=-1)
    elif labels.shape.rank == rank and labels.shape[-1] in (None, num_classes):
        numbers = tf.argmax(labels, axis=-1)
    else:
        numbers = None
    if numbers is None or not numbers.shape.is_compatible_with(
        logits_shape[:-1]
    ):
        raise ValueError(
            "Labels must be class numbers, of the shape of the logits without "
            f"their classes, {logits_shape[:-1]} (a last dimension of 1 may "
            f"follow), or one-hot, of shape {logits_shape}. Received: labels "
            f"of shape {labels.shape}."
        )
    return tf.cast(numbers, tf.int64)
