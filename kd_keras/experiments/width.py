"""Soft against hard labels over the width (arXiv 2412.09579).

Mandal, Lin and Srikant teach digits above 4 from those below to nets of one
hidden layer. Table 1, accuracy in %: with a teacher of 512 units at 98.34 on
all digits, nets of 4, 6 and 8 units reach 88.84, 95.33 and 95.77 with labels,
and 6.78, 0.67 and 0.81 points more with soft labels; without the digits 1, 7,
4 and 9 (teacher 98.75) 93.04, 96.84 and 97.19, and 2.79, 0.42 and 0.48 points
more. Rates, seeds and radius are not given.

Their theorems are of another training than usual: output weights are fixed,
the others are projected onto a ball around their start after each step, and
soft labels are near 1/2. Both are run here: `practical`, all weights by Adam,
and `theorem`. The latter has two controls: the teacher's outputs as they are
(`raw`), and labels that are smoothed until they are as near to 1/2 as the soft
ones are on average, the same for all examples of a class (`smoothed`). With
noise on the pixels the practical one has a harder task; so
has `deep`, two groups of CIFAR-100 with convolutional nets.
"""

import dataclasses

from kd_keras.experiments import laboratory
from kd_keras.experiments import width_data
from kd_keras.experiments import width_findings
from kd_keras.experiments import width_students
from kd_keras.experiments import width_training

TITLE = "Soft against hard labels over the width of the student"
NUM_SEEDS = 5
FIXED = {
    "optimizer": laboratory.OPTIMIZER,
    "temperatures": width_students.TEMPERATURES,
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how; chosen on 10,000 of the training images.

    Attributes:
        tasks: Of digits without noise: all, or reduced by 1, 7, 4 and 9.
        teacher_width: Hidden units of the teachers of digits.
        teacher: Their `laboratory.Recipe`.
        widths: Hidden units of the students, both layers of which train.
        student: Their `laboratory.Recipe`.
        deviations: Of the noise on pixels in [0, 1], as a standard deviation.
        theorem_widths: Hidden units of the students of the theorem.
        radii: Its `B`; None for no projection. Soft labels are to need a
            smaller one than hard labels, which proposition 5 gives 88, at an
            error of 0.05 and a margin of 0.1.
        descent: Its `width_students.Descent`. With labels and a radius of
            10, learning rates of 1, 10 and 50 differ by 0.8 points at most.
        variances: Of the noise on pixels in [0, 1] of the deep pair.
        deep_filters: Filters of the convolutions of their teacher, and of
            their student, which has no other hidden layer.
        deep_teacher: `laboratory.Recipe`.
        deep_student: The same of the students.
    """

    tasks: tuple[str, ...] = ("all", "reduced")
    teacher_width: int = 512
    teacher: laboratory.Recipe = laboratory.Recipe(12, 256, 1e-3)
    widths: tuple[int, ...] = (2, 4, 6, 8, 16, 64)
    student: laboratory.Recipe = laboratory.Recipe(12, 256, 1e-2)
    deviations: tuple[float, ...] = (0.3, 0.6, 1.0)
    theorem_widths: tuple[int, ...] = (4, 6, 8, 64)
    radii: tuple[float | None, ...] = (1.0, 10.0, 88.0, None)
    descent: width_students.Descent = width_students.Descent(10, 256, 50.0)
    variances: tuple[float, ...] = (0.01, 0.05, 0.2)
    deep_filters: tuple[tuple[int, ...], ...] = ((32, 64), (4, 4))
    deep_teacher: laboratory.Recipe = laboratory.Recipe(15, 64, 1e-3)
    deep_student: laboratory.Recipe = laboratory.Recipe(20, 64, 3e-3)


QUICK = Plan(
    tasks=("all",),
    teacher_width=64,
    teacher=laboratory.Recipe(20, 32, 3e-3),
    widths=(2, 8),
    student=laboratory.Recipe(20, 32, 1e-2),
    deviations=(),
    theorem_widths=(4, 8),
    radii=(10.0,),
    descent=width_students.Descent(20, 32, 20.0),
    variances=(),
)


def plan(settings):
    """The `Plan` of settings."""
    return QUICK if settings.quick else Plan()


def arms(settings):
    """Names of the arms: a regime and a task, in the order of the runs."""
    of = plan(settings)
    return (
        *(
            f"{regime}-{task}"
            for task in of.tasks
            for regime in ("practical", "theorem")
        ),
        *(f"practical-noise-{deviation:g}" for deviation in of.deviations),
        *(f"deep-{variance:g}" for variance in of.variances),
    )


def check(wanted, settings):
    """Raises a FileNotFoundError if an arm needs CIFAR-100, which is missing.

    Args:
        wanted: Names of the arms that are to be run.
        settings: `laboratory.Settings`.
    """
    if any(arm.startswith("deep") for arm in wanted):
        try:
            width_data.check_groups(settings)
        except FileNotFoundError as error:
            others = [arm for arm in wanted if not arm.startswith("deep")]
            if not others:
                raise
            raise FileNotFoundError(
                f"{error} Without it go --arms={','.join(others)}."
            ) from None


def run(arm, seed, lab):
    """Trains a teacher, and all students of one regime and task.

    Args:
        arm: Its name.
        seed: int.
        lab: `laboratory.Laboratory`.

    Returns:
        A dict of `test_examples`, the `teacher_errors`, and under `students`
        errors by width and target; of the theorem by radius, width and
        target, with what its bounds need.

    Raises:
        FileNotFoundError: If a deep arm has no CIFAR-100, with the line that
            prepares it.
    """
    of = plan(lab.settings)
    regime, _, name = arm.partition("-")
    train = {
        "practical": width_students.practical,
        "theorem": width_students.theorem,
        "deep": width_students.deep,
    }[regime]
    if regime == "deep":
        task = width_data.groups(lab.settings).noisy(float(name) ** 0.5, seed)
        teacher = width_students.deep_teacher(lab, of, name, task, seed)
    else:
        task = width_data.digits(lab, reduced=name == "reduced")
        if name.startswith("noise-"):
            task = task.noisy(float(name.removeprefix("noise-")), seed)
        teacher = width_students.teacher(lab, of, name, task, seed)
    errors = width_training.errors(teacher, task.test, task.test_labels)
    return {
        "test_examples": len(task.test_labels),
        "teacher_errors": errors["teacher"],
        **train(
            of,
            task,
            width_training.predict(teacher, task.train)["teacher"],
            seed,
            f"seed {seed}: {arm}",
        ),
    }


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    return width_findings.find(results, arms(settings), settings)
