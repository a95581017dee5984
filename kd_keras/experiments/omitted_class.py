"""Section 3 of Hinton et al. (2015): no 3s in the transfer set.

Paper: the student makes 206 errors, 133 of them on the 1,010 test 3s; with the
bias of class 3 raised by 3.5, "which optimizes overall performance on the test
set", 109, 14 of them on 3s. It gives neither the temperature nor whether
labels were used.
"""

import statistics

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import missing_classes

TITLE = "No 3s: what soft targets say of a class never seen"
NUM_SEEDS = 5
FIXED = missing_classes.FIXED
_OMITTED = 3
# The same student with 3s in its transfer set.
_ALL = "soft-20-all"
_SAYS = {**missing_classes.SAYS, _ALL: "soft targets, T = 20, 3s, too"}


def plan(settings):
    """The `missing_classes.Plan` of settings."""
    return missing_classes.QUICK if settings.quick else missing_classes.Plan()


def arms(settings):
    """Names of the arms, in the order in which they are run."""
    del settings
    return tuple(_SAYS)


def run(arm, seed, lab):
    """Trains one arm of one seed; see `missing_classes`."""
    every = list(range(lab.train.num_classes))
    others = [c for c in every if c != _OMITTED]
    of = plan(lab.settings)
    if arm == _ALL:
        student = missing_classes.train("soft-20", seed, lab, of, every)
    else:
        student = missing_classes.train(arm, seed, lab, of, others)
    return missing_classes.measure(student, lab, others, [_OMITTED])


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    by_arm = findings.by_arm(results, arms(settings))
    paper = {
        "plain": "206 (133 on 3s)",
        "best": "109 (14 on 3s), +3.5",
    }
    rows = []
    for arm, found in by_arm.items():
        for name, says in (
            ("plain", "as it is"),
            ("matched", "prior matched, without labels"),
            ("best", "best on the test split: a diagnostic"),
        ):
            if arm == _ALL and name != "plain":
                continue
            of = [result[name] for result in found]
            is_paper = arm == "soft-20" and not settings.quick
            rows.append(
                [
                    f"{_SAYS[arm]}: {says}",
                    paper.get(name, "-") if is_paper else "-",
                    comparison.interval([x["errors"] for x in of]),
                    comparison.interval([x["unseen_errors"] for x in of]),
                    comparison.interval([x["shift"] for x in of], 2),
                ]
            )
    table = findings.Table(
        "Errors, and errors on test 3s",
        ("arm", "paper", "errors", "on 3s", "shift"),
        rows,
        "Mean with its 95% interval over the seeds, each of which has a "
        "teacher of its own. Prior matched: the shift at which the mean "
        "probability of class 3 over all training images, 3s among them, is "
        "the share that 3s have of them. No label of an image is used for it, "
        "but how frequent 3s are is.",
    )
    dots = findings.Dots(
        "unseen",
        "Test 3s that are missed",
        "share of the test 3s, %",
        {
            f"{_SAYS[arm]}, {says}": _missed(found, name)
            for arm, found in by_arm.items()
            for name, says in (("plain", "as it is"), ("matched", "matched"))
            if (arm, name) != (_ALL, "matched")
        },
        {}
        if settings.quick
        else {f"{_SAYS['soft-20']}, as it is": 100 * 133 / 1010},
    )
    return findings.Findings(
        (table,),
        (dots,),
        tuple(_checks(results, by_arm)),
        tuple(_headlines(by_arm)),
        "" if settings.quick else _summary(by_arm),
    )


def _summary(by_arm):
    """What came out, a sentence."""
    if not by_arm.get("soft-20"):
        return ""
    plain, matched = (
        statistics.fmean(_missed(by_arm["soft-20"], name))
        for name in ("plain", "matched")
    )
    return (
        "A student that never saw a 3, taught by one that did, misses "
        f"{plain:.1f}% of the test 3s, and {matched:.1f}% once its bias is "
        "shifted to match how frequent 3s are (paper: 13.2%, and 1.4% by the "
        "shift that is best on the test split)."
    )


def _missed(found, name):
    """Missed share of the class that was left out, %, for each result."""
    return [
        100 * result[name]["unseen_errors"] / result["unseen_examples"]
        for result in found
    ]


def _headlines(by_arm):
    for name, says, paper in (
        ("plain", "as it is", "133"),
        ("matched", "after the shift that matches the prior", "-"),
        ("best", "after the shift that is best on the test split", "14"),
    ):
        found = by_arm.get("soft-20", ())
        if found:
            yield findings.Headline(
                f"test 3s missed of 1,010, none in the transfer set: {says}",
                paper,
                comparison.interval(
                    [result[name]["unseen_errors"] for result in found]
                ),
                len(found),
            )


def _checks(results, by_arm):
    def share(arm, name):
        return _missed(by_arm.get(arm, ()), name)

    hard = share("hard", "plain")
    if hard:
        yield findings.Check(
            "labels alone: at least 99% of the 3s are missed, in each seed",
            f"{comparison.interval(hard)}%",
            min(hard) >= 99,
            is_certain=True,
        )
    soft = share("soft-20", "plain")
    if not soft:
        return
    yield findings.check_mean(
        "soft targets: at most 30% of the 3s are missed",
        soft,
        most=30,
        unit="%",
    )
    yield findings.check_mean(
        "3s missed after the shift without labels: at most 3.5%",
        share("soft-20", "matched"),
        most=3.5,
        unit="%",
        tried="the recipe of the student of `mnist_table`, no other",
    )
    shifts = [result["best"]["shift"] for result in by_arm["soft-20"]]
    yield findings.Check(
        "the best shift is above 0 and at most 6, in each seed",
        comparison.interval(shifts, 2),
        0 < min(shifts) and max(shifts) <= 6,
    )
    apart = [
        result["matched"]["errors"] - result["best"]["errors"]
        for result in by_arm["soft-20"]
    ]
    yield findings.check_mean(
        "without labels at most 15 errors more than the best shift",
        apart,
        most=15,
    )
    without, with_all = findings.paired(results, "soft-20", _ALL)
    if without:
        yield findings.check_mean(
            "after the shift without labels at most 60 errors more than with "
            "3s in the transfer set",
            [
                one["matched"]["errors"] - other["plain"]["errors"]
                for one, other in zip(without, with_all, strict=True)
            ],
            most=60,
        )
