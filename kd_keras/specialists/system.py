"""A generalist and its specialists as one model."""

import math

import keras
import numpy as np
import tensorflow as tf

from kd_keras import model_checks
from kd_keras import ops
from kd_keras.specialists import combination
from kd_keras.specialists import equation_5
from kd_keras.specialists.checks import check_class_sets
from kd_keras.specialists.checks import check_number
from kd_keras.specialists.checks import check_whole

# Names of the parts of a combined model that are no models.
_INPUTS, _COMBINED = "inputs", "combined"


@keras.saving.register_keras_serializable("kd_keras")
class CombineSpecialists(keras.layers.Layer):
    """Makes one distribution of what a generalist and specialists say.

    Minimises equation 5 of Hinton et al. (2015), see `combine`. It has no
    weights, and gives float32 under every policy, unless `dtype` is given.

    Args:
        class_sets: List of lists of int, the classes of each specialist.
        dustbin_shifts: List of floats that are added to the dustbin logit of
            each, see `dustbin_shift`.
        top_n: As of `active_specialists`. Defaults to 1.
        full_softmax: Whether specialists tell all classes, as section 6.1
            proposes, and not only their own and a dustbin. Then `class_sets`
            says when a specialist is asked, and its shift is added to the
            logits of all other classes. The combined distribution is the
            arithmetic mean of the generalist's and those of the specialists
            that are asked. Defaults to False.
        **kwargs: As of `keras.layers.Layer`.

    Call arguments:
        inputs: List of logits: of the generalist, shape `[batch,
            num_classes]`, then of each specialist, `[batch,
            len(class_sets[m]) + 1]`, the dustbin last, which one that knows
            all classes has not; with `full_softmax` `[batch, num_classes]`.

    Returns:
        Float32 tensor, shape `[batch, num_classes]`: the logarithm of the
        combined probabilities, which is one of their logits at T = 1.

    Raises:
        TypeError: If classes or `top_n` are no ints, a shift is no number, or
            `full_softmax` no bool.
        ValueError: If there is not a finite shift for each set of classes, or,
            when it is built, there are no such classes, not `top_n`, or not
            as many inputs.
    """

    def __init__(
        self,
        class_sets,
        dustbin_shifts,
        top_n=1,
        full_softmax=False,
        **kwargs,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        # How many classes there are is known when it is built.
        self.class_sets = check_class_sets(class_sets, math.inf)
        self.dustbin_shifts = _as_floats(dustbin_shifts)
        check_whole("top_n", top_n, 1)
        self.top_n = int(top_n)
        self.full_softmax = _as_bool("full_softmax", full_softmax)
        if len(self.class_sets) != len(self.dustbin_shifts):
            raise ValueError(
                "Each specialist has its classes and the shift of its dustbin. "
                f"Received: {len(self.class_sets)} sets of classes and "
                f"{len(self.dustbin_shifts)} shifts."
            )
        if not all(map(math.isfinite, self.dustbin_shifts)):
            raise ValueError(
                "`dustbin_shifts` are added to logits, and finite. Received: "
                f"{self.dustbin_shifts}."
            )

    def build(self, input_shape):
        """Checks classes and `top_n`; there are no weights."""
        if len(input_shape) != 1 + len(self.class_sets) or not all(
            isinstance(shape, (tuple, list)) for shape in input_shape
        ):
            raise ValueError(
                "It is called on a list of logits: those of the generalist, "
                f"then of {len(self.class_sets)} specialists. Received what is "
                f"of shape {input_shape}."
            )
        num_classes = input_shape[0][-1]
        check_class_sets(self.class_sets, num_classes)
        check_whole("top_n", self.top_n, 1, num_classes)
        super().build(input_shape)

    def call(self, inputs):
        """Combines; see the class."""
        generalist, *others = inputs
        generalist_probs = ops.tempered_softmax(generalist, 1.0)
        known = self.class_sets
        if self.full_softmax:
            known = [range(generalist.shape[-1])] * len(others)
        probs = combination.combine(
            generalist_probs,
            [
                tf.nn.softmax(logits + self._shift(number, logits))
                for number, logits in enumerate(map(ops.as_log_space, others))
            ],
            known,
            active=combination.active_specialists(
                generalist_probs, self.class_sets, self.top_n
            ),
        )
        return tf.math.log(tf.maximum(probs, equation_5.SMALLEST))

    def _shift(self, number, logits):
        """What is added to the logits of a specialist."""
        shift = np.full(logits.shape[-1], self.dustbin_shifts[number])
        classes = self.class_sets[number]
        # In the order of all classes, or its own and then the dustbin.
        shift[classes if self.full_softmax else slice(len(classes))] = 0.0
        return tf.constant(shift, logits.dtype)

    def compute_output_shape(self, input_shape):
        """The shape of the generalist's logits."""
        return tuple(input_shape[0])

    def get_config(self):
        """What the layer is made of."""
        return {
            **super().get_config(),
            "class_sets": self.class_sets,
            "dustbin_shifts": self.dustbin_shifts,
            "top_n": self.top_n,
            "full_softmax": self.full_softmax,
        }


def combined_model(
    generalist,
    specialists,
    class_sets,
    dustbin_shifts,
    *,
    top_n=1,
    full_softmax=False,
):
    """A generalist and its specialists as one `keras.Model`.

    It is a teacher like any other: live, stored, or a `.keras` file for the
    programs. Its softmax at T = 1 is the combined distribution; nothing but
    that is known of its logits, so that a temperature softens the distribution
    as `ProbabilityTeacher` does.

    Args:
        generalist: Functional or Sequential `keras.Model` with one input, to
            logits `[batch, num_classes]`.
        specialists: List of such models of the same input, to logits
            `[batch, len(class_sets[m]) + 1]`, the dustbin last, which one that
            knows all classes has not; with `full_softmax` `[batch,
            num_classes]`.
        class_sets: List of lists of int, the classes of each.
        dustbin_shifts: List of floats, one for each; see `dustbin_shift`.
        top_n: As of `active_specialists`. Defaults to 1.
        full_softmax: As of `CombineSpecialists`. Defaults to False.

    Returns:
        `keras.Model` from inputs to float32 log-probabilities. It runs all
        specialists on all inputs.

    Raises:
        TypeError: As of `CombineSpecialists`; if there is no list of
            specialists.
        ValueError: The same; if there are not as many specialists as sets of
            classes; two models have one name, or a model that of another part,
            "inputs" or "combined"; or a model is of another form, ends in a
            softmax, or does not give as many logits as it has classes and a
            dustbin.

    Example:

    >>> def net(units):
    ...     return keras.Sequential(
    ...         [keras.Input((4,)), keras.layers.Dense(units)]
    ...     )
    >>> model = combined_model(net(5), [net(3)], [[1, 4]], [0.0])
    >>> model(np.zeros([2, 4])).shape
    TensorShape([2, 5])
    """
    if not isinstance(specialists, (list, tuple)):
        raise TypeError(
            "`specialists` is a list of models. Received: "
            f"{type(specialists).__name__}."
        )
    models = {"generalist": generalist} | {
        f"specialist {number}": one for number, one in enumerate(specialists)
    }
    for who, model in models.items():
        _check_model(who, model)
    num_classes = generalist.output_shape[-1]
    class_sets = check_class_sets(class_sets, num_classes)
    if len(specialists) != len(class_sets):
        raise ValueError(
            f"Received {len(specialists)} specialists and {len(class_sets)} "
            "sets of classes."
        )
    _check_names(list(models.values()))
    for number, (one, classes) in enumerate(
        zip(specialists, class_sets, strict=True)
    ):
        gives = one.output_shape[-1]
        if full_softmax and gives != num_classes:
            raise ValueError(
                f"With `full_softmax` specialist {number} has a logit for each "
                f"of {num_classes} classes. Received a model with {gives} "
                "logits."
            )
        # One that knows all classes needs no dustbin.
        has_dustbin = len(classes) < num_classes
        if not full_softmax and gives != len(classes) + has_dustbin:
            raise ValueError(
                f"Specialist {number} has {len(classes)} classes and "
                f"{'a' if has_dustbin else 'no'} dustbin. Received a model "
                f"with {gives} logits."
            )
    inputs = keras.Input(generalist.input_shape[1:], name=_INPUTS)
    logits = [model(inputs) for model in specialists]
    outputs = CombineSpecialists(
        class_sets, dustbin_shifts, top_n, full_softmax, name=_COMBINED
    )([generalist(inputs), *logits])
    return keras.Model(inputs, outputs, name="generalist_and_specialists")


def _as_floats(dustbin_shifts):
    try:
        shifts = list(dustbin_shifts)
    except TypeError:
        raise TypeError(
            "`dustbin_shifts` is a list with a number for each specialist, in "
            f"nats. Received: {dustbin_shifts!r}."
        ) from None
    for number, shift in enumerate(shifts):
        check_number(f"dustbin_shifts[{number}]", shift)
    return [float(shift) for shift in shifts]


def _as_bool(name, value):
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` is True or False. Received: {value!r}.")
    return value


def _check_model(who, model):
    """Raises unless a model can be a part of another one, and gives logits."""
    if (
        len(model_checks.inputs(model) or ()) != 1
        or len(keras.tree.flatten(model_checks.outputs(model))) != 1
    ):
        raise ValueError(
            f"The {who} is to be a Functional or Sequential model with one "
            f"input and one output. Received: {model!r}."
        )
    model_checks.check_gives_logits(model, who)


def _check_names(models):
    """Raises if Keras could not tell the parts of the model apart.

    Models of other processes often have the same name, as each counts from
    "sequential" on.
    """
    names = [model.name for model in models] + [_INPUTS, _COMBINED]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            "The generalist and each specialist need names of their own, and "
            f"not {_INPUTS!r} or {_COMBINED!r}; set `model.name` before. "
            f"Received more than once: {twice}."
        )
