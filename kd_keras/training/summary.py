"""The tables of the main job, and what they show."""

import math

from kd_keras import comparison
from kd_keras.training import arms as arms_lib

_COLUMNS = (
    ("test errors", "test_errors", 1, 1),
    ("accuracy %", "test_accuracy", 2, 100),
    ("agreement %", "teacher_agreement", 2, 100),
    ("calibration error", "calibration_error", 3, 1),
)


def summarise(rows, sizes):
    """Formats the tables of the main job and says what they show.

    Args:
        rows: The lines of `metrics.jsonl`.
        sizes: The content of `sizes.json`.

    Returns:
        A string of lines.
    """
    chosen = arms_lib.chosen(rows)
    by_arm = {}
    for row in rows:
        is_distilled = row["arm"] == arms_lib.DISTILLED
        if not is_distilled or arms_lib.of_row(row) == chosen:
            by_arm.setdefault(row["arm"], []).append(row)
    table = [
        [
            arm,
            _parameters(arm_rows[0]),
            *(_cell(arm_rows, *column[1:]) for column in _COLUMNS),
            f"{sizes[arm] / 1000:,.0f} kB" if arm in sizes else "-",
        ]
        for arm, arm_rows in by_arm.items()
    ]
    header = ["arm", "parameters", *(column[0] for column in _COLUMNS)]
    num_examples = rows[0]["test_examples"]
    distilled = [row["test_errors"] for row in by_arm[arms_lib.DISTILLED]]
    lines = [
        comparison.format_table([*header, "SavedModel"], table),
        "",
        "Mean ± standard deviation, number of seeds: "
        f"{len(distilled)}. Test examples: {num_examples}. Agreement: with the "
        "teacher.",
    ]
    for name in (arms_lib.HARD, arms_lib.SMOOTHED):
        if name in by_arm:
            errors = [row["test_errors"] for row in by_arm[name]]
            lines += [
                "",
                comparison.verdict(errors, distilled, num_examples, name),
            ]
    cells = cells_table(rows)
    return "\n".join([cells, "", *lines] if cells else lines)


def cells_table(rows):
    """The table of all temperatures and weights; empty if there is one."""
    cells = {}
    for row in rows:
        if row["arm"] == arms_lib.DISTILLED:
            cells.setdefault(arms_lib.of_row(row), []).append(row)
    if len(cells) == 1:
        return ""
    chosen = arms_lib.chosen(rows)
    table = [
        [
            f"{arm.temperature:g}",
            f"{arm.soft_weight:g}",
            _cell(cell_rows, "validation_errors", 1, 1),
            _cell(cell_rows, "test_errors", 1, 1),
            "<" if arm == chosen else "",
        ]
        for arm, cell_rows in cells.items()
    ]
    header = ["temperature", "weight", "validation errors", "test errors", ""]
    sums = [
        sum(row["validation_errors"] for row in cell_rows)
        for cell_rows in cells.values()
    ]
    tie = ", the first of equals" if sums.count(min(sums)) > 1 else ""
    return (
        comparison.format_table(header, table)
        + f"\n\nChosen by the validation errors: {chosen.title}{tie}."
    )


def _parameters(row):
    return "-" if row["parameters"] is None else f"{row['parameters']:,}"


def _cell(rows, key, digits, scale):
    values = [row[key] for row in rows]
    if None in values:
        return "-"
    mean, spread = comparison.mean_and_spread(
        [scale * value for value in values]
    )
    if math.isnan(spread):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"
