"""A student as one file for other runtimes: LiteRT and ONNX."""

import pathlib
import shutil
import tempfile
import warnings

import keras
import numpy as np
from scipy import special

from kd_keras import keras_hooks
from kd_keras.export import checking
from kd_keras.export import publishing
from kd_keras.export import runners
from kd_keras.export import serving

# What the logits of another runtime may be off by, relative to the largest:
# it has kernels of its own.
_TOLERANCE = 1e-4


def export_litert(student, path, *, examples=None, overwrite=False):
    """Writes an image classifier as a `.tflite` file for LiteRT.

    It takes uint8 pixels as a client has them, `image` of shape `[batch,
    height, width, channels]`, scales them as `kd_keras.datasets.to_float` does,
    and gives `logits` and `probabilities` (softmax at T = 1), both float32 of
    shape `[batch, num_classes]`.

    Keras writes it; it is then loaded by LiteRT and compared with the student
    in memory, and one rename publishes it.

    Args:
        student: As `export_for_serving` takes it, computing in float32.
        path: File to be made, a `str` or `os.PathLike`.
        examples: uint8 array of real images to compare on, shape
            `[num_examples, height, width, channels]`. Defaults to None: random
            pixels.
        overwrite: Whether to replace what is at `path`. Defaults to `False`.

    Returns:
        `Comparison`.

    Raises:
        ImportError: If LiteRT is not installed: `pip install
            "kd_keras[litert]"`.
        TypeError: As `export_for_serving`.
        ValueError: As `export_for_serving`, or if the student computes in half
            precision.
        FileExistsError: If there is something at `path`, and `overwrite` is
            `False`.
        RuntimeError: If the file does not answer as the student does, or the
            student has an operation that LiteRT does not know.
    """
    return _export(
        student, path, "litert", runners.LiteRTModel, examples, overwrite
    )


def export_onnx(student, path, *, examples=None, overwrite=False):
    """Writes an image classifier as an `.onnx` file for ONNX Runtime.

    As `export_litert`, in this format: `pip install "kd_keras[onnx]"`.

    Args:
        student: As of `export_litert`.
        path: As of `export_litert`.
        examples: As of `export_litert`.
        overwrite: As of `export_litert`.

    Returns:
        `Comparison`.

    Raises:
        As `export_litert`.
    """
    return _export(
        student, path, "onnx", runners.OnnxModel, examples, overwrite
    )


def _export(student, path, file_format, runner, examples, overwrite):
    with publishing.aside(path, overwrite=overwrite) as written:
        shape, _ = serving.image_classifier(student)
        examples = serving.checked_examples(examples, shape)
        _check_float32(student, file_format)
        with tempfile.TemporaryDirectory() as folder:
            suffix = {"litert": "tflite", "onnx": "onnx"}[file_format]
            file = pathlib.Path(folder) / f"model.{suffix}"
            _write(_with_pixels(student, shape), file, file_format)
            shutil.copyfile(file, written)
        try:
            served = runner(written)
        except ValueError as error:
            raise RuntimeError(
                f"What Keras wrote of {student.name!r} as {file_format} cannot "
                f"be loaded, and nothing was published: {error}"
            ) from error
        return _compared(student, served, examples, file_format)


def _check_float32(student, file_format):
    for layer in keras_hooks.layers_of(student):
        if layer.compute_dtype != "float32":
            raise ValueError(
                f"A student exported as {file_format} computes in float32. "
                f"Received: {student.name!r}, whose layer {layer.name!r} "
                f"computes in {layer.compute_dtype}. Build it anew in float32 "
                "and give it the weights (get_weights, set_weights)."
            )


def _with_pixels(student, shape):
    """The student behind its preprocessing, as one model."""
    image = keras.Input(shape, dtype="uint8", name="image")
    # The same operation as in training: a factor rounds otherwise.
    pixels = _ToFloat(name="to_float", dtype="float32")(image)
    logits = student(pixels, training=False)
    probabilities = keras.layers.Softmax(name="softmax")(logits)
    model = keras.Model(
        image, {"logits": logits, "probabilities": probabilities}
    )
    # Keras exports only what was called.
    model(np.zeros([1, *shape], np.uint8))
    return model


class _ToFloat(keras.layers.Layer):
    """`pixels.to_float` as a layer."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, image):
        return keras.ops.cast(image, "float32") / 255.0


def _write(model, file, file_format):
    if file_format == "onnx":
        try:
            # What Keras exports with.
            import onnx  # noqa: F401
            import tf2onnx  # noqa: F401
        except ImportError as error:
            raise runners.missing(error, file_format) from error
    with warnings.catch_warnings():
        # Keras asks numpy for what newer ones have no more.
        warnings.simplefilter("ignore", FutureWarning)
        model.export(file, format=file_format, verbose=False)


def _compared(student, served, examples, file_format):
    """Raises unless a file answers as the student in memory."""

    def answer(images):
        found = served(images)
        logits = np.float64(found["logits"])
        if not np.allclose(
            found["probabilities"], special.softmax(logits, -1), atol=1e-5
        ):
            raise RuntimeError(
                f"The {file_format} file written for {student.name!r} does not "
                "give the probabilities of its own logits. Nothing was "
                "published."
            )
        return found

    return checking.compare_on_images(
        student, answer, examples, _TOLERANCE, f"The {file_format} file"
    )
