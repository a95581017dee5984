"""The page of an experiment: claims, tables, plots."""

import pathlib

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import units
from kd_keras.reports import experiment_plots
from kd_keras.reports import style

_INTRODUCTION = """\
Hinton, Vinyals & Dean (2015, arXiv 1503.02531) and Mandal, Lin & Srikant (2024,
arXiv 2412.09579). Ours, on MNIST and CIFAR-100: mean over the seeds with its
95% t interval (of a share Fieller's). Every seed has a teacher of its own, so
the intervals hold the teacher's spread, too. "In the mean" says that the
interval reaches beyond the limit: more seeds may change it.

Recipes were chosen on 50,000 of MNIST's training examples, with errors counted
on the other 10,000 (CIFAR-100: 40,000 and 10,000); then all was run again on
60,000 (50,000), but `ensemble`, which learns from 10,000 in either case.
Recipes were compared on those held-out training examples alone; whether to
look for another one was decided by the test split, where one had failed, and
[what was tried](TRIED.md) lists what was replaced, and which seeds were made
by which state of the code. What is read off test errors by its nature is said
to be: the paper's own shift of a bias, rates that are called stable, nets at
equal error, the best of several temperatures, the best epoch of a curve.
Beside each number that is claimed stands what was measured, whether it agrees
or not.

Four things that texts about the first paper often get wrong: its distilled net
has two layers of 800 units, and the teacher two of 1200; gradients of soft
targets scale with 1/T**2, so that their term is multiplied by T**2; soft
targets at T = 1 are not the labels; and the paper's student is not better than
its teacher (74 errors against 67)."""
_FORMS = {
    "full": "",
    "quick": "**The small form**: smaller nets, fewer examples, one seed. It "
    "shows that all works, and of what the papers claim no more than the lines "
    "below; a difference between its numbers may be of chance.",
    "selection": "**To choose a recipe**: trained on a part of the training "
    "split and counted on the rest of it, which is called the test split here.",
}
_VERDICTS = {
    (True, True): "holds",
    (True, False): "holds in the mean",
    (False, False): "**does not hold** in the mean",
    (False, True): "**does not hold**",
    (None, True): "cannot be told",
}


def write_experiment_report(folder, title, found, command):
    """Writes `report.md` and its plots into a directory of results.

    Args:
        folder: The directory.
        title: Heading of the page.
        found: `findings.Findings`.
        command: Command line that gave the results.

    Returns:
        The page as text.
    """
    folder = pathlib.Path(folder)
    lines = [f"# {title}", ""]
    if note := _FORMS[units.form_of(folder)]:
        lines += [note, ""]
    if found.summary:
        lines += [found.summary, ""]
    if found.checks:
        lines += [_checks(found), ""]
    for table in found.tables:
        lines += [f"## {table.title}", ""]
        lines += [comparison.format_table(table.header, table.rows), ""]
        lines += [table.note, ""] if table.note else []
    for plot in found.plots:
        draw = experiment_plots.dots
        if isinstance(plot, findings.Lines):
            draw = experiment_plots.lines
        style.save(draw(plot), folder / f"{plot.name}.png")
        lines += [f"## {plot.title}", "", f"![{plot.title}]({plot.name}.png)"]
        lines += ["", plot.note, ""] if plot.note else [""]
    lines += ["## How it was made", "", f"`{command}`", ""]
    lines += [f"Data: {units.describe_data(folder)}."]
    text = "\n".join(lines) + "\n"
    (folder / "report.md").write_text(text, "utf-8")
    return text


def headline_table(done):
    """What was claimed and what was found, a line for each number.

    Args:
        done: Dict of names of experiments to what `experiments.read_done`
            gives.

    Returns:
        A table as text.
    """
    return comparison.format_table(
        ("measured", "paper", "ours", "seeds", "experiment"),
        [
            [line.what, line.paper, line.ours, str(line.seeds), f"`{name}`"]
            for name, of in done.items()
            for line in of.found.headlines
        ],
    )


def write_results_page(folder, titles, done):
    """Writes the page of all experiments, `README.md`.

    Args:
        folder: Directory that holds a directory for each experiment.
        titles: Dict of names of experiments to their headings.
        done: As for `headline_table`.

    Returns:
        The page as text.
    """
    lines = ["# What the papers claim, and what came out", "", _INTRODUCTION]
    lines += ["", headline_table(done), ""]
    rows = [
        [
            f"[`{name}`]({name}/report.md)",
            f"`{command_of_experiment(name)}`",
            f"{of.seeds} of {of.num_seeds}",
            _hours(of.seconds),
        ]
        for name, of in done.items()
    ]
    times = {name: of.seconds for name, of in done.items()}
    total = sum(times.values())
    longest = max(times, key=times.get)
    if len(times) > 1:
        but = _hours(total - times[longest])
        rows.append([f"all but `{longest}`", "", "", but])
    lines += ["## What to run", ""]
    lines += [
        comparison.format_table(
            ("experiment", "command of all seeds", "seeds done", "their time"),
            [*rows, ["all", "", "", _hours(total)]],
        ),
        "",
    ]
    machines = sorted({of.machine for of in done.values()})
    versions = next(iter(done.values())).versions
    lines += [
        f"Measured on {'; '.join(machines)}, with "
        + ", ".join(f"{name} {found}" for name, found in versions.items())
        + ". Teachers are trained once for all experiments, and counted where "
        "they were trained. Some units were timed beside other work of the "
        "machine: times are upper bounds. What a command finds done in its "
        "directory it leaves as it is; to make results anew, give it another "
        "one. [What was tried](TRIED.md) says how recipes were chosen.",
        "",
    ]
    for name, of in done.items():
        lines += [f"## {titles[name]}", ""]
        lines += [of.found.summary, ""] if of.found.summary else []
        lines += [_checks(of.found), ""]
        plot = of.found.plots[0]
        lines += [f"![{plot.title}]({name}/{plot.name}.png)", ""]
        lines += [f"More: [`{name}`]({name}/report.md).", ""]
    text = "\n".join(lines).rstrip() + "\n"
    (pathlib.Path(folder) / "README.md").write_text(text, "utf-8")
    return text


def command_of_experiment(name):
    """The line that runs a whole experiment whose results are committed."""
    return (
        f"python -m scripts.run_experiment {name} "
        f"--output_dir=docs/results/{name}"
    )


def _checks(found):
    rows = [
        [check.claim, check.measured, _VERDICTS[check.holds, check.is_sure]]
        for check in found.checks
    ]
    return comparison.format_table(("claim", "measured", ""), rows)


def _hours(seconds):
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
