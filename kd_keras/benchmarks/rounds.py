"""Times of alternatives, taken in turn, so that noise meets all of them."""

import dataclasses
import gc
import math
import random
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
        medians: Of what the first takes, and the second.
        limit: What the median ratio should be at most or at least, as text
            that begins with `<=` or `>=`; empty for none.
        unit: Of the medians, `"s"` or `"B"`. Defaults to seconds.
    """

    name: str
    ratios: list
    medians: tuple[float, float]
    limit: str
    unit: str = "s"

    @property
    def median(self):
        """The median over the rounds."""
        return statistics.median(self.ratios)

    @property
    def interval(self):
        """The 95% interval of the median, by drawing rounds again."""
        draw = random.Random(0)
        medians = sorted(
            statistics.median(draw.choices(self.ratios, k=len(self.ratios)))
            for _ in range(1000)
        )
        return medians[25], medians[-26]

    @property
    def verdict(self):
        """Whether the median keeps to the limit.

        Returns:
            `"yes"` or `"NO"` if the whole interval is on that side of the
            limit, and else `"in the median"` or `"not in the median"`; empty
            if there is no limit.
        """
        if not self.limit:
            return ""
        if self.keeps:
            surely = all(map(self._keeps, self.interval))
            return "yes" if surely else "in the median"
        maybe = any(map(self._keeps, self.interval))
        return "not in the median" if maybe else "NO"

    @property
    def keeps(self):
        """Whether the median keeps to the limit, if there is one."""
        return not self.limit or self._keeps(self.median)

    def _keeps(self, ratio):
        number = float(self.limit[2:])
        return ratio <= number if self.limit[0] == "<" else ratio >= number


def time_in_turn(arms, *, num_rounds=7, warm_up=True, is_reversed=False):
    """Times functions one after the other, round by round.

    Args:
        arms: Dict of names to functions without arguments. One that returns
            `Counted` seconds says itself how long took what counts.
        num_rounds: Number of rounds that count. Defaults to 7.
        warm_up: Whether one more, before these, does not. Defaults to True.
        is_reversed: Whether to begin with the last. Defaults to False.

    Returns:
        Dict of names to lists of seconds, one for each round.

    Example:

    >>> taken = time_in_turn({"a": list, "b": dict}, num_rounds=3)
    >>> len(taken["a"])
    3
    """
    taken = {name: [] for name in arms}
    for round_number in range(-1 if warm_up else 0, num_rounds):
        # There and back, so that none is always behind the same other one. As
        # the first that counts goes what does not, or one would follow itself.
        is_back = (max(round_number, 0) + is_reversed) % 2 == 1
        for name in sorted(arms, key=list(arms).index, reverse=is_back):
            begin = time.perf_counter()
            counted = arms[name]()
            seconds = time.perf_counter() - begin
            taken[name].append(
                counted if isinstance(counted, Counted) else seconds
            )
    return {name: seconds[-num_rounds:] for name, seconds in taken.items()}


def time_instances(make_arms, *, num_instances, num_rounds=7):
    """As `time_in_turn`, with arms that are made several times.

    Two models that are built alike differ in where in memory they lie, and so
    in the time of a step, for as long as they live: more rounds of the same
    two do not take that out.

    Args:
        make_arms: Function without arguments that makes the arms.
        num_instances: How many times it does.
        num_rounds: Rounds that count of all together, at least. Defaults to 7.

    Returns:
        As `time_in_turn`.

    Example:

    >>> taken = time_instances(lambda: {"a": list}, num_instances=4)
    >>> len(taken["a"])
    8
    """
    taken = {}
    for instance in range(num_instances):
        found = time_in_turn(
            make_arms(),
            num_rounds=math.ceil(num_rounds / num_instances),
            is_reversed=instance % 2 == 1,
        )
        for name, seconds in found.items():
            taken.setdefault(name, []).extend(seconds)
        # Models refer to themselves, and large ones would add up.
        gc.collect()
    return taken


def ratio_of(name, taken, first, second, limit, unit="s"):
    """The ratio of what some arms take to what others do, round by round.

    Args:
        name: What is compared with what.
        taken: What `time_in_turn` returned.
        first: Name of an arm, or a tuple of several that are added.
        second: The same.
        limit: As of `Ratio`.
        unit: As of `Ratio`.

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
        medians=tuple(statistics.median(each) for each in sums),
        limit=limit,
        unit=unit,
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
    >>> ratio.verdict, len(ratio.ratios)
    ('yes', 3)
    """
    taken = time_in_turn(
        {"first": first, "second": second},
        num_rounds=num_rounds,
        warm_up=warm_up,
    )
    return ratio_of(name, taken, "first", "second", limit)


def amount(value, unit):
    """Seconds or bytes as text, with three digits that count.

    Args:
        value: float.
        unit: As of `Ratio`.

    Returns:
        A string.

    Example:

    >>> amount(0.01234, "s"), amount(2.5e-6, "s"), amount(557.8e6, "B")
    ('12.3 ms', '2.50 us', '558 MB')
    """
    if unit == "B":
        value, unit = value / 1e6, "MB"
    else:
        for unit in ("s", "ms", "us"):
            if value >= 1 or unit == "us":
                break
            value *= 1000
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {unit}"


def _interval_text(ratio):
    """The interval; "-" of one round, or where all rounds are the same."""
    low, high = ratio.interval
    return "-" if low == high else f"{low:.3f} to {high:.3f}"


def table(ratios):
    """Formats ratios with the intervals of their medians.

    Args:
        ratios: List of `Ratio`.

    Returns:
        A string of lines.
    """
    return comparison.format_table(
        ["what", "medians", "median ratio", "95%", "limit", "holds"],
        [
            [
                ratio.name,
                " / ".join(amount(one, ratio.unit) for one in ratio.medians),
                f"{ratio.median:.3f}",
                _interval_text(ratio),
                ratio.limit,
                ratio.verdict,
            ]
            for ratio in ratios
        ],
    )
