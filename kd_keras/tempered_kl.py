"""The KL divergence of tempered logits, which keeps its digits near 0."""

import tensorflow as tf

# Up to this deviation 1 / tanh() - 1 keeps its digits.
_NEAR = 4.0
# So little that it changes nothing but a 0, of which the inverse is taken
# where teacher and student say the same.
_TINY = 1e-20


def divergence(teacher_logits, student_logits, sharpness):
    """KL divergence of the student from the teacher, both tempered.

    As the difference of two cross-entropies the value would lose
    `1e-7 * entropy`: at T = 20 more than the whole of it, once the student
    has come close; and `q - p` would lose `1e-7 * q`. With
    `d = (student_logits - teacher_logits) / T`, centred so that `sum(p * d)` is
    0, and `e = exp(d) - 1`, the value is `log(1 + sum(p * e))` and the gradient
    `p * (e - sum(p * e)) / (1 + sum(p * e))`: that keeps its digits however
    small it becomes, and the value all but 1e-7 of the deviation. Half of `e`
    is `1 / (1 / u - 1)` with `u = tanh(d / 2)`, which costs a third of
    TensorFlow's `expm1`. Where a class is far more probable to the student
    than to the teacher, `1 / u - 1` has no digits left, and `q - p` has enough.
    One such class, more than exp(4) times as probable, decides that for all
    rows: beside it those that are close are known to `1e-7` of their softmax
    alone, values of less than that may be 0, and beside the gradient of the
    one that is far neither counts.

    The order of the operations is one in which TensorFlow, which fuses none,
    computes all but the first of each in place: there are never more than two
    arrays of the size of the logits, of which one becomes the gradient.

    Args:
        teacher_logits: Float tensor, shape `[rows, num_classes]`, finite: of
            infinite logits on both sides the value is NaN.
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
        centre = _sum((student_logits - teacher_logits) * teacher_probs)
        # Once that array is gone; the other way round, or it would be kept.
        with tf.control_dependencies([centre]):
            half = teacher_logits - student_logits
        half += centre + _TINY
        half *= sharpness / -2

        # Both give the gradient as `(weighted - mean * p) * scale`.
        def near():
            weighted = _weighted_excess(half, teacher_probs)
            mean = _sum(weighted)
            return (
                tf.math.log1p(2.0 * mean[:, 0]),
                weighted,
                mean,
                2.0 / (1.0 + 2.0 * mean),
            )

        def far():
            student_probs = tf.nn.softmax(student_logits * sharpness)
            # log(sum(exp(x))) = max(x) - log(max(softmax(x))).
            gap = _max(student_logits) - _max(teacher_logits) - centre
            values = gap * sharpness + tf.math.log(
                _max(teacher_probs) / _max(student_probs)
            )
            one = tf.ones_like(centre)
            return values[:, 0], student_probs, one, one

        is_near = tf.reduce_max(half) < _NEAR / 2
        values, weighted, mean, scale = tf.cond(is_near, near, far)
        values = tf.nn.relu(values)  # Never negative but for rounding.

        def backward(upstream):
            scaled = scale * (upstream * sharpness)[:, tf.newaxis]
            return weighted * scaled - teacher_probs * (mean * scaled)

        return values, backward

    return of_student(student_logits)


def _weighted_excess(half, probs):
    """`probs * (exp(2 * half) - 1) / 2`, which in place takes three passes."""

    @tf.custom_gradient
    def of_half(half):
        weighted = probs / (tf.math.reciprocal(tf.tanh(half)) - 1.0)
        # Only for second derivatives; that of 1 / tanh has no digits.
        return weighted, lambda upstream: upstream * (probs + 2.0 * weighted)

    return of_half(half)


def _sum(array):
    """The sum over the classes, shape `[rows, 1]`."""
    return tf.reduce_sum(array, axis=-1, keepdims=True)


def _max(logits):
    """The largest over the classes, shape `[rows, 1]`."""
    return tf.reduce_max(logits, axis=-1, keepdims=True)
