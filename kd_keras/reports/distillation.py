"""The report of a distillation: a page, and the plots beside it."""

import json

import numpy as np
from scipy import special

from kd_keras import training
from kd_keras.reports import page as page_lib
from kd_keras.reports import plots
from kd_keras.training import arms as arms_lib

_NUM_SOFT_TARGETS = 8
_NUM_DISAGREEMENTS = 10


def write_distillation_report(folder, class_names):
    """Writes `report.md` and its plots into a distillation's directory.

    Args:
        folder: Directory with what `training.run_distillation` wrote.
        class_names: Names of the classes.
    """
    page = page_lib.Page(folder, class_names, "Distillation")
    chosen = arms_lib.chosen(page.rows)
    seed = page.config["first_seed"]
    sizes = json.loads((page.folder / "sizes.json").read_text())
    page.add_text(training.summarise(page.rows, sizes))
    record = json.loads((page.folder / "student.json").read_text())
    how = record["distilled"]["chosen"]
    share = 100 * page.config["labelled_fraction"]
    page.add_text(
        f"Distilled: temperature {chosen.temperature:g}, weight of the soft "
        f"term {chosen.soft_weight:g}"
        + (f", chosen {how}" if how else "")
        + f". Labels left to the students: {share:g}%."
    )
    _add_curves(page, chosen)
    _add_temperatures(page, chosen)
    page.add_reliability(seed)
    _add_soft_targets(page, chosen.temperature)
    _add_disagreements(page)
    page.add_class_errors(seed, arms_lib.DISTILLED)
    page.add_provenance("distill")
    page.write()


def _add_curves(page, chosen):
    """Adds how the arms learnt."""
    curves = {}
    for line in page.read_lines("curves.jsonl"):
        arm = arms_lib.of_row(line)
        if arm.name != arms_lib.DISTILLED or arm == chosen:
            of_seeds = curves.setdefault(arm.name, {})
            of_seeds.setdefault(line["seed"], []).append(line)
    page.add_curves(
        {name: list(c.values()) for name, c in curves.items()},
        "Mean over the seeds; the bands reach from the least to the most. "
        "Training accuracy is that of the labels that the arm has, with "
        "dropout as it trains.",
    )


def _add_temperatures(page, chosen):
    """Errors over temperature, if there are several."""
    key = "validation_errors"
    cells = {}
    for row in page.rows:
        if row["arm"] == arms_lib.DISTILLED and row[key] is not None:
            pair = row["temperature"], row["soft_weight"]
            cells.setdefault(pair, []).append(row[key])
    if len(cells) > 1:
        page.add_plot(
            "Temperature and weight",
            "temperature",
            plots.temperatures(
                cells,
                (chosen.temperature, chosen.soft_weight),
                "held-out examples",
            ),
            "Mean and standard deviation over the seeds. The test split "
            "had no part in the choice.",
        )


def _add_soft_targets(page, temperature):
    """What the student is told beyond the label."""
    logits = np.float64(page.predictions[arms_lib.TEACHER])
    probs = special.softmax(logits[: len(page.images)] / temperature, -1)
    entropy = special.entr(probs).sum(axis=-1)
    some = np.argsort(-entropy, kind="stable")[:_NUM_SOFT_TARGETS]
    page.add_plot(
        "What the teacher says beside the label",
        "soft_targets",
        plots.soft_targets(
            page.images[some],
            page.labels[some],
            probs[some],
            page.class_names,
            temperature,
        ),
        "The test images whose soft targets have the highest entropy, of "
        f"the first {len(page.images)}. Seed "
        f"{page.config['first_seed']}.",
    )


def _add_disagreements(page):
    """Where student and teacher say different things."""
    teacher = page.predictions[arms_lib.TEACHER].argmax(axis=-1)
    student = page.predictions[arms_lib.DISTILLED].argmax(axis=-1)
    differ = teacher != student
    teacher_wrong = teacher != page.labels
    caption = (
        f"{differ.sum()} of {len(differ)} test examples. Of the "
        f"{teacher_wrong.sum()} that the teacher gets wrong, the student "
        f"gets {(student == page.labels)[teacher_wrong].sum()} right."
    )
    shown = np.flatnonzero(differ[: len(page.images)])[:_NUM_DISAGREEMENTS]
    if not len(shown):
        page.add_text("## Where they disagree", "", caption)
        return
    names = page.class_names
    page.add_plot(
        "Where they disagree",
        "disagreements",
        plots.disagreements(
            page.images[shown],
            [
                f"label {names[page.labels[i]]}\n"
                f"teacher {names[teacher[i]]}\n"
                f"student {names[student[i]]}"
                for i in shown
            ],
        ),
        caption,
    )
