"""Teachers and students of the width experiment, by regime."""

import dataclasses

import keras
import numpy as np

from kd_keras import models
from kd_keras.experiments import laboratory
from kd_keras.experiments import width_nets
from kd_keras.experiments import width_training

# Seeds of teachers are apart from those of students.
_TEACHER_SEEDS = 1_000_000
# Temperatures of the soft targets of students that the Distiller trains.
TEMPERATURES = {"soft-1": 1.0, "soft-4": 4.0}


@dataclasses.dataclass(frozen=True)
class Descent:
    """Projected gradient descent, the projection being a constraint.

    Attributes:
        epochs: Passes over the data.
        batch_size: Examples per step.
        learning_rate: The same all along.
    """

    epochs: int
    batch_size: int
    learning_rate: float

    def optimizer(self, num_steps):
        """An optimizer, for any number of steps."""
        del num_steps
        return keras.optimizers.SGD(self.learning_rate)


def teacher(lab, of, name, task, seed):
    """The teacher of digits of a seed, trained if it is not kept.

    Args:
        lab: `laboratory.Laboratory`.
        of: The plan.
        name: What the task is called.
        task: `width_data.Task`.
        seed: int.

    Returns:
        `keras.Model` with an output `teacher`.
    """

    def build():
        return width_nets.side_by_side(
            task.train.shape[1],
            {
                "teacher": _net(
                    width_nets.practical,
                    of.teacher_width,
                    seed + _TEACHER_SEEDS,
                )
            },
        )

    called = [name, of.teacher_width]
    return _kept(lab, called, build, of.teacher, task, seed)


def deep_teacher(lab, of, name, task, seed):
    """The teacher of groups of CIFAR-100 of a seed; see `teacher`."""

    def build():
        return _one(
            "teacher",
            models.convnet(
                task.train.shape[1:],
                2,
                of.deep_filters[0],
                dense_units=(64,),
                dropout=0.3,
                seed=seed + _TEACHER_SEEDS,
            ),
        )

    called = ["deep", name, of.deep_filters[0]]
    return _kept(lab, called, build, of.deep_teacher, task, seed)


def practical(of, task, teacher_logits, seed, title):
    """Students of digits all weights of which train, of several widths.

    Args:
        of: The plan.
        task: `width_data.Task`.
        teacher_logits: float32 array `[examples, 2]`, of the training
            examples.
        seed: int, of initial weights and order: the same for all targets.
        title: What the progress calls it.

    Returns:
        A dict of `students`: errors by width and target.
    """

    def build():
        return width_nets.side_by_side(
            task.train.shape[1],
            {
                str(width): _net(width_nets.practical, width, seed)
                for width in of.widths
            },
        )

    return _distilled(build, of.student, task, teacher_logits, seed, title)


def deep(of, task, teacher_logits, seed, title):
    """A convolutional student; see `practical`."""
    filters = of.deep_filters[1]

    def build():
        return _one(
            "-".join(map(str, filters)),
            models.convnet(
                task.train.shape[1:], 2, filters, dense_units=(), seed=seed
            ),
        )

    return _distilled(build, of.deep_student, task, teacher_logits, seed, title)


def theorem(of, task, teacher_logits, seed, title):
    """Students of the theorem, of several radii and widths.

    Args:
        of: The plan.
        task: `width_data.Task`; its inputs are divided by the largest norm.
        teacher_logits: As of `practical`.
        seed: The same.
        title: The same.

    Returns:
        A dict of `students`: errors by radius, width and target;
        `divergence`, in nats, from the soft labels over the training examples,
        of those that were given them, by radius and width; and what the
        bounds need besides.
    """
    task = task.scaled()
    nets = {
        f"{'inf' if radius is None else f'{radius:g}'}-{width}": _net(
            width_nets.theorem, width, seed, radius=radius
        )
        for radius in of.radii
        for width in of.theorem_widths
    }
    students, divergence = {}, {}
    for target, class_probs in theorem_labels(
        teacher_logits, task.train_labels
    ).items():
        model = width_training.fit_given(
            width_nets.side_by_side(task.train.shape[1], nets),
            task.train,
            class_probs,
            of.descent,
            seed,
            f"{title}, {target}",
        )
        errors = width_training.errors(model, task.test, task.test_labels)
        for name, count in errors.items():
            radius, width = name.split("-")
            of_radius = students.setdefault(radius, {})
            of_radius.setdefault(width, {})[target] = count
        if target == "soft":
            found = width_training.predict(model, task.train)
            for name, logits in found.items():
                radius, width = name.split("-")
                divergence.setdefault(radius, {})[width] = mean_divergence(
                    class_probs, logits
                )
    return {
        "students": students,
        "divergence": divergence,
        "train_examples": len(task.train),
        "smallest_norm": float(np.linalg.norm(task.train, axis=1).min()),
    }


def theorem_labels(teacher_logits, labels):
    """What the students of the theorem are given as labels.

    With `z` the teacher's logit of class 1 over that of class 0:

    - `hard`: the label;
    - `soft`: `sigmoid(z / max(abs(z)))`, as near to 1/2 as the theorem has
      them;
    - `raw`: `sigmoid(z)`, what the teacher says;
    - `smoothed`: `sigmoid(s)` for the class of the label, the same for all
      examples, with `s` the mean of `abs(z) / max(abs(z))`: labels that are
      on average as near to 1/2 as the soft ones, and tell nothing else of the
      teacher.

    Args:
        teacher_logits: float array, `[examples, 2]`.
        labels: int array of 0 and 1.

    Returns:
        A dict of float32 arrays `[examples, 2]`, probabilities.
    """
    z = np.asarray(teacher_logits, np.float64)
    z = z[:, 1] - z[:, 0]
    near = z / np.abs(z).max()
    size = np.abs(near).mean()
    soft = {
        "soft": near,
        "raw": z,
        "smoothed": np.where(labels == 1, size, -size),
    }
    return {
        "hard": width_training.one_hot(labels),
        **{
            name: np.stack(
                [1 / (1 + np.exp(value)), 1 / (1 + np.exp(-value))], axis=1
            ).astype(np.float32)
            for name, value in soft.items()
        },
    }


def mean_divergence(class_probs, logits):
    """Mean KL divergence of a student from soft labels.

    Args:
        class_probs: float array, `[examples, classes]`, above 0.
        logits: float array of the same shape.

    Returns:
        float, in nats.
    """
    probs = np.asarray(class_probs, np.float64)
    logits = np.asarray(logits, np.float64)
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float((probs * (np.log(probs) - log_probs)).sum(axis=1).mean())


def _kept(lab, called, build, recipe, task, seed):
    def make():
        return width_training.distil(
            build(),
            task.train,
            task.train_labels,
            recipe,
            seed,
            f"seed {seed}: teacher of {called[-2]}",
        )

    called_so = laboratory.digest(*called, dataclasses.asdict(recipe))
    return lab.kept(f"width-teacher-{called_so}-{seed}", make)


def _distilled(build, recipe, task, teacher_logits, seed, title):
    """Errors of students on labels, and on soft targets of temperatures."""
    students = {}
    for target in ("hard", *TEMPERATURES):
        soft = None
        if target != "hard":
            soft = teacher_logits, TEMPERATURES[target]
        model = width_training.distil(
            build(),
            task.train,
            task.train_labels,
            recipe,
            seed,
            f"{title}, {target}",
            soft,
        )
        errors = width_training.errors(model, task.test, task.test_labels)
        for width, count in errors.items():
            students.setdefault(width, {})[target] = count
    return {"students": students}


def _net(build, width, seed, **kwargs):
    return lambda inputs, name: build(
        inputs, width, seed, f"net_{name}", **kwargs
    )


def _one(name, model):
    """A model whose logits have a name."""
    return keras.Model(model.input, {name: model.output})
