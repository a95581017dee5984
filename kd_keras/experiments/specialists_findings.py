"""What the experiment with specialists found: tables 3 and 4, and claims."""

import statistics

import numpy as np

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import per_example

SAYS = {
    "generalist": "the generalist",
    "clusters": "with specialists",
    "covariance": "classes by the covariance, as in the paper",
    "random": "classes at random",
    "uncorrected": "dustbins not corrected",
    "full-softmax": "specialists that tell all classes",
    "longer": "the generalist, trained on for as long",
    "anew": "a generalist, trained as much longer",
    "student-combined": "one net, distilled from all",
    "student-generalist": "one net, distilled from the generalist",
}
_SYSTEMS = ("clusters", "covariance", "random", "uncorrected", "full-softmax")
_LONGER = ("longer", "anew")
# Table 3, and the share of examples in table 4 that more get right.
_PAPER = {"generalist": "25.0", "clusters": "26.1"}
_PAPER_CONDITIONAL = "43.1 / 45.9"
# The most that a p-value may be.
_LEVEL = 0.05


def find(results, plan):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to results of `specialists.run`.
        plan: `specialists.Plan`.

    Returns:
        `findings.Findings`.
    """
    by_arm = findings.by_arm(results, SAYS)
    tables = [_accuracies(results, by_arm, plan), *_systems(by_arm)]
    dots = findings.Dots(
        "accuracy",
        "Accuracy",
        "accuracy on the test split, %",
        {SAYS[arm]: _accuracy(found) for arm, found in by_arm.items()},
    )
    return findings.Findings(
        tuple(tables),
        (dots,),
        tuple(_checks(results, by_arm)),
        tuple(_headlines(results, by_arm)),
    )


def _accuracy(found):
    return [100 * result["test_accuracy"] for result in found]


def _gained(results, arm, baseline):
    """Points of accuracy by which an arm is better, for each paired seed."""
    better, worse = findings.paired(results, arm, baseline)
    return [
        a - b for a, b in zip(_accuracy(better), _accuracy(worse), strict=True)
    ]


def _accuracies(results, by_arm, plan):
    rows = []
    for arm, found in by_arm.items():
        gained = _gained(results, arm, "generalist")
        pair = findings.paired(results, "generalist", arm)
        is_other = arm != "generalist" and gained
        rows.append(
            [
                SAYS[arm],
                comparison.interval(_accuracy(found), 2),
                " ".join(f"{value:.2f}" for value in _accuracy(found)),
                comparison.interval(gained, 2) if is_other else "-",
                " ".join(f"{p:.2g}" for p in per_example.mcnemar(*pair))
                if is_other
                else "-",
            ]
        )
    return findings.Table(
        "Accuracy on the test split, %",
        ("arm", "accuracy", "each seed", "gained, points", "McNemar's p"),
        rows,
        "Means with 95% intervals over the seeds, each with a generalist of "
        "its own. Gained: against the generalist of the same seed, with the "
        f"p-value of each. The generalist: {plan.generalist.epochs} epochs. "
        f"{plan.num_sets} specialists of {plan.set_size} classes, "
        f"{plan.specialist.head_epochs} epochs of the head alone and "
        f"{plan.specialist.epochs} of all; {plan.specialist.sampled_share:.0%} "
        "of what each sees is of its classes (paper: half). "
        f"{_shown(by_arm)}",
    )


def _shown(by_arm):
    """What was spent on specialists and on the controls, as a sentence."""
    parts = [
        f"{SAYS[arm]} {by_arm[arm][0]['examples_shown']:,}"
        for arm in ("clusters", "random", *_LONGER)
        if arm in by_arm
    ]
    if not parts:
        return ""
    return (
        "Examples shown beyond the generalist's own training, over all epochs "
        f"and specialists, of the first seed: {'; '.join(parts)}. Epochs "
        "that train a head alone count as the others."
    )


def _systems(by_arm):
    """The tables of arms with specialists."""
    systems = {arm: by_arm[arm] for arm in _SYSTEMS if arm in by_arm}
    if not systems:
        return
    yield findings.Table(
        "Among the classes of specialists: accuracy, % (table 3)",
        ("arm", "paper: before / after", "generalist", "combined", "gained"),
        [
            [
                SAYS[arm],
                _PAPER_CONDITIONAL if arm == "clusters" else "-",
                *(comparison.interval(one, 2) for one in _conditional(found)),
                comparison.interval(_conditional_gain(found), 2),
            ]
            for arm, found in systems.items()
        ],
        "Of the test examples whose class some specialist has, with the choice "
        "between all such classes.",
    )
    for arm in ("clusters", "full-softmax", "random"):
        if arm in systems:
            yield _coverage(arm, systems[arm])
    if "clusters" in systems:
        classes = systems["clusters"][0]["classes"]
        yield findings.Table(
            "Classes of the specialists of the first seed",
            ("specialist", "classes"),
            [
                [f"{number}", ", ".join(names)]
                for number, names in enumerate(classes)
            ],
        )


def _conditional(found):
    pairs = [result["conditional_accuracy"] for result in found]
    return [
        [100 * value for value in values] for values in zip(*pairs, strict=True)
    ]


def _conditional_gain(found):
    before, after = _conditional(found)
    return [b - a for a, b in zip(before, after, strict=True)]


def _coverage(arm, found):
    lines = _summed(found)
    return findings.Table(
        f"By the number of specialists that have the class (table 4): "
        f"{SAYS[arm]}",
        ("specialists", "test examples", "right: generalist", "change")
        + ("change, %",),
        [
            [
                f"{number}",
                f"{examples:,}",
                f"{right:,}",
                f"{gained:+,}",
                f"{100 * gained / right:+.1f}" if right else "-",
            ]
            for number, (examples, right, gained) in lines.items()
        ],
        "All seeds together. Paper: no change at 0 specialists, then +3.4%, "
        "+7.4%, +8.8%, ... and +14.1% from 10 on.",
    )


def _summed(found):
    """Examples, right and gained by number of specialists, over the seeds."""
    lines = {}
    for result in found:
        for line in result["coverage"]:
            of = lines.setdefault(line["specialists"], np.zeros(3, int))
            of += [line["examples"], line["generalist_right"], line["gained"]]
    return dict(sorted(lines.items()))


def _headlines(results, by_arm):
    for arm in ("generalist", "clusters", *_LONGER):
        if arm in by_arm:
            values = _accuracy(by_arm[arm])
            yield findings.Headline(
                f"test accuracy, %: {SAYS[arm]}",
                f"{_PAPER[arm]} (JFT)" if arm in _PAPER else "-",
                comparison.interval(values, 2),
                len(values),
            )
    if "clusters" in by_arm:
        gained = _conditional_gain(by_arm["clusters"])
        yield findings.Headline(
            "points gained among the classes of specialists",
            "2.8 (JFT)",
            comparison.interval(gained, 2),
            len(gained),
        )
    if kept := _kept(results):
        yield findings.Headline(
            "share of the specialists' gain that one distilled net keeps",
            "-",
            kept.text,
            kept.seeds,
        )


def _kept(results):
    """Share of the gain that a student keeps, a `findings.Share`, or None."""
    each = findings.paired(
        results,
        *("student-combined", "student-generalist", "clusters", "generalist"),
    )
    if not each[0]:
        return None
    student, control, system, generalist = map(_accuracy, each)
    bounds = comparison.ratio_of_means(
        np.subtract(student, control).tolist(),
        np.subtract(system, generalist).tolist(),
    )
    return findings.Share(*bounds, len(student))


def _checks(results, by_arm):
    """The lines of the protocol, as far as there are results."""
    alone = [r for arm in _SYSTEMS for r in by_arm.get(arm, ())]
    if alone:
        changed = sum(result["none_asked_and_changed"] for result in alone)
        none_asked = sum(result["none_asked"] for result in alone)
        yield findings.Check(
            "where no specialist is asked, nothing changes",
            f"{changed} of {none_asked:,} examples"
            if none_asked
            else "each example asks one",
            changed == 0 if none_asked else None,
            is_certain=True,
        )
    for baseline in ("generalist", *_LONGER):
        better, worse = findings.paired(results, "clusters", baseline)
        if better:
            yield _is_better(
                f"with specialists: above {SAYS[baseline]} (p < {_LEVEL} for "
                "each seed)",
                _gained(results, "clusters", baseline),
                per_example.mcnemar(better, worse),
            )
    for baseline in ("random", "covariance", "uncorrected"):
        gained = _gained(results, "clusters", baseline)
        if gained:
            yield findings.Check(
                f"with specialists: at least as good as {SAYS[baseline]}",
                _points(gained),
                statistics.fmean(gained) >= 0,
            )
    if "clusters" in by_arm:
        yield _grows(by_arm["clusters"])
    if kept := _kept(results):
        gain = statistics.fmean(_gained(results, "clusters", "generalist"))
        claim = "one net distilled from all keeps at least half of the gain"
        if gain > 0:
            yield findings.check_share(
                claim, kept, 0.5, f" of it, which is {gain:.2f} points"
            )
        else:
            yield findings.Check(claim, "there is no gain to keep", None)


def _is_better(claim, gained, values):
    """A claim that each seed has to bear out: more, and not by chance."""
    sure = [
        gain > 0 and p < _LEVEL for gain, p in zip(gained, values, strict=True)
    ]
    return findings.Check(
        claim,
        f"{_points(gained)}; p = {', '.join(f'{p:.2g}' for p in values)}",
        all(sure),
    )


def _grows(found):
    """Whether more is gained where more specialists have the class."""
    shares = {1: np.zeros(2, int), 2: np.zeros(2, int)}
    for number, (_, right, gained) in _summed(found).items():
        if number:
            shares[min(number, 2)] += [gained, right]
    one, more = (
        100 * gained / right if right else 0.0
        for gained, right in shares.values()
    )
    return findings.Check(
        "more is gained where two or more specialists have the class than "
        "where one has",
        f"{more:+.1f}% against {one:+.1f}% of what the generalist gets right",
        bool(more >= one),
    )


def _points(gained):
    mean, low, high = comparison.paired_difference(gained, [0.0] * len(gained))
    if len(gained) == 1:
        return f"{mean:+.2f} points"
    return f"{mean:+.2f} points ({low:+.2f} to {high:+.2f})"
