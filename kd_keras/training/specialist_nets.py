"""Specialists begin as the generalist: its layers, and a head of their own."""

import itertools

import keras
import numpy as np

from kd_keras import model_checks


def seeded_copy(model, *seeds):
    """A copy of a model with its weights, whose randomness is known.

    Layers that draw without a seed, as `keras.layers.Dropout(0.5)`, would draw
    otherwise in each process.

    Args:
        model: Functional or Sequential `keras.Model`.
        *seeds: ints, not negative: what the seeds are made of.

    Returns:
        `keras.Model`; layers that have a seed keep it.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    >>> copies = [seeded_copy(model, 0, 1) for _ in range(2)]
    >>> one, other = (copy(np.ones([9, 4]), training=True) for copy in copies)
    >>> bool(np.all(one == other))
    True
    """
    numbers = itertools.count()

    def seeded(config):
        # Also of what is wrapped, as by TimeDistributed, and of cells.
        if isinstance(config, (list, tuple)):
            return type(config)(map(seeded, config))
        if not isinstance(config, dict):
            return config
        config = {key: seeded(value) for key, value in config.items()}
        if config.get("seed", 0) is None:
            sequence = np.random.SeedSequence([*seeds, next(numbers)])
            # 31 bits, as every Keras backend takes them.
            config["seed"] = int(sequence.generate_state(1)[0] >> 1)
        return config

    copy = keras.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(
            seeded(layer.get_config())
        ),
        recursive=True,
    )
    copy.set_weights(model.get_weights())
    return copy


def specialist_of(generalist, classes, name=None, *, full_softmax=False):
    """A specialist with the weights of a generalist, not trained yet.

    All layers but the last are copied with their weights. The new last layer
    has an output for each of the classes, with the weights that the
    generalist has for it, and one for the dustbin: the mean of its weights for
    the other classes, with the logarithm of their number added to the bias, so
    that the dustbin begins as probable as they are together where they are
    alike. The paper (section 5.2) says that a specialist begins with the
    generalist's weights, and nothing of its dustbin.

    Args:
        generalist: Functional or Sequential `keras.Model` with one input that
            ends in a Dense layer with a bias and without activation.
        classes: List of int, the specialist's classes.
        name: Name of the model. Defaults to None.
        full_softmax: Whether it tells all classes, as section 6.1 proposes:
            then it begins as the generalist itself. Defaults to False.

    Returns:
        `keras.Model` to float32 logits `[batch, len(classes) + 1]`, the
        dustbin last, or with `full_softmax` `[batch, num_classes]`; its last
        layer is called "head", or "head_1" and so on where another one is.

    Example:

    >>> generalist = kd_keras.models.mlp((4, 4, 1), 5, (6,))
    >>> specialist_of(generalist, [1, 3]).output_shape
    (None, 3)

    Raises:
        ValueError: If the generalist is of another form, or `classes` are not
            some of its classes, each once, and not all of them.
    """
    check_generalist(generalist)
    last = generalist.layers[-1]
    kernel, bias = last.get_weights()
    classes = list(classes)
    others = np.setdiff1d(np.arange(len(bias)), classes)
    if (
        not classes
        or len(set(classes)) != len(classes)
        or len(classes) + len(others) != len(bias)
        or not others.size
    ):
        raise ValueError(
            f"`classes` are some of 0 to {len(bias) - 1}, each once, and not "
            f"all of them. Received: {classes}."
        )
    (inputs,) = model_checks.inputs(generalist)
    trunk = keras.Model(inputs, last.input)
    copy = keras.models.clone_model(trunk)
    copy.set_weights(trunk.get_weights())
    if not full_softmax:
        dustbin = bias[others].mean() + np.log(len(others))
        bias = np.append(bias[classes], dustbin)
        kernel = np.column_stack(
            [kernel[:, classes], kernel[:, others].mean(1)]
        )
    head = keras.layers.Dense(
        len(bias), dtype="float32", name=_free_name("head", copy)
    )
    model = keras.Model(copy.input, head(copy.output), name=name)
    head.set_weights([kernel, bias])
    return model


def check_generalist(model):
    """Raises unless specialists can begin as a model.

    Args:
        model: What is to be the generalist.

    Raises:
        ValueError: If it is of another form than `specialist_of` takes.
    """
    layers = getattr(model, "layers", None)
    if not layers:
        raise ValueError(
            "A generalist is a Functional or Sequential model, whose layers "
            "its specialists begin with; a SavedModel can only teach. "
            f"Received: {type(model).__name__}."
        )
    last = layers[-1]
    if not (
        isinstance(last, keras.layers.Dense)
        and last.use_bias
        and last.activation is keras.activations.linear
        and len(model_checks.inputs(model) or ()) == 1
        and _is_output(last, model)
    ):
        raise ValueError(
            "A generalist has one input and one output, and ends in a Dense "
            "layer with a bias and without activation. Received one whose last "
            f"layer is {type(last).__name__}."
        )


def _is_output(layer, model):
    """Whether a model's only output is that of a layer."""
    outputs = keras.tree.flatten(model_checks.outputs(model))
    return len(outputs) == 1 and layer.output is outputs[0]


def _free_name(name, model):
    """A name that no layer of a model has."""
    taken = {layer.name for layer in model.layers}
    names = (f"{name}_{number}" for number in itertools.count(1))
    return next(
        one for one in itertools.chain([name], names) if one not in taken
    )
