"""What the width experiment claims: the protocol's lines, and headlines."""

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments.width_measures import AT_LEAST
from kd_keras.experiments.width_measures import HARD_RADIUS
from kd_keras.experiments.width_measures import PAPER_DEEP_GAPS
from kd_keras.experiments.width_measures import PAPER_GAPS
from kd_keras.experiments.width_measures import PAPER_LABELS
from kd_keras.experiments.width_measures import PAPER_TEACHERS
from kd_keras.experiments.width_measures import RADIUS
from kd_keras.experiments.width_measures import TASKS
from kd_keras.experiments.width_measures import accuracies
from kd_keras.experiments.width_measures import gap_of
from kd_keras.experiments.width_measures import has
from kd_keras.experiments.width_measures import name_of
from kd_keras.experiments.width_measures import paper_gap
from kd_keras.experiments.width_measures import signed
from kd_keras.experiments.width_measures import teachers


def summary(practical, theorem):
    """What came out of 4 hidden units on all digits, in a few sentences.

    Args:
        practical: Dict of tasks to results.
        theorem: The same of that regime.

    Returns:
        A string; empty if neither has such nets.
    """
    task, width = "all", "4"
    said = []
    found = practical.get(task)
    if found and has(found, width):
        gaps = (gap_of(found, f"soft-{t}", width)[0] for t in (1, 4))
        said.append(
            "Whether a digit is above 4. With 4 hidden units, all weights "
            "trained by Adam, soft targets bring {:+.2f} points of "
            "accuracy over labels at T = 1, and "
            "{:+.2f} at T = 4.".format(*gaps)
        )
    found = theorem.get(task)
    if found and has(found, width, RADIUS):
        soft, smoothed = (
            gap_of(found, target, width, RADIUS)[0]
            for target in ("soft", "smoothed")
        )
        labels, _ = comparison.mean_and_spread(
            accuracies(found, "hard", width, RADIUS)
        )
        verdict = ""
        if findings.is_above(_part_of_teacher(found, width)) is False:
            verdict = ", so that the teacher has no part in it"
        text = (
            "In the theorems' form, with fixed output weights and the others "
            f"within {RADIUS} / sqrt(width) of their start, they bring "
            f"{soft:+.2f} (paper, by projected descent, too: "
            f"{PAPER_GAPS[task][width]:+.2f}), and labels that are smoothed as "
            f"much as these, without a teacher, {smoothed:+.2f}{verdict}. But "
            f"labels make {labels:.2f}% there (paper {PAPER_LABELS[task]:.2f})"
        )
        if has(found, width, HARD_RADIUS):
            wide, _ = comparison.mean_and_spread(
                accuracies(found, "hard", width, HARD_RADIUS)
            )
            text += (
                f", and {wide:.2f}% at a radius of {HARD_RADIUS}, which they "
                f"ask for; soft labels {labels + soft:.2f}% at {RADIUS}"
            )
        if has(found, width, "inf"):
            free, *_ = gap_of(found, "soft", width, "inf")
            text += f"; without that limit soft labels bring {free:+.2f}"
        said.append(f"{text}.")
    return " ".join(said)


def checks(practical, theorem, settings):
    """The lines of the protocol; of the practical nets it has none.

    Args:
        practical: Dict of tasks to results.
        theorem: The same of that regime.
        settings: `laboratory.Settings`.

    Yields:
        `findings.Check`.
    """
    if settings.quick:
        for task, found in theorem.items():
            widths = found[0]["students"][RADIUS]
            gaps = [gap_of(found, "soft", width, RADIUS) for width in widths]
            yield findings.Check(
                f"projected, B = {RADIUS}, {name_of(task)}: soft labels do "
                "better than labels",
                "; ".join(
                    f"{width} units {signed(gap)}"
                    for width, gap in zip(widths, gaps, strict=True)
                ),
                min(mean for mean, _, _ in gaps) > 0,
                is_certain=True,
            )
        return
    for task, paper in PAPER_TEACHERS.items():
        found = practical.get(task) or theorem.get(task)
        if found:
            yield findings.check_mean(
                f"teacher, {name_of(task)}: within 0.4 of {paper}%",
                teachers(found),
                paper - 0.4,
                paper + 0.4,
                digits=2,
                unit="%",
            )
    for task, found in theorem.items():
        for width in ("4", "8"):
            gap = gap_of(found, "soft", width, RADIUS)
            yield findings.check_difference(
                f"projected, B = {RADIUS}, {name_of(task)}, {width} units: "
                f"soft labels at least {AT_LEAST:g} points above labels",
                gap,
                AT_LEAST,
                digits=2,
            )
            part = _part_of_teacher(found, width)
            yield findings.Check(
                f"projected, B = {RADIUS}, {name_of(task)}, {width} units: "
                "the teacher has a part in that, soft labels above labels "
                "smoothed as much",
                signed(part),
                findings.is_above(part),
            )
        # What is left of it where hard labels have the radius they ask for.
        if has(found, "4", HARD_RADIUS):
            gap = comparison.paired_difference(
                accuracies(found, "soft", "4", RADIUS),
                accuracies(found, "hard", "4", HARD_RADIUS),
            )
            yield findings.Check(
                f"projected, {name_of(task)}, 4 units: soft labels at B = "
                f"{RADIUS} above labels at B = {HARD_RADIUS}",
                signed(gap),
                findings.is_above(gap),
            )


def _part_of_teacher(found, width):
    """Points of soft labels above labels that are smoothed as much."""
    return comparison.paired_difference(
        *(
            accuracies(found, target, width, RADIUS)
            for target in ("soft", "smoothed")
        )
    )


def of_difficulty(results):
    """Whether soft targets add more where the task is harder.

    Args:
        results: As of `width_findings.find`.

    Yields:
        `findings.Check`.
    """
    for easier, harder, width, says in (
        ("reduced", "all", "4", "all digits than with easy ones"),
        ("all", "noise-0.3", "4", "noise of deviation 0.3 than none"),
        ("all", "noise-1", "4", "noise of deviation 1 than none"),
        ("0.01", "0.2", "4-4", "CIFAR-100, variance 0.2 than 0.01"),
    ):
        regime = "deep" if width == "4-4" else "practical"
        pairs = findings.paired(
            results, f"{regime}-{easier}", f"{regime}-{harder}"
        )
        if not pairs[0]:
            continue
        for target in ("soft-1", "soft-4"):
            less, more = (
                [
                    soft - hard
                    for soft, hard in zip(
                        accuracies(found, target, width),
                        accuracies(found, "hard", width),
                        strict=True,
                    )
                ]
                for found in pairs
            )
            gap = comparison.paired_difference(more, less)
            yield findings.Check(
                f"all weights by Adam, {target.replace('soft-', 'T = ')}: soft "
                f"targets add more points with {says}",
                signed(gap),
                findings.is_above(gap),
            )


def headlines(practical, theorem, deep):
    """What to say of it in a few lines; `findings.Headline` each.

    Args:
        practical: Dict of tasks to results.
        theorem: The same of that regime.
        deep: The same of variances.

    Yields:
        `findings.Headline`.
    """
    for task in TASKS:
        paper = paper_gap(task, "4", RADIUS)
        for says, found, target, *place in (
            ("all weights by Adam, T = 1", practical, "soft-1", "4"),
            ("projected, B = 10", theorem, "soft", "4", RADIUS),
            (
                "projected, B = 10, labels smoothed as much, no teacher",
                theorem,
                *("smoothed", "4", RADIUS),
            ),
            ("not projected", theorem, "soft", "4", "inf"),
        ):
            if task in found and has(found[task], *place):
                yield findings.Headline(
                    "points that soft labels add to labels, 4 units, "
                    f"{name_of(task)}: {says}",
                    paper if target == "soft" and RADIUS in place else "-",
                    signed(gap_of(found[task], target, *place)),
                    len(found[task]),
                )
    for variance, found in deep.items():
        width = next(iter(found[0]["students"]))
        yield findings.Headline(
            "points that soft targets at T = 4 add to labels, "
            f"{name_of(variance)}",
            f"{PAPER_DEEP_GAPS[variance]:+d} (cats and dogs, read off a plot)"
            if variance in PAPER_DEEP_GAPS
            else "-",
            signed(gap_of(found, "soft-4", width)),
            len(found),
        )
