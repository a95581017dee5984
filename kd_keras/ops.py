"""Pure tensor functions on logits and distributions.

Everything here works in log space, in float32 whatever comes in (float64
stays float64): half precision keeps too few digits of a log-probability.
"""

import math

import tensorflow as tf

# The least probability of what is left out: below what float32 adds up to.
_TINY = 1e-12


def check_temperature(temperature):
    """Returns `temperature` as a float if it can be divided by.

    Args:
        temperature: Positive finite Python or NumPy number, dimensionless.

    Returns:
        The temperature as a Python float.

    Raises:
        ValueError: If it is not a positive finite number.

    Example:

    >>> kd_keras.ops.check_temperature(4)
    4.0
    """
    number = None
    if not isinstance(temperature, (bool, str)):
        try:
            number = float(temperature)
        except (TypeError, ValueError):
            pass
    if number is None or not (math.isfinite(number) and number > 0):
        raise ValueError(
            "`temperature` must be a positive finite number; 1.0 leaves the "
            "distribution as it is, larger values soften it. "
            f"Received: temperature={temperature!r}"
        )
    return number


def as_log_space(*tensors):
    """Casts tensors to the dtype in which log space is computed.

    Args:
        *tensors: Float tensors of any dtype.

    Returns:
        The tensors in float64 if all of them are float64, otherwise in
        float32; a single tensor if one was given.

    Example:

    >>> kd_keras.ops.as_log_space(tf.zeros(2, tf.bfloat16)).dtype.name
    'float32'
    """
    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    dtype = (
        tf.float64
        if all(tensor.dtype == tf.float64 for tensor in tensors)
        else tf.float32
    )
    tensors = [tf.cast(tensor, dtype) for tensor in tensors]
    return tensors[0] if len(tensors) == 1 else tensors


def tempered_softmax(logits, temperature, axis=-1):
    """Softens logits into a distribution over the classes.

    Computes `softmax(logits / temperature)`, equation 1 of Hinton et al.
    (2015).

    Args:
        logits: Float tensor, shape `[..., num_classes]`, unnormalised.
        temperature: Positive float, dimensionless. `1.0` is the plain
            softmax, larger values flatten the result.
        axis: The class axis. Defaults to `-1`.

    Returns:
        Float32 tensor (float64 for float64 logits) of the shape of `logits`,
        summing to 1 along `axis`.

    Raises:
        ValueError: If `temperature` is not a positive finite number.

    Example:

    >>> kd_keras.ops.tempered_softmax([2.0, 1.0, 0.0], temperature=4.0)
    <tf.Tensor: shape=(3,), dtype=float32, numpy=array([0.4192, 0.3265, 0.2543],
          dtype=float32)>
    """
    temperature = check_temperature(temperature)
    return tf.nn.softmax(as_log_space(logits) / temperature, axis=axis)


def tempered_log_softmax(logits, temperature, axis=-1):
    """Logarithm of `tempered_softmax`, without computing the latter.

    Computes `log_softmax(logits / temperature)`, the logarithm of equation 1
    of Hinton et al. (2015), finite where the softmax itself underflows.

    Args:
        logits: Float tensor, shape `[..., num_classes]`, unnormalised.
        temperature: Positive float, dimensionless.
        axis: The class axis. Defaults to `-1`.

    Returns:
        Float32 tensor (float64 for float64 logits) of the shape of `logits`:
        log-probabilities in nats.

    Raises:
        ValueError: If `temperature` is not a positive finite number.

    Example:

    >>> kd_keras.ops.tempered_log_softmax([800.0, 0.0], temperature=4.0)
    <tf.Tensor: shape=(2,), dtype=float32, numpy=array([   0., -200.],
          dtype=float32)>
    """
    temperature = check_temperature(temperature)
    return tf.nn.log_softmax(as_log_space(logits) / temperature, axis=axis)


def average_log_probs(log_probs, weights=None, axis=0):
    """Logarithm of the weighted arithmetic mean of distributions.

    Computes `log(sum_m weights[m] * exp(log_probs[m]) / sum(weights))`. The
    arithmetic mean is one of the two ways in which Hinton et al. (2015),
    section 1, combine an ensemble; the geometric one is the mean of the
    logits and needs no function.

    Args:
        log_probs: Float tensor of log-probabilities (nats), one distribution
            per member along `axis`, e.g. `[members, ..., num_classes]`.
        weights: Positive numbers, one per member. Defaults to equal weights.
        axis: The member axis. Defaults to `0`.

    Returns:
        Tensor of log-probabilities with `axis` removed.

    Raises:
        ValueError: If `weights` has another length than there are members.

    Example:

    >>> members = np.log([[0.5, 0.5], [0.9, 0.1]])
    >>> np.exp(kd_keras.ops.average_log_probs(members))
    array([0.7, 0.3])
    """
    log_probs = as_log_space(log_probs)
    num_members = log_probs.shape[axis]
    weights = [1.0] * num_members if weights is None else list(weights)
    if len(weights) != num_members:
        raise ValueError(
            "`weights` needs one number per member. Received: "
            f"{len(weights)} weights for {num_members} members."
        )
    total = math.fsum(weights)
    log_weights = tf.constant(
        [math.log(weight / total) for weight in weights], log_probs.dtype
    )
    shape = [1] * log_probs.shape.rank
    shape[axis] = num_members
    return tf.reduce_logsumexp(
        log_probs + tf.reshape(log_weights, shape), axis=axis
    )


def logits_of_average(logits, temperature, weights=None, axis=0):
    """Logits, for use at a temperature, of the mean of several distributions.

    Computes `T * log(sum_m weights[m] * softmax(logits[m] / T))`, with weights
    that sum to 1: the arithmetic mean is one of distributions at T, so that
    its logits hold at T alone.

    Args:
        logits: Float tensor of the members' logits, e.g. `[members, ...,
            num_classes]`.
        temperature: Positive float, dimensionless.
        weights: Positive numbers, one per member. Defaults to equal weights.
        axis: The member axis. Defaults to `0`.

    Returns:
        Float32 tensor (float64 for float64 logits) with `axis` removed.

    Raises:
        ValueError: If the temperature is not positive and finite, or
            `weights` has another length than there are members.

    Example:

    >>> members = 2.0 * np.log([[0.5, 0.5], [0.9, 0.1]])
    >>> logits = kd_keras.ops.logits_of_average(members, temperature=2.0)
    >>> tf.nn.softmax(logits / 2.0).numpy()
    array([0.7, 0.3])
    """
    log_probs = tempered_log_softmax(logits, temperature)
    return temperature * average_log_probs(log_probs, weights, axis)


def fill_remainder(logits, student_logits, temperature):
    """Completes the largest logits of a teacher by what the student says.

    Of the classes that the teacher's logits leave out only their joint
    probability is known, `r`. Here they share `r` as they do in the student's
    distribution `q`: `p[i] = r * q[i] / sum(q[j] for j left out)`. Then the KL
    divergence of `q` from `p`, and its gradient, are those of the
    distributions over the kept classes and one bucket for the others.

    Args:
        logits: Float tensor, shape `[..., num_classes]`: `T * log(p)` of the
            classes that are kept, and minus infinity.
        student_logits: Float tensor of that shape.
        temperature: Positive float, dimensionless: `T`.

    Returns:
        Float32 tensor of that shape (float64 if both are): `T * log(p)` of all
        classes, through which no gradient flows.

    Raises:
        ValueError: If the temperature is not a positive finite number.

    Example:

    >>> top = np.array([[np.log(0.8), -np.inf, -np.inf]])
    >>> student = np.log([[0.5, 0.4, 0.1]])
    >>> np.exp(kd_keras.ops.fill_remainder(top, student, 1.0))
    array([[0.8 , 0.16, 0.04]])
    """
    temperature = check_temperature(temperature)
    logits, student_logits = as_log_space(logits, student_logits)
    log_probs = logits / temperature
    student_log_probs = tf.nn.log_softmax(student_logits / temperature)
    # Not of NaN, which is no class left out but a fault.
    is_left_out = logits == -math.inf
    kept = tf.reduce_sum(tf.exp(log_probs), axis=-1, keepdims=True)
    tiny = tf.constant(_TINY, logits.dtype)
    rest = tf.math.log(tf.maximum(1.0 - kept, tiny))
    in_bucket = tf.where(is_left_out, student_log_probs, -math.inf)
    shares = in_bucket - tf.reduce_logsumexp(in_bucket, axis=-1, keepdims=True)
    filled = tf.where(is_left_out, rest + shares, log_probs)
    return tf.stop_gradient(temperature * filled)


def without_broadcasting(targets, logits, what="teacher logits"):
    """Returns targets unchanged, sure to have the shape of the logits.

    Args:
        targets: Tensor, shape `[batch, ..., num_classes]`.
        logits: The student's logits, which must have the same shape.
        what: What the targets are, for the message.

    Returns:
        The targets.

    Raises:
        ValueError: If rank, number of classes or another dimension differ.
            Where that shows only at run time, the operation fails.

    Example:

    >>> kd_keras.ops.without_broadcasting(tf.zeros([1, 3]), tf.zeros([8, 3]))
    Traceback (most recent call last):
    ValueError: The teacher logits must have the shape of the student's...
    """
    targets, logits = (
        tf.convert_to_tensor(targets),
        tf.convert_to_tensor(logits),
    )
    if logits.shape.rank == 0 or not (
        targets.shape.is_compatible_with(logits.shape)
    ):
        raise ValueError(
            f"The {what} must have the shape of the student's logits, "
            f"{logits.shape}. Received: {targets.shape}. A teacher with other "
            "inputs or classes can be adapted by any callable: "
            "teacher=lambda x: adapt(model(prepare(x)))."
        )
    if targets.shape.is_fully_defined() and logits.shape.is_fully_defined():
        return targets
    same = tf.debugging.assert_equal(
        tf.shape(targets),
        tf.shape(logits),
        f"The {what} must have the shape of the student's logits.",
    )
    # On an identity: TensorFlow may drop a reshape together with what it
    # waits for.
    with tf.control_dependencies([] if same is None else [same]):
        targets = tf.identity(targets)
    # XLA drops the assertion, but knows the shapes and refuses this.
    return tf.reshape(targets, tf.shape(logits))
