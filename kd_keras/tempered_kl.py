"""The KL divergence of tempered logits, to the last digits of float32."""

import tensorflow as tf

# Below this deviation exp() cannot overflow float32, however many classes.
_NEAR = 20.0


def divergence(teacher_logits, student_logits, sharpness):
    """KL divergence of the student from the teacher, both tempered.

    As the difference of two cross-entropies the value would lose
    `1e-7 * entropy`: at T = 20 more than the whole of it, once the student
    has come close; and `q - p` would lose `1e-7 * q`. With
    `d = (student_logits - teacher_logits) / T`, centred so that `sum(p * d)` is
    0, and `e = exp(d) - 1`, the value is `log(1 + sum(p * e))` and the gradient
    `p * (e - sum(p * e)) / (1 + sum(p * e))`: that keeps its digits however
    small it becomes, and the value all but 1e-7 of the deviation. But `exp`
    overflows where the two are far apart; there the fused cross-entropy is
    exact enough.

    The order of the operations is one in which TensorFlow, which fuses none,
    computes most of them in place: there are never more than three arrays of
    the size of the logits, of which one becomes the gradient.

    Args:
        teacher_logits: Float tensor, shape `[rows, num_classes]`.
        student_logits: Float tensor of the same shape and dtype.
        sharpness: The inverse of the temperature.

    Returns:
        Float tensor, shape `[rows]`, in nats. Its gradient reaches the
        student's logits alone: equation 2 of Hinton et al. (2015).

    Example:

    >>> rows = tf.constant([[0.0, 0.0]]), tf.math.log([[3.0, 1.0]])
    >>> float(divergence(*rows, sharpness=1.0)[0]), float(np.log(4 / 3) / 2)
    (0.1438, 0.1438)
    """
    teacher_probs = tf.nn.softmax(teacher_logits * sharpness)

    @tf.custom_gradient
    def of_student(student_logits):
        deviation = student_logits - teacher_logits
        deviation -= _dot(teacher_probs, deviation)
        deviation *= sharpness

        def near():
            excess = tf.math.expm1(deviation)
            total = _dot(teacher_probs, excess)
            gradient = (excess - total) * teacher_probs * (1.0 / (1.0 + total))
            return tf.math.log1p(total[:, 0]), gradient

        def far():
            crossentropy, gradient = tf.raw_ops.SoftmaxCrossEntropyWithLogits(
                features=student_logits * sharpness, labels=teacher_probs
            )
            entropy, _ = tf.raw_ops.SoftmaxCrossEntropyWithLogits(
                features=teacher_logits * sharpness, labels=teacher_probs
            )
            return crossentropy - entropy, gradient

        # Not of abs(deviation), which would be one more array.
        is_near = (tf.reduce_max(deviation) < _NEAR) & (
            tf.reduce_min(deviation) > -_NEAR
        )
        values, gradient = tf.cond(is_near, near, far)
        values = tf.nn.relu(values)  # Never negative but for rounding.

        def backward(upstream):
            return gradient * (upstream * sharpness)[:, tf.newaxis]

        return values, backward

    return of_student(student_logits)


def _dot(first, second):
    """The sum over the classes of a product, shape `[rows, 1]`."""
    return tf.reduce_sum(first * second, axis=-1, keepdims=True)
