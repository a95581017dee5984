r"""Runs one of the papers' experiments, arm by arm and seed by seed.

What is done is kept: the same command goes on, and more --seeds or --arms add
to it. The full form needs MNIST, or CIFAR-100 (--data_dir); --quick makes do
without. mnist_table, omitted_class, two_classes, few_examples, ensemble,
width, gradient_noise, soft_labels_from_counts and specialists are there.
Example, under two minutes:

  python -m scripts.run_experiment mnist_table --quick --output_dir=runs/table
"""

import pathlib
import shlex
import sys

from absl import app
from absl import flags

from scripts import data_flags
from scripts import program
from scripts import settings

settings.adopt(__name__, program, takes_config=False)

_QUICK = flags.DEFINE_bool(
    "quick", False, "A small form that shows the direction only."
)
_SELECTION = flags.DEFINE_bool(
    "selection",
    False,
    "Train on a part of the training split and count on the rest, to choose a "
    "recipe without the test split.",
)
_ARMS = flags.DEFINE_list(
    "arms",
    None,
    "Arms to run; a wrong name lists all. Default: all; of specialists all but "
    "covariance, covariance-random, full-softmax and anew.",
)
_SEEDS = flags.DEFINE_string(
    "seeds",
    None,
    "First seed and the one after the last, as 3:5. Default: as many as the "
    "experiment wants, from 0.",
)
_MODELS_DIR = flags.DEFINE_string(
    "models_dir",
    None,
    "Where teachers and soft targets are kept for other runs. Default: models "
    "beside --output_dir.",
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Directory of the results.", required=True
)
flags.declare_key_flag("data_dir")


def main(argv):
    """Runs the experiment and prints its page."""
    program.run("run_experiment", argv[:1], lambda: _run(argv[1:]))


def _run(names):
    from kd_keras import experiments
    from kd_keras import reports

    known = ", ".join(experiments.EXPERIMENTS)
    if len(names) != 1 or names[0] not in experiments.EXPERIMENTS:
        raise ValueError(
            f"one experiment is to be named, of {known}. Received: "
            f"{' '.join(names) or 'none'}"
        )
    experiment = experiments.EXPERIMENTS[names[0]]
    # "." has no name and no parent.
    folder = pathlib.Path(_OUTPUT_DIR.value).absolute()
    found = experiments.run_experiment(
        experiment,
        experiments.Settings(
            _QUICK.value, _SELECTION.value, data_flags.DATA_DIR.value
        ),
        folder,
        arms=_ARMS.value,
        seeds=_seeds(),
        models_dir=_MODELS_DIR.value or folder.parent / "models",
    )
    command = f"python -m scripts.run_experiment {shlex.join(sys.argv[1:])}"
    print(
        reports.write_experiment_report(
            folder,
            experiment.TITLE,
            found,
            f"The last command: `{command}`. It left as they are the arms and "
            "seeds that were done before.",
        )
    )
    missed = [
        check.claim
        for check in found.checks
        if check.is_certain and check.holds is False
    ]
    if missed:
        raise RuntimeError(f"what must hold does not: {'; '.join(missed)}")


def _seeds():
    if _SEEDS.value is None:
        return None
    try:
        first, stop = map(int, _SEEDS.value.split(":"))
        if not 0 <= first < stop:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"--seeds takes two numbers, as 3:5. Received: {_SEEDS.value}"
        ) from None
    return range(first, stop)


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
