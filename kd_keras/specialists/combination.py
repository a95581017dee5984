"""What a generalist and its specialists say together.

Hinton et al. (2015), section 5.4: which specialists are asked of an image, and
the distribution that fits best what these and the generalist say; see
`equation_5`.
"""

import warnings

import numpy as np
import tensorflow as tf

from kd_keras import ops
from kd_keras.specialists import equation_5
from kd_keras.specialists import interior_point
from kd_keras.specialists.checks import check_class_sets
from kd_keras.specialists.checks import check_distributions
from kd_keras.specialists.checks import check_whole
from kd_keras.specialists.checks import membership

INTERIOR_POINT = "interior_point"
FIXED_POINT = "fixed_point"
GRADIENT_DESCENT = "gradient_descent"
_METHODS = {
    INTERIOR_POINT: interior_point.interior_point,
    FIXED_POINT: equation_5.fixed_point,
    GRADIENT_DESCENT: equation_5.gradient_descent,
}

# How many nats above its minimum the objective may be.
_EXCESS = 1e-6


def active_specialists(generalist_probs, class_sets, top_n=1):
    """Which specialists are asked of each example.

    Those whose classes hold one of the generalist's `top_n` most probable
    ones: the set `A_k` of section 5.4, where `top_n` is 1.

    Args:
        generalist_probs: Float tensor, shape `[batch, num_classes]`.
        class_sets: List of lists of int, the classes of each specialist.
        top_n: Positive int. Defaults to 1.

    Returns:
        Bool tensor, shape `[batch, num_specialists]`.

    Raises:
        TypeError: If classes are no ints.
        ValueError: If there are no such classes, or not so many.

    Example:

    >>> probs = tf.constant([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    >>> active_specialists(probs, [[0, 1], [1, 2]]).numpy()
    array([[ True, False],
           [False,  True]])
    """
    generalist_probs = _distributions("generalist_probs", generalist_probs)
    num_classes = generalist_probs.shape[-1]
    member = membership(check_class_sets(class_sets, num_classes), num_classes)
    return _asked(generalist_probs, member, top_n)


def combine(
    generalist_probs,
    specialist_probs,
    class_sets,
    *,
    top_n=1,
    active=None,
    method=INTERIOR_POINT,
    max_steps=10_000,
):
    """The distribution that minimises equation 5, for each example of a batch.

    Three ways lead to the same minimum, all in float64. The interior-point
    method gets there in a few steps, also where models give classes next to
    nothing. Gradient descent in the logits is the paper's; it has momentum
    here. The fixed point replaces `q` by the mean of what the models say, in
    which the dustbin mass of a specialist is dealt out as `q` deals it. Both
    never raise the objective, and end when the last example of the batch is
    there: to compare, not for many examples. Gradient descent may take a minute
    for a thousand of 100 classes.

    The dustbin of a specialist is compared with the sum of `q` over all classes
    that are not its own: `q` has one value for it at any time, which is a
    compromise between all who are asked, not what one of them says.

    Args:
        generalist_probs: Float tensor, shape `[batch, num_classes]`.
        specialist_probs: List of float tensors, shapes `[batch,
            len(class_sets[m]) + 1]`: the probabilities of the classes of each
            specialist in the order of `class_sets`, then of its dustbin, with
            oversampling corrected for (see `dustbin_shift`). Of one that knows
            all classes, those alone: it has no dustbin. Rows may sum to 1 as
            half precision has it, within 1%, and count as if they did.
        class_sets: List of lists of int, the classes of each specialist.
        top_n: As of `active_specialists`. Defaults to 1.
        active: Bool tensor, shape `[batch, num_specialists]`, of the ones to
            ask; then `top_n` says nothing. Defaults to None: those that
            `active_specialists` names.
        method: `"interior_point"`, `"fixed_point"` or `"gradient_descent"`.
            Defaults to the first.
        max_steps: int, not negative, after which it ends even if it still
            moves; the interior-point method ends after 100 in any case. In
            eager execution it warns if the objective may be 1e-6 nats above
            its minimum then. Defaults to 10,000.

    Returns:
        Tensor of probabilities, shape `[batch, num_classes]`: float64 if the
        generalist's are, otherwise float32. Good to 1e-8, or as float32 holds
        it, where the generalist gives each class at least that; where it does
        not, other distributions have all but the same objective.
        Where no specialist is active, exactly `generalist_probs`, as they
        came. Where a model that is asked says what is not a number, NaN.

    Raises:
        TypeError: If classes or numbers are no ints, `active` is not bool, or
            there is no list of specialists' probabilities.
        ValueError: If shapes or classes do not fit, there is no such method,
            or rows are no distributions, as far as they are known: in eager
            execution.
        tf.errors.InvalidArgumentError: If numbers of examples differ that are
            not known before. XLA, which drops assertions, does not look.

    Example:

    >>> generalist = tf.constant([[0.5, 0.4, 0.1]])
    >>> specialist = tf.constant([[0.2, 0.6, 0.2]])  # of 0 and 1, and others
    >>> combine(generalist, [specialist], [[0, 1]]).numpy()
    array([[0.35, 0.5 , 0.15]], dtype=float32)
    """
    if not isinstance(method, str) or method not in _METHODS:
        raise ValueError(
            f"`method` is one of {', '.join(map(repr, _METHODS))}. Received: "
            f"{method!r}."
        )
    check_whole("max_steps", max_steps, 0, tf.int32.max)
    generalist_probs = ops.as_log_space(generalist_probs)
    problem = _problem(
        generalist_probs, specialist_probs, class_sets, active, top_n
    )
    probs = tf.ensure_shape(
        _MINIMA[method](problem, tf.constant(max_steps)), problem.start.shape
    )
    if tf.executing_eagerly():
        _warn_if_above(problem, probs, method, max_steps)
    return tf.where(
        problem.num_models == 1.0,
        generalist_probs,
        tf.cast(probs, generalist_probs.dtype),
    )


def objective(probs, generalist_probs, specialist_probs, class_sets, active):
    """Equation 5 for each example, nats.

    Args:
        probs: Float tensor `q`, shape `[batch, num_classes]`.
        generalist_probs: As of `combine`, and so are the others.
        specialist_probs: As of `combine`.
        class_sets: As of `combine`.
        active: Bool tensor, shape `[batch, num_specialists]`.

    Returns:
        float64 tensor, shape `[batch]`. A probability of `q` counts as 1e-37
        at least, so that it is never infinite.

    Raises:
        TypeError: As of `combine`.
        ValueError: The same.
    """
    if active is None:
        raise TypeError(
            "`active` is a bool tensor, shape [batch, num_specialists]. "
            "Received: None."
        )
    problem = _problem(generalist_probs, specialist_probs, class_sets, active)
    probs = _distributions("probs", probs, problem.start.shape)
    _check_rows("probs", probs, problem.start)
    return problem.objective(probs)


def _solver(method):
    """A method as a graph that is traced once, for problems of any size."""

    @tf.function(
        input_signature=[
            equation_5.Problem.any_size(),
            tf.TensorSpec([], tf.int32),
        ]
    )
    def minimum(problem, max_steps):
        probs = method(problem, max_steps)
        # What is not a number shows, even if not a step was taken.
        return probs + 0.0 * problem.mean_of_models(probs)

    return minimum


_MINIMA = {name: _solver(method) for name, method in _METHODS.items()}


def _asked(generalist_probs, member, top_n):
    """`active_specialists` of what was checked."""
    check_whole("top_n", top_n, 1, generalist_probs.shape[-1])
    classes = tf.math.top_k(generalist_probs, top_n).indices
    # Of each specialist: how many of the most probable classes are its own.
    own = tf.gather(tf.constant(member), classes, axis=1)
    return tf.transpose(tf.reduce_sum(own, axis=-1)) > 0


def _problem(
    generalist_probs, specialist_probs, class_sets, active, top_n=None
):
    """Equation 5 of what was checked; asks by `top_n` if `active` is None."""
    generalist_probs = _distributions("generalist_probs", generalist_probs)
    num_classes = generalist_probs.shape[-1]
    class_sets = check_class_sets(class_sets, num_classes)
    if not isinstance(specialist_probs, (list, tuple)):
        raise TypeError(
            "`specialist_probs` is a list with a tensor for each specialist. "
            f"Received: {type(specialist_probs).__name__}."
        )
    if len(specialist_probs) != len(class_sets):
        raise ValueError(
            f"Received the classes of {len(class_sets)} specialists and the "
            f"probabilities of {len(specialist_probs)}."
        )
    member = membership(class_sets, num_classes)
    if active is None:
        active = _asked(generalist_probs, member, top_n)
    active = tf.convert_to_tensor(active)
    if active.dtype != tf.bool:
        raise TypeError(
            "`active` is a bool tensor, shape [batch, num_specialists]. "
            f"Received: {active.dtype.name}."
        )
    _check_shape("active", active, [generalist_probs.shape[0], len(class_sets)])
    _check_rows("active", active, generalist_probs)
    active = tf.ensure_shape(active, [None, len(class_sets)])
    parts = []
    for number, (probs, classes) in enumerate(
        zip(specialist_probs, class_sets, strict=True)
    ):
        # Nothing can be in the dustbin of one that knows all classes.
        known = len(classes)
        probs = _distributions(
            f"specialist_probs[{number}]",
            probs,
            [generalist_probs.shape[0], known + (known < num_classes)],
            f", of its {known} classes"
            + (" and a dustbin" if known < num_classes else ""),
        )
        _check_rows(f"specialist_probs[{number}]", probs, generalist_probs)
        inside, dustbin = probs[:, :known], probs[:, known:]
        if known == num_classes:
            dustbin = tf.zeros_like(probs[:, :1])
        spread = tf.one_hot(classes, num_classes, dtype=tf.float64)
        parts.append((inside @ spread, dustbin))
    return equation_5.make_problem(
        generalist_probs,
        parts,
        member,
        tf.cast(active, tf.float64),
    )


def _distributions(name, probs, shape=None, what=""):
    """Probabilities in float64, whose rows sum to 1; `what` they are of."""
    probs = tf.cast(tf.convert_to_tensor(probs), tf.float64)
    if probs.shape.rank != 2 or probs.shape[-1] is None:
        raise ValueError(
            f"`{name}` has a row for each example, and its number of classes "
            f"is known. Received a tensor of shape {probs.shape}."
        )
    if shape is not None:
        _check_shape(name, probs, shape, what)
    if tf.executing_eagerly():
        check_distributions(name, probs.numpy())
    return probs / tf.reduce_sum(probs, axis=-1, keepdims=True)


def _warn_if_above(problem, probs, method, max_steps):
    """Warns of examples that are not at the minimum."""
    excess = problem.excess(probs).numpy()
    if not (excess > _EXCESS).any():
        return
    # A closer bound, for which it has to be solved once more.
    excess = np.fmin(
        excess,
        (problem.objective(probs) - interior_point.lowest(problem)).numpy(),
    )
    is_above = excess > _EXCESS
    if not is_above.any():
        return
    mend = "Take a larger `max_steps`."
    if method != INTERIOR_POINT:
        mend = f"Take {INTERIOR_POINT!r}, or a larger `max_steps`."
    elif max_steps >= interior_point.MOST_STEPS:
        mend = "Models are surer here than float64 can combine."
    warnings.warn(
        f"{is_above.sum()} of {len(excess)} examples are not at the minimum of "
        f"equation 5 where {method} ended: the objective may be up to "
        f"{excess[is_above].max():.1e} nats too high. {mend}",
        stacklevel=3,
    )


def _check_rows(name, tensor, generalist_probs):
    """Raises unless both are of as many examples, which a graph learns late.

    One row would do for all otherwise.
    """
    if tensor.shape[0] is None or generalist_probs.shape[0] is None:
        tf.debugging.assert_equal(
            tf.shape(tensor)[0],
            tf.shape(generalist_probs)[0],
            f"`{name}` is not of as many examples as `generalist_probs`.",
        )


def _check_shape(name, tensor, shape, what=""):
    if not tensor.shape.is_compatible_with(shape):
        raise ValueError(
            f"`{name}` is of shape {list(shape)}{what}. Received: "
            f"{tensor.shape}."
        )
