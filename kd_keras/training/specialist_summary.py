"""What came of specialists, as tables that read well as text."""

from kd_keras import comparison
from kd_keras import diagnostics

# The most that a p-value may be for a difference to be taken as one.
_LEVEL = 0.05


def summarise_specialists(found):
    """What a generalist gains by its specialists, as Markdown.

    Args:
        found: What `run_specialists` returned.

    Returns:
        A string of lines: accuracies, McNemar's test, the gain by number of
        specialists, and the classes of each specialist.
    """
    rows = found["rows"]
    each, wanted = found["specialists"], found["num_sets_wanted"]
    fewer = ""
    if len(each) < wanted:
        fewer = (
            f" Of the {wanted} sets of classes that were asked for {len(each)} "
            "differ, and each has one specialist."
        )
    covered = sum(
        line["examples"] for line in found["coverage"] if line["specialists"]
    )
    header = ["", "parameters", "test errors", "accuracy %"]
    lines = [
        comparison.format_table(
            [*header, "among specialists' classes %", "calibration error"],
            [_quality(row) for row in rows],
        ),
        "",
        _verdict(rows, found["mcnemar_p"])
        + " That is of the draw of the test examples; another seed differs "
        f"besides. Among specialists' classes: of the {covered:,} examples "
        "whose class a specialist has, with the choice between such classes "
        "alone." + fewer,
        "",
        coverage_table(found["coverage"]),
        "",
        classes_table(each),
    ]
    return "\n".join(lines)


def _verdict(rows, p):
    """What specialists change, a sentence."""
    before, after = (row["test_errors"] for row in rows)
    examples = f"on {rows[0]['test_examples']:,} examples"
    what = f"{after} errors with specialists, {before} without"
    if p >= _LEVEL:
        what = f"No evidence that specialists change anything: {what}"
    elif after < before:
        what = f"Specialists help: {what}"
    else:
        what = f"Specialists do harm: {what}"
    what = f"{what}, {examples}, McNemar's test: p = {p:.2g}."
    if p < _LEVEL and after < before:
        what += (
            " They were trained beyond the generalist; whether it would gain "
            "as much from as much training, this does not tell."
        )
    return what


def coverage_table(lines):
    """The gain by the number of specialists that know the class, as text.

    Args:
        lines: Dicts with the fields of `specialists.Coverage`.

    Returns:
        A table.
    """
    return comparison.format_table(
        ["specialists that have the class", "test examples"]
        + ["right: generalist", "change", "change %"],
        [
            [
                f"{line['specialists']}",
                f"{line['examples']:,}",
                f"{line['generalist_right']:,}",
                f"{line['gained']:+d}",
                f"{100 * line['gained'] / line['generalist_right']:+.1f}"
                if line["generalist_right"]
                else "-",
            ]
            for line in lines
        ],
    )


def classes_table(each):
    """Which classes specialists have, as text.

    Args:
        each: Dicts with `classes`, names, `examples`, `share_when_trained`
            and `dustbin_shift` of each specialist.

    Returns:
        A table.
    """
    return comparison.format_table(
        ["specialist", "examples", "of its classes %", "dustbin's shift"]
        + ["classes"],
        [
            [
                f"{number}",
                f"{one['examples']:,}",
                f"{100 * one['share_when_trained']:.0f}",
                f"{one['dustbin_shift']:+.2f}",
                ", ".join(one["classes"]),
            ]
            for number, one in enumerate(each)
        ],
    )


def _quality(row):
    examples, errors = row["test_examples"], row["test_errors"]
    low, high = diagnostics.accuracy_interval(examples - errors, examples)
    return [
        row["arm"],
        f"{row['parameters']:,}",
        f"{errors:,}",
        f"{100 * row['test_accuracy']:.2f} ({100 * low:.2f} to "
        f"{100 * high:.2f})",
        "-"
        if row["conditional_accuracy"] is None
        else f"{100 * row['conditional_accuracy']:.2f}",
        f"{row['calibration_error']:.4f}",
    ]
