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
from scripts import output_flags
from scripts import program
from scripts import settings
from scripts import strategy_flags
from scripts import teacher_flags
from scripts import training_flags

settings.adopt(
    __name__, program, output_flags, data_flags, strategy_flags, teacher_flags
)

_TEACHERS = teacher_flags.define_teachers(required=False)
# Each has the name of its field in `training.DistillConfig`.
_SETTINGS = (
    data_flags.define_dataset(),
    data_flags.DATA_DIR,
    *strategy_flags.TRAINING,
    flags.DEFINE_string(
        "validation_split",
        None,
        "Split on which to choose among temperatures and weights. Default: "
        "the last tenth of --train_split, if there is a choice.",
    ),
    flags.DEFINE_float(
        "labelled_fraction",
        0.1,
        "Share of the training labels left to the students, in (0, 1].",
    ),
    teacher_flags.MEAN,
    flags.DEFINE_string(
        "soft_targets",
        None,
        "What cache_soft_targets wrote of --teacher on --train_split. Default: "
        "store them for this job.",
    ),
    training_flags.define_model(
        "teacher_model", "mlp:400,400", ": trained if no --teacher is given."
    ),
    training_flags.define_dropout("teacher_dropout"),
    training_flags.define_model("student_model", "mlp:100,100"),
    training_flags.define_weights("student_weights"),
    flags.DEFINE_float("label_smoothing", 0.1, "Of --control=label_smoothing."),
    flags.DEFINE_integer(
        "teacher_epochs", 60, "The teacher's passes over the training split."
    ),
    flags.DEFINE_integer(
        "student_epochs", 60, "A student's passes over the transfer set."
    ),
    flags.DEFINE_integer("seeds", 5, "Number of paired runs."),
    flags.DEFINE_integer("first_seed", 0, "Seed of the first."),
)
_NUMBERS = (
    flags.DEFINE_list(
        "temperature", ["4"], "Temperature of the soft targets, or several."
    ),
    flags.DEFINE_list(
        "soft_weight", ["0.9"], "Weight of the soft term, 0 to 1, or several."
    ),
)
_CONTROL = flags.DEFINE_list(
    "control",
    ["hard"],
    "What to train besides: hard, label_smoothing, both, or nothing.",
)
_OUTPUT_DIR = output_flags.define_output_dir(
    "Directory to make: report.md with its plots, config.json, metrics.jsonl, "
    "curves.jsonl, and of the first seed student.keras and saved_model/.",
)


def main(argv):
    """Runs the job and prints its table."""
    program.run("distill", argv, _distill)


def _distill():
    from kd_keras import reports
    from kd_keras import training

    _check_used()
    config = training.DistillConfig(
        **settings.values(_SETTINGS),
        **{flag.name: settings.numbers(flag, float) for flag in _NUMBERS},
        image_size=settings.numbers(data_flags.IMAGE_SIZE),
        teacher=tuple(filter(None, _TEACHERS.value)),
        control=tuple(_CONTROL.value),
    )
    rows, sizes = training.run_distillation(
        config,
        _OUTPUT_DIR.value,
        overwrite=output_flags.OVERWRITE.value,
        finish=reports.write_distillation_report,
    )
    # Empty on workers that are not the first.
    if sizes:
        print(training.summarise(rows, sizes))
        print(f"Written: {_OUTPUT_DIR.value}")


def _check_used():
    """Raises if a flag is given that the others make useless."""
    if any(_TEACHERS.value):
        settings.check_used(
            ("teacher_model", "teacher_dropout", "teacher_epochs"),
            "these are of a teacher that is trained here, and --teacher gives "
            "one",
        )
    if "label_smoothing" not in _CONTROL.value:
        settings.check_used(
            ("label_smoothing",),
            "it is of a control. Give --control=hard,label_smoothing, too",
        )


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
