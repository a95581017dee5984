"""The report of a teacher: a page, and the plots beside it."""

from kd_keras import training
from kd_keras.reports import page as page_lib


def write_teacher_report(folder, class_names):
    """Writes `report.md` and its plots into a teacher's directory.

    Args:
        folder: Directory with what `training.run_teacher` wrote.
        class_names: Names of the classes.
    """
    page = page_lib.Page(folder, class_names, "Teacher")
    [row] = page.rows
    page.add_text(training.summarise_teacher(row))
    curve = page.read_lines("curves.jsonl")
    page.add_curves(
        {"teacher": [curve]} if curve else {},
        "Training accuracy is that of what it is shown, with dropout and "
        "shifts as it trains.",
    )
    page.add_reliability(row["seed"])
    page.add_class_errors(row["seed"], "teacher")
    page.add_provenance("train_teacher")
    page.write()
