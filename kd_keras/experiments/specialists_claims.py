"""What is claimed of specialists, and whether the results bear it out."""

import statistics

import numpy as np

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import per_example
from kd_keras.experiments import specialists_numbers as numbers

# The most that a p-value may be.
_LEVEL = 0.05


def summary(results, plan):
    """What came out, in a few sentences.

    Args:
        results: As of `checks`.
        plan: `specialists.Plan`.

    Returns:
        A string; empty if there is nothing to compare.
    """
    before, after = _means(results, "generalist", "clusters")
    if before is None:
        return ""
    said = [
        f"Specialists bring the generalist from {before:.1f} to {after:.1f}% "
        f"({_certainty(results, 'clusters', 'generalist')})."
    ]
    for arm in numbers.LONGER:
        alone, after = _means(results, arm, "clusters")
        if alone is not None:
            said.append(
                f"Without any, {numbers.SAYS[arm]}, has {alone:.1f}%; "
                f"specialists are {_apart(after - alone)} that "
                f"({_certainty(results, 'clusters', arm)})."
            )
    corrected, not_corrected = _means(results, "clusters", "uncorrected")
    if corrected is not None:
        more = not_corrected - corrected
        pair = "clusters", "uncorrected"
        if more > 0:
            pair = "uncorrected", "clusters"
        said.append(
            "The exact correction of their dustbins "
            f"{'costs' if more > 0 else 'gives'} {abs(more):.1f} points "
            f"({_certainty(results, *pair)})."
        )
    not_corrected, alone = _means(results, "uncorrected", "longer")
    if alone is not None:
        said.append(
            f"Not corrected, they are {_apart(not_corrected - alone)} the "
            "generalist that is trained on "
            f"({_certainty(results, 'uncorrected', 'longer')}), which was "
            "looked at afterwards."
        )
    covered, control = _means(results, "covariance", "random")
    if covered is not None:
        text = (
            f"With {numbers.SAYS['covariance']}, they are "
            f"{_apart(covered - control)} {numbers.SAYS['random']}"
        )
        covered, control = _means(results, "covariance", "covariance-random")
        if covered is not None:
            text += (
                f", and {_apart(covered - control)} "
                f"{numbers.SAYS['covariance-random']} "
                f"({_certainty(results, 'covariance', 'covariance-random')}; "
                "looked at afterwards)"
            )
        said.append(f"{text}.")
    whole, net = _means(results, "generalist", "student-combined")
    if whole is not None:
        said.append(
            f"A net distilled from all in {plan.student.epochs} epochs is "
            f"{_apart(net - whole)} the generalist, which "
            f"had {plan.generalist.epochs}."
        )
    return " ".join(said)


def _means(results, *arms):
    """Mean accuracies, %, over the seeds that all arms have; else None."""
    each = findings.paired(results, *arms)
    return [
        statistics.fmean(numbers.accuracy(found)) if found else None
        for found in each
    ]


def _apart(points):
    return f"{abs(points):.1f} points {'below' if points < 0 else 'above'}"


def _certainty(results, arm, baseline):
    """In how many seeds an arm is better by more than chance."""
    pair = _Pair(results, arm, baseline)
    return f"p < {_LEVEL} in {sum(pair.sure)} of {len(pair.sure)} seeds"


def checks(results, by_arm, plan):
    """The lines of the protocol, as far as there are results.

    Args:
        results: Dict of `(arm, seed)` to results of `specialists.run`.
        by_arm: The same by arm, as of `findings.by_arm`.
        plan: `specialists.Plan`.

    Yields:
        `findings.Check`.
    """
    alone = [r for arm in numbers.SYSTEMS for r in by_arm.get(arm, ())]
    if alone:
        changed = sum(result["none_asked_and_changed"] for result in alone)
        none_asked = sum(result["none_asked"] for result in alone)
        arms = [
            f"`{arm}`"
            for arm in numbers.SYSTEMS
            if any(result["none_asked"] for result in by_arm.get(arm, ()))
        ]
        yield findings.Check(
            "where no specialist is asked, what is right stays right, and "
            "what is wrong wrong",
            f"{changed} of {none_asked:,} examples, in {', '.join(arms)}"
            if none_asked
            else "each example asks one",
            changed == 0 if none_asked else None,
            is_certain=True,
        )
    for baseline in ("generalist", *numbers.LONGER):
        if (results_of := _Pair(results, "clusters", baseline)).gained:
            yield results_of.is_better()
    for baseline in numbers.LONGER:
        if (results_of := _Pair(results, "uncorrected", baseline)).gained:
            # No line of the protocol, in which they are a control.
            yield results_of.is_better("looked at afterwards, ")
    for arm, baseline in (
        ("clusters", "random"),
        ("covariance", "random"),
        ("covariance", "covariance-random"),
        ("clusters", "covariance"),
        ("clusters", "uncorrected"),
    ):
        if (results_of := _Pair(results, arm, baseline)).gained:
            is_late = baseline == "covariance-random"
            yield results_of.is_no_worse(
                begins="looked at afterwards, " if is_late else ""
            )
    if "clusters" in by_arm:
        yield _grows(by_arm["clusters"])
    yield from _of_students(results, plan)


class _Pair:
    """An arm, and one that it is compared with, seed by seed."""

    def __init__(self, results, arm, baseline):
        self._name = numbers.SAYS[arm]
        self._other = numbers.SAYS[baseline]
        self.gained = numbers.gained(results, arm, baseline)
        self._p = per_example.mcnemar(*findings.paired(results, arm, baseline))

    @property
    def measured(self):
        """The points gained, with the p-value of each seed, as text."""
        return f"{numbers.points(self.gained)}{self.p_text}"

    @property
    def p_text(self):
        """McNemar's p-value of each seed, as the end of a text."""
        return f"; p = {', '.join(f'{p:.2g}' for p in self._p)}"

    @property
    def sure(self):
        """Of each seed, whether there is more, and not by chance."""
        return [
            gain > 0 and p < _LEVEL
            for gain, p in zip(self.gained, self._p, strict=True)
        ]

    def is_better(self, begins=""):
        """A claim that each seed has to bear out; how its text begins."""
        return findings.Check(
            f"{begins}{self._name}: above {self._other} (p < {_LEVEL} for each "
            "seed)",
            self.measured,
            all(self.sure),
        )

    def is_no_worse(self, *, begins="", ends=""):
        """A claim of the mean over the seeds; how its text begins, and ends."""
        holds, is_sure = _is_above_zero(self.gained)
        return findings.Check(
            f"{begins}{self._name}: at least as good as {self._other}{ends}",
            self.measured,
            holds,
            is_sure=is_sure,
        )


def _is_above_zero(values):
    """Whether a mean is not below 0, and whether its interval says so."""
    mean, low, high = comparison.paired_difference(values, [0.0] * len(values))
    holds = mean >= 0
    return holds, bool(low >= 0 if holds else high < 0)


def _grows(found):
    """Whether more is gained where more specialists have the class."""
    each = [_shares([result]) for result in found]
    one, more = _shares(found)
    holds, is_sure = _is_above_zero([b - a for a, b in each])
    return findings.Check(
        "more is gained where two or more specialists have the class than "
        "where one has",
        f"{more:+.1f}% against {one:+.1f}% of what the generalist gets right",
        holds,
        is_sure=is_sure,
    )


def _shares(found):
    """What is gained where one specialist has the class, and more have, %."""
    sums = {1: np.zeros(2, int), 2: np.zeros(2, int)}
    for number, (_, right, gained) in numbers.covering(found).items():
        if number:
            sums[min(number, 2)] += [gained, right]
    return [
        100 * gained / right if right else 0.0
        for gained, right in sums.values()
    ]


def _of_students(results, plan):
    """What of it comes to one net."""
    if kept := numbers.kept(results):
        student, system = numbers.gains_of_students(results)
        gain = statistics.fmean(system)
        claim = (
            "one net distilled from all gains, over one distilled from the "
            "generalist, at least half of what the specialists gain over the "
            "generalist"
        )
        if gain > 0:
            pair = _Pair(results, "student-combined", "student-generalist")
            more = f": {numbers.points(student)} of {gain:.2f}{pair.p_text}"
            yield findings.check_share(claim, kept, 0.5, more)
        else:
            yield findings.Check(claim, "there is no gain to keep", None)
    pair = _Pair(results, "student-combined", "generalist")
    if pair.gained:
        yield pair.is_no_worse(
            ends=f", {plan.student.epochs} epochs against "
            f"{plan.generalist.epochs}"
        )
