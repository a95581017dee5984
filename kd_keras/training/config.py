"""What the main job can be told."""

import dataclasses

from kd_keras import arguments
from kd_keras import ops


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """What the main job does.

    For each seed it trains a teacher on all labels, then the same student
    twice on the transfer set: with the labels that are left alone, and with
    the teacher's soft targets besides. Initialisation, order of the data and
    number of steps of the two are the same.

    Attributes:
        dataset: Name of a TFDS image-classification set, or `"digits"`.
        data_dir: Where TFDS keeps its data sets; None for its own default.
        image_size: Height and width to resize images to; None for as they are.
        train_split: Split to train on, in TFDS' notation.
        test_split: Split to count errors on. To choose settings, hold out a
            part of the training split instead: `train[:80%]`, `train[80%:]`.
        labelled_fraction: Share of the training labels that the student's
            arms see, in (0, 1]. The teacher sees all of them.
        teacher_units: Units of the teacher's hidden layers.
        teacher_dropout: Dropout rate of the teacher's hidden layers.
        student_units: Units of the student's hidden layers.
        temperature: Temperature of the soft targets, dimensionless.
        soft_weight: Weight of the soft term, from 0 to 1.
        teacher_epochs: Passes over the training split.
        student_epochs: Passes over the transfer set, in each arm.
        batch_size: Examples per step.
        learning_rate: Of Adam, in all arms.
        seeds: Number of paired runs.
        first_seed: The seeds are this and the following ones.
        strategy: Name of the strategy under which all models train, one of
            `kd_keras.distribution.NAMES`.
        num_virtual_devices: For `"mirrored"` without GPUs: into how many
            devices to divide the CPU; None for one.
    """

    dataset: str = "digits"
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    train_split: str = "train"
    test_split: str = "test"
    labelled_fraction: float = 0.1
    teacher_units: tuple[int, ...] = (400, 400)
    teacher_dropout: float = 0.5
    student_units: tuple[int, ...] = (100, 100)
    temperature: float = 4.0
    soft_weight: float = 0.9
    teacher_epochs: int = 60
    student_epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    seeds: int = 5
    first_seed: int = 0
    strategy: str = "default"
    num_virtual_devices: int | None = None

    def __post_init__(self):
        ops.check_temperature(self.temperature)
        arguments.checked_weight(self.soft_weight)
        for name in (
            "teacher_epochs",
            "student_epochs",
            "batch_size",
            "seeds",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive whole number. "
                    f"Received: {value!r}"
                )
        if not 0.0 < self.labelled_fraction <= 1.0:
            raise ValueError(
                "`labelled_fraction` must be above 0 and at most 1. "
                f"Received: {self.labelled_fraction!r}"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(
                "`learning_rate` must be positive and finite. "
                f"Received: {self.learning_rate!r}"
            )
