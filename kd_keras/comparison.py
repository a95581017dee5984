"""Statistics of arms that were run on the same seeds, and their table."""

import math
import statistics

import numpy as np
from scipy import stats


def mean_and_spread(values):
    """Mean and sample standard deviation over the seeds.

    Args:
        values: One number per seed.

    Returns:
        A tuple of two floats; the deviation of a single seed is NaN.

    Example:

    >>> mean_and_spread([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    values = [float(value) for value in values]
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.fmean(values), spread


def paired_difference(first, second, confidence=0.95):
    """Mean of `first - second` over paired seeds, with its t interval.

    Args:
        first: One number per seed.
        second: One number per seed, in the same order.
        confidence: Probability that the interval covers the mean. Defaults
            to `0.95`.

    Returns:
        A tuple of three floats: mean difference, lower and upper bound. With
        a single seed the bounds are minus and plus infinity.

    Raises:
        ValueError: If the numbers of seeds differ.

    Example:

    >>> paired_difference([5.0, 7.0, 9.0], [4.0, 5.0, 6.0])
    (2.0, -0.4841, 4.4841)
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            "Paired arms need the same seeds, at least one. "
            f"Received: {len(first)} and {len(second)} values."
        )
    differences = np.subtract(first, second, dtype=np.float64)
    # Which is exact, so that all round it to the same digits.
    mean = statistics.fmean(differences)
    if len(differences) == 1:
        return mean, -math.inf, math.inf
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    reach = float(
        error * stats.t.ppf((1 + confidence) / 2, len(differences) - 1)
    )
    return mean, mean - reach, mean + reach


def ratio_of_means(numerators, denominators, confidence=0.95):
    """Ratio of two means over paired seeds, with Fieller's interval.

    It holds the ratios `r` for which the mean of `numerators - r *
    denominators` cannot be told from 0 by a paired t test.

    Args:
        numerators: One number per seed.
        denominators: One number per seed, in the same order.
        confidence: Probability that the interval covers the ratio. Defaults
            to `0.95`.

    Returns:
        A tuple of three floats: ratio, lower and upper bound. The bounds are
        minus and plus infinity with a single seed, or if the mean of the
        denominators cannot be told from 0; if it is 0, the ratio is NaN.

    Raises:
        ValueError: If the numbers of seeds differ.

    Example:

    >>> ratio_of_means([5.0, 7.0, 9.0], [10.0, 15.0, 17.0])
    (0.5, 0.3549, 0.5918)
    """
    if len(numerators) != len(denominators) or not numerators:
        raise ValueError(
            "A ratio of paired means needs the same seeds, at least one. "
            f"Received: {len(numerators)} and {len(denominators)} values."
        )
    pairs = np.array([numerators, denominators], np.float64)
    top, bottom = pairs.mean(axis=1)
    ratio = float(top / bottom) if bottom else math.nan
    count = pairs.shape[1]
    if count == 1:
        return ratio, -math.inf, math.inf
    reach = float(stats.t.ppf((1 + confidence) / 2, count - 1)) ** 2 / count
    (var_top, both), (_, var_bottom) = reach * np.cov(pairs)
    # The bounds solve a r**2 - 2 b r + c = 0.
    a, b, c = bottom**2 - var_bottom, top * bottom - both, top**2 - var_top
    if a <= 0:
        return ratio, -math.inf, math.inf
    width = math.sqrt(max(b**2 - a * c, 0.0))
    return ratio, float((b - width) / a), float((b + width) / a)


def mcnemar(first_right, second_right):
    """How likely such a difference is between models that are as good.

    McNemar's exact test: if they were, then of the examples that one model
    alone gets right as many would be the first's as the second's, but for
    chance.

    Args:
        first_right: Bool array, shape `[num_examples]`.
        second_right: The same of the other model.

    Returns:
        float, the two-sided p-value; 1 if they are right on the same examples.

    Raises:
        ValueError: If the numbers of examples differ.

    Example:

    >>> mcnemar([True] * 9 + [False], [False] * 9 + [True])
    0.0215
    """
    first, second = np.asarray(first_right), np.asarray(second_right)
    if first.shape != second.shape:
        raise ValueError(
            "Both models are to be asked of the same examples. Received: "
            f"{len(first)} and {len(second)} answers."
        )
    alone = int((first & ~second).sum()), int((second & ~first).sum())
    if not sum(alone):
        return 1.0
    return float(stats.binomtest(alone[0], sum(alone)).pvalue)


def interval(values, digits=1):
    """Mean of values over the seeds, with its t interval, as text.

    Args:
        values: One number per seed.
        digits: Digits behind the point. Defaults to 1.

    Returns:
        A string; of a single seed the number alone.

    Example:

    >>> interval([5.0, 7.0, 9.0])
    '7.0 (2.0 to 12.0)'
    """
    return difference_text(
        paired_difference(values, [0.0] * len(values)), digits
    )


def fewer_text(fewer, digits=1):
    """How many fewer, or more, there are, with the interval, as text.

    Args:
        fewer: What `paired_difference` gave of numbers without something and
            with it.
        digits: Digits behind the point. Defaults to 1.

    Returns:
        A string.

    Example:

    >>> fewer_text((2.0, -0.4841, 4.4841)), fewer_text((-2.0, -4.0, 0.0))
    ('fewer by 2.0 (-0.5 to 4.5)', 'more by 2.0 (-0.0 to 4.0)')
    """
    mean, low, high = fewer
    if mean >= 0:
        return f"fewer by {difference_text(fewer, digits)}"
    return f"more by {difference_text((-mean, -high, -low), digits)}"


def difference_text(difference, digits=1):
    """A mean difference with its interval, as text.

    Args:
        difference: What `paired_difference` gave.
        digits: Digits behind the point. Defaults to 1.

    Returns:
        A string; of a single seed the mean alone.

    Example:

    >>> difference_text((2.0, -0.4841, 4.4841)), difference_text(
    ...     paired_difference([5.0], [4.0]))
    ('2.0 (-0.5 to 4.5)', '1.0')
    """
    mean, low, high = difference
    if math.isinf(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def verdict(baseline, candidate, num_examples, name="hard labels"):
    """Says in words what paired numbers of errors show.

    Args:
        baseline: Errors of the baseline, one number per seed.
        candidate: Errors of the distilled student, in the same order of seeds.
        num_examples: Number of examples on which they were counted.
        name: What the baseline is. Defaults to `"hard labels"`.

    Returns:
        A sentence or two: better, worse, or no evidence.

    Example:

    >>> verdict([30, 32, 34], [20, 21, 25], 500)[:48]
    'Better than hard labels: distillation removes 10'
    """
    mean, low, high = paired_difference(baseline, candidate)
    average = statistics.fmean(baseline)
    runs = f"{len(baseline)} paired seed" + "s" * (len(baseline) > 1)
    if len(baseline) == 1:
        return (
            f"No evidence with one seed: {candidate[0]} errors against "
            f"{baseline[0]} of {name}. Run several seeds."
        )
    interval = f"95% interval {low:.1f} to {high:.1f}, {runs}"
    if low <= 0.0 <= high:
        change = (
            f"removes {mean:.1f} of {average:.1f} errors"
            if mean >= 0
            else f"adds {-mean:.1f} errors to {average:.1f}"
        )
        return (
            f"No evidence against {name}: distillation {change} on "
            f"{num_examples} examples, which is inside the noise (95% interval "
            f"of what it removes: {low:.1f} to {high:.1f}, {runs})."
        )
    if mean > 0:
        return (
            f"Better than {name}: distillation removes {mean:.1f} of "
            f"{average:.1f} errors on {num_examples} examples ({interval})."
        )
    return (
        f"Worse than {name}: distillation adds {-mean:.1f} errors to "
        f"{average:.1f} on {num_examples} examples ({interval} removed)."
    )


def format_table(header, rows):
    """Formats a table that reads well as text and as Markdown.

    Args:
        header: A list of column names.
        rows: Lists of strings of the same length; all but the first column
            are aligned to the right.

    Returns:
        A string of lines.

    Example:

    >>> print(format_table(["arm", "errors"], [["teacher", "9"]]))
    | arm     | errors |
    | ------- | -----: |
    | teacher |      9 |
    """
    widths = [
        # The rule below the header needs a hyphen and a colon.
        max(2, *(len(str(cell)) for cell in column))
        for column in zip(header, *rows, strict=True)
    ]

    def line(cells):
        first, *others = cells
        texts = [str(first).ljust(widths[0])]
        texts += [
            str(cell).rjust(width)
            for cell, width in zip(others, widths[1:], strict=True)
        ]
        return "| " + " | ".join(texts) + " |"

    rule = ["-" * widths[0]]
    rule += ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join([line(header), line(rule), *map(line, rows)])
