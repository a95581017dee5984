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
from kd_keras.experiments import digit_nets
from kd_keras.experiments import findings
from kd_keras.experiments import laboratory

TITLE = "Section 3: a teacher, its student, and the student alone"
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
    "views-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
    "hard-masked": {},
    "masked-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
    "jittered-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
}
_HEADLINES = (
    "teacher",
    "hard",
    "hard-masked",
    "soft-hard-20",
    "views-20",
    "masked-20",
    "jittered-20",
)
# Arms of which it is said how much of the gap they close.
_RECOVER = {
    "soft-hard-20": "that T = 20",
    "masked-20": "that T = 20 with masked pixels",
}
_PAPER_SHARE = (146 - 74) / (146 - 67)
# Pixels by which the images are shifted over which a teacher takes its mean.
_VIEWS_SHIFT = 1
_SAYS = {
    "teacher": "teacher: dropout, max-norm, jitter",
    "teacher-views": "its mean over nine shifted views",
    "hard": "student: labels",
    "hard-masked": "labels, pixels masked",
    "soft-hard-20": "labels and soft targets, T = 20",
    "soft-20": "soft targets alone, T = 20",
    "soft-1": "soft targets alone, T = 1",
    "logits": "logits alone",
    "views-20": "labels and the mean over nine views' soft targets, T = 20",
    "masked-20": "labels and soft targets, T = 20, pixels masked",
    "jittered-20": "labels and soft targets, T = 20, jittered",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        teacher: `digit_nets.TeacherPlan`.
        student_units: Hidden layers of the students.
        student: Their `laboratory.Recipe`.
        changing: The one of students that never see the same image twice, as
            long as the teacher's.
        mask: Share of pixels taken away for the students of two arms, and for
            the teacher one of them learns from.
        narrow_units: Units in each of the two layers of narrower students.
        narrow: Their `laboratory.Recipe`.
    """

    teacher: digit_nets.TeacherPlan = digit_nets.TeacherPlan()
    student_units: tuple[int, ...] = (800, 800)
    student: laboratory.Recipe = digit_nets.STUDENT
    changing: laboratory.Recipe = laboratory.Recipe(
        240, 512, 2e-3, "mixed_bfloat16"
    )
    mask: float = 0.3
    narrow_units: tuple[int, ...] = _NARROW
    narrow: laboratory.Recipe = laboratory.Recipe(
        30, 256, 2e-3, "mixed_bfloat16"
    )


QUICK = Plan(
    teacher=digit_nets.QUICK_TEACHER,
    student_units=(64, 64),
    student=laboratory.Recipe(20, 64, 3e-3),
    changing=laboratory.Recipe(20, 64, 3e-3),
    narrow_units=(),
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
    return ("teacher", "teacher-views", *_STUDENTS, *narrow)


def run(arm, seed, lab):
    """Trains one arm of one seed.

    Args:
        arm: Its name.
        seed: int.
        lab: `laboratory.Laboratory`.

    Returns:
        A dict of what was measured.
    """
    teacher = digit_nets.teacher_of(lab, plan(lab.settings).teacher, seed)
    if arm == "teacher":
        model = teacher
    elif arm == "teacher-views":
        model = digit_nets.mean_over_views(teacher, _VIEWS_SHIFT)
    elif arm in _STUDENTS:
        model = _student(arm, seed, lab, teacher)
    else:
        model = _narrow(arm, seed, lab)
    logits = lab.test.logits(model)
    teacher_logits = lab.test.logits(teacher)
    agree = logits.argmax(axis=-1) == teacher_logits.argmax(axis=-1)
    return {
        "parameters": model.count_params(),
        **lab.test.quality(logits),
        "teacher_agreement": float(agree.mean()),
    }


def _student(arm, seed, lab, teacher):
    of = plan(lab.settings)
    how, recipe = dict(_STUDENTS[arm]), of.student
    is_soft = bool(how)
    if "soft_loss" in how:
        how["soft_loss"] = how["soft_loss"]()
    changed = {
        "hard-masked": datasets.random_mask(of.mask),
        "masked-20": datasets.random_mask(of.mask),
        "jittered-20": datasets.random_shift(of.teacher.max_shift),
    }
    if arm in changed:
        how["augment"], recipe = changed[arm], of.changing
        if is_soft:
            # Both see the same changed image, another one in each epoch:
            # there is nothing to store.
            how["teacher"] = teacher
    elif is_soft:
        how["store"] = digit_nets.targets_of(
            lab,
            of.teacher,
            seed,
            max_shift=_VIEWS_SHIFT if arm == "views-20" else 0,
        )
    return lab.fit(
        arm,
        lambda: digit_nets.student(lab, of.student_units, seed),
        recipe,
        seed,
        **how,
    )


def _narrow(arm, seed, lab):
    of = plan(lab.settings)
    units, target = arm.split("-")
    soft = {}
    if target != "hard":
        soft = {
            "store": digit_nets.targets_of(lab, of.teacher, seed),
            "temperature": float(target),
            "soft_weight": _SOFT_WEIGHT,
        }
    return lab.fit(
        arm,
        lambda: digit_nets.student(lab, (int(units),) * 2, seed),
        of.narrow,
        seed,
        **soft,
    )


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    errors = {
        arm: [result["test_errors"] for result in found]
        for arm, found in findings.by_arm(results, arms(settings)).items()
    }
    of = plan(settings)
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
        f"teacher of its own. Teacher: {_layers(of.teacher.units)} hidden "
        f"units; students: {_layers(of.student_units)}, the same but for what "
        "is named.",
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
        (table,),
        tuple(plots),
        tuple(_checks(results, errors, settings)),
        tuple(_headlines(results, errors)),
    )


def _headlines(results, errors):
    for arm in _HEADLINES:
        if arm in errors:
            yield findings.Headline(
                f"errors of 10,000: {_SAYS[arm]}",
                str(PAPER.get(arm, "-")),
                comparison.interval(errors[arm]),
                len(errors[arm]),
            )
    for arm, says in _RECOVER.items():
        if shares := _recovered(results, arm):
            yield findings.Headline(
                f"share of the gap between labels and teacher {says} closes",
                f"{_PAPER_SHARE:.2f}",
                shares[1],
                len(errors[arm]),
            )


def _layers(units):
    return "-".join(map(str, units))


def _recovered(results, arm):
    """Share of the gap an arm closes, with its text, where all arms are."""
    errors = _errors(results, "hard", arm, "teacher")
    return errors[0] and findings.recovered(*errors)


def _errors(results, *arms):
    """Errors of several arms, for the seeds that all of them have."""
    return [
        [result["test_errors"] for result in found]
        for found in findings.paired(results, *arms)
    ]


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
    both = _errors(results, "hard", "soft-hard-20")
    if all(both):
        fewer = comparison.paired_difference(*both)
        yield findings.Check(
            "soft targets at T = 20 take errors away from labels alone",
            f"fewer by {comparison.difference_text(fewer)}, in "
            f"{sum(h > s for h, s in zip(*both, strict=True))} of "
            f"{len(both[0])} seeds",
            findings.is_above(fewer),
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
    for arm, says in _RECOVER.items():
        if not (shares := _recovered(results, arm)):
            continue
        for at_least in (0.5, 0.8):
            yield findings.Check(
                f"share of the gap {says} closes: at least {at_least}",
                f"{shares[1]}; paper {_PAPER_SHARE:.2f}",
                shares[0] >= at_least,
            )
    for arm, at_most in (
        ("soft-hard-20", 74),
        ("views-20", 74),
        ("masked-20", 74),
        ("jittered-20", 67),
    ):
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
            f"T = {best}; at T = 20 more errors by "
            f"{comparison.difference_text(difference)}",
            findings.is_above(difference) if 1.5 <= best <= 6 else False,
        )
    of_300 = [errors.get(f"300-{t}") for t in (8, 20, 100)]
    if all(of_300):
        means = [sum(values) / len(values) for values in of_300]
        yield findings.Check(
            "300 units: T = 8, 20 and 100 within 15 errors of each other",
            ", ".join(f"{value:.1f}" for value in means),
            max(means) - min(means) <= 15,
        )
