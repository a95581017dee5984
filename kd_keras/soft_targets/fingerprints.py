"""Fingerprints of teachers: the same one for the same logits.

They cover what a teacher computes with: weights, configuration and compute
dtype. Names do not count, nor do the seeds of initialisers, so that a teacher
that is built anew and given its weights is the same one.
"""

import hashlib
import json

import keras
import numpy as np

from kd_keras import keras_hooks
from kd_keras import saved_teachers
from kd_keras import teachers

# What a configuration holds that no prediction depends on.
_IRRELEVANT = (
    "name",
    "seed",
    "trainable",
    "compile_config",
    "build_config",
    "shared_object_id",
)
_IRRELEVANT_ENDINGS = ("_initializer", "_regularizer", "_constraint")


def fingerprint(teacher, given=None):
    """The fingerprint of a teacher.

    Args:
        teacher: Any teacher.
        given: What a teacher is to be known by that is an arbitrary callable:
            any string, which its owner changes when the callable changes.

    Returns:
        str, hexadecimal for what can be seen, or what was given.

    Raises:
        ValueError: If nothing was given for a callable that cannot be looked
            into, or something for a teacher that can.

    Example:

    >>> teacher = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> copy = keras.models.clone_model(teacher)
    >>> copy.set_weights(teacher.get_weights())
    >>> fingerprint(copy) == fingerprint(teacher)
    True
    """
    content = _content(teacher)
    if content is None:
        if not isinstance(given, str) or not given.strip():
            raise ValueError(
                "This teacher cannot be looked into, so it needs a name by "
                "which it is known again: give teacher_fingerprint, any text "
                "that changes when the teacher does. "
                f"Received: teacher={teacher!r}, teacher_fingerprint={given!r}"
            )
        return f"given: {given.strip()}"
    if given is not None:
        raise ValueError(
            "The fingerprint of this teacher is computed from it. "
            f"Received: teacher_fingerprint={given!r}; leave it out."
        )
    return _hash(json.dumps(content, sort_keys=True).encode())


def _content(teacher):
    """What a fingerprint is made of, as JSON; None if it cannot be seen."""
    if isinstance(teacher, teachers.EnsembleTeacher):
        members = [_content(member) for member in teacher.members]
        if None in members:
            return None
        return ["ensemble", teacher.mean, teacher.weights, members]
    if isinstance(teacher, teachers.ProbabilityTeacher):
        inner = _content(teacher.model)
        return None if inner is None else ["probabilities", inner]
    if isinstance(teacher, saved_teachers.SavedModelTeacher):
        return ["saved_model", teacher.signature, _files(teacher.path)]
    if isinstance(teacher, keras.Model):
        return ["model", _configuration(teacher), _weights(teacher)]
    return None


def _configuration(model):
    """Configuration and compute dtypes, without names."""
    dtypes = [layer.compute_dtype for layer in keras_hooks.layers_of(model)]
    try:
        config = json.loads(model.to_json())
    except (NotImplementedError, TypeError, ValueError):
        # A subclass that cannot be serialised: its class has to do.
        config = f"{type(model).__module__}.{type(model).__qualname__}"
    numbers = {
        layer.name: number
        for number, layer in enumerate(keras_hooks.layers_of(model))
    }
    return [_without_names(config, numbers), dtypes]


def _without_names(value, numbers):
    """A configuration that refers to layers by number."""
    if isinstance(value, dict):
        return {
            key: _without_names(inner, numbers)
            for key, inner in value.items()
            if key not in _IRRELEVANT and not key.endswith(_IRRELEVANT_ENDINGS)
        }
    if not isinstance(value, list):
        return value
    # A reference: layer, number of the call, number of the output.
    if len(value) == 3 and isinstance(value[0], str) and value[0] in numbers:
        return [numbers[value[0]], *value[1:]]
    return [_without_names(inner, numbers) for inner in value]


def _weights(model):
    """Shape, dtype and digest of every variable, in their order."""
    found = []
    for variable in model.variables:
        if "seed_generator" in variable.path:
            continue
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        found.append(
            [list(array.shape), str(array.dtype), _hash(array.tobytes())]
        )
    return found


def _files(folder):
    """Digest of every file of a SavedModel, by its place."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


def _hash(content):
    return hashlib.sha256(content).hexdigest()
