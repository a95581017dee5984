r"""Writes the pages of the experiments anew, from what is done.

Reads what run_experiment left in a directory for each experiment, trains
nothing, and needs no data set. Example:

  python -m scripts.write_results --results_dir=docs/results
"""

import pathlib

from absl import app
from absl import flags

from scripts import program
from scripts import settings

settings.adopt(__name__, program, takes_config=False)

_RESULTS_DIR = flags.DEFINE_string(
    "results_dir",
    "docs/results",
    "Directory that holds a directory for each experiment; README.md is "
    "written there.",
)


def main(argv):
    """Writes the pages and prints the one of all experiments."""
    program.run("write_results", argv, _write)


def _write():
    from kd_keras import experiments
    from kd_keras import reports

    folder = pathlib.Path(_RESULTS_DIR.value)
    done = {}
    for name, experiment in experiments.EXPERIMENTS.items():
        of = experiments.read_done(experiment, folder / name)
        if of:
            done[name] = of
            reports.write_experiment_report(
                folder / name,
                experiment.TITLE,
                of.found,
                "All seeds: "
                + reports.command_of_experiment(name, folder, of.extra_arms)
                + ".",
            )
    if not done:
        raise FileNotFoundError(
            f"there are no results in {folder}: no directory is called "
            f"{', '.join(experiments.EXPERIMENTS)} and holds any. Run "
            "scripts.run_experiment first."
        )
    titles = {name: experiments.EXPERIMENTS[name].TITLE for name in done}
    print(reports.write_results_page(folder, titles, done))


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
