"""Small reference networks that return float32 logits.

Teachers and students may be any Keras models; these are the ones of the paper
and a convolutional network for small images, for the scripts and experiments.
Their last layer is a Dense layer without activation that computes in float32
under every precision policy: softened targets of float16 logits would lose the
small differences that distillation is about.
"""

import numbers

import keras
import numpy as np


def mlp(
    input_shape,
    num_classes,
    hidden_units=(800, 800),
    *,
    input_dropout=0.0,
    dropout=0.0,
    max_norm=None,
    kernel_initializer="glorot_uniform",
    seed=None,
    name=None,
):
    """A fully connected network of ReLU layers.

    Hinton et al. (2015), section 3, on MNIST: the student is
    `mlp((28, 28, 1), 10, (800, 800))`; the teacher has `(1200, 1200)` units,
    dropout and weight constraints. The paper gives no numbers for these; those
    of its reference on dropout (Hinton et al., 2012) are `input_dropout=0.2`,
    `dropout=0.5` and, as implemented by others, `max_norm=15**0.5`.

    Args:
        input_shape: tuple of int, the shape of one input, as `(28, 28, 1)`.
        num_classes: int, at least 2.
        hidden_units: iterable of int, the width of each hidden layer; empty
            for a linear classifier. Defaults to `(800, 800)`.
        input_dropout: float in [0, 1), part of the input left out in training.
            Defaults to 0.
        dropout: float in [0, 1), part of each hidden layer left out in
            training. Defaults to 0.
        max_norm: positive float, the largest Euclidean norm of the incoming
            weights of a hidden unit, or None for no limit. Defaults to None.
        kernel_initializer: name or `keras.initializers.Initializer`, seeded
            anew for every layer. Defaults to "glorot_uniform".
        seed: int, not negative; fixes initial weights and dropout masks.
            Defaults to None: see `keras.utils.set_random_seed`.
        name: str, the name of the model, or None.

    Returns:
        `keras.Model` (Functional) from `[batch, *input_shape]` to float32
        logits `[batch, num_classes]`.

    Raises:
        TypeError: If `hidden_units` is not an iterable, or `seed` not an int.
        ValueError: If a number is out of range.

    Example:

    >>> student = mlp((28, 28, 1), 10, (800, 800), seed=0)
    >>> student.count_params()
    1276810
    """
    input_shape = _check_input_shape(input_shape)
    _check_int("num_classes", num_classes, 2)
    hidden_units = _check_sizes("hidden_units", hidden_units)
    _check_rate("input_dropout", input_dropout)
    _check_rate("dropout", dropout)
    if max_norm is not None and not max_norm > 0:
        raise ValueError(
            'Argument "max_norm" must be a positive number, or None for no '
            f"limit. Received: {max_norm!r}."
        )
    seeds = _LayerSeeds(seed, kernel_initializer)

    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(inputs)
    if input_dropout:
        x = seeds.dropout(input_dropout, "input_dropout")(x)
    for i, units in enumerate(hidden_units, start=1):
        x = keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer=seeds.initializer(),
            kernel_constraint=max_norm
            and keras.constraints.MaxNorm(max_norm, axis=0),
            name=f"hidden_{i}",
        )(x)
        if dropout:
            x = seeds.dropout(dropout, f"dropout_{i}")(x)
    return keras.Model(inputs, _logits(x, num_classes, seeds), name=name)


def convnet(
    input_shape,
    num_classes,
    filters=(32, 64),
    *,
    dense_units=(128,),
    dropout=0.0,
    batch_norm=False,
    kernel_initializer="glorot_uniform",
    seed=None,
    name=None,
):
    """A small convolutional network for small images.

    For each of `filters` a 3x3 convolution, ReLU, and 2x2 max pooling; then
    the ReLU layers of `dense_units`, and the logits.

    Args:
        input_shape: `(height, width, channels)`; height and width at least
            `2**len(filters)`.
        num_classes: int, at least 2.
        filters: iterable of int, the channels of each convolution; at least
            one. Defaults to `(32, 64)`.
        dense_units: iterable of int, the width of each hidden Dense layer; may
            be empty. Defaults to `(128,)`.
        dropout: float in [0, 1), part of the input of every Dense layer left
            out in training. Defaults to 0.
        batch_norm: whether batch normalization stands between convolution and
            ReLU, in place of a bias. Defaults to False.
        kernel_initializer: name or `keras.initializers.Initializer`, seeded
            anew for every layer. Defaults to "glorot_uniform".
        seed: int, not negative; fixes initial weights and dropout masks.
            Defaults to None: see `keras.utils.set_random_seed`.
        name: str, the name of the model, or None.

    Returns:
        `keras.Model` (Functional) from `[batch, height, width, channels]` to
        float32 logits `[batch, num_classes]`.

    Raises:
        TypeError: If a list of sizes is not an iterable, or `seed` not an int.
        ValueError: If a number is out of range, or the image is too small.

    Example:

    >>> student = convnet((8, 8, 1), 10, (16, 32), dense_units=(), seed=0)
    >>> student.output_shape
    (None, 10)
    """
    input_shape = _check_input_shape(input_shape)
    _check_int("num_classes", num_classes, 2)
    filters = _check_sizes("filters", filters)
    dense_units = _check_sizes("dense_units", dense_units)
    _check_rate("dropout", dropout)
    if len(input_shape) != 3:
        raise ValueError(
            'Argument "input_shape" must be (height, width, channels). '
            f"Received: input_shape={input_shape}."
        )
    if not filters:
        raise ValueError(
            'Argument "filters" is empty. Without convolutions use mlp().'
        )
    if min(input_shape[:2]) < 2 ** len(filters):
        raise ValueError(
            f"{len(filters)} poolings need images of at least "
            f"{2 ** len(filters)} pixels a side. Received: "
            f"input_shape={input_shape}, filters={filters}. Use fewer filters."
        )
    seeds = _LayerSeeds(seed, kernel_initializer)

    x = inputs = keras.Input(input_shape, name="image")
    for i, channels in enumerate(filters, start=1):
        x = keras.layers.Conv2D(
            channels,
            3,
            padding="same",
            use_bias=not batch_norm,
            kernel_initializer=seeds.initializer(),
            data_format="channels_last",
            name=f"conv_{i}",
        )(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(name=f"batch_norm_{i}")(x)
        x = keras.layers.ReLU(name=f"relu_{i}")(x)
        x = keras.layers.MaxPooling2D(
            2, data_format="channels_last", name=f"pool_{i}"
        )(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for i, units in enumerate(dense_units, start=1):
        if dropout:
            x = seeds.dropout(dropout, f"dropout_{i}")(x)
        x = keras.layers.Dense(
            units,
            activation="relu",
            kernel_initializer=seeds.initializer(),
            name=f"hidden_{i}",
        )(x)
    if dropout:
        x = seeds.dropout(dropout, "dropout_logits")(x)
    return keras.Model(inputs, _logits(x, num_classes, seeds), name=name)


def _logits(x, num_classes, seeds):
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=seeds.initializer(),
        dtype="float32",
        name="logits",
    )(x)


class _LayerSeeds:
    """Seeds for the layers of one network, a different one at every call.

    A Keras initializer returns the same numbers at every call, so one for
    several layers would start them with equal weights. `seed + layer` as their
    seeds would do so across the members of an ensemble, whose seeds are 0, 1,
    2, ...: hence a hash of both.
    """

    def __init__(self, seed, kernel_initializer):
        if seed is not None:
            _check_int("seed", seed, 0)
        self._initializer = keras.initializers.get(kernel_initializer)
        if self._initializer is None:
            raise ValueError(
                'Argument "kernel_initializer" must be an initializer or the '
                "name of one. Received: kernel_initializer=None."
            )
        self._seed = seed
        self._calls = 0

    def initializer(self):
        """A copy of the initializer with the next seed."""
        if not isinstance(self._initializer, keras.initializers.Initializer):
            return self._initializer  # A plain function has no seed to give.
        config = self._initializer.get_config()
        if "seed" in config:
            # Without a seed for the network, that of the initializer is used.
            base = config["seed"] if self._seed is None else self._seed
            config["seed"] = self._next(base)
        return type(self._initializer).from_config(config)

    def dropout(self, rate, name):
        """A dropout layer with the next seed."""
        return keras.layers.Dropout(
            rate, seed=self._next(self._seed), name=name
        )

    def _next(self, base):
        self._calls += 1
        if not isinstance(base, numbers.Integral):
            return base  # None, or a generator: Keras draws anew each time.
        sequence = np.random.SeedSequence([int(base), self._calls])
        # 31 bits, as every Keras backend takes them.
        return int(sequence.generate_state(1)[0] >> 1)


def _check_input_shape(input_shape):
    try:
        shape = tuple(int(size) for size in input_shape)
        valid = len(shape) > 0 and min(shape) > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            'Argument "input_shape" must be that of one input without the '
            f"batch, as (28, 28, 1). Received: input_shape={input_shape!r}."
        )
    return shape


def _check_sizes(name, sizes):
    try:
        sizes = tuple(sizes)
    except TypeError:
        raise TypeError(
            f'Argument "{name}" must be an iterable of ints, one a layer. '
            f"Received: {name}={sizes!r}. For one layer pass ({sizes!r},)."
        ) from None
    for size in sizes:
        _check_int(name, size, 1)
    return sizes


def _check_int(name, value, minimum):
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f'Argument "{name}" must be an int of at least {minimum}. '
            f"Received: {value!r}."
        )
    if value < minimum:
        raise ValueError(
            f'Argument "{name}" must be at least {minimum}. Received: {value}.'
        )


def _check_rate(name, rate):
    if not isinstance(rate, numbers.Real) or not 0 <= rate < 1:
        raise ValueError(
            f'Argument "{name}" must be a number in [0, 1), the part that is '
            f"left out. Received: {name}={rate!r}."
        )
