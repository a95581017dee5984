"""The optimizer's part of a step, by the kernels that TensorFlow has for it."""

import contextlib
import functools
import math

import keras
import tensorflow as tf

from kd_keras import keras_hooks

# In others 0.999 may be 1.
_DTYPES = tf.float32, tf.float64


def apply_gradients(optimizer, gradients, variables):
    """Updates variables as `optimizer.apply_gradients` does, at less cost.

    An optimizer of Keras is some fifteen operations for each variable, each of
    which goes through all of it and allocates another one. For `SGD`, `Adam`
    and `AdamW` TensorFlow has a kernel that does the same in one pass, in
    place. Everything around the update stays Keras': clipping, weight decay,
    accumulation, averages, scaling of the loss, constraints.

    Any other optimizer, `amsgrad`, decay rates of moments that are variables
    or round to 1, sparse gradients, variables in half precision and replicas
    of a strategy are left to Keras, and so is a class that is derived from
    one of these.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        gradients: List of tensors, one for each variable.
        variables: List of `keras.Variable`.
    """
    with _by_kernels(optimizer):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))


@contextlib.contextmanager
def _by_kernels(optimizer):
    """Lets kernels update single variables for as long as it lasts."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    prepare, kernel = _KERNELS.get(type(optimizer), (None, None))
    is_left_to_keras = (
        kernel is None
        or getattr(optimizer, "amsgrad", False)
        or tf.distribute.has_strategy()
        # Somebody else had the same idea.
        or "update_step" in vars(optimizer)
    )
    if is_left_to_keras:
        yield
        return
    by_keras = optimizer.update_step
    # The same for all variables of a dtype; a branch has a graph of its own.
    prepared = {}

    def update_step(gradient, variable, learning_rate):
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        if (
            is_sparse
            or variable.dtype not in _DTYPES
            or not _rates_are_plain(optimizer, variable.dtype)
        ):
            by_keras(gradient, variable, learning_rate)
            return
        place = variable.dtype, tf.compat.v1.get_default_graph()
        if place not in prepared:
            prepared[place] = prepare(optimizer, variable.dtype)
        slots = keras_hooks.slots_of(optimizer, variable)
        kernel(
            tf.cast(gradient, variable.dtype),
            (variable.handle, *(slot.value.handle for slot in slots)),
            tf.cast(learning_rate, variable.dtype),
            **prepared[place],
        )

    optimizer.update_step = update_step
    try:
        yield
    finally:
        del optimizer.update_step


def _in_dtype(dtype, number):
    """A number as the kernels take it, in the dtype of the variable."""
    if isinstance(number, float):
        # A cast would begin with float32.
        return tf.constant(number, dtype)
    return tf.cast(number, dtype)


def _rates_are_plain(optimizer, dtype):
    """Whether rates of moments are numbers that the kernel can take."""
    if isinstance(optimizer, keras.optimizers.SGD):
        return True
    return all(
        isinstance(beta, (int, float)) and _weight_in_kernel(beta, dtype) > 0
        for beta in (optimizer.beta_1, optimizer.beta_2)
    )


def _adam_numbers(optimizer, dtype):
    """What the kernel of Adam takes besides arrays and the rate."""
    cast = functools.partial(_in_dtype, dtype)
    step = optimizer.iterations + 1
    first = _rounding(optimizer.beta_1, dtype, step)
    second = _rounding(optimizer.beta_2, dtype, step) ** 0.5
    return {
        "factor": cast(second / first),
        "beta1_power": tf.pow(cast(optimizer.beta_1), cast(step)),
        "beta2_power": tf.pow(cast(optimizer.beta_2), cast(step)),
        "beta1": cast(optimizer.beta_1),
        "beta2": cast(optimizer.beta_2),
        "epsilon": cast(optimizer.epsilon * second),
    }


def _adam(gradient, handles, learning_rate, factor, **numbers):
    variable, momentum, velocity = handles
    tf.raw_ops.ResourceApplyAdam(
        var=variable,
        m=momentum,
        v=velocity,
        lr=learning_rate * factor,
        grad=gradient,
        **numbers,
    )


def _weight_in_kernel(beta, dtype):
    """The weight of a new gradient in a moment, as the kernel takes it."""
    return 1.0 - float(dtype.as_numpy_dtype(beta))


def _rounding(beta, dtype, step):
    """By how much a moment is larger in the kernel than it is in Keras.

    The weight `1 - beta` of a new gradient the kernel takes from a `beta` that
    is rounded already, Keras rounds the result: of 0.999 in float32 they
    differ by 1.3e-5. A moment of gradients that are all the same differs by
    as much in the first steps, and not at all after many.

    Args:
        beta: Rate of decay of the moment, a float.
        dtype: `tf.DType` of the variable.
        step: Number of the step, the first being 1; a scalar.

    Returns:
        Scalar float64 tensor, or 1.
    """
    kernel = _weight_in_kernel(beta, dtype)
    of_keras = float(dtype.as_numpy_dtype(1.0 - beta))
    if kernel == of_keras:
        return 1.0
    # The sum of all weights so far: 1 - (1 - weight) ** step.
    kernel_sum, keras_sum = (
        -tf.math.expm1(tf.cast(step, tf.float64) * math.log1p(-weight))
        for weight in (kernel, of_keras)
    )
    return kernel_sum / keras_sum


def _sgd_numbers(optimizer, dtype):
    """What the kernel of SGD takes if it has a momentum."""
    return {
        "momentum": _in_dtype(dtype, optimizer.momentum),
        "use_nesterov": optimizer.nesterov,
    }


def _sgd(gradient, handles, learning_rate, **numbers):
    variable, *accumulated = handles
    if not accumulated:
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable, alpha=learning_rate, delta=gradient
        )
        return
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=variable,
        accum=accumulated[0],
        lr=learning_rate,
        grad=gradient,
        **numbers,
    )


_KERNELS = {
    keras.optimizers.Adam: (_adam_numbers, _adam),
    keras.optimizers.AdamW: (_adam_numbers, _adam),
    keras.optimizers.SGD: (_sgd_numbers, _sgd),
}
