"""Teachers: anything that gives logits for a batch of inputs.

A teacher is a `keras.Model`, any other callable, an `EnsembleTeacher`, a
`ProbabilityTeacher`, or what `load_teacher` makes of a file. It runs in
inference mode and is never changed.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from kd_keras import model_checks
from kd_keras import ops

# The logarithm of a probability that underflowed is that of about the
# smallest normal float32 instead of minus infinity.
_SMALLEST = 1.2e-38


@dataclasses.dataclass(frozen=True)
class LogitsAt:
    """What a teacher has to say of one output, once it has run.

    Attributes:
        shape: Shape of the logits, `[batch, ..., num_classes]`.
        compute: Function of a temperature that gives the logits for use at
            that temperature, as constants. It does not run the teacher again.
    """

    shape: tf.TensorShape
    compute: Callable[[float], tf.Tensor]

    def __call__(self, temperature):
        """Returns the logits for use at a temperature."""
        return self.compute(temperature)


class EnsembleTeacher:
    """Several teachers whose distributions are averaged.

    The arithmetic mean is one of *distributions at the temperature in use*,
    so what its logits are depends on that temperature:

        T * log(sum_m weights[m] * softmax(logits[m] / T))

    The geometric mean of distributions equals the softmax of the mean of the
    logits, at every temperature. Hinton et al. (2015), section 1, name both.

    Args:
        members: Teachers, at least one: models, callables, other ensembles.
        mean: `"arithmetic"` or `"geometric"`. Defaults to `"arithmetic"`.
        weights: Positive numbers, one per member; only their ratios count.
            Defaults to equal weights.

    Call arguments:
        x: A batch of inputs, as each member takes it.
        temperature: The temperature at which an arithmetic mean is taken.
            Defaults to `1.0`.

    Raises:
        ValueError: If there is no member, their numbers of classes differ,
            the mean is unknown, or the weights are not one positive finite
            number per member.
        TypeError: If a member is not callable.

    Example:

    >>> sure = lambda x: tf.math.log([[0.9, 0.1]])
    >>> unsure = lambda x: tf.math.log([[0.5, 0.5]])
    >>> ensemble = kd_keras.EnsembleTeacher([sure, unsure])
    >>> tf.nn.softmax(ensemble(None)).numpy()
    array([[0.7, 0.3]], dtype=float32)
    """

    def __init__(self, members, mean="arithmetic", weights=None):
        if not isinstance(members, (list, tuple)):
            raise TypeError(
                "`members` must be a list of teachers. "
                f"Received: members={members!r}"
            )
        if not members:
            raise ValueError(
                "An ensemble needs at least one member. Received: members=[]"
            )
        if mean not in ("arithmetic", "geometric"):
            raise ValueError(
                '`mean` must be "arithmetic" (of the distributions) or '
                '"geometric" (of the logits). '
                f"Received: mean={mean!r}"
            )
        self.members = [as_teacher(member) for member in members]
        self.mean = mean
        self.weights = _normalised(weights, len(members))
        models = [model for m in self.members for model in models_of(m)]
        for model in models[1:]:
            model_checks.check_same_outputs(models[0], model)

    @property
    def depends_on_temperature(self):
        """Whether the logits are those of one temperature only."""
        return (self.mean == "arithmetic" and len(self.members) > 1) or any(
            depends_on_temperature(member) for member in self.members
        )

    def __call__(self, x, temperature=1.0):
        """Returns the logits of the ensemble at a temperature."""
        return keras.tree.map_structure(
            lambda logits_at: logits_at(temperature), forward(self, x)
        )

    def combine(self, member_logits, temperature):
        """Averages the members' logits of one output at a temperature.

        Args:
            member_logits: A list of float tensors of shape
                `[batch, ..., num_classes]`, one per member.
            temperature: Positive float, dimensionless.

        Returns:
            Float tensor of that shape: logits of the mean distribution.

        Raises:
            ValueError: If the shapes differ.
        """
        shapes = [logits.shape for logits in member_logits]
        if not all(shape.is_compatible_with(shapes[0]) for shape in shapes):
            raise ValueError(
                "The members of an ensemble must give logits of the same "
                f"shape. Received: {', '.join(str(s) for s in shapes)}"
            )
        if len(member_logits) == 1:
            return member_logits[0]
        stacked = tf.stack([ops.as_log_space(z) for z in member_logits])
        if self.mean == "geometric":
            return tf.tensordot(
                tf.constant(self.weights, stacked.dtype), stacked, axes=1
            )
        return ops.logits_of_average(stacked, temperature, self.weights)


class ProbabilityTeacher:
    """A teacher whose outputs are probabilities, not logits.

    Gives `log(p)` as logits: the softmax of that at T = 1 is `p` again, and
    at another temperature what the lost logits would have given, because a
    softmax ignores what is added to all logits of an example.

    Args:
        model: A model or callable that gives probabilities over the classes,
            shape `[batch, ..., num_classes]`.

    Call arguments:
        x: A batch of inputs.

    Raises:
        TypeError: If `model` is not callable.
        ValueError: If it is a Keras model that ends in something else than a
            softmax.

    Example:

    >>> teacher = kd_keras.ProbabilityTeacher(lambda x: tf.nn.softmax(x))
    >>> tf.nn.softmax(teacher(tf.constant([[1.0, 3.0]]))).numpy()
    array([[0.1192, 0.8808]], dtype=float32)
    """

    def __init__(self, model):
        self.model = as_teacher(model)
        for name in model_checks.final_activations(self.model):
            if name not in (None, "softmax"):
                raise ValueError(
                    "`ProbabilityTeacher` takes a model that ends in a "
                    f"softmax. Received a model that ends in: {name}. A model "
                    "that gives logits is a teacher as it is."
                )

    def __call__(self, x):
        """Returns the logarithm of the model's probabilities."""
        return keras.tree.map_structure(_log_probs, call(self.model, x))


def as_teacher(teacher):
    """Checks that something can teach, and makes an ensemble of a list.

    Args:
        teacher: A `keras.Model`, a callable, or a list of these.

    Returns:
        The teacher; an arithmetic `EnsembleTeacher` for a list.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is an empty list, or a model without weights yet.
    """
    if isinstance(teacher, (list, tuple)):
        return EnsembleTeacher(teacher)
    if isinstance(teacher, type) or not callable(teacher):
        raise TypeError(
            "A teacher is a keras.Model, a callable that gives logits, a list "
            "of these, a kd_keras.EnsembleTeacher, or what "
            "kd_keras.load_teacher(path) returns. "
            f"Received: {teacher!r} of type {type(teacher).__name__}"
        )
    if isinstance(teacher, keras.Model) and not teacher.built:
        _refuse_unbuilt(teacher)
    owner = getattr(teacher, "__self__", None)
    if isinstance(owner, keras.Model) and getattr(
        teacher, "__name__", ""
    ).startswith("predict"):
        raise TypeError(
            f"`{teacher.__name__}` of a model runs outside of the training "
            "step. Pass the model itself: it is run in inference mode."
        )
    return teacher


def depends_on_temperature(teacher):
    """Whether a teacher's logits are those of one temperature only."""
    return getattr(teacher, "depends_on_temperature", False)


def models_of(teacher):
    """The Keras models that a teacher consists of, as far as it can tell.

    Args:
        teacher: A teacher.

    Returns:
        A list of `keras.Model`: empty for a callable.
    """
    if isinstance(teacher, EnsembleTeacher):
        return [
            model for member in teacher.members for model in models_of(member)
        ]
    if isinstance(teacher, ProbabilityTeacher):
        return models_of(teacher.model)
    return [teacher] if isinstance(teacher, keras.Model) else []


def leaves_of(teacher):
    """The teachers that a teacher consists of, which are no ensembles.

    Args:
        teacher: A teacher.

    Returns:
        A list of teachers.
    """
    if isinstance(teacher, EnsembleTeacher):
        return [
            leaf for member in teacher.members for leaf in leaves_of(member)
        ]
    return [teacher]


def check_gives_logits(teacher):
    """Raises `ValueError` if a teacher is seen to give probabilities."""
    if isinstance(teacher, EnsembleTeacher):
        for member in teacher.members:
            check_gives_logits(member)
    else:
        model_checks.check_gives_logits(teacher, "teacher")


def is_known(teacher):
    """Whether it is seen, without a call, that a teacher gives logits."""
    if isinstance(teacher, EnsembleTeacher):
        return all(is_known(member) for member in teacher.members)
    if isinstance(teacher, ProbabilityTeacher):
        return True
    return None not in model_checks.final_activations(teacher)


def call(teacher, x, like=None):
    """Runs a teacher that is not an ensemble in inference mode.

    Args:
        teacher: A model or callable.
        x: A batch of inputs.
        like: Structure of outputs that is wanted. If it is a dict, a dict
            of outputs is not unwrapped but cut to the keys they share; if it
            is a list, a list of one is not unwrapped.

    Returns:
        The logits, in the structure in which the teacher gives them. A dict
        with one entry is unwrapped, one with `logits` gives that.

    Raises:
        ValueError: If the outputs are a dict in which the logits cannot be
            told from the rest.
    """
    is_unbuilt = isinstance(teacher, keras.Layer) and not teacher.built
    if _takes_training(teacher):
        outputs = teacher(x, training=False)
    else:
        outputs = teacher(x)
    if is_unbuilt and teacher.weights:
        _refuse_unbuilt(teacher)
    if outputs is None:
        raise ValueError(f"The teacher returned None. Received: {teacher!r}")
    if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
        if not isinstance(like, (list, tuple)):
            return outputs[0]
    if not isinstance(outputs, dict):
        return outputs
    if isinstance(like, dict) and set(outputs) & set(like):
        return {name: outputs[name] for name in like if name in outputs}
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    if "logits" in outputs:
        return outputs["logits"]
    raise ValueError(
        "The teacher gives a dict in which nothing is called 'logits'. "
        f"Received the keys {sorted(outputs)}. Name the one to use: "
        'teacher=lambda x: model(x)["..."].'
    )


def forward(teacher, x, like=None):
    """Runs a teacher once, for logits at any temperature.

    Args:
        teacher: Any teacher.
        x: A batch of inputs.
        like: Structure of outputs that is wanted, as in `call`.

    Returns:
        A structure like the teacher's outputs with a `LogitsAt` for each.
    """
    if not isinstance(teacher, EnsembleTeacher):
        return keras.tree.map_structure(constant, call(teacher, x, like))
    members = [forward(member, x, like) for member in teacher.members]
    return keras.tree.map_structure(
        lambda *outputs: LogitsAt(
            outputs[0].shape,
            lambda temperature: teacher.combine(
                [logits_at(temperature) for logits_at in outputs], temperature
            ),
        ),
        *members,
    )


def constant(logits):
    """Logits that are the same for every temperature, as `LogitsAt`."""
    logits = tf.stop_gradient(tf.convert_to_tensor(logits))
    return LogitsAt(logits.shape, lambda temperature: logits)


def _refuse_unbuilt(teacher):
    raise ValueError(
        f"The teacher {teacher.name!r} has no weights yet. Train or load it "
        "first, or call it on a batch of data."
    )


def _takes_training(teacher):
    """Whether the argument `training` can be passed."""
    if isinstance(teacher, keras.Layer):
        # Keras drops the argument where the layer's `call` has none.
        return True
    try:
        parameters = inspect.signature(teacher).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "training" for p in parameters)


def _normalised(weights, num_members):
    """Gives weights as floats that sum to 1."""
    if weights is None:
        return [1.0 / num_members] * num_members
    numbers = [float(weight) for weight in weights]
    if len(numbers) != num_members or not all(
        math.isfinite(number) and number > 0 for number in numbers
    ):
        raise ValueError(
            "`weights` must be one positive finite number per member "
            f"({num_members} here). Received: weights={weights!r}"
        )
    total = math.fsum(numbers)
    return [number / total for number in numbers]


def _log_probs(probs):
    """Logarithm of probabilities; NaN, which is reported, of negatives."""
    probs = ops.as_log_space(probs)
    positive = tf.maximum(probs, probs.dtype.as_numpy_dtype(_SMALLEST))
    return tf.math.log(
        tf.where(probs < 0, tf.constant(math.nan, probs.dtype), positive)
    )
