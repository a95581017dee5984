"""The minimum of equation 5, where models are very sure of themselves, too.

With `s[j]` what all active models say of single classes, `d[m]` the dustbins,
`Q[m]` the mass of `q` outside of the classes of specialist `m`, and `n` how
many models are active, `q` is at the minimum where there are `r` and `z` above
0 with

    q[j] * z[j] = s[j]
    r[m] * Q[m] = d[m]
    z[j] + sum(r[m] for m that does not know j) = n

Newton's method solves these for all at once, and keeps them above 0: it is the
primal-dual interior-point method for the convex problem (Wright 1997,
"Primal-Dual Interior-Point Methods", chapter 1), with targets that are not one
small number but `s` and `d`. The system to solve in a step has one unknown for
each specialist, and some ten steps are enough, some twenty where models are
sure of themselves; more where they give classes next to nothing.
"""

import tensorflow as tf

from kd_keras.specialists.equation_5 import SMALLEST

# Relative, of all products: as far as float64 goes.
_TOLERANCE = 1e-9
# More than it ever takes: then nothing is left but rounding.
MOST_STEPS = 100
# No step goes further than this share of the way to where something is 0.
_WAY = 0.95
# Added to the diagonal of the system, scaled to 1: specialists of much the
# same classes make it singular. What is lost by it the next step makes up for.
_RIDGE = 1e-13


def interior_point(problem, max_steps):
    """Minimises equation 5.

    Args:
        problem: `equation_5.Problem`.
        max_steps: int tensor, after which it ends in any case; so it does
            after 100, when nothing but rounding is left.

    Returns:
        float64 tensor `q`, shape `[batch, num_classes]`.
    """
    probs, _, _ = _solution(problem, max_steps)
    return probs / tf.reduce_sum(probs, axis=1, keepdims=True)


def lowest(problem):
    """What no distribution's objective is below.

    By duality, for any `r` and `z` above 0 that fulfil the third equation, and
    so wherever the method ends:

        constant - sum(s * log(s / z)) - sum(d * log(d / r))

    because `q * z - s * log(q)` is least at `q = s / z`, and so for the
    dustbins.

    Args:
        problem: `equation_5.Problem`.

    Returns:
        float64 tensor, nats, shape `[batch]`.
    """
    _, r, z = _solution(problem, MOST_STEPS)
    return problem.constant - tf.add_n(
        [
            tf.reduce_sum(tf.math.xlogy(mass, mass / rate), axis=1)
            for mass, rate in (
                (problem.said, z),
                # Of who is not asked both are 0.
                (problem.dustbins, tf.where(r > 0.0, r, tf.ones_like(r))),
            )
        ]
    )


def _solution(problem, max_steps):
    """`q`, not normalised, `r` and `z` where the method ends."""
    outside = problem.outside
    # Nothing is to find of one that has no dustbin.
    active = problem.active * tf.reduce_max(outside, axis=1)
    said = tf.maximum(problem.said, SMALLEST)
    dustbins = active * tf.maximum(problem.dustbins, SMALLEST)
    # Not known when it is traced for several.
    num_specialists, num_classes = tf.unstack(tf.shape(outside))
    # Column by column the products of all pairs of specialists.
    pairs = tf.reshape(
        outside[:, tf.newaxis] * outside, [num_specialists**2, num_classes]
    )
    diagonal = tf.eye(num_specialists, dtype=tf.float64)

    def products(q, r, z):
        return q * z, r * tf.matmul(q, outside, transpose_b=True)

    def goes_on(q, r, z):
        of_classes, of_dustbins = products(q, r, z)
        return tf.reduce_any(
            tf.abs(of_classes - said) > _TOLERANCE * said
        ) | tf.reduce_any(
            tf.abs(of_dustbins - dustbins) > _TOLERANCE * dustbins
        )

    def step(q, r, z):
        of_classes, of_dustbins = products(q, r, z)
        missing, missing_dustbins = said - of_classes, dustbins - of_dustbins
        # Specialists that are not asked: r = 0 stays, by a row of their own.
        divisor = r + (1.0 - active)
        system = tf.reshape(
            tf.matmul(q / z, pairs, transpose_b=True),
            [-1, num_specialists, num_specialists],
        )
        system *= active[:, :, tf.newaxis] * active[:, tf.newaxis]
        system += (
            diagonal
            # The brackets matter: nothing small is left of it plus 1, minus 1.
            * (active * of_dustbins / divisor**2 + (1.0 - active))[
                :, tf.newaxis
            ]
        )
        change_r = _solve(
            system,
            missing_dustbins / divisor
            - active * tf.matmul(missing / z, outside, transpose_b=True),
        )
        change_z = -change_r @ outside
        change_q = (missing - q * change_z) / z
        length = tf.minimum(
            tf.ones_like(problem.num_models),
            _WAY
            * tf.reduce_min(
                tf.concat(
                    [
                        _to_zero(q, change_q),
                        _to_zero(z, change_z),
                        _to_zero(r, change_r),
                    ],
                    axis=1,
                ),
                axis=1,
                keepdims=True,
            ),
        )
        return (
            q + length * change_q,
            r + length * change_r,
            z + length * change_z,
        )

    # All of it in the middle: dustbins dealt out evenly.
    share = tf.math.divide_no_nan(
        tf.constant(1.0, tf.float64),
        tf.reduce_sum(outside, axis=1),
    )
    r = 0.5 * active
    matrix = tf.TensorShape([None, None])
    return tf.while_loop(
        goes_on,
        step,
        (
            (said + (dustbins * share) @ outside) / problem.num_models,
            r,
            problem.num_models - r @ outside,
        ),
        shape_invariants=(matrix, matrix, matrix),
        maximum_iterations=tf.minimum(max_steps, MOST_STEPS),
    )


def _solve(system, right):
    """Solves symmetric, positive systems, shape `[batch, n, n]`."""
    scale = tf.math.rsqrt(tf.linalg.diag_part(system))
    system *= scale[:, :, tf.newaxis] * scale[:, tf.newaxis]
    system += _RIDGE * tf.eye(tf.shape(right)[1], dtype=tf.float64)
    root = tf.linalg.cholesky(system)
    right = (scale * right)[:, :, tf.newaxis]
    return scale * tf.linalg.cholesky_solve(root, right)[:, :, 0]


def _to_zero(values, change):
    """How many changes long the way to the first 0 is, shape `[batch, 1]`."""
    falls = change < 0.0
    lengths = -values / tf.where(falls, change, -tf.ones_like(change))
    return tf.reduce_min(
        tf.where(falls, lengths, tf.float64.max), axis=1, keepdims=True
    )
