"""What the experiments on transfer sets without some classes share."""

import dataclasses

import numpy as np

from kd_keras import datasets
from kd_keras import diagnostics
from kd_keras.experiments import digit_nets
from kd_keras.experiments import laboratory
from kd_keras.experiments import per_example

# Students on labels alone, on soft targets alone, and on both.
ARMS = {
    "hard": {},
    "soft-20": {"temperature": 20.0, "soft_weight": 1.0},
    "soft-hard-20": {"temperature": 20.0, "soft_weight": 0.9},
}
# What is the same in all plans.
FIXED = {"optimizer": laboratory.OPTIMIZER, "students": ARMS}
SAYS = {
    "hard": "labels",
    "soft-20": "soft targets, T = 20",
    "soft-hard-20": "labels and soft targets, T = 20",
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        teacher: `digit_nets.TeacherPlan`; it sees all classes.
        student_units: Hidden layers of the students.
        student: Their `laboratory.Recipe`.
    """

    teacher: digit_nets.TeacherPlan = digit_nets.TeacherPlan()
    student_units: tuple[int, ...] = (800, 800)
    student: laboratory.Recipe = digit_nets.STUDENT


QUICK = Plan(
    teacher=digit_nets.QUICK_TEACHER,
    student_units=(64, 64),
    student=laboratory.Recipe(30, 32, 3e-3),
)


def train(arm, seed, lab, of, kept):
    """Trains a student on some classes.

    Args:
        arm: One of `ARMS`.
        seed: int.
        lab: `laboratory.Laboratory`.
        of: `Plan`.
        kept: Classes of the transfer set.

    Returns:
        `keras.Model`.
    """
    soft = dict(ARMS[arm])
    if soft:
        soft["store"] = digit_nets.targets_of(lab, of.teacher, seed)
    return fit(arm, seed, lab, of, of.student, kept, **soft)


def fit(arm, seed, lab, of, recipe, kept, **data):
    """Trains a student on some classes, as `laboratory.Laboratory.fit` does.

    Args:
        arm: Name of the arm.
        seed: int.
        lab: `laboratory.Laboratory`.
        of: `Plan`.
        recipe: `laboratory.Recipe`.
        kept: Classes of the transfer set.
        **data: What else `fit` takes.

    Returns:
        `keras.Model`.
    """
    return lab.fit(
        arm,
        lambda: digit_nets.student(lab, of.student_units, seed),
        recipe,
        seed,
        transform=lambda dataset: datasets.keep_classes(dataset, kept),
        **data,
    )


def measure(student, lab, kept, shifted):
    """Counts errors, and shifts the logits of some classes.

    Args:
        student: `keras.Model`.
        lab: `laboratory.Laboratory`.
        kept: Classes of the transfer set, or of that which it is compared to.
        shifted: Classes whose logits are shifted.

    Returns:
        A dict of errors on the test split, and of errors on the test examples
        of the classes that are not `kept`: as it is, after the shift
        that matches the prior (found on the training images, all classes,
        without their labels), and after the one that is best on the test split
        itself; and on which it is right as it is.
    """
    labels, logits = lab.test.labels, lab.test.logits(student)
    # How often the classes occur is known; which image is one is not.
    prior = float(np.isin(lab.probe.labels, shifted).mean())
    matched = diagnostics.prior_matching_shift(
        lab.probe.logits(student), shifted, prior
    )
    best, _ = diagnostics.best_shift(labels, logits, shifted)
    unseen = ~np.isin(labels, kept)
    result = {
        "test_examples": len(labels),
        "unseen_examples": int(unseen.sum()),
        "right": per_example.packed(logits, labels),
    }
    for name, shift in (("plain", 0.0), ("matched", matched), ("best", best)):
        moved = np.array(logits)
        moved[:, shifted] += shift
        wrong = moved.argmax(axis=1) != labels
        result[name] = {
            "shift": shift,
            "errors": int(wrong.sum()),
            "unseen_errors": int(wrong[unseen].sum()),
        }
    return result
