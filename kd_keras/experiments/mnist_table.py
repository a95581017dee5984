"""Section 3 of Hinton et al. (2015): MNIST, a teacher and its students.

Paper: a net of two layers of 1200 units with dropout, weight constraints and
jittered images makes 67 errors; one of two layers of 800 units without any of
these makes 146; the same, matching the teacher's soft targets at T = 20
besides, 74. Of nets of 300 and more units per layer all temperatures above 8
do about as well; with 30 units 2.5 to 4 do significantly better.
"""

import dataclasses

from kd_keras import datasets
from kd_keras import diagnostics
from kd_keras import losses
from kd_keras.experiments import digit_nets
from kd_keras.experiments import laboratory
from kd_keras.experiments import mnist_findings
from kd_keras.experiments import per_example

TITLE = "Section 3: a teacher, its student, and the student alone"
NUM_SEEDS = 5

# Weight of the soft term where there are labels, too: the paper says that
# "considerably lower" weight on the labels is best, and no number.
_SOFT_WEIGHT = 0.9
_NARROW = (300, 30)

_STUDENTS = {
    "hard": {},
    "soft-hard-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
    "soft-20": {"temperature": 20.0, "soft_weight": 1.0},
    "soft-1": {"temperature": 1.0, "soft_weight": 1.0},
    "logits": {"soft_loss": losses.LogitMatching, "soft_weight": 1.0},
    "views-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
    "hard-masked": {},
    "hard-jittered": {},
    "masked-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
    "jittered-20": {"temperature": 20.0, "soft_weight": _SOFT_WEIGHT},
}
# Pixels by which the images are shifted over which a teacher takes its mean.
_VIEWS_SHIFT = 1
# What is the same in all plans.
FIXED = {
    "optimizer": laboratory.OPTIMIZER,
    "students": {
        arm: {
            name: value.__name__ if name == "soft_loss" else value
            for name, value in how.items()
        }
        for arm, how in _STUDENTS.items()
    },
    "soft_weight_of_narrow": _SOFT_WEIGHT,
    "views_shift": _VIEWS_SHIFT,
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
        for target in ("hard", *mnist_findings.TEMPERATURES)
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
    fidelity = diagnostics.fidelity(
        lab.test.labels, lab.test.logits(teacher), logits
    )
    return {
        "parameters": model.count_params(),
        **per_example.quality(lab.test, logits),
        "teacher_agreement": fidelity.agreement,
        "predictive_kl": fidelity.predictive_kl,
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
        "hard-jittered": datasets.random_shift(of.teacher.max_shift),
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
    return mnist_findings.find(
        results, plan(settings), arms(settings), settings.quick
    )
