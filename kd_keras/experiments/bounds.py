"""The widths that theorems of arXiv 2412.09579 ask for, as plain numbers.

They are of nets `f(x) = m**-0.5 * sum(a[j] * relu(w[j] @ x))` with fixed signs
`a`, a mirrored normal start, and inputs with norms from `smallest_norm` to 1,
of which projected gradient descent trains `w` alone. `beta` is in nats, on
average over the steps; `margin` is that of the kernel of the start; all are
dimensionless. What they promise fails with a probability of the order of
`failure`.
"""

import math

# 96 * (1 + e**2): of the divergence; 32 times that: of the error.
_DIVERGENCE = 96 * (1 + math.e**2)
_ERROR = 32 * _DIVERGENCE


def soft_width(beta, num_examples, smallest_norm, failure=0.01):
    """Theorem 2: width for a mean divergence of at most `beta`, soft labels.

    `C1 / beta * (sqrt(2 / pi) / c + 3 * sqrt(log(2 * n / failure)))**2`

    Args:
        beta: Positive float, the divergence from the soft labels.
        num_examples: Training examples, `n`.
        smallest_norm: Of the inputs, `c`, at most 1.
        failure: Probability. Defaults to 0.01.

    Returns:
        float, the number of hidden units.
    """
    spread = math.sqrt(2 / math.pi) / smallest_norm
    return (
        _DIVERGENCE / beta * (spread + _deviation(num_examples, failure)) ** 2
    )


def soft_steps(beta):
    """Theorem 2: steps of descent that go with `soft_width`, `9 / beta**2`.

    Args:
        beta: As of `soft_width`.

    Returns:
        float.
    """
    return 9 / beta**2


def soft_error_width(error, margin, num_examples, smallest_norm, failure=0.01):
    """Corollary 4: width for a mean error of at most `error`, soft labels.

    That of theorem 2 at `beta = margin**2 * error / 32`.

    Args:
        error: Positive float, the share of examples on the wrong side.
        margin: Positive float, `gamma`.
        num_examples: As of `soft_width`.
        smallest_norm: The same.
        failure: The same. Defaults to 0.01.

    Returns:
        float, the number of hidden units.
    """
    spread = math.sqrt(2 / math.pi) / smallest_norm
    deviation = _deviation(num_examples, failure)
    return _ERROR / (margin**2 * error) * (spread + deviation) ** 2


def soft_error_steps(error, margin):
    """Corollary 4: steps of descent, `9 / (margin**4 * error**2)`.

    Args:
        error: As of `soft_error_width`.
        margin: The same.

    Returns:
        float.
    """
    return 9 / (margin**4 * error**2)


def hard_error_width(error, margin, num_examples, smallest_norm, failure=0.01):
    """Proposition 5: width for an error of at most `error`, hard labels.

    With `beta = log(2) * error`:
    `16 / margin**4 * (2 * sqrt(2 / pi) / c * log(2 / (log(2) * beta))
    + 3 * sqrt(log(2 * n / failure)))**2`

    Args:
        error: As of `soft_error_width`.
        margin: The same.
        num_examples: As of `soft_width`.
        smallest_norm: The same.
        failure: The same. Defaults to 0.01.

    Returns:
        float, the number of hidden units.
    """
    spread = 2 * math.sqrt(2 / math.pi) / smallest_norm * _log_of(error)
    deviation = _deviation(num_examples, failure)
    return 16 / margin**4 * (spread + deviation) ** 2


def hard_radius(error, margin):
    """Proposition 5: the radius `B` that goes with `hard_error_width`.

    `2 / margin * log(2 / (log(2) * beta))` with `beta = log(2) * error`.

    Args:
        error: As of `soft_error_width`.
        margin: The same.

    Returns:
        float, to be divided by the root of the width.
    """
    return 2 / margin * _log_of(error)


def _log_of(error):
    return math.log(2 / (math.log(2) ** 2 * error))


def _deviation(num_examples, failure):
    return 3 * math.sqrt(math.log(2 * num_examples / failure))
