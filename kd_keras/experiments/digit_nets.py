"""The teacher of section 3, and its students, for all experiments on digits."""

import dataclasses

import keras

from kd_keras import datasets
from kd_keras import models
from kd_keras.experiments import laboratory

# Seeds of teachers are apart from those of students.
_TEACHER_SEEDS = 1_000_000


@dataclasses.dataclass(frozen=True)
class TeacherPlan:
    """How a teacher is trained.

    The paper names dropout, weight constraints and images jittered by up to
    two pixels. Of the first two it gives no numbers; these are of its
    reference (Hinton et al., 2012), as others implemented that.

    Attributes:
        units: Hidden layers.
        input_dropout: Share of pixels left out.
        dropout: Share of hidden units left out.
        max_norm: Largest norm of the incoming weights of a unit.
        max_shift: Pixels by which images are shifted at most.
        recipe: `laboratory.Recipe`.
    """

    units: tuple[int, ...] = (1200, 1200)
    input_dropout: float = 0.2
    dropout: float = 0.5
    max_norm: float = 15**0.5
    max_shift: int = 2
    recipe: laboratory.Recipe = laboratory.Recipe(
        240, 512, 2e-3, "mixed_bfloat16"
    )


# How students of two layers of 800 units are trained, with whatever targets.
STUDENT = laboratory.Recipe(60, 512, 2e-3, "mixed_bfloat16")

QUICK_TEACHER = TeacherPlan(
    units=(200, 200),
    input_dropout=0.0,
    dropout=0.2,
    max_shift=1,
    recipe=laboratory.Recipe(40, 64, 3e-3),
)


def teacher_of(lab, plan, seed):
    """The teacher of a seed, trained if it is not kept.

    Args:
        lab: `laboratory.Laboratory`.
        plan: `TeacherPlan`.
        seed: int.

    Returns:
        `keras.Model`.
    """

    def build():
        return models.mlp(
            lab.train.image_shape,
            lab.train.num_classes,
            plan.units,
            input_dropout=plan.input_dropout,
            dropout=plan.dropout,
            max_norm=plan.max_norm,
            seed=seed + _TEACHER_SEEDS,
        )

    return lab.kept(
        f"{_name(plan)}-{seed}",
        lambda: lab.fit(
            "teacher",
            build,
            plan.recipe,
            seed,
            augment=datasets.random_shift(plan.max_shift),
        ),
    )


def targets_of(lab, plan, seed, max_shift=0):
    """The soft targets of the teacher of a seed, stored if they are not.

    Args:
        lab: `laboratory.Laboratory`.
        plan: `TeacherPlan`.
        seed: int.
        max_shift: If not 0, of `mean_over_views` instead. Defaults to 0.

    Returns:
        `soft_targets.SoftTargets`.
    """
    teacher = teacher_of(lab, plan, seed)
    name = f"{_name(plan)}-{seed}-targets"
    if max_shift:
        teacher = mean_over_views(teacher, max_shift)
        name += f"-shifted-{max_shift}"
    return lab.store(name, teacher)


def mean_over_views(teacher, max_shift):
    """A teacher that looks at all shifts of an image and gives their mean.

    Args:
        teacher: `keras.Model` from images to logits.
        max_shift: Pixels by which images are shifted at most, in both
            directions, with zeros moving in.

    Returns:
        `keras.Model`: the mean of the logits, which is the geometric mean of
        the distributions at every temperature.
    """
    image = keras.Input(teacher.input_shape[1:])
    padded = keras.layers.ZeroPadding2D(max_shift)(image)
    both = 2 * max_shift
    logits = [
        teacher(
            keras.layers.Cropping2D(
                ((down, both - down), (right, both - right))
            )(padded)
        )
        for down in range(both + 1)
        for right in range(both + 1)
    ]
    return keras.Model(image, keras.layers.Average()(logits))


def student(lab, units, seed):
    """A student that is not trained yet.

    Args:
        lab: `laboratory.Laboratory`.
        units: Its hidden layers.
        seed: int, of the initial weights.

    Returns:
        `keras.Model`.
    """
    return models.mlp(
        lab.train.image_shape, lab.train.num_classes, units, seed=seed
    )


def _name(plan):
    """What the teachers of a plan are called."""
    return f"teacher-{laboratory.digest(dataclasses.asdict(plan))}"
