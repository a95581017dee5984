"""Any saved classifier, as a function from pixels to logits."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kd_keras import datasets
from kd_keras import saved_teachers
from kd_keras import teachers
from kd_keras.export import runners

_RUNNERS = {".tflite": runners.LiteRTModel, ".onnx": runners.OnnxModel}


@dataclasses.dataclass(frozen=True)
class SavedClassifier:
    """A classifier that was loaded.

    Attributes:
        path: `pathlib.Path` it came from.
        predict: Function from uint8 images, shape `[batch, height, width,
            channels]`, to float32 logits, an array of shape `[batch,
            num_classes]`.
        num_parameters: How many numbers it has learnt; None if that is not
            known.
        num_bytes: Size on disk.
        model: What was loaded, if TensorFlow runs it; else None.
    """

    path: pathlib.Path
    predict: Callable[[np.ndarray], np.ndarray]
    num_parameters: int | None
    num_bytes: int
    model: Callable | None


def open_classifier(path):
    """Loads a classifier from disk.

    Args:
        path: A `.keras` file, a `.tflite` or `.onnx` file, or the directory of
            a SavedModel: of the bare student, which takes pixels in [0, 1], or
            one for serving, which takes them as uint8.

    Returns:
        `SavedClassifier`.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ImportError: If the runtime of a file is not installed.
        ValueError: If it is no such model, or gives no logits.
    """
    path = pathlib.Path(path)
    if path.is_file() and path.suffix in _RUNNERS:
        return _open_file(path)
    if (path / "saved_model.pb").exists():
        # The signature that clients call, if there are others.
        model = saved_teachers.SavedModelTeacher(path)
        takes_pixels = tf.uint8 in model.input_dtypes
    else:
        model = saved_teachers.load_teacher(path)
        takes_pixels = False
    teachers.check_gives_logits(model)

    # Of any size, so that the last batch does not trace anew.
    @tf.function(reduce_retracing=True)
    def forward(images):
        x = images if takes_pixels else datasets.to_float(images)
        return tf.cast(teachers.forward(model, x)(1.0), tf.float32)

    return SavedClassifier(
        path=path,
        predict=lambda images: forward(tf.constant(images)).numpy(),
        num_parameters=num_parameters(model),
        num_bytes=num_bytes(path),
        model=model,
    )


def _open_file(path):
    """A classifier that another runtime runs."""
    model = _RUNNERS[path.suffix](path)

    def predict(images):
        if model.input_dtype != np.uint8:
            images = datasets.to_float(images).numpy()
        answer = model(images)
        if len(answer) > 1 and "logits" not in answer:
            raise ValueError(
                f"{path} gives {', '.join(sorted(answer))}, none of which is "
                "called logits."
            )
        return answer.get("logits", next(iter(answer.values())))

    return SavedClassifier(path, predict, None, num_bytes(path), None)


def load_teachers(paths, mean, source):
    """Loads the teacher at a path, or the ensemble of those at several.

    Args:
        paths: What `kd_keras.load_teacher` takes, at least one.
        mean: As of `kd_keras.EnsembleTeacher`.
        source: `datasets.ImageDataset` that it is to teach.

    Returns:
        A teacher.

    Raises:
        Errors of `kd_keras.load_teacher` and `kd_keras.EnsembleTeacher`.
        ValueError: If one does not fit the data.
    """
    members = [saved_teachers.load_teacher(path) for path in paths]
    for path, member in zip(paths, members, strict=True):
        check_fits(path, member, source)
    if len(members) == 1:
        return members[0]
    return teachers.EnsembleTeacher(members, mean=mean)


def check_fits(path, model, source):
    """Raises if a model takes other images or has other classes.

    Args:
        path: Where it came from.
        model: What was loaded; only of a `keras.Model` with one input and one
            output it is known.
        source: `datasets.ImageDataset`.

    Raises:
        ValueError: If it does not fit the data.
    """
    inputs = getattr(model, "inputs", None) or ()
    outputs = getattr(model, "outputs", None) or ()
    if len(inputs) != 1 or len(outputs) != 1:
        return
    takes, gives = tuple(inputs[0].shape), tuple(outputs[0].shape)
    image = (None, *source.image_shape)
    fits = len(takes) == len(image) and all(
        size in (None, wanted)
        for size, wanted in zip(takes[1:], image[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"{path} takes images of shape {takes[1:]}, and {source.name} has "
            f"{source.image_shape}. Give the data set that it is for "
            "(--dataset), or the size of its images (--image_size=HEIGHT,"
            "WIDTH)."
        )
    if gives[-1] not in (None, source.num_classes):
        raise ValueError(
            f"{path} has {gives[-1]} classes, and {source.name} has "
            f"{source.num_classes} classes."
        )


def num_parameters(teacher):
    """How many numbers a teacher has learnt; None if that is not known."""
    models = teachers.models_of(teacher)
    return sum(model.count_params() for model in models) if models else None


def num_bytes(path):
    """Bytes of a file, or of all files in a directory."""
    path = pathlib.Path(path)
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
