"""The nets of the width experiment: one hidden layer, two logits `(0, f)`."""

import keras
import tensorflow as tf

from kd_keras.experiments import projection


@keras.saving.register_keras_serializable(package="kd_keras")
class MirroredNormal(keras.initializers.Initializer):
    """Standard normal columns, the second half the same as the first.

    Args:
        seed: int.

    Raises:
        ValueError: When called, if there is an odd number of columns.
    """

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        """Returns a kernel `[inputs, units]`."""
        half = tf.random.stateless_normal(
            (*shape[:-1], _half(shape[-1])),
            [self.seed, 0],
            dtype=dtype or "float32",
        )
        return tf.concat([half, half], axis=-1)

    def get_config(self):
        """Returns the configuration."""
        return {"seed": self.seed}


@keras.saving.register_keras_serializable(package="kd_keras")
class OppositeSigns(keras.initializers.Initializer):
    """Random signs over a root, the second half opposite to the first.

    `a / sqrt(units)` with `a[j] = -a[j + units / 2]`, each 1 or -1. With
    `MirroredNormal` below it the net starts as 0.

    Args:
        seed: int.

    Raises:
        ValueError: When called, if there is an odd number of units.
    """

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, shape, dtype=None):
        """Returns a kernel `[units, 1]`."""
        units = shape[0]
        drawn = tf.random.stateless_uniform(
            (_half(units), 1), [self.seed, 1], maxval=2, dtype=tf.int32
        )
        half = tf.cast(2 * drawn - 1, dtype or "float32") / units**0.5
        return tf.concat([half, -half], axis=0)

    def get_config(self):
        """Returns the configuration."""
        return {"seed": self.seed}


def practical(inputs, width, seed, name):
    """A net whose layers both train, with biases.

    Args:
        inputs: Keras tensor, `[batch, pixels]`.
        width: Hidden units.
        seed: int, of the initial weights.
        name: Prefix of the names of its layers.

    Returns:
        Keras tensor of logits `(0, f)`, `[batch, 2]`.
    """
    # Seeds of layers next to each other must not be those of other seeds.
    first, second = (
        keras.initializers.GlorotUniform(1000 * seed + number)
        for number in range(2)
    )
    hidden = keras.layers.Dense(
        width,
        activation="relu",
        kernel_initializer=first,
        name=f"{name}_hidden",
    )(inputs)
    f = keras.layers.Dense(1, kernel_initializer=second, name=f"{name}_f")(
        hidden
    )
    return _two_logits(f)


def theorem(inputs, width, seed, name, radius):
    """A net of the theorem: only the hidden layer trains, near its start.

    `f(x) = width**-0.5 * sum(a[j] * relu(x @ w[j]))`, with the signs `a`
    fixed, mirrored `w`, hence `f = 0` at the start, and after each step
    `norm(w[j] - w0[j]) <= radius / sqrt(width)`.

    Args:
        inputs: Keras tensor, `[batch, pixels]`.
        width: Hidden units, an even number.
        seed: int, of the initial weights.
        name: Prefix of the names of its layers.
        radius: The `B` of the theorem; None for no projection.

    Returns:
        Keras tensor of logits `(0, f)`, `[batch, 2]`.
    """
    start = MirroredNormal(seed)
    hidden = keras.layers.Dense(
        width,
        activation="relu",
        use_bias=False,
        kernel_initializer=start,
        kernel_constraint=radius
        and projection.NearStart(radius / width**0.5, start),
        name=f"{name}_hidden",
    )(inputs)
    f = keras.layers.Dense(
        1,
        use_bias=False,
        kernel_initializer=OppositeSigns(seed),
        trainable=False,
        name=f"{name}_f",
    )(hidden)
    return _two_logits(f)


def side_by_side(num_inputs, nets):
    """One model of nets that share nothing but their inputs.

    Trained on the sum of their losses, each takes the steps that it would
    take alone: the gradient of one does not depend on the others, and neither
    SGD nor Adam mixes variables. The data is read once for all of them.

    Args:
        num_inputs: Pixels.
        nets: Dict of names to functions of `(inputs, name)` to logits.

    Returns:
        `keras.Model` with a dict of logits by name.
    """
    inputs = keras.Input((num_inputs,), name="pixels")
    return keras.Model(
        inputs, {name: net(inputs, name) for name, net in nets.items()}
    )


def _two_logits(f):
    """Logits `(0, f)`: their softmax is the sigmoid of `f`."""
    return keras.ops.pad(f, [[0, 0], [1, 0]])


def _half(units):
    if units % 2:
        raise ValueError(
            "A net that starts as 0 has an even number of hidden units. "
            f"Received: {units}"
        )
    return units // 2
