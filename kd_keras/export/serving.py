"""A student for clients: their pixels in, classes by name out."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from kd_keras import pixels
from kd_keras.export import checking
from kd_keras.export import publishing

CLASS_NAMES_FILE = "class_names.txt"
# How many random images are compared where none are given.
_NUM_EXAMPLES = 64


def export_for_serving(
    student,
    path,
    *,
    class_names=None,
    any_size=False,
    examples=None,
    overwrite=False,
):
    """Writes an image classifier as a SavedModel with its preprocessing.

    It has two signatures. `serving_default` takes `image`, uint8 pixels as a
    client has them, shape `[batch, height, width, channels]`, scales them as
    `kd_keras.datasets.to_float` does, and gives them to the student.
    `serve_float` takes `image` as the student itself does, float32 in [0, 1].
    Both return, for each image, `logits` and `probabilities` (softmax at T = 1,
    whatever temperature trained it), both of shape `[batch, num_classes]`,
    `class_id`, int64, and `class_name`, a string. The names are in the
    directory as the asset `class_names.txt`, one a line.

    The SavedModel is written beside `path`, loaded again, and compared with
    the student in memory; only then does one rename publish it.

    Args:
        student: A built `keras.Model` with one input of images and one output
            of logits.
        path: Local directory to be made, a `str` or `os.PathLike`.
        class_names: Sequence of str, the names of the classes in order.
            Defaults to None: their numbers.
        any_size: Whether `serving_default` takes images of any size, and
            resizes them as `kd_keras.datasets.load(image_size=...)` does.
            Defaults to `False`: of the student's size only.
        examples: uint8 array of real images to compare on, shape
            `[num_examples, height, width, channels]`. Defaults to None: random
            pixels.
        overwrite: Whether to replace what is at `path`. Defaults to `False`.

    Returns:
        `checking.Comparison`: on how many images it was compared, and how far
        apart the logits of `serving_default` were.

    Raises:
        TypeError: If `student` is not a `keras.Model`, or the examples are not
            uint8.
        ValueError: If the student does not take one image and give one vector
            of logits, if there are not as many names as classes, or a name is
            not one line, or `path` is not local.
        FileExistsError: If there is something at `path`, other than an empty
            directory, and `overwrite` is `False`.
        RuntimeError: If the SavedModel does not answer as the student does.

    Example:

    >>> student = kd_keras.models.mlp((8, 8, 1), 3, (4,))
    >>> kd_keras.export.export_for_serving(
    ...     student, "served", class_names=["cat", "dog", "owl"]
    ... ).changed_decisions
    0
    >>> serve = tf.saved_model.load("served").signatures["serving_default"]
    >>> answer = serve(image=tf.zeros([1, 8, 8, 1], tf.uint8))
    >>> sorted(answer)
    ['class_id', 'class_name', 'logits', 'probabilities']
    """
    with publishing.aside(path, overwrite=overwrite) as written:
        shape, num_classes = image_classifier(student)
        names = checked_class_names(class_names, num_classes)
        examples = checked_examples(examples, shape)
        _write(student, shape, names, any_size, written)
        return _compared(student, names, examples, written)


def image_classifier(student):
    """The shape of its images, and its number of classes.

    Raises:
        TypeError: If it is not a `keras.Model`.
        ValueError: If it is not built, or is no classifier of images.
    """
    checking.check_student(student)
    inputs = keras.tree.flatten(getattr(student, "inputs", None) or [])
    outputs = keras.tree.flatten(getattr(student, "outputs", None) or [])
    shapes = [tuple(tensor.shape) for tensor in (*inputs, *outputs)]
    if len(inputs) != 1 or len(outputs) != 1 or len(shapes[0]) != 4:
        raise ValueError(
            "For serving, a student takes one batch of images, [batch, height, "
            "width, channels], and gives one of logits, [batch, num_classes], "
            f"both known from the model. Received: student={student!r} with "
            f"the shapes {shapes}. Other students: kd_keras.export."
            "export_student."
        )
    if len(shapes[1]) != 2 or None in shapes[0][1:] or shapes[1][1] is None:
        raise ValueError(
            "For serving, the sizes of images and the number of classes must "
            f"be fixed. Received: {shapes[0]} to {shapes[1]}."
        )
    return shapes[0][1:], shapes[1][1]


def checked_class_names(class_names, num_classes):
    """The names as a list; by default numbers."""
    if class_names is None:
        return [str(number) for number in range(num_classes)]
    names = list(class_names)
    if len(names) != num_classes:
        raise ValueError(
            f"The student has {num_classes} classes. Received: {len(names)} "
            "names."
        )
    for name in names:
        if not isinstance(name, str) or len(name.splitlines()) != 1:
            raise ValueError(
                "The name of a class must be a string of one line. Received: "
                f"{name!r}."
            )
    return names


def checked_examples(examples, shape):
    """Images to compare on, uint8."""
    if examples is None:
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (_NUM_EXAMPLES, *shape), np.uint8)
    examples = np.asarray(examples)
    if examples.dtype != np.uint8:
        raise TypeError(
            'Argument "examples" must be uint8 images, unscaled. Received: '
            f"{examples.dtype}."
        )
    if examples.shape[1:] != shape or not len(examples):
        raise ValueError(
            f"The student takes images of shape {shape}. Received: examples of "
            f"shape {examples.shape}."
        )
    return examples


def _write(student, shape, names, any_size, path):
    height, width, channels = shape
    with tempfile.TemporaryDirectory() as folder:
        # Copied into the SavedModel, under its name.
        file = pathlib.Path(folder) / CLASS_NAMES_FILE
        file.write_text("".join(f"{name}\n" for name in names), "utf-8")
        lookup = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(file),
                key_dtype=tf.int64,
                key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
                value_dtype=tf.string,
                value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value="",
        )

        def serve_float(image):
            logits = tf.cast(student(image, training=False), tf.float32)
            class_id = tf.argmax(logits, axis=-1)
            return {
                "logits": logits,
                "probabilities": tf.nn.softmax(logits),
                "class_id": class_id,
                "class_name": lookup.lookup(class_id),
            }

        def serve(image):
            if any_size:
                image = pixels.resize(image, (height, width))
            return serve_float(pixels.to_float(image))

        sizes = [None, None] if any_size else [height, width]
        archive = keras.export.ExportArchive()
        archive.track(lookup)
        archive.add_endpoint(
            "serving_default",
            serve,
            input_signature=[
                tf.TensorSpec([None, *sizes, channels], tf.uint8, name="image")
            ],
        )
        archive.add_endpoint(
            "serve_float",
            serve_float,
            input_signature=[
                tf.TensorSpec([None, *shape], tf.float32, name="image")
            ],
        )
        archive.write_out(path, verbose=False)


def _compared(student, names, examples, path):
    """Raises unless both signatures answer as the student in memory."""
    loaded = tf.saved_model.load(path)
    accepted = checking.tolerance(student)

    def answer(name, image):
        found = loaded.signatures[name](image=image)
        check_classes(found, names)
        return found

    checking.compare_on_images(
        student,
        lambda images: answer("serve_float", pixels.to_float(images)),
        examples,
        accepted,
        "The signature 'serve_float' of the SavedModel",
    )
    return checking.compare_on_images(
        student,
        lambda images: answer("serving_default", tf.constant(images)),
        examples,
        accepted,
        "The signature 'serving_default' of the SavedModel",
    )


def check_classes(answer, names):
    """Raises unless the classes and their names follow from the logits."""
    class_ids = np.argmax(answer["logits"], axis=-1)
    found = [name.decode() for name in answer["class_name"].numpy()]
    if (
        not np.array_equal(answer["class_id"], class_ids)
        or found != [names[number] for number in class_ids]
        or not np.allclose(np.sum(answer["probabilities"], axis=-1), 1)
    ):
        raise RuntimeError(
            "The SavedModel does not name the classes of its own logits. "
            "Nothing was published."
        )
