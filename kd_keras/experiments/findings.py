"""What an experiment found, as data: tables, plots, and claims compared."""

import dataclasses


def by_arm(results):
    """Results of each arm, in the order of the seeds.

    Args:
        results: Dict of `(arm, seed)` to results.

    Returns:
        A dict of arms to lists.
    """
    found = {}
    for (arm, _), result in results.items():
        found.setdefault(arm, []).append(result)
    return found


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
    """

    tables: tuple[Table, ...]
    plots: tuple[Dots | Lines, ...]
    checks: tuple[Check, ...]
