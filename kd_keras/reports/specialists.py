"""The report of specialists: a page, and the plots beside it."""

import json

from kd_keras import training
from kd_keras.reports import page as page_lib


def write_specialists_report(folder, class_names):
    """Writes `report.md` and its plots into a directory of specialists.

    Args:
        folder: Directory with what `training.run_specialists` wrote.
        class_names: Names of the classes.
    """
    page = page_lib.Page(folder, class_names, "Generalist and specialists")
    found = json.loads((page.folder / "specialists.json").read_text())
    page.add_text(training.summarise_specialists({**found, "rows": page.rows}))
    curve = [
        line
        for line in page.read_lines("curves.jsonl")
        if line["model"] == "generalist"
    ]
    page.add_curves(
        {"generalist": [curve]} if curve else {},
        "Training accuracy is that of what it is shown, with dropout and "
        "shifts as it trains. Specialists' are in `curves.jsonl`.",
    )
    seed = page.rows[0]["seed"]
    page.add_reliability(seed)
    page.add_class_errors(seed, "generalist")
    page.add_provenance("train_specialists")
    page.write()
