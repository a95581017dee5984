"""From a configuration to trained models: the main job."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import platform
import shutil
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from kd_keras import arguments
from kd_keras import comparison
from kd_keras import datasets
from kd_keras import export
from kd_keras import metrics
from kd_keras import models
from kd_keras import ops
from kd_keras import progress
from kd_keras import version
from kd_keras.distiller import Distiller

ARMS = ("teacher", "hard labels", "distilled")


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
    """

    dataset: str = "digits"
    data_dir: str | None = None
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
        if not self.learning_rate > 0:
            raise ValueError(
                "`learning_rate` must be positive. "
                f"Received: {self.learning_rate!r}"
            )


def run_distillation(config, output_dir, overwrite=False):
    """Runs the main job and writes what came of it.

    Args:
        config: A `DistillConfig`.
        output_dir: Directory to make. It holds `config.json`,
            `metrics.jsonl` (a line for each arm of each seed), and of the
            first seed `sizes.json` (bytes of each arm as a SavedModel),
            `student.keras` and `saved_model/`. Nothing is seen there before
            all is done.
        overwrite: Whether something at `output_dir` may be replaced. Defaults
            to `False`.

    Returns:
        A tuple of a list of dicts, the lines of `metrics.jsonl`, and a dict,
        the content of `sizes.json`.

    Raises:
        FileExistsError: If there is something at `output_dir`.
        ValueError: If the configuration does not fit the data.
    """
    with _published(output_dir, overwrite) as folder:
        data = _Data(config)
        _write_json(folder / "config.json", _provenance(config, data))
        rows, sizes = [], {}
        report = progress.Report(
            config.seeds
            * (config.teacher_epochs + 2 * config.student_epochs)
            * data.steps_per_epoch
        )
        for seed in range(config.first_seed, config.first_seed + config.seeds):
            for row, model in _run_seed(config, data, seed, report):
                rows.append(row)
                with open(folder / "metrics.jsonl", "a") as file:
                    file.write(json.dumps(row) + "\n")
                # Kept is the first, not the best.
                if seed == config.first_seed:
                    sizes[row["arm"]] = _keep(row["arm"], model, folder)
        _write_json(folder / "sizes.json", sizes)
        report.close()
    return rows, sizes


def summarise(rows, sizes):
    """Formats the table of the main job and says what it shows.

    Args:
        rows: The lines of `metrics.jsonl`.
        sizes: The content of `sizes.json`.

    Returns:
        A string of lines.
    """
    by_arm = {arm: [row for row in rows if row["arm"] == arm] for arm in ARMS}
    table = []
    for arm, arm_rows in by_arm.items():

        def cell(key, digits, scale=1.0, arm_rows=arm_rows):
            values = [row[key] for row in arm_rows]
            if None in values:
                return "-"
            mean, spread = comparison.mean_and_spread(
                [scale * value for value in values]
            )
            if math.isnan(spread):
                return f"{mean:.{digits}f}"
            return f"{mean:.{digits}f} ± {spread:.{digits}f}"

        table.append(
            [
                arm,
                f"{arm_rows[0]['parameters']:,}",
                cell("test_errors", 1),
                cell("test_accuracy", 2, 100),
                cell("teacher_agreement", 2, 100),
                cell("calibration_error", 3),
                f"{sizes[arm] / 1000:,.0f} kB",
            ]
        )
    header = [
        "arm",
        "parameters",
        "test errors",
        "accuracy %",
        "agreement %",
        "calibration error",
        "SavedModel",
    ]
    errors = {
        arm: [row["test_errors"] for row in arm_rows]
        for arm, arm_rows in by_arm.items()
    }
    num_examples = rows[0]["test_examples"]
    num_seeds = len(errors["teacher"])
    return "\n".join(
        [
            comparison.format_table(header, table),
            "",
            f"Mean ± standard deviation, number of seeds: {num_seeds}. Test "
            f"examples: {num_examples}. Agreement: with the seed's teacher.",
            comparison.verdict(
                errors["hard labels"], errors["distilled"], num_examples
            ),
        ]
    )


class _Data:
    """The data of the job: built once, read in the order of each seed."""

    def __init__(self, config):
        load = datasets.load
        train = load(
            config.dataset, config.train_split, data_dir=config.data_dir
        )
        test = load(config.dataset, config.test_split, data_dir=config.data_dir)
        self.train, self.config = train, config
        self.steps_per_epoch = -(-train.num_examples // config.batch_size)
        self.test_batches = datasets.batches(test.dataset, 500)
        self.test_labels = np.concatenate(
            [labels for _, labels in self.test_batches.as_numpy_iterator()]
        )

    def batches(self, seed, labelled_fraction=1.0):
        """The training split in the order of a seed."""
        dataset = self.train.dataset
        if labelled_fraction < 1.0:
            dataset = datasets.hide_labels(
                dataset, 1.0 - labelled_fraction, seed=seed
            )
        return datasets.batches(
            dataset, self.config.batch_size, shuffle_seed=seed
        )


def _run_seed(config, data, seed, report):
    """Trains the arms of one seed; yields a row and the model of each."""
    keras.backend.clear_session()
    shape, num_classes = data.train.image_shape, data.train.num_classes
    teacher = models.mlp(
        shape,
        num_classes,
        config.teacher_units,
        dropout=config.teacher_dropout,
        # Seeds apart from the student's: they share no random numbers.
        seed=seed + 1_000_000,
        name="teacher",
    )
    report.start(f"seed {seed}: teacher")
    _compile(config, teacher)
    _fit(teacher, data.batches(seed), config.teacher_epochs, report)
    teacher_logits = teacher.predict(data.test_batches, verbose=0)
    row = _row(config, data, seed, "teacher", teacher, teacher_logits, None)
    yield row, teacher

    for arm in ARMS[1:]:
        report.start(f"seed {seed}: {arm}")
        student = models.mlp(
            shape,
            num_classes,
            config.student_units,
            seed=seed,
            name="student",
        )
        distilled = arm == "distilled"
        distiller = Distiller(
            student=student,
            teacher=teacher if distilled else None,
            temperature=config.temperature,
            soft_weight=config.soft_weight if distilled else 0.0,
        )
        _compile(config, distiller)
        transfer_set = data.batches(seed, config.labelled_fraction)
        _fit(distiller, transfer_set, config.student_epochs, report)
        logits = student.predict(data.test_batches, verbose=0)
        row = _row(config, data, seed, arm, student, logits, teacher_logits)
        yield row, student


def _compile(config, model):
    model.compile(
        keras.optimizers.Adam(config.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=20,
    )


def _fit(model, batches, epochs, report):
    # The batches come shuffled.
    counted = [report.callback()]
    model.fit(
        batches, epochs=epochs, verbose=0, shuffle=False, callbacks=counted
    )


def _row(config, data, seed, arm, model, logits, teacher_logits):
    """Measures one trained model on the test split."""
    right = logits.argmax(axis=-1) == data.test_labels
    calibration = metrics.ExpectedCalibrationError()
    calibration.update_state(data.test_labels, logits)
    agreement = None
    if teacher_logits is not None:
        same = logits.argmax(axis=-1) == teacher_logits.argmax(axis=-1)
        agreement = float(same.mean())
    return {
        "seed": seed,
        "arm": arm,
        "parameters": model.count_params(),
        "test_examples": len(right),
        "test_errors": int((~right).sum()),
        "test_accuracy": float(right.mean()),
        "teacher_agreement": agreement,
        "calibration_error": float(calibration.result()),
    }


def _keep(arm, model, folder):
    """Measures a model as a SavedModel; keeps the distilled student."""
    path = folder / ("saved_model" if arm == "distilled" else "measured")
    export.export_student(model, path)
    files = [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if arm == "distilled":
        model.save(folder / "student.keras")
    else:
        shutil.rmtree(path)
    return size


def _provenance(config, data):
    return {
        **dataclasses.asdict(config),
        "dataset_version": data.train.version,
        "num_train_examples": data.train.num_examples,
        "versions": {
            "kd_keras": version.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "python": platform.python_version(),
        },
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


@contextlib.contextmanager
def _published(output_dir, overwrite):
    """A directory to fill, which gets its name when all is done."""
    output_dir = pathlib.Path(output_dir)
    if output_dir.is_file() or (
        output_dir.is_dir() and any(output_dir.iterdir())
    ):
        if not overwrite:
            raise FileExistsError(
                f"There is something at {output_dir} already. Choose another "
                "output directory, or overwrite it (--overwrite)."
            )
        if not (output_dir / "config.json").is_file():
            raise FileExistsError(
                f"{output_dir} has no config.json, so it is no output of this "
                "job and is not overwritten. Choose another output directory."
            )
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    folder = pathlib.Path(
        tempfile.mkdtemp(
            prefix=f".{output_dir.name}.partial-", dir=output_dir.parent
        )
    )
    try:
        yield folder
        # Made for its owner only, as temporary directories are.
        folder.chmod(0o755)
        if output_dir.exists():
            shutil.rmtree(output_dir)
        os.rename(folder, output_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
