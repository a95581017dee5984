"""The optimizer's part of a step, by the kernels that TensorFlow has for it."""

import contextlib
import functools

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

    Any other optimizer, `amsgrad`, sparse gradients, variables in half
    precision and replicas of a strategy are left to Keras, and so is a class
    that is derived from one of these.

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
    kernel = _KERNELS.get(type(optimizer))
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

    def update_step(gradient, variable, learning_rate):
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        if is_sparse or variable.dtype not in _DTYPES:
            by_keras(gradient, variable, learning_rate)
            return
        slots = keras_hooks.slots_of(optimizer, variable)
        kernel(
            optimizer,
            variable.dtype,
            gradient,
            (variable.handle, *(slot.value.handle for slot in slots)),
            learning_rate,
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


def _adam(optimizer, dtype, gradient, handles, learning_rate):
    variable, momentum, velocity = handles
    cast = functools.partial(_in_dtype, dtype)
    step = cast(optimizer.iterations + 1)
    first = _rounding(optimizer.beta_1, dtype.as_numpy_dtype)
    second = _rounding(optimizer.beta_2, dtype.as_numpy_dtype) ** 0.5
    tf.raw_ops.ResourceApplyAdam(
        var=variable,
        m=momentum,
        v=velocity,
        beta1_power=tf.pow(cast(optimizer.beta_1), step),
        beta2_power=tf.pow(cast(optimizer.beta_2), step),
        lr=cast(learning_rate) * cast(second / first),
        beta1=cast(optimizer.beta_1),
        beta2=cast(optimizer.beta_2),
        epsilon=cast(optimizer.epsilon * second),
        grad=cast(gradient),
    )


def _rounding(beta, dtype):
    """What `1 - beta` is to the kernel, as a multiple of what it is to Keras.

    The kernel takes it from a `beta` that is rounded already, Keras rounds the
    result: of 0.999 in float32 they differ by 1.3e-5. Moments are larger by
    that, which rate and epsilon take out again.
    """
    return (1.0 - float(dtype(beta))) / float(dtype(1.0 - beta))


def _sgd(optimizer, dtype, gradient, handles, learning_rate):
    variable, *momentum = handles
    cast = functools.partial(_in_dtype, dtype)
    if not momentum:
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable, alpha=cast(learning_rate), delta=cast(gradient)
        )
        return
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=variable,
        accum=momentum[0],
        lr=cast(learning_rate),
        grad=cast(gradient),
        momentum=cast(optimizer.momentum),
        use_nesterov=optimizer.nesterov,
    )


_KERNELS = {
    keras.optimizers.Adam: _adam,
    keras.optimizers.AdamW: _adam,
    keras.optimizers.SGD: _sgd,
}
