r"""Trains a teacher, distils it into a student, and compares honestly.

For several paired seeds: a teacher on all labels; a student a tenth its size
on the labels that are left; the same student with the teacher's soft targets
besides. Example, offline, in about a minute on two cores:

  python -m scripts.distill --output_dir=runs/digits
"""

import os
import sys

from absl import app
from absl import flags
from absl import logging

_DATASET = flags.DEFINE_string(
    "dataset", "digits", "Name of a TFDS image-classification set, or digits."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its data sets. Default: TFDS' own."
)
_TRAIN_SPLIT = flags.DEFINE_string(
    "train_split", "train", "Split to train on, in TFDS' notation."
)
_TEST_SPLIT = flags.DEFINE_string(
    "test_split",
    "test",
    "Split to count errors on. To choose settings, hold out a part of the "
    "training split: --train_split=train[:80%] --test_split=train[80%:].",
)
_LABELLED_FRACTION = flags.DEFINE_float(
    "labelled_fraction",
    0.1,
    "Share of the training labels that the students see, in (0, 1]; the "
    "teacher sees all.",
)
_TEACHER_UNITS = flags.DEFINE_list(
    "teacher_units", ["400", "400"], "Units of the teacher's hidden layers."
)
_STUDENT_UNITS = flags.DEFINE_list(
    "student_units", ["100", "100"], "Units of the student's hidden layers."
)
_TEMPERATURE = flags.DEFINE_float(
    "temperature", 4.0, "Temperature of the soft targets."
)
_SOFT_WEIGHT = flags.DEFINE_float(
    "soft_weight", 0.9, "Weight of the soft term, from 0 to 1."
)
_TEACHER_EPOCHS = flags.DEFINE_integer(
    "teacher_epochs", 60, "The teacher's passes over the training split."
)
_STUDENT_EPOCHS = flags.DEFINE_integer(
    "student_epochs", 60, "A student's passes over the transfer set."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Examples per step.")
_LEARNING_RATE = flags.DEFINE_float(
    "learning_rate", 1e-3, "Learning rate of Adam, in all arms."
)
_SEEDS = flags.DEFINE_integer("seeds", 5, "Number of paired runs.")
_FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "Seed of the first run.")
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir",
    None,
    "Directory to make, with config.json and metrics.jsonl, and of the first "
    "seed sizes.json, student.keras and saved_model/.",
    required=True,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace an earlier output at --output_dir."
)


def main(argv):
    """Runs the job and prints its table."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    # Before TensorFlow is imported, which is here and not above: --help need
    # not wait for it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.ERROR)
    from kd_keras import training

    try:
        config = training.DistillConfig(
            dataset=_DATASET.value,
            data_dir=_DATA_DIR.value,
            train_split=_TRAIN_SPLIT.value,
            test_split=_TEST_SPLIT.value,
            labelled_fraction=_LABELLED_FRACTION.value,
            teacher_units=_units(_TEACHER_UNITS),
            student_units=_units(_STUDENT_UNITS),
            temperature=_TEMPERATURE.value,
            soft_weight=_SOFT_WEIGHT.value,
            teacher_epochs=_TEACHER_EPOCHS.value,
            student_epochs=_STUDENT_EPOCHS.value,
            batch_size=_BATCH_SIZE.value,
            learning_rate=_LEARNING_RATE.value,
            seeds=_SEEDS.value,
            first_seed=_FIRST_SEED.value,
        )
        rows, sizes = training.run_distillation(
            config, _OUTPUT_DIR.value, overwrite=_OVERWRITE.value
        )
    except (ValueError, OSError) as error:
        sys.exit(f"distill: {error}")
    print(training.summarise(rows, sizes))
    print(f"Written: {_OUTPUT_DIR.value}")


def _units(flag):
    try:
        return tuple(int(units) for units in flag.value)
    except ValueError:
        raise ValueError(
            f"--{flag.name} takes whole numbers with commas between them, "
            f"such as 100,100. Received: {','.join(flag.value)}"
        ) from None


def run():
    """Entry point of the installed command."""
    app.run(main)


if __name__ == "__main__":
    run()
