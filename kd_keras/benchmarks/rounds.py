"""Times of alternatives, taken in turn, so that noise meets all of them."""

import dataclasses
import statistics
import time

from kd_keras import comparison


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How long one thing takes as a multiple of another.

    Attributes:
        name: What is compared with what.
        ratios: One number per round.
        seconds: Median seconds of the first, and of the second.
        limit: What the median ratio should be at most or at least, as text
            that begins with `<=` or `>=`.
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
        """Whether the median keeps to the limit."""
        number = float(self.limit[2:])
        if self.limit.startswith("<="):
            return self.median <= number
        return self.median >= number


def compare(name, first, second, *, limit, num_rounds=7, warm_up=True):
    """Times two functions in turn.

    Args:
        name: What is compared with what.
        first: Function without arguments.
        second: The same.
        limit: As of `Ratio`.
        num_rounds: Number of rounds that count. Defaults to 7.
        warm_up: Whether one more, the first, does not. Defaults to True.

    Returns:
        `Ratio` of the first to the second.

    Example:

    >>> ratio = compare(
    ...     "the same", lambda: None, lambda: None, limit=">= 0", num_rounds=3)
    >>> ratio.holds, len(ratio.ratios)
    (True, 3)
    """
    taken = {0: [], 1: []}
    for round_number in range(num_rounds + warm_up):
        # Each is the first one in turn.
        for which in sorted(taken, reverse=round_number % 2 == 1):
            begin = time.perf_counter()
            (first, second)[which]()
            taken[which].append(time.perf_counter() - begin)
    pairs = list(zip(taken[0], taken[1], strict=True))[-num_rounds:]
    return Ratio(
        name=name,
        ratios=[a / b for a, b in pairs],
        seconds=tuple(
            statistics.median(times) for times in zip(*pairs, strict=True)
        ),
        limit=limit,
    )


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
                "yes" if ratio.holds else "NO",
            ]
            for ratio in ratios
        ],
    )
