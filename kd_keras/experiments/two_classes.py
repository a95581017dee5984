"""Section 3 of Hinton et al. (2015): only 7s and 8s in the transfer set.

Paper: 47.3% test errors; with the biases of 7 and 8 reduced by 7.6, which is
the best on the test split, 13.2%.
"""

import statistics

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import missing_classes

TITLE = "7s and 8s alone: ten classes learnt from two"
NUM_SEEDS = 5
plan, arms = missing_classes.plan, missing_classes.arms
_KEPT = (7, 8)
_PAPER = {"plain": 47.3, "best": 13.2}


def run(arm, seed, lab):
    """Trains one arm of one seed; see `missing_classes.run`."""
    return missing_classes.run(arm, seed, lab, _KEPT, _KEPT)


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    percent, shifts = {}, {}
    for arm, found in findings.by_arm(results, arms(settings)).items():
        for name in ("plain", "matched", "best"):
            percent[arm, name] = [
                100 * result[name]["errors"] / result["test_examples"]
                for result in found
            ]
            shifts[arm, name] = [result[name]["shift"] for result in found]
    says = {
        "plain": "as it is",
        "matched": "prior matched, without labels",
        "best": "best on the test split: a diagnostic",
    }
    paper = {} if settings.quick else {"soft-20": _PAPER}
    rows = [
        [
            f"{missing_classes.SAYS[arm]}: {says[name]}",
            f"{paper.get(arm, {}).get(name, '-')}",
            comparison.interval(values),
            comparison.interval(shifts[arm, name], 2),
        ]
        for (arm, name), values in percent.items()
    ]
    table = findings.Table(
        "Errors on all ten classes, %",
        ("arm", "paper", "ours", "shift"),
        rows,
        "Mean with its 95% interval over the seeds, each of which has a "
        "teacher of its own. Prior matched: the shift at which 7 and 8 "
        "together are predicted for as large a share of the training images "
        "as they have.",
    )
    dots = findings.Dots(
        "errors",
        "Errors",
        "errors on the test split, %",
        {
            f"{missing_classes.SAYS[arm]}: {says[name]}": values
            for (arm, name), values in percent.items()
        },
        {
            f"{missing_classes.SAYS[arm]}: {says[name]}": value
            for arm, of in paper.items()
            for name, value in of.items()
            if (arm, name) in percent
        },
    )
    return findings.Findings(
        (table,),
        (dots,),
        tuple(_checks(percent, shifts)),
        tuple(_headlines(percent)),
    )


def _headlines(percent):
    for name, says in (
        ("plain", "as it is"),
        ("matched", "after the shift that matches the prior"),
        ("best", "after the shift that is best on the test split"),
    ):
        values = percent.get(("soft-20", name))
        if values:
            yield findings.Headline(
                f"errors on ten classes, 7s and 8s seen, %: {says}",
                str(_PAPER.get(name, "-")),
                comparison.interval(values),
                len(values),
            )


def _checks(percent, shifts):
    plain = percent.get(("soft-20", "plain"))
    if not plain:
        return
    matched = percent["soft-20", "matched"]
    yield findings.Check(
        "soft targets: at most 50% errors",
        f"{comparison.interval(plain)}%",
        statistics.fmean(plain) <= 50,
    )
    yield findings.Check(
        "after the shift without labels: at most 15%",
        f"{comparison.interval(matched)}%",
        statistics.fmean(matched) <= 15,
    )
    best = percent["soft-20", "best"]
    gains = [before - after for before, after in zip(plain, best, strict=True)]
    yield findings.Check(
        "the best shift takes at least 3 points, and is below 0 in all seeds",
        f"{comparison.interval(gains)} points; shifts "
        f"{comparison.interval(shifts['soft-20', 'best'], 2)}",
        statistics.fmean(gains) >= 3 and max(shifts["soft-20", "best"]) < 0,
    )
    hard = percent.get(("hard", "plain"))
    if hard:
        yield findings.Check(
            "labels alone: at least 79% errors",
            f"{comparison.interval(hard)}%",
            min(hard) >= 79,
            is_certain=True,
        )
