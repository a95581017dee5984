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


def recovered(baseline, distilled, reference):
    """Share of a gap in errors that distillation closes.

    Args:
        baseline: Errors without it, one number for each seed.
        distilled: Errors with it, of the same seeds.
        reference: Errors of what it is to reach, of the same seeds.

    Returns:
        A tuple of the share of the means, 0 at the baseline and 1 at the
        reference, and of a text with its 95% interval.
    """
    share, low, high = comparison.ratio_of_means(
        [one - other for one, other in zip(baseline, distilled, strict=True)],
        [one - other for one, other in zip(baseline, reference, strict=True)],
    )
    text = f"{share:.2f}"
    if math.isfinite(low):
        text += f" ({low:.2f} to {high:.2f})"
    return share, text


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
    """

    claim: str
    measured: str
    holds: bool | None
    is_certain: bool = False


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that an experiment found.

    Attributes:
        tables: Tuple of `Table`.
        plots: Tuple of `Dots` and `Lines`.
        checks: Tuple of `Check`.
        headlines: Tuple of `Headline`: what to say of it in a few lines.
    """

    tables: tuple[Table, ...]
    plots: tuple[Dots | Lines, ...]
    checks: tuple[Check, ...]
    headlines: tuple[Headline, ...] = ()
