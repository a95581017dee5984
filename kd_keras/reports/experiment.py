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
95% t interval (of a share Fieller's; of ratios of noise the geometric mean,
with that of the logarithms). Every seed has a teacher of its own, so the
intervals hold the teacher's spread, too. "In the mean" says that the interval
reaches beyond the limit: more seeds may change it.

Recipes were chosen on 50,000 of MNIST's training examples, with errors counted
on the other 10,000 (CIFAR-100: 40,000 and 10,000); then all was run again on
60,000 (50,000), but `ensemble`, which learns from 10,000 in either case. They
were compared on those held-out training examples alone, and mostly for the
students of soft targets: students of labels alone, and other controls, take
the same ones, so that a recipe of their own might do better. Whether to look
for another one was decided by the test split, where one had failed, and [what
was tried](TRIED.md) lists what was replaced, and which seeds were made by
which state of the code. What is read off test errors by its nature is said to
be: the paper's own shift of a bias, rates that are called stable, nets at
equal error, the best of several temperatures, the best epoch of a curve. Most
nets compute in bfloat16 while they are trained, with weights in float32, and in
float32 when errors are counted; the students of `few_examples`, and all nets of
`width` and `gradient_noise`, in float32 throughout.

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
# Takes as long as all others together would without the first table.
_APART = "specialists"
_VERDICTS = {
    (True, True): "holds",
    (True, False): "holds in the mean",
    (False, False): "**does not hold** in the mean",
    (False, True): "**does not hold**",
    (None, True): "cannot be told",
}


_MARKS = {
    (True, True): "reached",
    (True, False): "reached in the mean",
    (False, False): "**missed** in the mean",
    (False, True): "**missed**",
    (None, True): "cannot be told",
}


def write_experiment_report(folder, title, found, made_by):
    """Writes `report.md` and its plots into a directory of results.

    Args:
        folder: The directory.
        title: Heading of the page.
        found: `findings.Findings`.
        made_by: What gave the results: a sentence with a command line.

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
    lines += ["## How it was made", "", made_by, ""]
    lines += [
        f"Data: {units.describe_data(folder)}. Sizes, epochs, batches, rates "
        "and precision are in [config.json](config.json); a `seed-N-ARM.json` "
        "has what came of a unit, the time that it took, on what, and with "
        "which versions.",
    ]
    if seconds := units.seconds(folder):
        lines += ["", f"The units took {_hours(seconds)}."]
    text = "\n".join(lines) + "\n"
    (folder / "report.md").write_text(text, "utf-8")
    return text


def marks_table(done):
    """Marks that were set, whether they are reached, and what was tried.

    Args:
        done: As for `headline_table`.

    Returns:
        A table as text.
    """
    return comparison.format_table(
        ("mark", "measured", "", "what was tried"),
        [
            [
                f"{check.claim} (`{name}`)",
                check.measured,
                _MARKS[check.holds, check.is_sure],
                check.tried,
            ]
            for name, of in done.items()
            for check in of.found.checks
            if check.tried
        ],
    )


def headline_table(done, of_paper=False):
    """What was claimed and what was found, a line for each number.

    Args:
        done: Dict of names of experiments to what `experiments.read_done`
            gives.
        of_paper: Whether to leave out what no paper has a number of. Defaults
            to False.

    Returns:
        A table as text.
    """
    return comparison.format_table(
        ("measured", "paper", "ours", "seeds", "experiment"),
        [
            [line.what, line.paper, line.ours, str(line.seeds), f"`{name}`"]
            for name, of in done.items()
            for line in of.found.headlines
            if not of_paper or line.paper != "-"
        ],
    )


def commands_table(done, folder):
    """What to run for each experiment, and how long that takes.

    Args:
        done: As for `headline_table`.
        folder: Directory of the results.

    Returns:
        A table as text.
    """
    rows = [
        [
            f"`{name}`",
            command_of_experiment(name, folder, of.extra_arms),
            f"{of.seeds} of {of.num_seeds}",
            _hours(of.seconds),
            _hours(of.expected_seconds),
        ]
        for name, of in done.items()
    ]
    totals = [("all", list(done.values()))]
    if _APART in done:
        others = [of for name, of in done.items() if name != _APART]
        totals.insert(0, (f"all but `{_APART}`", others))
    for says, each in totals:
        spent = sum(of.seconds for of in each)
        expected = sum(of.expected_seconds for of in each)
        rows.append([says, "", "", _hours(spent), _hours(expected)])
    return comparison.format_table(
        (
            "experiment",
            "command of all seeds",
            "seeds done",
            "their time",
            "of all seeds",
        ),
        rows,
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
    lines += ["", "## The marks that were set", ""]
    lines += [
        "In the order in which they were set. Tried were recipes, on held-out "
        "training examples, of which the errors of 10,000 are given; all that "
        "was tried is in [TRIED.md](TRIED.md).",
        "",
        marks_table(done),
        "",
        "## All numbers",
        "",
        headline_table(done),
        "",
        "## What to run",
        "",
        commands_table(done, folder),
        "",
    ]
    longest = max(of.longest_seconds for of in done.values())
    machines = sorted({of.machine for of in done.values()})
    versions = next(iter(done.values())).versions
    lines += [
        f"Measured on {'; '.join(machines)}, with "
        + ", ".join(f"{name} {found}" for name, found in versions.items())
        + ". Teachers are trained once for all experiments, and counted where "
        "they were trained. Some units were timed beside other work of the "
        "machine, or while they were halted: times are upper bounds; those of "
        "all seeds are taken from the median over the seeds of each arm. The "
        f"longest unit took {_hours(longest)}. What a command finds done in "
        "its directory it "
        "leaves as it is; to make results anew, give it another one.",
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


def command_of_experiment(name, folder, extra_arms=()):
    """The line that runs a whole experiment whose results are kept.

    Args:
        name: Name of the experiment.
        folder: Directory that holds a directory for each experiment.
        extra_arms: Arms that are run only where they are named, and were.
            Defaults to none.

    Returns:
        Markdown: one command, or two.
    """
    command = (
        f"python -m scripts.run_experiment {name} "
        f"--output_dir={pathlib.PurePath(folder, name).as_posix()}"
    )
    if extra_arms:
        return f"`{command}`, then with `--arms={','.join(extra_arms)}`, too"
    return f"`{command}`"


def _checks(found):
    rows = [
        [check.claim, check.measured, _VERDICTS[check.holds, check.is_sure]]
        for check in found.checks
    ]
    return comparison.format_table(("claim", "measured", ""), rows)


def _hours(seconds):
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
