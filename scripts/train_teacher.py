r"""Trains a teacher on labels.

Writes teacher.keras, which cache_soft_targets and distill take. Example,
offline, in seconds:

  python -m scripts.train_teacher --output_dir=runs/teacher

The teacher of the paper's section 3, but for its limit on weights:

  python -m scripts.train_teacher --dataset=mnist --model=mlp:1200,1200 \
      --max_shift=2 --epochs=100 --batch_size=100 --output_dir=runs/teacher

Broken off, it goes on where it was when it is started by the same command.
"""

from absl import app
from absl import flags

from scripts import data_flags
from scripts import output_flags
from scripts import program
from scripts import settings
from scripts import strategy_flags
from scripts import training_flags

settings.adopt(__name__, program, output_flags, data_flags, strategy_flags)

# Each has the name of its field in `training.TeacherConfig`.
_SETTINGS = (
    data_flags.define_dataset(),
    data_flags.DATA_DIR,
    *strategy_flags.TRAINING,
    flags.DEFINE_string(
        "validation_split",
        None,
        "Split whose accuracy the learning curve shows, too. Default: none.",
    ),
    training_flags.define_model("model", "mlp:400,400"),
    training_flags.define_weights("weights"),
    training_flags.define_dropout("dropout"),
    flags.DEFINE_integer(
        "max_shift", 0, "Pixels by which images are shifted at most."
    ),
    flags.DEFINE_integer("epochs", 60, "Passes over the training split."),
    flags.DEFINE_integer("seed", 0, "Of weights, dropout and order."),
)
_OUTPUT_DIR = output_flags.define_output_dir(
    "Directory to make: teacher.keras, teacher.json, saved_model/, report.md "
    "with its plots, config.json, metrics.jsonl and curves.jsonl."
)


def main(argv):
    """Trains the teacher and prints what came of it."""
    program.run("train_teacher", argv, _train)


def _train():
    from kd_keras import reports
    from kd_keras import training

    config = training.TeacherConfig(
        **settings.values(_SETTINGS),
        image_size=settings.numbers(data_flags.IMAGE_SIZE),
    )
    row = training.run_teacher(
        config,
        _OUTPUT_DIR.value,
        overwrite=output_flags.OVERWRITE.value,
        finish=reports.write_teacher_report,
    )
    # Empty on workers that are not the first.
    if row:
        print(training.summarise_teacher(row))
        print(f"Written: {_OUTPUT_DIR.value}")


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
