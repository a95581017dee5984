"""The student as a SavedModel that has been checked after it was written.

A SavedModel runs without Keras and without this package: in TensorFlow
Serving, in C++, or in a process that has TensorFlow only.
"""

import re

import keras
import numpy as np
import tensorflow as tf

from kd_keras import keras_hooks
from kd_keras.export import checking
from kd_keras.export import publishing

# Size of dimensions that a signature leaves open, in the inputs of the check.
_OPEN_SIZE = 32
# Batches of the check: of several sizes, because a batch dimension that a
# model has fixed without saying so shows only then.
_BATCH_SIZES = (3, 1)


def export_student(student, path, *, input_signature=None, overwrite=False):
    """Writes a student as a TensorFlow SavedModel, and checks what it wrote.

    The signature `serving_default` takes the student's own input under the
    name `inputs` and returns its output, in inference mode, as `logits`. A
    student with several inputs takes them under their own names: the keys of
    a dict, otherwise the names of the `keras.Input`s, with `_` for what no
    signature can spell. One with several outputs returns them under the keys
    of its dict, the `output_names` of a functional model, or `logits_0`,
    `logits_1`, ... The batch dimension is open, the dtypes are the student's
    own. Only the variables that inference needs are written.

    The SavedModel is written beside `path`, loaded again, and compared with
    the student in memory on random inputs; only then does one rename publish
    it. Whatever fails, `path` is as it was.

    Args:
        student: A built `keras.Model`.
        path: Local directory to be made, a `str` or `os.PathLike`.
        input_signature: `tf.TensorSpec`, or a (possibly nested) list, tuple
            or dict of them: the structure that the student is called with, a
            list of one standing for the one. Read from a functional or
            sequential student by default; any other needs it.
        overwrite: Whether to replace what is at `path`. Defaults to `False`.

    Raises:
        TypeError: If `student` is not a `keras.Model`, or the signature holds
            anything but `tf.TensorSpec`.
        ValueError: If the student is not built, or has no signature that can
            be read from it and none is given, or the names of its inputs or
            outputs are not unique, or `path` is not local.
        FileExistsError: If there is something at `path`, other than an empty
            directory, and `overwrite` is `False`.
        RuntimeError: If the SavedModel does not give the student's logits.

    Example:

    >>> student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> kd_keras.export.export_student(student, "student_savedmodel")
    >>> served = tf.saved_model.load("student_savedmodel")
    >>> serve = served.signatures["serving_default"]
    >>> serve(inputs=tf.ones([2, 4]))["logits"].shape
    TensorShape([2, 3])
    """
    with publishing.aside(path, overwrite=overwrite) as written:
        checking.check_student(student)
        structure = _input_structure(student, input_signature)
        specs = _named_specs(structure)

        def serve(*tensors):
            inputs = keras.tree.pack_sequence_as(structure, list(tensors))
            return _named_outputs(student, student(inputs, training=False))

        _write(student, serve, specs, written)
        _check_written(student, serve, specs, written)


def _input_structure(student, input_signature):
    """The structure of `tf.TensorSpec` that the student is called with."""
    if input_signature is None:
        if not getattr(student, "inputs", None):
            raise ValueError(
                f"The inputs of a {type(student).__name__} cannot be read "
                "from it, as those of a functional or sequential model can. "
                "Pass `input_signature`, for example "
                "input_signature=tf.TensorSpec([None, 28, 28, 1], "
                "tf.float32), or a list or dict of them as the student is "
                "called with."
            )
        # `Sequential.input` is that of a call inside another model.
        is_sequential = isinstance(student, keras.Sequential)
        structure = student.inputs[0] if is_sequential else student.input
        return keras.tree.map_structure(
            lambda tensor: tf.TensorSpec(
                [None, *tensor.shape[1:]], tensor.dtype, name=tensor.name
            ),
            structure,
        )
    for spec in keras.tree.flatten(input_signature):
        if not isinstance(spec, tf.TensorSpec):
            raise TypeError(
                "`input_signature` must be a `tf.TensorSpec`, or a list, "
                f"tuple or dict of them. Received: {spec!r}"
            )
    if isinstance(input_signature, (list, tuple)) and len(input_signature) == 1:
        return input_signature[0]
    return input_signature


def _named_specs(structure):
    """The flat specs of a signature under the names of its arguments."""
    leaves = keras.tree.flatten_with_path(structure)
    names = ["inputs"]
    if len(leaves) > 1:
        names = [
            (path[-1] if isinstance(path[-1], str) else spec.name)
            or f"inputs_{i}"
            for i, (path, spec) in enumerate(leaves)
        ]
        # TensorFlow takes letters, digits and `_` here, a letter first.
        names = [re.sub("[^A-Za-z0-9_]", "_", name) for name in names]
        names = [re.sub("^(?![A-Za-z])", "inputs_", name) for name in names]
    _check_unique(names, "inputs", "Name each `keras.Input` or TensorSpec.")
    return [
        tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for (_, spec), name in zip(leaves, names, strict=True)
    ]


def _named_outputs(student, outputs):
    """The flat outputs of a student under the names of a signature."""
    leaves = keras.tree.flatten_with_path(outputs)
    names = ["logits"]
    if len(leaves) > 1:
        names = [
            "_".join(str(part) for part in path)
            if isinstance(outputs, dict)
            else f"logits_{i}"
            for i, (path, _) in enumerate(leaves)
        ]
        own_names = list(getattr(student, "output_names", None) or ())
        if not isinstance(outputs, dict) and len(own_names) == len(leaves):
            names = own_names
    _check_unique(names, "outputs", "Return a dict from the student.")
    return {name: leaf for (_, leaf), name in zip(leaves, names, strict=True)}


def _check_unique(names, what, mend):
    if len(set(names)) < len(names):
        raise ValueError(
            f"The {what} of a signature need different names. {mend} "
            f"Received: {names}"
        )


def _write(student, serve, specs, path):
    archive = keras.export.ExportArchive()
    # The archive finds the variables that the endpoint uses. Tracking the
    # whole student would write every one of them twice; but tables it finds
    # only in what is tracked.
    for layer in keras_hooks.layers_of(student):
        if isinstance(
            layer,
            (
                keras.layers.IntegerLookup,
                keras.layers.StringLookup,
                keras.layers.TextVectorization,
            ),
        ):
            archive.track(layer)
    archive.add_endpoint("serving_default", serve, input_signature=specs)
    archive.write_out(path, verbose=False)


def _check_written(student, serve, specs, path):
    """Raises unless the SavedModel gives what the student in memory gives."""
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]
    # As a graph, which is what was written: run eagerly, unfused operations
    # round differently in a deep student.
    in_memory = tf.function(serve, autograph=False)
    accepted = checking.tolerance(student)
    rng = np.random.default_rng(0)
    for batch_size in _BATCH_SIZES:
        inputs = [_random_input(rng, spec, batch_size) for spec in specs]
        expected = in_memory(*inputs)
        found = signature(
            **{spec.name: x for spec, x in zip(specs, inputs, strict=True)}
        )
        if sorted(found) != sorted(expected):
            raise RuntimeError(
                f"The SavedModel written for {student.name!r} returns "
                f"{sorted(found)}, the student {sorted(expected)}. Nothing "
                "was published."
            )
        for name, logits in expected.items():
            checking.check_logits(
                student,
                found[name],
                logits,
                accepted,
                f"The output {name!r} of the SavedModel",
            )


def _random_input(rng, spec, batch_size):
    sizes = [_OPEN_SIZE if size is None else size for size in spec.shape]
    if sizes and spec.shape[0] is None:
        sizes[0] = batch_size
    if spec.dtype == tf.string:
        return tf.constant(rng.choice(["a", "b c"], sizes).tolist(), tf.string)
    if spec.dtype.is_floating:
        return tf.constant(rng.random(sizes), spec.dtype)
    # 0 and 1 are valid everywhere: class or token numbers, bytes, booleans.
    return tf.cast(tf.constant(rng.integers(0, 2, sizes)), spec.dtype)
