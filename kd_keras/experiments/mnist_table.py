"""Section 3 of Hinton et al. (2015): MNIST, a teacher and its students.

Paper: a net of two layers of 1200 units with dropout, weight constraints and
jittered images makes 67 errors; one of two layers of 800 units without any of
these makes 146; the same, matching the teacher's soft targets at T = 20
besides, 74. Of nets of 300 and more units per layer all temperatures above 8
do about as well; with 30 units 2.5 to 4 do significantly better.
"""

import dataclasses

from kd_keras import comparison
from kd_keras import datasets
from kd_keras import losses
from kd_keras import models
from kd_keras.experiments import findings
from kd_keras.experiments import laboratory

TITLE = "MNIST: 67, 146 and 74 errors"
NUM_SEEDS = 5
PAPER = {"teacher": 67, "hard": 146, "soft-hard-20": 74}

# Weight of the soft term where there are labels, too: the paper says that
# "considerably lower" weight on the labels is best, and no number.
_SOFT_WEIGHT = 0.9
_TEMPERATURES = (1, 2, 3, 4, 8, 20, 100)
_NARROW = (300, 30)

_STUDENTS = {
    "hard": {},
    "soft-hard-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
    "soft-20": {"temperature": 20.0, "soft_weight": 1.0},
    "soft-1": {"temperature": 1.0, "soft_weight": 1.0},
    "logits": {"soft_loss": losses.LogitMatching, "soft_weight": 1.0},
    "jittered-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
}
_SAYS = {
    "teacher": "teacher, 1200-1200, dropout, max-norm, jitter",
    "hard": "student, 800-800, labels",
    "soft-hard-20": "labels and soft targets, T = 20",
    "soft-20": "soft targets alone, T = 20",
    "soft-1": "soft targets alone, T = 1",
    "logits": "logits alone",
    "jittered-20": "labels and soft targets, T = 20, jittered",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        teacher_units: Hidden layers of the teacher.
        input_dropout: Its share of pixels left out.
        dropout: Its share of hidden units left out.
        max_shift: Pixels by which its images are shifted at most.
        student_units: Hidden layers of the students.
        narrow_units: Units in each of the two layers of narrower students.
        teacher: `laboratory.Recipe`.
        student: The same.
        narrow: The same.
    """

    teacher_units: tuple[int, ...] = (1200, 1200)
    input_dropout: float = 0.2
    dropout: float = 0.5
    max_shift: int = 2
    student_units: tuple[int, ...] = (800, 800)
    narrow_units: tuple[int, ...] = _NARROW
    teacher: laboratory.Recipe = laboratory.Recipe(120, 256, 1e-3)
    student: laboratory.Recipe = laboratory.Recipe(60, 128, 1e-3)
    narrow: laboratory.Recipe = laboratory.Recipe(30, 128, 1e-3)


QUICK = Plan(
    teacher_units=(200, 200),
    input_dropout=0.0,
    dropout=0.2,
    max_shift=1,
    student_units=(64, 64),
    narrow_units=(),
    teacher=laboratory.Recipe(40, 64, 3e-3),
    student=laboratory.Recipe(20, 64, 3e-3),
)


def plan(settings):
    """The `Plan` of settings."""
    return QUICK if settings.quick else Plan()


def arms(settings):
    """Names of the arms, in the order in which they are run."""
    narrow = [
        f"{units}-{target}"
        for units in plan(settings).narrow_units
        for target in ("hard", *_TEMPERATURES)
    ]
    return ("teacher", *_STUDENTS, *narrow)


def teacher_of(lab, seed):
    """The teacher of a seed, trained if it is not kept."""
    of = plan(lab.settings)

    def build():
        return models.mlp(
            lab.train.image_shape,
            lab.train.num_classes,
            of.teacher_units,
            input_dropout=of.input_dropout,
            dropout=of.dropout,
            max_norm=15**0.5,
            # Apart from those of the students.
            seed=seed + 1_000_000,
        )

    return lab.kept(
        f"{_name(of)}-{seed}",
        lambda: lab.fit(
            "teacher",
            build,
            of.teacher,
            seed,
            augment=datasets.random_shift(of.max_shift),
        ),
    )


def targets_of(lab, seed):
    """The soft targets of the teacher of a seed, stored if they are not."""
    name = f"{_name(plan(lab.settings))}-{seed}-targets"
    return lab.store(name, teacher_of(lab, seed))


def _name(of):
    """What the teachers of a plan are called."""
    digest = laboratory.digest(
        of.teacher_units,
        of.input_dropout,
        of.dropout,
        of.max_shift,
        dataclasses.asdict(of.teacher),
    )
    return f"teacher-{digest}"


def run(arm, seed, lab):
    """Trains one arm of one seed.

    Args:
        arm: Its name.
        seed: int.
        lab: `laboratory.Laboratory`.

    Returns:
        A dict of what was measured.
    """
    if arm == "teacher":
        model = teacher_of(lab, seed)
    elif arm in _STUDENTS:
        model = _student(arm, seed, lab)
    else:
        model = _narrow(arm, seed, lab)
    logits = lab.test.logits(model)
    teacher_logits = lab.test.logits(teacher_of(lab, seed))
    agree = logits.argmax(axis=-1) == teacher_logits.argmax(axis=-1)
    return {
        "parameters": model.count_params(),
        **lab.test.quality(logits),
        "teacher_agreement": float(agree.mean()),
    }


def _student(arm, seed, lab):
    of = plan(lab.settings)
    soft = dict(_STUDENTS[arm])
    if "soft_loss" in soft:
        soft["soft_loss"] = soft["soft_loss"]()
    if arm == "jittered-20":
        # Both see the same shifted image, another one in each epoch: there
        # is nothing to store.
        soft["teacher"] = teacher_of(lab, seed)
        soft["augment"] = datasets.random_shift(of.max_shift)
    elif soft:
        soft["store"] = targets_of(lab, seed)
    return lab.fit(
        arm,
        lambda: _mlp(lab, of.student_units, seed),
        of.student,
        seed,
        **soft,
    )


def _narrow(arm, seed, lab):
    units, target = arm.split("-")
    soft = {}
    if target != "hard":
        soft = {
            "store": targets_of(lab, seed),
            "temperature": float(target),
            "soft_weight": _SOFT_WEIGHT,
        }
    return lab.fit(
        arm,
        lambda: _mlp(lab, (int(units),) * 2, seed),
        plan(lab.settings).narrow,
        seed,
        **soft,
    )


def _mlp(lab, units, seed):
    return models.mlp(
        lab.train.image_shape, lab.train.num_classes, units, seed=seed
    )


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    errors = {}
    for (arm, _), result in results.items():
        errors.setdefault(arm, []).append(result["test_errors"])
    main = {arm: errors[arm] for arm in _SAYS if arm in errors}
    paper = {} if settings.quick else PAPER
    rows = [
        [
            _SAYS[arm],
            f"{paper[arm]}" if arm in paper else "-",
            comparison.interval(values),
            " ".join(map(str, values)),
        ]
        for arm, values in main.items()
    ]
    table = findings.Table(
        "Errors on the test split",
        ("arm", "paper", "ours", "each seed"),
        rows,
        "Ours: mean with its 95% interval over the seeds, each of which has a "
        "teacher of its own.",
    )
    dots = findings.Dots(
        "errors",
        "Errors",
        "errors on the test split",
        {_SAYS[arm]: values for arm, values in main.items()},
        {_SAYS[arm]: float(paper[arm]) for arm in main if arm in paper},
    )
    plots = [dots]
    lines = _temperature_lines(errors, settings)
    if lines:
        plots.append(lines)
    return findings.Findings(
        (table,), tuple(plots), tuple(_checks(results, errors, settings))
    )


def _temperature_lines(errors, settings):
    lines, levels = {}, {}
    for units in plan(settings).narrow_units:
        of_width = {
            temperature: errors[f"{units}-{temperature}"]
            for temperature in _TEMPERATURES
            if f"{units}-{temperature}" in errors
        }
        if of_width:
            lines[f"{units} units"] = of_width
        if f"{units}-hard" in errors:
            hard = comparison.mean_and_spread(errors[f"{units}-hard"])[0]
            levels[f"{units} units, labels"] = hard
    return lines and findings.Lines(
        "temperatures",
        "Temperature and width",
        "temperature",
        "errors on the test split",
        lines,
        levels,
        log_x=True,
    )


def _checks(results, errors, settings):
    """The lines of the protocol."""

    def paired(first, second):
        seeds = [s for a, s in results if a == first]
        pairs = [
            (
                results[first, seed]["test_errors"],
                results[second, seed]["test_errors"],
            )
            for seed in seeds
            if (second, seed) in results
        ]
        return list(zip(*pairs, strict=True))

    both = paired("hard", "soft-hard-20")
    if both:
        mean, low, high = comparison.paired_difference(*both)
        yield findings.Check(
            "soft targets at T = 20 take errors away from labels alone",
            f"{mean:.1f} fewer ({low:.1f} to {high:.1f}), in "
            f"{sum(h > s for h, s in zip(*both, strict=True))} of "
            f"{len(both[0])} seeds",
            None if len(both[0]) == 1 else low > 0,
        )
    if settings.quick:
        return
    yield from _full_checks(results, errors)


def _full_checks(results, errors):
    def mean(arm):
        return comparison.mean_and_spread(errors[arm])[0]

    for arm, at_most in (("teacher", 105), ("teacher", 75)):
        if arm in errors:
            yield findings.Check(
                f"teacher: at most {at_most} errors",
                comparison.interval(errors[arm]),
                mean(arm) <= at_most,
            )
    if "hard" in errors:
        yield findings.Check(
            "labels alone: 125 to 180 errors",
            comparison.interval(errors["hard"]),
            125 <= mean("hard") <= 180,
        )
    if {"teacher", "hard", "soft-hard-20"} <= errors.keys():
        gap = mean("hard") - mean("teacher")
        share = (mean("hard") - mean("soft-hard-20")) / gap
        for at_least in (0.5, 0.8):
            yield findings.Check(
                f"share of the gap that is recovered: at least {at_least}",
                f"{share:.2f} (paper 0.91)",
                share >= at_least,
            )
    for arm, at_most in (("soft-hard-20", 74), ("jittered-20", 67)):
        if arm in errors:
            yield findings.Check(
                f"{_SAYS[arm]}: at most {at_most} errors",
                comparison.interval(errors[arm]),
                mean(arm) <= at_most,
            )
    of_30 = {t: errors.get(f"30-{t}") for t in _TEMPERATURES}
    if all(of_30.values()):
        best = min(of_30, key=lambda t: sum(of_30[t]) / len(of_30[t]))
        difference = comparison.paired_difference(of_30[20], of_30[best])
        yield findings.Check(
            "30 units: the best temperature lies in 1.5 to 6, and beats 20",
            f"T = {best}; T = 20 makes {difference[0]:.1f} errors more "
            f"({difference[1]:.1f} to {difference[2]:.1f})",
            1.5 <= best <= 6 and difference[1] > 0,
        )
    of_300 = [errors.get(f"300-{t}") for t in (8, 20, 100)]
    if all(of_300):
        means = [sum(values) / len(values) for values in of_300]
        yield findings.Check(
            "300 units: T = 8, 20 and 100 within 15 errors of each other",
            ", ".join(f"{value:.1f}" for value in means),
            max(means) - min(means) <= 15,
        )
