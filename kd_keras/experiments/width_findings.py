"""What the width experiment shows: tables, plots, and the protocol's lines."""

from kd_keras import comparison
from kd_keras.experiments import bounds
from kd_keras.experiments import findings
from kd_keras.experiments import width_checks
from kd_keras.experiments.width_measures import HARD_RADIUS
from kd_keras.experiments.width_measures import RADIUS
from kd_keras.experiments.width_measures import accuracies
from kd_keras.experiments.width_measures import gap_of
from kd_keras.experiments.width_measures import name_of
from kd_keras.experiments.width_measures import paper_gap
from kd_keras.experiments.width_measures import signed
from kd_keras.experiments.width_measures import teachers

_INTERVALS = "Mean with its 95% interval over the seeds."
_MARGINS = (0.1, 0.01)
# Hidden units of which it depends on the seed whether a net learns.
_BY_CHANCE = 2


def find(results, arms, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `width.run` returned.
        arms: Names of all arms.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    regimes = {"practical": {}, "theorem": {}, "deep": {}}
    for arm, found in findings.by_arm(results, arms).items():
        regime, _, task = arm.partition("-")
        regimes[regime][task] = found
    practical, theorem, deep = regimes.values()
    tables, plots = [], []
    if practical or deep:
        tables.append(_practical_table({**practical, **deep}))
    if theorem:
        tables.append(_theorem_table(theorem))
        plots.append(_theorem_lines(theorem))
        if "all" in theorem and "1" in theorem["all"][0]["students"]:
            tables.append(_bounds_table(theorem["all"]))
    if practical:
        plots.append(_practical_lines(practical))
    if deep:
        plots.append(_deep_lines(deep))
    return findings.Findings(
        tuple(tables),
        tuple(plots),
        (
            *width_checks.checks(practical, theorem, settings),
            *([] if settings.quick else width_checks.of_difficulty(results)),
        ),
        tuple(width_checks.headlines(practical, theorem, deep)),
        "" if settings.quick else width_checks.summary(practical, theorem),
    )


def _practical_table(tasks):
    rows = []
    for task, found in tasks.items():
        for width in found[0]["students"]:
            rows.append(
                [
                    f"{name_of(task)}, {width}",
                    comparison.interval(teachers(found), 2),
                    comparison.interval(accuracies(found, "hard", width), 2),
                    *(
                        signed(gap_of(found, target, width))
                        for target in ("soft-1", "soft-4")
                    ),
                ]
            )
    return findings.Table(
        "All weights trained by Adam: accuracy, %, and what soft targets add",
        ("task, width", "teacher", "labels", "T = 1", "T = 4"),
        rows,
        f"{_INTERVALS} Soft targets alone, points of accuracy above labels "
        "alone; pairs share initial weights and order. Digits: is it above 4? "
        "Images of CIFAR-100: large carnivores (five classes) or large "
        "omnivores and herbivores (five)? Of these the width is that of the "
        "convolutions, and accuracy is counted on 1,000 images of the test "
        "split, which makes 3 points between two single nets nothing.",
    )


def _theorem_table(tasks):
    rows = [
        [
            f"{name_of(task)}, B = {radius}, {width}",
            comparison.interval(accuracies(found, "hard", width, radius), 2),
            paper_gap(task, width, radius),
            *(
                signed(gap_of(found, target, width, radius))
                for target in ("soft", "smoothed", "raw")
            ),
        ]
        for task, found in tasks.items()
        for radius, widths in found[0]["students"].items()
        for width in widths
    ]
    return findings.Table(
        "Fixed output weights, projected descent: accuracy, %, and what other "
        "labels add",
        (
            *("task, radius, width", "labels", "paper", "soft", "smoothed"),
            "as they are",
        ),
        rows,
        f"{_INTERVALS} Output weights are fixed, the others stay within "
        "B / sqrt(width) of their start; inf: no projection. The form is that "
        "of the theorems; the rate is far above theirs, and steps take a part "
        f"of the examples. B = {HARD_RADIUS} is what proposition 5 gives hard "
        "labels at an error of 0.05 and a margin of 0.1. Points of accuracy "
        "above labels of the same radius; so is the paper's number of soft "
        "labels, which gives no radius. Soft: the sigmoid of the teacher's "
        "logit over its largest size on the training set, which is no kernel "
        "limit. Smoothed: labels that are as near to 1/2 as these are on "
        "average, the same for all examples of a class: what they add needs no "
        "teacher. As they are: the sigmoid of the "
        "teacher's logit itself. What is said here holds for these radii and "
        "these labels.",
    )


def _bounds_table(found):
    """What the theorems ask for, beside what was measured of all digits."""
    of = found[0]["train_examples"], min(x["smallest_norm"] for x in found)
    rows = []
    for width in found[0]["students"]["1"]:
        measured = [result["divergence"]["1"][width] for result in found]
        beta, _ = comparison.mean_and_spread(measured)
        rows.append(
            [
                f"divergence {beta:.4f}, soft, B = 1, theorem 2",
                width,
                f"{bounds.soft_width(beta, *of):.1e}",
                f"{bounds.soft_steps(beta):.1e}",
            ]
        )
    width = list(found[0]["students"][RADIUS])[-1]
    for target, name in (("soft", "corollary 4"), ("hard", "proposition 5")):
        mean, _ = comparison.mean_and_spread(
            accuracies(found, target, width, RADIUS)
        )
        # The bound of no errors at all would be infinite.
        error = max(1 - mean / 100, 1 / found[0]["test_examples"])
        for margin in _MARGINS:
            steps = "-"
            if target == "soft":
                asked = bounds.soft_error_width(error, margin, *of)
                steps = f"{bounds.soft_error_steps(error, margin):.1e}"
            else:
                asked = bounds.hard_error_width(error, margin, *of)
            rows.append(
                [
                    f"error {error:.3f}, {target}, B = {RADIUS}, {name} "
                    f"at margin {margin:g}",
                    width,
                    f"{asked:.1e}",
                    steps,
                ]
            )
    return findings.Table(
        "Widths that were trained, and those that the theorems ask for",
        ("measured of all digits", "width", "asked", "steps asked"),
        rows,
        "The bounds are larger by many orders of magnitude than what was "
        "enough here: they say nothing of nets of such widths. The margin of "
        "the kernel was not measured; two are assumed. Divergence: of the "
        "training set, in nats, after the last step. Corollary 4 speaks of "
        f"B = 1 and of the mean over the steps; the error is that at B = "
        f"{RADIUS}, of the test split, after the last step. Steps are as the "
        "corollary has them; by theorem 2 at its divergence they are 1,024 "
        "times as many. n = "
        f"{of[0]}, c = {of[1]:.2f}, probability 0.01.",
    )


def _practical_lines(tasks):
    return findings.Lines(
        "widths",
        "What soft targets at T = 4 add, all weights trained",
        "hidden units",
        "points of accuracy above labels",
        {
            name_of(task): {
                float(width): [
                    soft - hard
                    for soft, hard in zip(
                        accuracies(found, "soft-4", width),
                        accuracies(found, "hard", width),
                        strict=True,
                    )
                ]
                for width in found[0]["students"]
                if int(width) > _BY_CHANCE
            }
            for task, found in tasks.items()
        },
        log_x=True,
        note="Mean with the standard deviation over the seeds. Nets of "
        f"{_BY_CHANCE} units, some of which do not learn at all, are in the "
        "table.",
    )


def _theorem_lines(tasks):
    task, found = next(iter(tasks.items()))
    says = {
        "hard": "labels",
        "soft": "soft labels",
        "smoothed": "labels, smoothed as much",
        "raw": "teacher's outputs as they are",
    }
    return findings.Lines(
        "theorem",
        f"Fixed output weights, projected, {name_of(task)}, B = {RADIUS}",
        "hidden units",
        "accuracy, %",
        {
            name: {
                float(width): accuracies(found, target, width, RADIUS)
                for width in found[0]["students"][RADIUS]
            }
            for target, name in says.items()
        },
        log_x=True,
        note="Mean with the standard deviation over the seeds.",
    )


def _deep_lines(tasks):
    def over_noise(values):
        return {float(task): values(found) for task, found in tasks.items()}

    def of(target):
        return lambda found: accuracies(
            found, target, next(iter(found[0]["students"]))
        )

    return findings.Lines(
        "deep",
        "Two groups of CIFAR-100",
        "variance of the noise",
        "accuracy, %",
        {
            "teacher": over_noise(teachers),
            "student, labels": over_noise(of("hard")),
            "student, T = 1": over_noise(of("soft-1")),
            "student, T = 4": over_noise(of("soft-4")),
        },
        log_x=True,
        note="Mean with the standard deviation over the seeds. The paper has a "
        "pair of classes of CIFAR-10, cats and dogs, and finds that soft "
        "labels add more with more noise.",
    )
