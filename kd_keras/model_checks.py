"""What can be told of a Keras model without calling it."""

import keras

from kd_keras import keras_hooks

# What turns logits into something else: after it they cannot be softened.
NORMALISING = ("softmax", "log_softmax", "sigmoid", "log_sigmoid")

# Layers and operations behind which the values are those in front of them.
_TRANSPARENT = frozenset(
    "ActivityRegularization Cast Dropout Flatten GaussianDropout "
    "GaussianNoise Identity InputLayer Permute Reshape SpatialDropout1D "
    "SpatialDropout2D SpatialDropout3D Squeeze Transpose".split()
)
_NAMES = {
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "log_sigmoid",
}
# Layers that give logits, or features, unless they have an activation.
_LINEAR = frozenset(
    "Conv1D Conv2D Conv3D Dense EinsumDense BatchNormalization "
    "GlobalAveragePooling1D GlobalAveragePooling2D "
    "GlobalAveragePooling3D".split()
)


def outputs(model):
    """The symbolic outputs of a model, in their structure.

    Args:
        model: Any object.

    Returns:
        A structure of `keras.KerasTensor`, or None for anything but a built
        functional or sequential model.
    """
    try:
        if isinstance(model, keras.Sequential):
            tensors = model.outputs
            return tensors[0] if len(tensors) == 1 else tensors
        if isinstance(model, keras.Model):
            return model.output
    except AttributeError:
        # So Keras says that there are none yet, or that it cannot know.
        pass
    return None


def inputs(model):
    """The symbolic inputs of a model, as a flat list; None as above."""
    try:
        return model.inputs if isinstance(model, keras.Model) else None
    except AttributeError:
        return None


def final_activations(model):
    """Names of the functions in which a model's outputs end.

    Looks through layers that leave values as they are (dropout, reshaping)
    and into nested models, along the graph of a functional model.

    Args:
        model: Any object.

    Returns:
        A list with one name for each output, in the order of
        `keras.tree.flatten`: `"softmax"`, `"linear"`, `"relu"` ...; None where
        it cannot be told, as for a subclassed model.
    """
    tensors = outputs(model)
    if tensors is not None:
        return [_final_activation(t) for t in keras.tree.flatten(tensors)]
    if isinstance(model, keras.Sequential) and model.layers:
        return [_of_layers(model.layers)]
    return [None]


def check_gives_logits(model, who, distilled=None):
    """Raises if a model is seen to end in a softmax or its like.

    Args:
        model: Any object.
        who: What it is, for the message: `"teacher"`, `"student"`.
        distilled: Optional list that says of each output whether it has a
            soft term; the others may end as they like.

    Raises:
        ValueError: Naming the function and the mend.
    """
    names = final_activations(model)
    if distilled is None or len(distilled) != len(names):
        distilled = [True] * len(names)
    for name, matters in zip(names, distilled, strict=True):
        if matters and name in NORMALISING:
            mend = (
                "Drop it"
                if who != "teacher"
                else (
                    "Drop it, or pass kd_keras.ProbabilityTeacher(teacher)"
                    if name == "softmax"
                    else "Drop it, or pass a callable that gives logits"
                )
            )
            raise ValueError(
                f"The {who} ends in {name}, and distillation needs logits, "
                f"which can be softened. {mend}; use losses with "
                "from_logits=True."
            )


def check_classes(shape):
    """Raises unless a shape is that of logits of at least two classes.

    Args:
        shape: Shape of an output of the student.

    Raises:
        ValueError: Naming the shape and the mend.
    """
    shape = None if getattr(shape, "rank", 0) is None else tuple(shape)
    if shape is None or len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            "The student must give logits of shape [batch, ..., num_classes] "
            f"with a known number of classes. Received: {shape}"
        )
    if shape[-1] < 2:
        raise ValueError(
            "The student has a single output unit, and a softmax needs two "
            "classes. For a logit z of a binary problem use the two logits "
            f"[0, z]. Received logits of shape {shape}."
        )


def check_fits(student, teacher):
    """Raises if a teacher is seen to have other inputs or classes.

    Args:
        student: A `keras.Model`.
        teacher: A `keras.Model` that is given the student's inputs.

    Raises:
        ValueError: Naming both shapes and the mend.
    """
    student_inputs, teacher_inputs = inputs(student), inputs(teacher)
    if student_inputs and teacher_inputs:
        if len(student_inputs) == len(teacher_inputs) == 1:
            wanted = tuple(teacher_inputs[0].shape)
            given = tuple(student_inputs[0].shape)
            if not _fits(given, wanted):
                raise ValueError(
                    f"The teacher takes inputs of shape {wanted}, the student "
                    f"of shape {given}. Any callable may preprocess: "
                    "teacher=lambda x: model(prepare(x))."
                )
    clash = _output_clash(student, teacher)
    if clash:
        raise ValueError(
            f"The teacher gives logits of shape {clash[1]}, the student of "
            f"shape {clash[0]}: they must have the same classes. Any callable "
            "may preprocess, and adapt what comes out: "
            "teacher=lambda x: adapt(model(prepare(x)))."
        )


def check_same_outputs(member, other):
    """Raises if two members of an ensemble are seen to differ in classes.

    Args:
        member: A `keras.Model`.
        other: A `keras.Model`.

    Raises:
        ValueError: Naming both shapes.
    """
    clash = _output_clash(member, other)
    if clash:
        raise ValueError(
            "The members of an ensemble must give logits of the same shape. "
            f"Received members with outputs of shape {clash[0]} and "
            f"{clash[1]}."
        )


def _output_clash(model, other):
    """Two shapes of single outputs if they are known and differ."""
    tensors = outputs(model), outputs(other)
    # What belongs to what in a structure shows only when it is called.
    if any(t is None or keras.tree.is_nested(t) for t in tensors):
        return None
    one, two = (tuple(t.shape) for t in tensors)
    return None if len(one) == len(two) and _same(one, two) else (one, two)


def _same(one, other):
    return all(
        a is None or b is None or a == b
        for a, b in zip(one, other, strict=True)
    )


def _fits(given, wanted):
    """Whether Keras takes such an input: it adds or drops a last 1."""
    if len(given) == len(wanted) + 1 and given[-1] == 1:
        given = given[:-1]
    elif len(given) + 1 == len(wanted) and wanted[-1] == 1:
        wanted = wanted[:-1]
    return len(given) == len(wanted) and _same(given, wanted)


def _final_activation(keras_tensor):
    """Follows one symbolic output back to what computed its values."""
    operation, index, inputs = keras_hooks.producer(keras_tensor)
    if isinstance(operation, keras.Model):
        names = final_activations(operation)
        return names[index] if index < len(names) else None
    name = _of_operation(operation)
    if name == "transparent":
        return _final_activation(inputs[0]) if inputs else None
    return name


def _of_layers(layers):
    """The same for the layers of a sequential model that has no graph yet."""
    for layer in reversed(layers):
        if isinstance(layer, keras.Model):
            return final_activations(layer)[0]
        name = _of_operation(layer)
        if name != "transparent":
            return name
    return None


def _of_operation(operation):
    kind = type(operation).__name__
    if not type(operation).__module__.startswith("keras."):
        return None
    if isinstance(operation, keras.layers.Wrapper):
        return _of_operation(operation.layer)
    if kind in _NAMES:
        return _NAMES[kind]
    if kind in _TRANSPARENT:
        return "transparent"
    activation = getattr(operation, "activation", None)
    if activation is None:
        return "linear" if kind in _LINEAR else None
    name = getattr(activation, "__name__", type(activation).__name__)
    # `tf.nn.softmax` calls itself `softmax_v2`.
    name = _NAMES.get(name, name.removesuffix("_v2"))
    if kind == "Activation" and name == "linear":
        return "transparent"
    return name


def policy(student):
    """The dtype policy under which `compile` scales the loss as needed.

    Args:
        student: A `keras.Model`.

    Returns:
        `keras.DTypePolicy`: "mixed_float16" if a layer of the student computes
        in float16, whatever the global policy is; else "float32".
    """
    if any(
        layer.compute_dtype == "float16"
        for layer in keras_hooks.layers_of(student)
        if not _computes_nothing(layer)
    ):
        return keras.DTypePolicy("mixed_float16")
    return keras.DTypePolicy("float32")


def _computes_nothing(layer):
    """Whether a layer has the global dtype policy and no use for it."""
    is_graph = isinstance(layer, keras.Model) and type(
        layer
    ).call.__module__.startswith("keras.")
    return is_graph or isinstance(layer, keras.layers.InputLayer)
