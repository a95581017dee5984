"""What the experiment with specialists found: tables 3 and 4, and claims."""

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import per_example
from kd_keras.experiments import specialists_claims as claims
from kd_keras.experiments import specialists_numbers as numbers

# Table 3, and the share of examples in table 4 that more get right.
_PAPER = {"generalist": "25.0", "clusters": "26.1"}
_PAPER_CONDITIONAL = "43.1 / 45.9"
# Arms that differ in the classes of their specialists.
_CHOICES = ("clusters", "covariance", "random", "covariance-random")


def find(results, plan):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to results of `specialists.run`.
        plan: `specialists.Plan`.

    Returns:
        `findings.Findings`.
    """
    by_arm = findings.by_arm(results, numbers.SAYS)
    tables = [
        _accuracies(results, by_arm, plan),
        *_probabilities(by_arm),
        *_systems(by_arm),
    ]
    dots = findings.Dots(
        "accuracy",
        "Accuracy",
        "accuracy on the test split, %",
        {
            numbers.SAYS[arm]: numbers.accuracy(found)
            for arm, found in by_arm.items()
        },
    )
    return findings.Findings(
        tuple(tables),
        (dots,),
        tuple(claims.checks(results, by_arm, plan)),
        tuple(_headlines(results, by_arm)),
        claims.summary(results, plan),
    )


def _accuracies(results, by_arm, plan):
    rows = []
    for arm, found in by_arm.items():
        gained = numbers.gained(results, arm, "generalist")
        pair = findings.paired(results, "generalist", arm)
        is_other = arm != "generalist" and gained
        rows.append(
            [
                numbers.SAYS[arm],
                comparison.interval(numbers.accuracy(found), 2),
                " ".join(f"{value:.2f}" for value in numbers.accuracy(found)),
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
        "p-value of each. The generalist: a convnet with "
        f"{', '.join(map(str, plan.filters))} filters{_minutes(by_arm)}, "
        f"{plan.generalist.epochs} epochs at "
        f"{plan.generalist.learning_rate:g}, falling to 0. {plan.num_sets} "
        f"specialists of {plan.set_size} classes, those that the generalist's "
        "predictions for the training images (T = 1) confuse by their "
        "correlation, unless the arm says otherwise; all together are "
        f"{plan.num_sets + 1} nets of that size; "
        f"{plan.specialist.head_epochs} epochs of the head alone and "
        f"{plan.specialist.epochs} of all, at {plan.specialist.learning_rate:g}"
        f" as the generalist that is trained on; "
        f"{plan.specialist.sampled_share:.0%} of what each sees is of its "
        "classes (paper: half). Distilled nets are built as the generalist and "
        f"have {plan.student.epochs} epochs, with soft targets at T = "
        f"{plan.temperature:g}, of weight {plan.soft_weight:g}, for "
        f"{plan.num_views} stored views of each image. {_shown(by_arm)}"
        f"{_not_run(by_arm)}",
    )


def _not_run(by_arm):
    """The arms of which there is no result, as a sentence."""
    missing = [
        f"{says} (`{arm}`)"
        for arm, says in numbers.SAYS.items()
        if arm not in by_arm
    ]
    return f" Not run: {'; '.join(missing)}." if missing else ""


def _probabilities(by_arm):
    """What else test examples say of the probabilities."""
    names = "negative_log_likelihood", "calibration_error"
    rows = [
        [
            numbers.SAYS[arm],
            *(
                comparison.interval([result[name] for result in found], 3)
                for name in names
            ),
        ]
        for arm, found in by_arm.items()
        if all(name in result for result in found for name in names)
    ]
    if rows:
        yield findings.Table(
            "What the probabilities are worth",
            ("arm", "negative log-likelihood, nats", "calibration error"),
            rows,
            "Means with 95% intervals over the seeds; less is better.",
        )


def _minutes(by_arm):
    """How long a generalist takes to train."""
    if not all("seconds" in one for one in by_arm.get("generalist", [{}])):
        return ""
    minutes = [one["seconds"] / 60 for one in by_arm["generalist"]]
    return f", trained in {min(minutes):.0f} to {max(minutes):.0f} minutes"


def _shown(by_arm):
    """What was spent on specialists and on the controls, as a sentence."""
    parts = [
        f"{numbers.SAYS[arm]} {by_arm[arm][0]['examples_shown']:,}"
        for arm in (*_CHOICES, *numbers.LONGER)
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
    systems = {arm: by_arm[arm] for arm in numbers.SYSTEMS if arm in by_arm}
    if not systems:
        return
    yield findings.Table(
        "Among the classes of specialists: accuracy, % (table 3)",
        ("arm", "classes", "paper: before / after", "generalist", "combined")
        + ("gained",),
        [
            [
                numbers.SAYS[arm],
                f"{len(set().union(*found[0]['classes']))}",
                _PAPER_CONDITIONAL if arm == "clusters" else "-",
                *(comparison.interval(one, 2) for one in _conditional(found)),
                comparison.interval(_conditional_gain(found), 2),
            ]
            for arm, found in systems.items()
        ],
        "Of the test examples whose class some specialist has, with the choice "
        "between all such classes. Classes: how many some specialist of the "
        "first seed has; where these are all, it is accuracy itself.",
    )
    for arm, found in systems.items():
        yield _coverage(arm, found)
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
    lines = numbers.covering(found)
    return findings.Table(
        f"By the number of specialists that have the class (table 4): "
        f"{numbers.SAYS[arm]}",
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
        "All seeds together, by the class that is right; which specialists "
        "are asked depends on the one that the generalist predicts, so that "
        "there may be a change at 0, too. Paper: no change at 0 specialists, "
        "then +3.4%, +7.4%, +8.8%, ... and +14.1% from 10 on.",
    )


def _headlines(results, by_arm):
    for arm in ("generalist", "clusters", *numbers.LONGER, "student-combined"):
        if arm in by_arm:
            values = numbers.accuracy(by_arm[arm])
            yield findings.Headline(
                f"test accuracy, %: {numbers.SAYS[arm]}",
                f"{_PAPER[arm]} (JFT)" if arm in _PAPER else "-",
                comparison.interval(values, 2),
                len(values),
            )
    found = by_arm.get("clusters")
    if found and numbers.covering(found).get(0, [0])[0]:
        # Otherwise it is what accuracy gains.
        gained = _conditional_gain(found)
        yield findings.Headline(
            "points gained among the classes of specialists",
            "2.8 (JFT)",
            comparison.interval(gained, 2),
            len(gained),
        )
    if kept := numbers.kept(results):
        yield findings.Headline(
            "share of that gain which comes to one distilled net, beside one "
            "distilled from the generalist",
            "-",
            kept.text,
            kept.seeds,
        )
