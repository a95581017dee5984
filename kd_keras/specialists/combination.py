"""What a generalist and its specialists say together: equation 5.

Hinton et al. (2015), section 5.4. A specialist `m` gives a distribution over
its classes `S_m` and one dustbin class that stands for all the others. Of an
image, the combined distribution `q` minimises

    KL(p_g || q) + sum(KL(p_m || q_m) for m in active)

where `q_m` is `q` with the classes outside of `S_m` summed to one. This is
convex in `q`. Its gradient with respect to the logits of `q` is, for class `j`,
the sum over all models of `q[j] - t[j]`, where `t` is `p_g`, or of a specialist
`p_m` inside of `S_m` and its dustbin mass outside, dealt out as `q` deals it.
"""

import numpy as np
import tensorflow as tf

from kd_keras import ops

FIXED_POINT = "fixed_point"
GRADIENT_DESCENT = "gradient_descent"

# Below it a probability has no logarithm that float32 could hold.
SMALLEST = 1e-37
# Ends when what the models together say differs from `q` by no more than this.
_TOLERANCES = {tf.float32: 1e-6, tf.float64: 1e-10}


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
        ValueError: If there are no such classes, or no so many.

    Example:

    >>> probs = tf.constant([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    >>> active_specialists(probs, [[0, 1], [1, 2]]).numpy()
    array([[ True, False],
           [False,  True]])
    """
    generalist_probs = ops.as_log_space(generalist_probs)
    num_classes = generalist_probs.shape[-1]
    if not 1 <= top_n <= num_classes:
        raise ValueError(
            f"`top_n` is a number of classes, from 1 to {num_classes}. "
            f"Received: {top_n}."
        )
    member = _membership(class_sets, num_classes, tf.float32)
    classes = tf.math.top_k(generalist_probs, top_n).indices
    # Of each specialist: how many of the most probable classes are its own.
    own = tf.reduce_sum(tf.gather(member, classes, axis=1), axis=-1)
    return tf.transpose(own) > 0


def combine(
    generalist_probs,
    specialist_probs,
    class_sets,
    *,
    top_n=1,
    active=None,
    method=FIXED_POINT,
    max_steps=100_000,
):
    """The distribution that minimises equation 5, for each example of a batch.

    Two ways lead to the same minimum. Gradient descent in the logits is the
    paper's; it has momentum here. The fixed point replaces `q` by the mean of
    what the models say, in which the dustbin mass of a specialist is dealt out
    as `q` deals it: a step that lowers the objective, too, and needs far fewer
    of them.

    Args:
        generalist_probs: Float tensor, shape `[batch, num_classes]`.
        specialist_probs: List of float tensors, shapes `[batch,
            len(class_sets[m]) + 1]`: the probabilities of the classes of each
            specialist in the order of `class_sets`, then of its dustbin, with
            oversampling corrected for (see `dustbin_shift`). Of one that knows
            all classes there may be no dustbin.
        class_sets: List of lists of int, the classes of each specialist.
        top_n: As of `active_specialists`. Defaults to 1.
        active: Bool tensor, shape `[batch, num_specialists]`, of the ones to
            ask instead. Defaults to None.
        method: `"fixed_point"` or `"gradient_descent"`. Defaults to the first.
        max_steps: Positive int, after which it ends even if it still moves.
            Defaults to 100,000.

    Returns:
        Tensor of probabilities, shape `[batch, num_classes]`, float32 (float64
        if the generalist's are), to 2e-5 (1e-9). Where no specialist is
        active, exactly `generalist_probs`. Where a model that is asked says
        what is not a number, NaN.

    Raises:
        ValueError: If shapes or classes do not fit, or there is no such method.

    Example:

    >>> generalist = tf.constant([[0.5, 0.4, 0.1]])
    >>> specialist = tf.constant([[0.2, 0.6, 0.2]])  # of 0 and 1, and others
    >>> combine(generalist, [specialist], [[0, 1]]).numpy()
    array([[0.35, 0.5 , 0.15]], dtype=float32)
    """
    if method not in (FIXED_POINT, GRADIENT_DESCENT):
        raise ValueError(
            f"`method` is {FIXED_POINT!r} or {GRADIENT_DESCENT!r}. Received: "
            f"{method!r}."
        )
    solve = _fixed_point if method == FIXED_POINT else _descend

    @tf.function
    def solved():
        problem = _Problem(
            generalist_probs, specialist_probs, class_sets, top_n, active
        )
        probs = solve(problem, max_steps)
        # What is not a number shows, even if not a step was taken.
        probs += 0.0 * problem.mean_of_models(probs)
        return tf.where(problem.is_alone, problem.generalist_probs, probs)

    return solved()


def objective(probs, generalist_probs, specialist_probs, class_sets, active):
    """Equation 5 for each example, nats.

    Args:
        probs: Float tensor `q`, shape `[batch, num_classes]`.
        generalist_probs: As of `combine`, and so are the others.
        specialist_probs: As of `combine`.
        class_sets: As of `combine`.
        active: Bool tensor, shape `[batch, num_specialists]`.

    Returns:
        Float tensor, shape `[batch]`.
    """
    problem = _Problem(
        generalist_probs, specialist_probs, class_sets, 1, active
    )
    return problem.objective(tf.cast(probs, problem.dtype))


class _Problem:
    """Equation 5 of a batch, as a few matrices.

    What the models say of single classes does not depend on `q` and is summed
    once; what is left of each specialist is its dustbin.
    """

    def __init__(
        self, generalist_probs, specialist_probs, class_sets, top_n, active
    ):
        self.generalist_probs = ops.as_log_space(generalist_probs)
        self.dtype = self.generalist_probs.dtype
        num_classes = self.generalist_probs.shape[-1]
        # What is 0 would stay 0, whatever the specialists say.
        self.start = tf.maximum(self.generalist_probs, SMALLEST)
        if len(specialist_probs) != len(class_sets):
            raise ValueError(
                f"Received the classes of {len(class_sets)} specialists and "
                f"the probabilities of {len(specialist_probs)}."
            )
        self.outside = 1.0 - _membership(class_sets, num_classes, self.dtype)
        if active is None:
            active = active_specialists(
                self.generalist_probs, class_sets, top_n
            )
        active = tf.cast(active, self.dtype)
        self.is_alone = tf.reduce_sum(active, axis=1, keepdims=True) == 0
        self.num_models = 1.0 + tf.reduce_sum(active, axis=1, keepdims=True)
        self.active = active
        self.said, dustbins = self.generalist_probs, []
        # What of the objective does not depend on `q`.
        self.constant = _negative_entropy(self.generalist_probs)
        for number, (probs, classes) in enumerate(
            zip(specialist_probs, class_sets, strict=True)
        ):
            probs = tf.cast(probs, self.dtype)
            inside, dustbin = _parted(number, probs, classes, num_classes)
            weight = active[:, number : number + 1]
            spread = tf.one_hot(classes, num_classes, dtype=self.dtype)
            # Whoever is not asked may say what is not a number.
            self.said += tf.math.multiply_no_nan(inside @ spread, weight)
            dustbins.append(tf.math.multiply_no_nan(dustbin, weight))
            self.constant += tf.math.multiply_no_nan(
                _negative_entropy(inside) + _negative_entropy(dustbin),
                weight[:, 0],
            )
        self.dustbins = tf.concat(dustbins, axis=1) if dustbins else active

    def targets(self, probs):
        """What all active models together say of each class, given `q`."""
        # Per unit of what `q` has there.
        rates = tf.math.divide_no_nan(self.dustbins, self.outside_mass(probs))
        return self.said + probs * (rates @ self.outside)

    def mean_of_models(self, probs):
        """The next `q` of the fixed point; `q` itself at the minimum."""
        return self.targets(probs) / self.num_models

    def descended(self, logits):
        """The logits of `q` after a step of gradient descent.

        The gradient is `num_models * q - targets`. The objective curves
        nowhere by more than half the number of models, so that a step of this
        length never raises it.
        """
        probs = tf.nn.softmax(logits)
        return logits - 2.0 * (probs - self.mean_of_models(probs))

    def moves(self, probs):
        """Whether some example is not at its minimum yet."""
        change = tf.abs(probs - self.mean_of_models(probs))
        # Of an example that is not a number nothing more will come; the
        # others go on.
        return tf.reduce_any(change > _TOLERANCES[self.dtype])

    def outside_mass(self, probs):
        """What `q` has outside of the classes of each specialist."""
        return tf.matmul(probs, self.outside, transpose_b=True)

    def objective(self, probs):
        """Equation 5."""
        return (
            self.constant
            - _dot_log(self.said, probs)
            - _dot_log(self.dustbins, self.outside_mass(probs))
        )


def _fixed_point(problem, max_steps):
    (probs,) = tf.while_loop(
        problem.moves,
        lambda probs: (problem.mean_of_models(probs),),
        (problem.start,),
        maximum_iterations=max_steps,
    )
    return probs


def _descend(problem, max_steps):
    """Gradient descent with Nesterov's momentum.

    Classes of small probability are so flat a direction that plain descent
    would take some 1 / probability steps. Where momentum would raise the
    objective of an example it is dropped: a plain step never does.
    """

    def step(logits, before, age, value):
        momentum = age / (age + 3.0)
        ahead = problem.descended(logits + momentum * (logits - before))
        at = problem.objective(tf.nn.softmax(ahead))
        too_far = (at > value)[:, None]
        plain = problem.descended(logits)
        moved = tf.where(too_far, plain, ahead)
        return (
            moved,
            logits,
            tf.where(too_far, tf.zeros_like(age), age + 1.0),
            problem.objective(tf.nn.softmax(moved)),
        )

    logits = tf.math.log(problem.start)
    logits, *_ = tf.while_loop(
        lambda logits, *_: problem.moves(tf.nn.softmax(logits)),
        step,
        (
            logits,
            logits,
            tf.zeros_like(logits[:, :1]),
            problem.objective(problem.start),
        ),
        maximum_iterations=max_steps,
    )
    return tf.nn.softmax(logits)


def _membership(class_sets, num_classes, dtype):
    """1 where a class is one of a specialist's, `[specialists, classes]`."""
    member = np.zeros((len(class_sets), num_classes))
    for number, classes in enumerate(class_sets):
        classes = list(classes)
        if (
            not classes
            or len(set(classes)) != len(classes)
            or not all(0 <= one < num_classes for one in classes)
        ):
            raise ValueError(
                f"The classes of specialist {number} are to be some of 0 to "
                f"{num_classes - 1}, each once. Received: {classes}."
            )
        member[number, classes] = 1.0
    return tf.constant(member, dtype)


def _parted(number, probs, classes, num_classes):
    """Probabilities of a specialist's classes, and of its dustbin."""
    known = len(classes)
    if probs.shape[-1] == known == num_classes:
        return probs, tf.zeros_like(probs[:, :1])
    if probs.shape[-1] != known + 1:
        raise ValueError(
            f"Specialist {number} has {known} classes and a dustbin. Received "
            f"probabilities of {probs.shape[-1]} classes."
        )
    return probs[:, :known], probs[:, known:]


def _negative_entropy(probs):
    return tf.reduce_sum(tf.math.xlogy(probs, probs), axis=-1)


def _dot_log(weights, probs):
    logs = tf.math.xlogy(weights, tf.maximum(probs, SMALLEST))
    return tf.reduce_sum(logs, axis=-1)
