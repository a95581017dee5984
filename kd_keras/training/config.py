"""What the programs that train can be told."""

import dataclasses
import math
import numbers
import os

from kd_keras import arguments
from kd_keras import ops

CONTROLS = ("hard", "label_smoothing")


@dataclasses.dataclass(frozen=True)
class DistillConfig:
    """What the main job does.

    For each seed it trains a teacher on all labels, unless there is one
    already, and stores its soft targets. Then it trains the same student again
    and again on the transfer set: with the labels that are left alone, and
    with the soft targets besides, at each temperature and weight.
    Initialisation, order of the data and number of steps are the same for all.

    Attributes:
        dataset: Name of a TFDS image-classification set, or `"digits"`.
        data_dir: Where TFDS keeps its data sets; None for its own default.
        image_size: Height and width to resize images to; None for as they are.
        train_split: Split to train on, in TFDS' notation.
        validation_split: Split on which to choose among several temperatures
            and weights; not a part of either of the others. None for the last
            tenth of `train_split`, which is then left out of it, if there is
            something to choose, and else for none.
        test_split: Split to count errors on.
        labelled_fraction: Share of the training labels that the student's
            arms see, in (0, 1]. The teacher sees all of them.
        teacher: Paths of teachers, several of which are an ensemble; empty to
            train one for each seed.
        soft_targets: Directory of what `store_soft_targets` wrote of these
            teachers on `train_split`; None to store them for this job.
        mean: `"arithmetic"` or `"geometric"`, of several teachers.
        teacher_model: What to train as a teacher, as `architectures.build`
            takes it.
        teacher_dropout: Dropout rate of its hidden layers; None for 0.5 in
            our models, and what others have of their own.
        student_model: What to train as a student, the same; or the path of a
            `.keras` file, with whose weights all students begin.
        student_weights: Path of weights that the student begins with; None to
            draw them.
        temperature: Temperature of the soft targets, dimensionless, or several.
        soft_weight: Weight of the soft term, from 0 to 1, or several.
        control: What to train besides: `"hard"` and `"label_smoothing"`.
        label_smoothing: Share of the probability that is spread over all
            classes, in (0, 1).
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
    validation_split: str | None = None
    test_split: str = "test"
    labelled_fraction: float = 0.1
    teacher: tuple[str, ...] = ()
    soft_targets: str | None = None
    mean: str = "arithmetic"
    teacher_model: str = "mlp:400,400"
    teacher_dropout: float | None = None
    student_model: str = "mlp:100,100"
    student_weights: str | None = None
    temperature: tuple[float, ...] = (4.0,)
    soft_weight: tuple[float, ...] = (0.9,)
    control: tuple[str, ...] = ("hard",)
    label_smoothing: float = 0.1
    teacher_epochs: int = 60
    student_epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    seeds: int = 5
    first_seed: int = 0
    strategy: str = "default"
    num_virtual_devices: int | None = None

    def __post_init__(self):
        take_paths(self, "teacher")
        take_path(self, "soft_targets", "student_weights")
        for name in ("temperature", "soft_weight"):
            value = getattr(self, name)
            if isinstance(value, numbers.Real):
                object.__setattr__(self, name, (value,))
        for temperature in self.temperature:
            ops.check_temperature(temperature)
        for soft_weight in self.soft_weight:
            arguments.checked_weight(soft_weight)
        for name in ("temperature", "soft_weight"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(
                    f"`{name}` takes one or several different numbers. "
                    f"Received: {values!r}"
                )
        if not set(self.control) <= set(CONTROLS):
            raise ValueError(
                f"`control` takes some of {', '.join(CONTROLS)}. Received: "
                f"{self.control!r}"
            )
        check_counts(
            self, "teacher_epochs", "student_epochs", "batch_size", "seeds"
        )
        check_positive(self, "learning_rate")
        if self.soft_targets is not None and not self.teacher:
            raise ValueError(
                "`soft_targets` needs the `teacher` that they are of, which is "
                "measured on the test split. Received: teacher=()"
            )
        if not 0.0 < self.labelled_fraction <= 1.0:
            raise ValueError(
                "`labelled_fraction` must be above 0 and at most 1. "
                f"Received: {self.labelled_fraction!r}"
            )
        if not 0.0 < self.label_smoothing < 1.0:
            raise ValueError(
                "`label_smoothing` must be between 0 and 1. "
                f"Received: {self.label_smoothing!r}"
            )

    @property
    def splits(self):
        """The splits to train on, to choose on (or None) and to test on."""
        chooses = len(self.temperature) * len(self.soft_weight) > 1
        if self.validation_split is not None or not chooses:
            return self.train_split, self.validation_split, self.test_split
        if not self.train_split.replace("_", "").isalnum():
            raise ValueError(
                "To choose among several temperatures or weights, a part of "
                f"the training data is held out, and of {self.train_split!r} "
                "it is not plain which. Give two that do not overlap, as "
                "--train_split='train[:900]' "
                "--validation_split='train[900:1000]'."
            )
        return (
            f"{self.train_split}[:90%]",
            f"{self.train_split}[90%:]",
            self.test_split,
        )


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
    """How a teacher is trained.

    Attributes:
        dataset: Name of a TFDS image-classification set, or `"digits"`.
        data_dir: Where TFDS keeps its data sets; None for its own default.
        image_size: Height and width to resize images to; None for as they are.
        train_split: Split to train on, in TFDS' notation.
        validation_split: Split whose accuracy the learning curve shows; not a
            part of either of the others. None for none.
        test_split: Split to count errors on.
        model: What to train, as `architectures.build` takes it; or the path of
            a `.keras` file, with whose weights it begins.
        weights: Path of weights to begin with; None to draw them.
        dropout: Dropout rate of its hidden layers; None for 0.5 in our models,
            and what others have of their own.
        max_shift: Pixels by which images are shifted at most, in every epoch
            anew; 0 for not at all.
        epochs: Passes over the training split.
        batch_size: Examples per step.
        learning_rate: Of Adam.
        seed: Of the initial weights, of dropout and of the order of the data.
        strategy: Name of the strategy, one of `kd_keras.distribution.NAMES`.
        num_virtual_devices: As of `DistillConfig`.
    """

    dataset: str = "digits"
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    train_split: str = "train"
    validation_split: str | None = None
    test_split: str = "test"
    model: str = "mlp:400,400"
    weights: str | None = None
    dropout: float | None = None
    max_shift: int = 0
    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    strategy: str = "default"
    num_virtual_devices: int | None = None

    def __post_init__(self):
        take_path(self, "weights")
        check_counts(self, "epochs", "batch_size")
        check_positive(self, "learning_rate")
        check_not_negative(self, "seed", "max_shift")

    @property
    def splits(self):
        """The splits to train on, to look at (or None) and to test on."""
        return self.train_split, self.validation_split, self.test_split


def take_path(config, *names):
    """Makes these fields texts, or None; raises unless they are paths."""
    for name in names:
        value = getattr(config, name)
        if value is None:
            continue
        if not isinstance(value, (str, os.PathLike)):
            raise ValueError(
                f"`{name}` must be a path, or None. Received: {value!r}"
            )
        object.__setattr__(config, name, os.fspath(value))


def take_paths(config, *names):
    """Makes these fields tuples of texts; one path is one of one."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, (str, os.PathLike)):
            value = (value,)
        if not isinstance(value, (tuple, list)) or not all(
            isinstance(path, (str, os.PathLike)) for path in value
        ):
            raise ValueError(
                f"`{name}` must be a path, or a tuple of them. Received: "
                f"{value!r}"
            )
        object.__setattr__(config, name, tuple(map(os.fspath, value)))


def check_counts(config, *names):
    """Raises unless these fields are positive whole numbers."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(
                f"`{name}` must be a positive whole number. Received: {value!r}"
            )


def check_positive(config, *names):
    """Raises unless these fields are positive and finite numbers."""
    for name in names:
        value = getattr(config, name)
        if not _is_number(value) or not 0 < value < math.inf:
            raise ValueError(
                f"`{name}` must be positive and finite. Received: {value!r}"
            )


def check_not_negative(config, *names):
    """Raises unless these fields are whole numbers of at least 0."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(
                f"`{name}` must be a whole number, not negative. "
                f"Received: {value!r}"
            )


def check_share(config, *names):
    """Raises unless these fields are numbers between 0 and 1."""
    for name in names:
        value = getattr(config, name)
        if not _is_number(value) or not 0 < value < 1:
            raise ValueError(
                f"`{name}` must be between 0 and 1. Received: {value!r}"
            )


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
