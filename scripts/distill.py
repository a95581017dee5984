r"""Trains a teacher, distils it into a student, and compares honestly.

For several paired seeds: a teacher on all labels; a student a tenth its size
on the labels that are left; the same student with the teacher's soft targets
besides. Example, offline, in one to two minutes on two cores:

  python -m scripts.distill --output_dir=runs/digits

Broken off, it goes on where it was when it is started by the same command.
"""

from absl import app
from absl import flags

from scripts import data_flags
from scripts import program
from scripts import strategy_flags

flags.adopt_module_key_flags(program)
flags.adopt_module_key_flags(data_flags)
flags.adopt_module_key_flags(strategy_flags)

# Each has the name of its field in `training.DistillConfig`.
_SETTINGS = (
    data_flags.DATASET,
    data_flags.DATA_DIR,
    *strategy_flags.STRATEGY,
    flags.DEFINE_string(
        "train_split", "train", "Split to train on, in TFDS' notation."
    ),
    flags.DEFINE_string(
        "test_split",
        "test",
        "Split to count errors on. To choose settings hold out training data: "
        "--train_split=train[:80%] --test_split=train[80%:].",
    ),
    flags.DEFINE_float(
        "labelled_fraction",
        0.1,
        "Share of the training labels left to the students, in (0, 1].",
    ),
    flags.DEFINE_float(
        "teacher_dropout", 0.5, "Dropout rate of the teacher's hidden layers."
    ),
    flags.DEFINE_float("temperature", 4.0, "Temperature of the soft targets."),
    flags.DEFINE_float(
        "soft_weight", 0.9, "Weight of the soft term, from 0 to 1."
    ),
    flags.DEFINE_integer(
        "teacher_epochs", 60, "The teacher's passes over the training split."
    ),
    flags.DEFINE_integer(
        "student_epochs", 60, "A student's passes over the transfer set."
    ),
    flags.DEFINE_integer("batch_size", 64, "Examples per step."),
    flags.DEFINE_float(
        "learning_rate", 1e-3, "Learning rate of Adam, in all arms."
    ),
    flags.DEFINE_integer("seeds", 5, "Number of paired runs."),
    flags.DEFINE_integer("first_seed", 0, "Seed of the first."),
)
_UNITS = (
    data_flags.IMAGE_SIZE,
    flags.DEFINE_list(
        "teacher_units", ["400", "400"], "The teacher's hidden layers."
    ),
    flags.DEFINE_list(
        "student_units", ["100", "100"], "The student's hidden layers."
    ),
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir",
    None,
    "Directory to make, with config.json and metrics.jsonl, and of the first "
    "seed sizes.json, student.keras and saved_model/.",
    required=True,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace an earlier output at --output_dir, or a broken run of other "
    "settings.",
)


def main(argv):
    """Runs the job and prints its table."""
    program.run("distill", argv, _distill)


def _distill():
    from kd_keras import training

    config = training.DistillConfig(
        **{flag.name: flag.value for flag in _SETTINGS},
        **{flag.name: program.units(flag) for flag in _UNITS},
    )
    rows, sizes = training.run_distillation(
        config, _OUTPUT_DIR.value, overwrite=_OVERWRITE.value
    )
    # Empty on workers that are not the first.
    if sizes:
        print(training.summarise(rows, sizes))
        print(f"Written: {_OUTPUT_DIR.value}")


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=program.parse)


if __name__ == "__main__":
    run()
