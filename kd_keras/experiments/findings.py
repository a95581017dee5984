"""What an experiment found, as data: tables, plots, and claims compared."""

import dataclasses
import math

from kd_keras import comparison


def by_arm(results, arms):
    """Results of each arm, in the order of the seeds.

    Args:
        results: Dict of `(arm, seed)` to results.
        arms: Names of the arms in the order in which they are to be shown.

    Returns:
        A dict of arms to lists; those without a result are left out.
    """
    found = {arm: [] for arm in arms}
    for (arm, _), result in results.items():
        found[arm].append(result)
    return {arm: of_arm for arm, of_arm in found.items() if of_arm}


def paired(results, *arms):
    """Results of several arms for the seeds that all of them have.

    Args:
        results: Dict of `(arm, seed)` to results.
        *arms: Names of the arms.

    Returns:
        A list for each arm, of the same length, empty if no seed has all.
    """
    seeds = [
        seed
        for arm, seed in results
        if arm == arms[0] and all((one, seed) in results for one in arms)
    ]
    return [[results[arm, seed] for seed in seeds] for arm in arms]


def is_above(difference, at_least=0.0):
    """Whether a mean difference is above 0, and at least so much.

    Args:
        difference: Mean and the bounds of its interval.
        at_least: What the mean is to reach. Defaults to 0.

    Returns:
        True if it is and the interval lies above 0; False if the interval
        lies below what is to be reached; None if the seeds cannot tell.
    """
    mean, low, high = difference
    if low > 0 and mean >= at_least:
        return True
    return False if high < at_least else None


def check_difference(claim, difference, at_least=0.0, more="", digits=1):
    """Whether a mean difference is above 0, and reaches a limit.

    Args:
        claim: What is expected.
        difference: Mean and the bounds of its interval.
        at_least: The limit. Defaults to 0.
        more: What is to be said behind it. Defaults to nothing.
        digits: Digits behind the point. Defaults to 1.

    Returns:
        A `Check`; it is sure where all of the interval reaches the limit, or
        none of it.
    """
    _, low, high = difference
    holds = is_above(difference, at_least)
    return Check(
        claim,
        comparison.difference_text(difference, digits) + more,
        holds,
        is_sure=holds is None or low >= at_least or high < at_least,
    )


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of a gap, over paired seeds.

    Attributes:
        value: Ratio of the means, 0 at the baseline and 1 at the reference.
        low: Lower bound of its 95% interval; minus infinity if it has none.
        high: The upper one; infinity if it has none.
        seeds: How many paired seeds there are.
    """

    value: float
    low: float
    high: float
    seeds: int

    @property
    def text(self):
        """The share with its interval."""
        if math.isfinite(self.low):
            return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
        return f"{self.value:.2f}" + (
            " (interval without bounds)" if self.seeds > 1 else ""
        )


def recovered(baseline, distilled, reference):
    """Share of a gap in errors that distillation closes.

    Args:
        baseline: Errors without it, one number for each seed.
        distilled: Errors with it, of the same seeds.
        reference: Errors of what it is to reach, of the same seeds.

    Returns:
        A `Share`.

    Example:

    >>> recovered([20, 22, 21], [11, 13, 11], [2, 3, 4]).text
    '0.52 (0.39 to 0.69)'
    """
    return Share(
        *comparison.ratio_of_means(
            [one - two for one, two in zip(baseline, distilled, strict=True)],
            [one - two for one, two in zip(baseline, reference, strict=True)],
        ),
        len(baseline),
    )


@dataclasses.dataclass(frozen=True)
class Headline:
    """A line of the page of all results.

    Attributes:
        what: What was measured.
        paper: What the paper says of it, as text.
        ours: What came out, with its 95% interval, as text.
        seeds: How many paired seeds there are.
    """

    what: str
    paper: str
    ours: str
    seeds: int


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a results page.

    Attributes:
        title: Its heading.
        header: Names of the columns.
        rows: Lists of strings.
        note: What is to be said of it.
    """

    title: str
    header: tuple[str, ...]
    rows: list[list[str]]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Dots:
    """Values of several arms, one dot for each seed, with what was claimed.

    Attributes:
        name: Name of the file, without suffix.
        title: Its heading.
        label: What the values are, with their unit.
        values: Dict of arms to lists of values, one for each seed.
        claimed: Dict of arms to the value of the paper, as far as there is one.
        note: What is to be said of it.
    """

    name: str
    title: str
    label: str
    values: dict[str, list[float]]
    claimed: dict[str, float] = dataclasses.field(default_factory=dict)
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Lines:
    """Values over a quantity, a line for each arm.

    Attributes:
        name: Name of the file, without suffix.
        title: Its heading.
        x_label: What the quantity is, with its unit.
        y_label: What the values are, with their unit.
        lines: Dict of arms to dicts of the quantity to lists of values, one
            for each seed.
        levels: Dict of names to values that do not depend on the quantity.
        log_x: Whether the quantity is shown on a logarithmic axis.
        log_y: The same of the values.
        note: What is to be said of it.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    lines: dict[str, dict[float, list[float]]]
    levels: dict[str, float] = dataclasses.field(default_factory=dict)
    log_x: bool = False
    log_y: bool = False
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Check:
    """A claim, and what was measured of it.

    Attributes:
        claim: What is expected, as of a protocol fixed before.
        measured: What was found, with its interval or spread.
        holds: Whether it does; None if the seeds do not suffice to tell.
        is_certain: Whether a quick run must hold it, too.
        is_sure: Whether all of the interval says what its middle says.
            Defaults to True, as where there is no interval.
        tried: Of a mark that was set, what was tried to reach it, and what
            that gave; empty of other claims.
    """

    claim: str
    measured: str
    holds: bool | None
    is_certain: bool = False
    is_sure: bool = True
    tried: str = ""


def check_mean(
    claim, values, least=-math.inf, most=math.inf, digits=1, unit="", tried=""
):
    """Whether a mean over the seeds, and its interval, lie in a range.

    Args:
        claim: What is expected.
        values: One number for each seed.
        least: Lower end of the range. Defaults to minus infinity.
        most: Upper end of the range. Defaults to infinity.
        digits: Digits behind the point in what was measured. Defaults to 1.
        unit: What is said behind it. Defaults to nothing.
        tried: As of `Check`. Defaults to nothing: it is no mark.

    Returns:
        A `Check`.

    Example:

    >>> check = check_mean("at most 75 errors", [72, 73, 80], most=75)
    >>> check.holds, check.is_sure
    (True, False)
    """
    bounds = comparison.paired_difference(values, [0.0] * len(values))
    holds, is_sure = _lies(bounds, len(values), least, most)
    return Check(
        claim,
        comparison.difference_text(bounds, digits) + unit,
        holds,
        is_sure=is_sure,
        tried=tried,
    )


def check_share(claim, share, at_least, more="", tried=""):
    """Whether a share reaches a limit.

    Args:
        claim: What is expected.
        share: A `Share`.
        at_least: The limit.
        more: What is to be said behind the share. Defaults to nothing.
        tried: As of `Check`. Defaults to nothing: it is no mark.

    Returns:
        A `Check`.
    """
    holds, is_sure = _lies(
        (share.value, share.low, share.high), share.seeds, at_least
    )
    return Check(claim, share.text + more, holds, is_sure=is_sure, tried=tried)


def _lies(bounds, seeds, least=-math.inf, most=math.inf):
    """Whether a value lies in a range, and whether its interval says so."""
    value, low, high = bounds
    # Of one seed there is no interval, nor of a ratio to what may be 0.
    if seeds == 1 or not math.isfinite(low):
        return None, True
    holds = least <= value <= most
    if holds:
        return True, least <= low and high <= most
    return False, high < least or low > most


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that an experiment found.

    Attributes:
        tables: Tuple of `Table`.
        plots: Tuple of `Dots` and `Lines`.
        checks: Tuple of `Check`.
        headlines: Tuple of `Headline`: what to say of it in a few lines.
        summary: The same in a few sentences; empty where tables say it.
    """

    tables: tuple[Table, ...]
    plots: tuple[Dots | Lines, ...]
    checks: tuple[Check, ...]
    headlines: tuple[Headline, ...] = ()
    summary: str = ""
