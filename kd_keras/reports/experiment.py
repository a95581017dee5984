"""The page of an experiment: claims, tables, plots."""

import pathlib

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.reports import experiment_plots
from kd_keras.reports import style

_VERDICTS = {True: "holds", False: "**does not hold**", None: "cannot be told"}


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
    if found.checks:
        rows = [
            [check.claim, check.measured, _VERDICTS[check.holds]]
            for check in found.checks
        ]
        header = ("claim", "measured", "")
        lines += [comparison.format_table(header, rows), ""]
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
    lines += ["## How it was made", "", f"`{command}`"]
    text = "\n".join(lines) + "\n"
    (folder / "report.md").write_text(text, "utf-8")
    return text
