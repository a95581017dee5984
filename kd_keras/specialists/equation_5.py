"""Equation 5 of Hinton et al. (2015) for a batch, and two plain ways to solve.

A specialist `m` gives a distribution over its classes `S_m` and one dustbin
class that stands for all the others. Of an image, the combined distribution `q`
minimises

    KL(p_g || q) + sum(KL(p_m || q_m) for m in active)

where `q_m` is `q` with the classes outside of `S_m` summed to one. This is
convex in `q`. Its gradient with respect to the logits of `q` is, for class `j`,
the sum over all models of `q[j] - t[j]`, where `t` is `p_g`, or of a specialist
`p_m` inside of `S_m` and its dustbin mass outside, dealt out as `q` deals it.
"""

import tensorflow as tf

# Below it a probability has no logarithm that float32 could hold.
SMALLEST = 1e-37
# Ends when what the models together say differs from `q` by no more than this.
_TOLERANCE = 1e-10
# By so much it differs from rounding, however near the minimum is.
_ROUNDING = 1e-14


class Problem(tf.experimental.ExtensionType):
    """Equation 5 of a batch, as a few float64 matrices.

    What the models say of single classes does not depend on `q` and is summed
    once; what is left of each specialist is its dustbin.

    Attributes:
        start: Where `q` begins, shape `[batch, num_classes]`: the generalist's
            distribution.
        said: What all active models say of single classes, summed, the same
            shape.
        dustbins: Dustbin mass of each specialist, 0 where it is not active,
            shape `[batch, num_specialists]`.
        outside: 1 where a class is none of a specialist's, shape
            `[num_specialists, num_classes]`.
        active: 1 where a specialist is active, otherwise 0, shape `[batch,
            num_specialists]`.
        num_models: How many models are active, shape `[batch, 1]`.
        constant: What of the objective does not depend on `q`, shape
            `[batch]`.
    """

    start: tf.Tensor
    said: tf.Tensor
    dustbins: tf.Tensor
    outside: tf.Tensor
    active: tf.Tensor
    num_models: tf.Tensor
    constant: tf.Tensor

    @classmethod
    def any_size(cls):
        """The type of all problems, for a graph that solves each of them."""
        matrix = tf.TensorSpec([None, None], tf.float64)
        return cls.Spec(
            start=matrix,
            said=matrix,
            dustbins=matrix,
            outside=matrix,
            active=matrix,
            num_models=tf.TensorSpec([None, 1], tf.float64),
            constant=tf.TensorSpec([None], tf.float64),
        )

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

    def excess(self, probs):
        """By how much the objective is above its minimum, at most.

        Nats, shape `[batch]`: the gap of Frank and Wolfe. A tangent of a convex
        function lies below it, so that nothing is lower than the tangent at `q`
        is at the best single class. 0 where `q` is what the models say but for
        rounding: the ratio of two probabilities below that says nothing.
        """
        best = tf.reduce_max(
            self.mean_of_models(probs) / tf.maximum(probs, SMALLEST), axis=1
        )
        excess = self.num_models[:, 0] * (best - 1.0)
        is_rounding = self._change(probs) < _ROUNDING
        return tf.where(is_rounding, tf.zeros_like(excess), excess)

    def moves(self, probs):
        """Whether some example is not at its minimum yet."""
        # Of an example that is not a number nothing more will come; the
        # others go on.
        return tf.reduce_any(self._change(probs) > _TOLERANCE)

    def _change(self, probs):
        return tf.reduce_max(tf.abs(probs - self.mean_of_models(probs)), axis=1)

    def outside_mass(self, probs):
        """What `q` has outside of the classes of each specialist."""
        return tf.matmul(probs, self.outside, transpose_b=True)

    def objective(self, probs):
        """Equation 5, nats, shape `[batch]`."""
        return (
            self.constant
            - _dot_log(self.said, probs)
            - _dot_log(self.dustbins, self.outside_mass(probs))
        )


def make_problem(generalist_probs, parts, member, active):
    """Equation 5 of what the models say.

    Args:
        generalist_probs: float64 tensor, shape `[batch, num_classes]`.
        parts: List of pairs of float64 tensors: what each specialist says of
            its classes, scattered to all, and of its dustbin, shapes `[batch,
            num_classes]` and `[batch, 1]`.
        member: float64 array, shape `[num_specialists, num_classes]`: 1 where
            a class is one of a specialist's.
        active: float64 tensor of 0 and 1, shape `[batch, num_specialists]`.

    Returns:
        A `Problem`.
    """
    said, dustbins = generalist_probs, []
    constant = _negative_entropy(generalist_probs)
    for number, (inside, dustbin) in enumerate(parts):
        weight = active[:, number : number + 1]
        # Whoever is not asked may say what is not a number.
        said += tf.math.multiply_no_nan(inside, weight)
        dustbins.append(tf.math.multiply_no_nan(dustbin, weight))
        constant += tf.math.multiply_no_nan(
            _negative_entropy(inside) + _negative_entropy(dustbin),
            weight[:, 0],
        )
    return Problem(
        # What is 0 would stay 0, whatever the specialists say.
        start=tf.maximum(generalist_probs, SMALLEST),
        said=said,
        dustbins=tf.concat(dustbins, axis=1) if dustbins else active,
        outside=tf.constant(1.0 - member, tf.float64),
        active=active,
        num_models=1.0 + tf.reduce_sum(active, axis=1, keepdims=True),
        constant=constant,
    )


def fixed_point(problem, max_steps):
    """The minimum: replaces `q` by the mean of what the models say.

    In it the dustbin mass of a specialist is dealt out as `q` deals it. Such a
    step lowers the objective, as one of expectation maximisation does, but by
    very little where the generalist is sure of itself and dustbins are full.

    Args:
        problem: `Problem`.
        max_steps: int tensor, after which it ends even if `q` still moves.

    Returns:
        float64 tensor `q`, shape `[batch, num_classes]`.
    """
    (probs,) = tf.while_loop(
        problem.moves,
        lambda probs: (problem.mean_of_models(probs),),
        (problem.start,),
        maximum_iterations=max_steps,
    )
    return probs


def gradient_descent(problem, max_steps):
    """The minimum: descends in the logits, with Nesterov's momentum.

    Classes of small probability are so flat a direction that plain descent
    would take some 1 / probability steps. Where momentum would raise the
    objective of an example it is dropped: a plain step never does.

    Args:
        problem: As of `fixed_point`.
        max_steps: The same.

    Returns:
        What `fixed_point` returns.
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

    logits = _log(problem.start)
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


def _negative_entropy(probs):
    return tf.reduce_sum(tf.math.xlogy(probs, probs), axis=-1)


def _log(probs):
    return tf.math.log(tf.maximum(probs, SMALLEST))


def _dot_log(weights, probs):
    return tf.reduce_sum(weights * _log(probs), axis=-1)
