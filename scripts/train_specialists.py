r"""Trains specialists of a generalist, and makes one model of all.

Writes combined.keras, a teacher for distill. Each specialist tells apart some
classes that the generalist confuses. Example, offline, in about a minute:

  python -m scripts.train_specialists --output_dir=runs/specialists

The same command, started as often as there are cores or machines, shares the
work: each process takes the next specialist, and the last one writes the
output. What was broken off goes on when it is started again. A process for
which nothing is left ends; if those that are at the rest die, start it again.
"""

import os

from absl import app
from absl import flags

from scripts import data_flags
from scripts import output_flags
from scripts import program
from scripts import settings
from scripts import specialist_flags
from scripts import training_flags

settings.adopt(
    __name__,
    program,
    output_flags,
    data_flags,
    training_flags,
    specialist_flags,
)

# Each has the name of its field in `training.SpecialistsConfig`.
_SETTINGS = (
    data_flags.define_dataset(),
    data_flags.DATA_DIR,
    *training_flags.TRAINING,
    flags.DEFINE_string(
        "cluster_split",
        None,
        "Split of which to see what the generalist confuses, without labels. "
        "Default: --train_split.",
    ),
    flags.DEFINE_float(
        "cluster_temperature", 2.0, "Of the predictions that are clustered."
    ),
    flags.DEFINE_string(
        "generalist", None, "A .keras file. Default: train one."
    ),
    training_flags.define_model(
        "generalist_model", "mlp:400,400", ": trained without --generalist."
    ),
    training_flags.define_dropout("generalist_dropout"),
    flags.DEFINE_integer(
        "generalist_epochs", 60, "Its passes over the training split."
    ),
    flags.DEFINE_integer(
        "num_sets", 3, "How many specialists; fewer where sets come out equal."
    ),
    flags.DEFINE_integer(
        "set_size", 4, "Classes of each; 0 for clusters that share none."
    ),
    flags.DEFINE_enum(
        "columns",
        "correlation",
        ["correlation", "covariance"],
        "Of what the columns are clustered: the paper's is the second, with "
        "which sets of one size come out much alike.",
    ),
    *specialist_flags.RECIPE,
    flags.DEFINE_enum(
        "dustbin_rule",
        "bayes",
        ["bayes", "paper", "none"],
        "Correction of the dustbin for the sampling: exact, by the paper's "
        "letter, or none.",
    ),
    flags.DEFINE_integer(
        "top_n", 1, "Classes of the generalist that choose who is asked."
    ),
    flags.DEFINE_integer(
        "max_shift", 0, "Pixels by which images are shifted at most."
    ),
    flags.DEFINE_integer("seed", 0, "Of weights, order, and clusters."),
)
_OUTPUT_DIR = output_flags.define_output_dir(
    "Directory to make: combined.keras and generalist.keras, beside each what "
    "is known of it as .json, specialists/ and specialists.json, report.md "
    "with its plots, config.json, metrics.jsonl, predictions.npz, "
    "curves.jsonl and tensorboard/."
)


def main(argv):
    """Trains what is left to train, and prints what came of it."""
    program.run("train_specialists", argv, _train)


def _train():
    from kd_keras import reports
    from kd_keras import training

    _check_used()
    found = training.run_specialists(
        training.SpecialistsConfig(
            **settings.values(_SETTINGS),
            image_size=settings.numbers(data_flags.IMAGE_SIZE),
        ),
        _OUTPUT_DIR.value,
        overwrite=output_flags.OVERWRITE.value,
        finish=reports.write_specialists_report,
    )
    if found is None and os.path.isdir(_OUTPUT_DIR.value):
        print(
            f"Done before, by the same command: {_OUTPUT_DIR.value}, of which "
            "report.md says what came of it. --overwrite makes it anew."
        )
        return
    if found is None:
        print(
            "Nothing is left for this process: others are at the rest. If "
            "they die, start this again."
        )
        return
    print(training.summarise_specialists(found))
    print(f"Written: {_OUTPUT_DIR.value}")


def _check_used():
    """Raises if a flag is given that the others make useless."""
    if not flags.FLAGS.full_softmax:
        settings.check_used(
            ("temperature", "soft_weight"),
            "these are of specialists that tell all classes. Give "
            "--full_softmax, too",
        )
    if flags.FLAGS.generalist:
        settings.check_used(
            (
                "generalist_model",
                "generalist_dropout",
                "generalist_epochs",
                "learning_rate",
            ),
            "these are of a generalist that is trained here, and --generalist "
            "gives one",
        )


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
