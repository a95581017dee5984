"""Times of alternatives, taken in turn, so that noise meets all of them."""

import dataclasses
import statistics
import time

from kd_keras import comparison


class Counted(float):
    """Seconds that a function counted itself."""


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How long one thing takes as a multiple of another.

    Attributes:
        name: What is compared with what.
        ratios: One number per round.
        seconds: Median seconds of the first, and of the second.
        limit: What the median ratio should be at most or at least, as text
            that begins with `<=` or `>=`; empty for none.
    """

    name: str
    ratios: list
    seconds: tuple[float, float]
    limit: str

    @property
    def median(self):
        """The median over the rounds."""
        return statistics.median(self.ratios)

    @property
    def holds(self):
        """Whether the median keeps to the limit, if there is one."""
        if not self.limit:
            return True
        number = float(self.limit[2:])
        if self.limit.startswith("<="):
            return self.median <= number
        return self.median >= number


def time_in_turn(arms, *, num_rounds=7, warm_up=True):
    """Times functions one after the other, round by round.

    Args:
        arms: Dict of names to functions without arguments. One that returns
            `Counted` seconds says itself how long took what counts.
        num_rounds: Number of rounds that count. Defaults to 7.
        warm_up: Whether one more, the first, does not. Defaults to True.

    Returns:
        Dict of names to lists of seconds, one for each round.

    Example:

    >>> taken = time_in_turn({"a": list, "b": dict}, num_rounds=3)
    >>> len(taken["a"])
    3
    """
    taken = {name: [] for name in arms}
    for round_number in range(num_rounds + warm_up):
        # There and back, so that none is always behind the same other one.
        for name in sorted(
            arms, key=list(arms).index, reverse=round_number % 2 == 1
        ):
            begin = time.perf_counter()
            counted = arms[name]()
            seconds = time.perf_counter() - begin
            taken[name].append(
                counted if isinstance(counted, Counted) else seconds
            )
    return {name: seconds[-num_rounds:] for name, seconds in taken.items()}


def ratio_of(name, taken, first, second, limit):
    """The ratio of what some arms take to what others do, round by round.

    Args:
        name: What is compared with what.
        taken: What `time_in_turn` returned.
        first: Name of an arm, or a tuple of several that are added.
        second: The same.
        limit: As of `Ratio`.

    Returns:
        `Ratio` of the first to the second.

    Example:

    >>> taken = {"live": [3.0, 6.0], "teacher": [1.0, 2.0], "plain": [2.0, 2.0]}
    >>> ratio_of("", taken, "live", ("teacher", "plain"), "<= 2").ratios
    [1.0, 1.5]
    """
    sums = []
    for names in (first, second):
        names = (names,) if isinstance(names, str) else names
        rounds = zip(*(taken[name] for name in names), strict=True)
        sums.append([sum(seconds) for seconds in rounds])
    return Ratio(
        name=name,
        ratios=[a / b for a, b in zip(*sums, strict=True)],
        seconds=tuple(statistics.median(seconds) for seconds in sums),
        limit=limit,
    )


def compare(name, first, second, *, limit, num_rounds=7, warm_up=True):
    """Times two functions in turn.

    Args:
        name: What is compared with what.
        first: Function without arguments.
        second: The same.
        limit: As of `Ratio`.
        num_rounds: As of `time_in_turn`. Defaults to 7.
        warm_up: As of `time_in_turn`. Defaults to True.

    Returns:
        `Ratio` of the first to the second.

    Example:

    >>> ratio = compare(
    ...     "the same", lambda: None, lambda: None, limit=">= 0", num_rounds=3)
    >>> ratio.holds, len(ratio.ratios)
    (True, 3)
    """
    taken = time_in_turn(
        {"first": first, "second": second},
        num_rounds=num_rounds,
        warm_up=warm_up,
    )
    return ratio_of(name, taken, "first", "second", limit)


def table(ratios):
    """Formats ratios with their spread.

    Args:
        ratios: List of `Ratio`.

    Returns:
        A string of lines.
    """
    return comparison.format_table(
        ["what", "seconds", "median ratio", "range", "limit", "holds"],
        [
            [
                ratio.name,
                " / ".join(f"{seconds:.3f}" for seconds in ratio.seconds),
                f"{ratio.median:.3f}",
                f"{min(ratio.ratios):.3f} to {max(ratio.ratios):.3f}",
                ratio.limit,
                ("yes" if ratio.holds else "NO") if ratio.limit else "",
            ]
            for ratio in ratios
        ],
    )
