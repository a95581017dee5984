"""The table of the main job, and what it shows."""

import math

from kd_keras import comparison

ARMS = ("teacher", "hard labels", "distilled")


def summarise(rows, sizes):
    """Formats the table of the main job and says what it shows.

    Args:
        rows: The lines of `metrics.jsonl`.
        sizes: The content of `sizes.json`.

    Returns:
        A string of lines.
    """
    by_arm = {arm: [row for row in rows if row["arm"] == arm] for arm in ARMS}
    table = []
    for arm, arm_rows in by_arm.items():

        def cell(key, digits, scale=1.0, arm_rows=arm_rows):
            values = [row[key] for row in arm_rows]
            if None in values:
                return "-"
            mean, spread = comparison.mean_and_spread(
                [scale * value for value in values]
            )
            if math.isnan(spread):
                return f"{mean:.{digits}f}"
            return f"{mean:.{digits}f} ± {spread:.{digits}f}"

        table.append(
            [
                arm,
                f"{arm_rows[0]['parameters']:,}",
                cell("test_errors", 1),
                cell("test_accuracy", 2, 100),
                cell("teacher_agreement", 2, 100),
                cell("calibration_error", 3),
                f"{sizes[arm] / 1000:,.0f} kB",
            ]
        )
    header = [
        "arm",
        "parameters",
        "test errors",
        "accuracy %",
        "agreement %",
        "calibration error",
        "SavedModel",
    ]
    errors = {
        arm: [row["test_errors"] for row in arm_rows]
        for arm, arm_rows in by_arm.items()
    }
    num_examples = rows[0]["test_examples"]
    num_seeds = len(errors["teacher"])
    return "\n".join(
        [
            comparison.format_table(header, table),
            "",
            f"Mean ± standard deviation, number of seeds: {num_seeds}. Test "
            f"examples: {num_examples}. Agreement: with the seed's teacher.",
            comparison.verdict(
                errors["hard labels"], errors["distilled"], num_examples
            ),
        ]
    )
