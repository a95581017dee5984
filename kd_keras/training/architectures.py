"""Models by name: ours, those of `keras.applications`, and saved ones."""

import inspect
import pathlib
import warnings

import keras
import numpy as np

from kd_keras import models
from kd_keras import saved_teachers

EXAMPLES = "mlp:400,400, convnet:32,64, MobileNetV2 or teacher.keras"
# Of the hidden layers of a teacher, as in the paper.
_TEACHER_DROPOUT = 0.5
_OURS = {"mlp": models.mlp, "convnet": models.convnet}


def teacher_dropout(name, given):
    """The dropout rate of a teacher: the given one, or else the usual one.

    Args:
        name: As `build` takes it.
        given: float or None.

    Returns:
        float.

    Example:

    >>> teacher_dropout("mlp:400", None), teacher_dropout("MobileNetV2", None)
    (0.5, 0.0)
    """
    if given is not None:
        return given
    return _TEACHER_DROPOUT if name.partition(":")[0] in _OURS else 0.0


def build(name, image_shape, num_classes, *, dropout=0.0, weights=None, seed=0):
    """Builds an image classifier that takes pixels in [0, 1] and gives logits.

    Args:
        name: `"mlp"` or `"convnet"` with the sizes of its hidden layers or of
            its convolutions, as `"mlp:400,400"`, `"convnet:32,64"`; or a
            builder of `keras.applications`, as `"MobileNetV2"`; or the path of
            a `.keras` file, whose weights it then has.
        image_shape: `(height, width, channels)`.
        num_classes: int.
        dropout: Dropout rate of our models. Defaults to 0.
        weights: Path of a file of weights for this model; of a builder of
            `keras.applications` those of what it builds, without its
            preprocessing, which is put before it. Defaults to None: untrained.
        seed: Seed of the initial weights and of dropout. Defaults to 0.

    Returns:
        `keras.Model`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If there is no such model, it does not take such images, or
            the weights are not those of this model.

    Example:

    >>> build("mlp:20", (8, 8, 1), 10).output_shape
    (None, 10)
    """
    kind, _, sizes = name.partition(":")
    if kind in _OURS:
        given = [_sizes(name, sizes)] if sizes else []
        model = _OURS[kind](
            image_shape, num_classes, *given, dropout=dropout, seed=seed
        )
    elif dropout:
        raise ValueError(
            f"{name} has dropout of its own, or none. Received: dropout="
            f"{dropout!r}. Leave it out."
        )
    elif _is_path(name):
        model = _loaded(name, image_shape, num_classes)
    else:
        return _application(name, image_shape, num_classes, weights, seed)
    if weights is not None:
        _load_weights(model, name, weights)
    return model


def _sizes(name, sizes):
    try:
        return tuple(int(size) for size in sizes.split(","))
    except ValueError:
        raise ValueError(
            "The sizes of a model are whole numbers with commas between them, "
            f"as in mlp:400,400. Received: {name!r}."
        ) from None


def _is_path(name):
    path = pathlib.Path(name)
    return path.suffix == ".keras" or len(path.parts) > 1 or path.exists()


def _loaded(path, image_shape, num_classes):
    """A saved model, to be trained on."""
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no model at {path}.")
    if not path.is_file() or path.suffix != ".keras":
        raise ValueError(
            "A model to train is loaded from a .keras file; a SavedModel can "
            f"only teach. Received: {path}"
        )
    model = saved_teachers.load_keras(path)
    takes, gives = model.input_shape, model.output_shape
    if takes != (None, *image_shape) or gives != (None, num_classes):
        raise ValueError(
            f"{path} takes {takes} and gives {gives}, and the data set has "
            f"images of shape {tuple(image_shape)} and {num_classes} classes."
        )
    return model


def _application(name, image_shape, num_classes, weights, seed):
    builder = getattr(keras.applications, name, None)
    if not name[:1].isupper() or not callable(builder):
        raise ValueError(
            f"There is no model {name!r}. Accepted: mlp:SIZES, convnet:SIZES, "
            "a builder of keras.applications, or the path of a saved model; "
            f"for example {EXAMPLES}."
        )
    # These builders take no seed.
    keras.utils.set_random_seed(seed)
    model = builder(
        weights=None,
        input_shape=tuple(image_shape),
        classes=num_classes,
        classifier_activation=None,
    )
    if weights is not None:
        # Those of the builder's own model, without what is put before it.
        _load_weights(model, name, weights)
    inputs = keras.Input(image_shape, name="image")
    x = _as_its_builder_wants(builder, model, inputs)
    return keras.Model(inputs, model(x), name=model.name)


def _as_its_builder_wants(builder, model, image):
    """Pixels in [0, 1] in the scale and order that a builder's models take."""
    if image.shape[-1] != 3:
        # Its preprocessing is of colours. What the model does itself, it does
        # to values from 0 to 255.
        scales = [
            layer
            for layer in model.layers
            if isinstance(layer, keras.layers.Rescaling)
        ]
        return keras.layers.Rescaling(255.0 if scales else 1.0, name="pixels")(
            image
        )
    # All of them are affine. What becomes of black, and of each colour?
    colours = np.concatenate([np.zeros([1, 3]), np.eye(3)])
    # The public modules hold it too, but not for all builders.
    prepare = inspect.getmodule(builder).preprocess_input
    images = np.float32(255 * colours).reshape(4, 1, 1, 3)
    found = prepare(images, data_format="channels_last").reshape(4, 3)
    offset, matrix = found[0], found[1:] - found[0]
    if not np.any(np.diag(matrix)[[0, 2]]):
        # Blue comes first.
        image, matrix = image[..., ::-1], matrix[::-1]
    scale = np.diag(matrix)
    return keras.layers.Rescaling(
        [float(value) for value in scale],
        [float(value) for value in offset],
        name="pixels",
    )(image)


def _load_weights(model, name, weights):
    path = pathlib.Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights at {path}.")
    try:
        with warnings.catch_warnings():
            # A line for each layer; the error says it once.
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(path)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200] + " ..."
        raise ValueError(
            f"{path} does not hold the weights of {name}: {reason}"
        ) from error
