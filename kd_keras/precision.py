"""Teachers that compute in a lower precision than they were trained in."""

import copy
import random

import keras
import tensorflow as tf

from kd_keras import keras_hooks
from kd_keras import model_checks
from kd_keras import teachers

DTYPES = tuple("bfloat16 float16 mixed_bfloat16 mixed_float16 float32".split())
_BITS = {"bfloat16": 16, "float16": 16, "float32": 32, "float64": 64}

# Their variables are few, and a variance in 16 bits would cost accuracy and
# no time would be saved.
_NORMALISATION = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)
# They see raw inputs, where a large number may differ little from the next.
_PREPROCESSING = (
    keras.layers.CategoryEncoding,
    keras.layers.CenterCrop,
    keras.layers.Discretization,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.Resizing,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)
# What Keras and TensorFlow raise where a model is not made to be copied.
_CANNOT_COPY = (
    AttributeError,
    NotImplementedError,
    TypeError,
    ValueError,
    tf.errors.InvalidArgumentError,
)


def low_precision(teacher, dtype):
    """Copies a teacher into one that computes in a lower precision.

    A teacher only predicts, and on hardware with 16-bit arithmetic it does so
    in about half the time and memory. What was given is left as it was; the
    copy has variables of its own.

    - The layers that produce the outputs, from the last ones with a kernel
      on, keep their dtype: a logit with the 8 bits of a bfloat16 mantissa is
      off by up to 1/256 of itself, which no later step can mend. So the
      copy's logits have the dtype of the teacher's.
    - `"bfloat16"` and `"float16"` also store the variables in 16 bits, but
      for those of normalisation layers; `"mixed_..."` store them as they
      were. In a subclassed model, whose parts are known only once they have
      variables, both store them as they were.
    - Layers that prepare raw inputs (`keras.layers.Normalization` and its
      like) keep their dtype.
    - Nothing is widened: quantised layers, and layers that compute in as few
      bits as asked, stay as they are. Where some layer does so already,
      whoever built the model has chosen what may be low and what may not, and
      all of its layers stay.

    float16 has more digits than bfloat16, but ends at 65504; a teacher that
    overflows in it needs bfloat16.

    Args:
        teacher: A built `keras.Model` that Keras can copy (functional,
            sequential, or a subclass with `get_config`), a list of these,
            `kd_keras.EnsembleTeacher` or `kd_keras.ProbabilityTeacher`, whose
            members are converted.
        dtype: `"bfloat16"`, `"float16"`, `"mixed_bfloat16"`,
            `"mixed_float16"` or `"float32"` (of use for a float64 teacher).

    Returns:
        A teacher of the same kind; an arithmetic ensemble for a list.

    Raises:
        TypeError: If the teacher is no Keras model, so that its precision is
            fixed, or is no teacher.
        ValueError: If the dtype is none of these, or Keras cannot copy the
            model.

    Example:

    >>> teacher = keras.Sequential([
    ...     keras.Input((2,)), keras.layers.Dense(8), keras.layers.Dense(3)])
    >>> low = kd_keras.precision.low_precision(teacher, "bfloat16")
    >>> [layer.compute_dtype for layer in low.layers[1:]]
    ['bfloat16', 'float32']
    """
    policy = checked_policy(dtype)
    # New layers draw seeds, though nothing is left of what they initialise;
    # a run must not depend on it.
    state = random.getstate()
    try:
        return _convert(teachers.as_teacher(teacher), policy, {})
    finally:
        random.setstate(state)


def checked_policy(dtype):
    """The dtype policy of a name; raises if it is not one of `DTYPES`."""
    name = getattr(dtype, "name", dtype)
    if name not in DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(DTYPES)}. Received: {dtype!r}"
        )
    return keras.DTypePolicy(name)


def _convert(teacher, policy, copies):
    """Converts a teacher; `copies` keeps one model one model."""
    if isinstance(teacher, teachers.EnsembleTeacher):
        ensemble = copy.copy(teacher)
        ensemble.members = [
            _convert(member, policy, copies) for member in teacher.members
        ]
        return ensemble
    if isinstance(teacher, teachers.ProbabilityTeacher):
        wrapper = copy.copy(teacher)
        wrapper.model = _convert(teacher.model, policy, copies)
        return wrapper
    if not isinstance(teacher, keras.Model):
        raise TypeError(
            "Only a keras.Model, a list of these, kd_keras.EnsembleTeacher or "
            "kd_keras.ProbabilityTeacher can be converted to "
            f"{policy.name}: a SavedModel has the precision with which it was "
            "written, and a function that of its code. Convert the model "
            "inside, low = kd_keras.precision.low_precision(model, "
            f'"{policy.name}"), and teach with teacher=lambda x: '
            "low(prepare(x)); or leave the dtype out. "
            f"Received: {teacher!r} of type {type(teacher).__name__}"
        )
    if id(teacher) not in copies:
        copies[id(teacher)] = _convert_model(teacher, policy)
    return copies[id(teacher)]


def _convert_model(model, policy):
    try:
        return _Copier(model, policy).copy(model, is_last=True)
    except _CANNOT_COPY as error:
        raise ValueError(
            f"The teacher {model.name!r} cannot be copied into "
            f"{policy.name}. Custom classes need `get_config`, and their code "
            "must take what their layers give (keras.ops adapts dtypes, "
            "operators on tensors do not). Or build the teacher in that "
            "precision, layers with dtype=..., and load its weights. "
            f"Received: {error}"
        ) from error


class _Copier:
    """Copies a model and all in it once, so that what is shared stays so."""

    def __init__(self, model, policy):
        self._policy = policy
        self._copies = {}
        self._last = set()
        computing = [
            layer
            for layer in keras_hooks.layers_of(model)
            if layer.weights and not isinstance(layer, keras.Model)
        ]
        self._is_chosen = any(
            0 < _bits(layer) <= _BITS[policy.compute_dtype]
            for layer in computing
        )

    def copy(self, model, is_last=False):
        """Copies a model; `is_last` if its outputs are the teacher's."""
        if id(model) not in self._copies:
            if _is_graph(model):
                if is_last:
                    self._last |= _last_operations(model)
                copied = self._copy_graph(model)
            else:
                copied = self._copy_code(model, is_last)
            copied.dtype_policy = model.dtype_policy
            self._copies[id(model)] = copied
        return self._copies[id(model)]

    def _copy_graph(self, model):
        # A bare model of the same graph: Keras would copy the optimizer too.
        bare = keras.Model(
            _inputs(model), model_checks.outputs(model), name=model.name
        )
        pairs = []

        def copy_operation(operation):
            copied = self._copies.get(id(operation))
            if copied is None and isinstance(operation, keras.Model):
                copied = self.copy(operation, id(operation) in self._last)
            elif copied is None:
                copied = _without_weights(operation)
                self._copies[id(operation)] = copied
                if isinstance(operation, keras.Layer):
                    pairs.append((operation, copied))
                    if id(operation) not in self._last:
                        self._lower(copied)
            return copied

        copied = keras.models.clone_model(bare, clone_function=copy_operation)
        for one, other in pairs:
            _copy_variables(one, other)
            if id(one) not in self._last:
                # What came into being only when it was built.
                self._lower(other)
        return copied

    def _copy_code(self, model, is_last):
        """Copies a model of which Keras knows the parts, not their order."""
        copied = type(model).from_config(model.get_config())
        shapes = _build_config(model)
        if not all(layer.built for layer in keras_hooks.layers_of(copied)):
            copied.build_from_config(shapes)
        _copy_variables(model, copied)
        units = _units(copied)
        if is_last:
            last = _last_units(copied, units, shapes)
            units = [unit for unit in units if id(unit) not in last]
        for unit in units:
            self._lower(unit)
        if is_last:
            # Layers whose dtypes do not go together show now, by name.
            _run(copied, shapes)
        return copied

    def _lower(self, layer):
        """Lowers a layer and those in it."""
        if self._is_chosen or isinstance(layer, _PREPROCESSING):
            return
        policy = self._policy
        for part in keras_hooks.layers_of(layer):
            if part.dtype_policy.quantization_mode is not None:
                continue
            if _bits(part) > _BITS[policy.compute_dtype]:
                # Variables that are there already stay in their dtype.
                is_mixed = part.built or isinstance(part, _NORMALISATION)
                part.dtype_policy = _mixed(policy) if is_mixed else policy


def _bits(layer):
    """Bits in which a layer computes; none for one without real numbers."""
    return _BITS.get(layer.compute_dtype, 0)


def _mixed(policy):
    if policy.compute_dtype == "float32":
        return policy
    return keras.DTypePolicy(f"mixed_{policy.compute_dtype}")


def _without_weights(operation):
    """A new layer or operation of the same configuration."""
    if isinstance(operation, keras.layers.Lambda):
        # Keras does not read a function from a file that may not be trusted;
        # this one is at hand.
        return keras.layers.Lambda(
            operation.function,
            mask=operation.mask,
            arguments=operation.arguments,
            **keras.Layer.get_config(operation),
        )
    return type(operation).from_config(operation.get_config())


def _is_graph(model):
    """Whether a model is no more than its graph of layers."""
    is_known = model_checks.outputs(model) is not None
    return is_known and type(model).call.__module__.startswith("keras.")


def _inputs(model):
    if isinstance(model, keras.Sequential):
        return model.inputs[0]
    return model.input


def _has_kernel(operation):
    """Whether it mixes features, rather than treating each by itself."""
    return not isinstance(operation, _NORMALISATION) and any(
        len(weight.shape) > 1 for weight in getattr(operation, "weights", ())
    )


def _last_operations(model):
    """What produces the outputs of a graph, from the last kernels on.

    Returns:
        A set of the `id` of layers, operations and nested models.
    """
    found, seen = set(), set()
    waiting = keras.tree.flatten(model_checks.outputs(model))
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        operation, index, inputs = keras_hooks.producer(tensor)
        found.add(id(operation))
        if isinstance(operation, keras.Model) and _is_graph(operation):
            inner = keras.tree.flatten(model_checks.outputs(operation))
            waiting.append(inner[index])
        if not _has_kernel(operation):
            waiting.extend(inputs)
    return found


def _units(model):
    """The layers of a model and of models in it, not those inside layers."""
    found = []
    for layer in model.layers:
        found.extend(
            _units(layer) if isinstance(layer, keras.Model) else [layer]
        )
    return list({id(layer): layer for layer in found}.values())


def _last_units(model, units, shapes):
    """The same, of its `units`, for a model that is code: runs it."""
    made = {}

    def recorded(unit, call):
        def call_and_record(*args, **kwargs):
            outputs = call(*args, **kwargs)
            for tensor in keras.tree.flatten(outputs):
                # Kept alive with its number, which is else given again.
                made.setdefault(id(tensor), (tensor, unit))
            return outputs

        return call_and_record

    for unit in units:
        unit.call = recorded(unit, unit.call)
    try:
        waiting = _run(model, shapes)
    finally:
        for unit in units:
            del unit.call
    found, seen = set(), set()
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        _, unit = made.get(id(tensor), (None, None))
        if unit is not None:
            found.add(id(unit))
        if unit is None or not _has_kernel(unit):
            waiting.extend(tensor.op.inputs)
    return found


def _build_config(model):
    """What `build_from_config` takes, also of a wrapper around a graph."""
    if len(model.layers) == 1 and _is_graph(model.layers[0]):
        inputs = _inputs(model.layers[0])
        shapes = keras.tree.map_structure(lambda t: tuple(t.shape), inputs)
        return {"input_shape": shapes}
    return model.get_build_config()


def _run(model, shapes):
    """Runs a model on symbolic inputs; returns its outputs, a flat list."""
    if not shapes or "input_shape" not in shapes:
        raise ValueError(
            "It is not known on inputs of which shape it was built: call it "
            "on a batch of data, with the inputs in its first argument."
        )
    specs = keras.tree.map_shape_structure(tf.TensorSpec, shapes["input_shape"])
    found = []

    def run(inputs):
        found.extend(keras.tree.flatten(model(inputs, training=False)))

    tf.function(run, autograph=False).get_concrete_function(specs)
    return found


def _copy_variables(layer, copied):
    for one, other in zip(
        keras_hooks.layers_of(layer),
        keras_hooks.layers_of(copied),
        strict=True,
    ):
        # Through the two that Keras saves with: some layers keep more than
        # their variables, and derive it when these are loaded.
        store = {}
        one.save_own_variables(store)
        other.load_own_variables(store)
