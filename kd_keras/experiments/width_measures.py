"""Accuracies and gaps of the width experiment, from its results."""

from kd_keras import comparison

# Table 1 of the paper: accuracy of teachers in %, and by how many points soft
# labels raise that of students, by task and width.
PAPER_TEACHERS = {"all": 98.34, "reduced": 98.75}
PAPER_GAPS = {
    "all": {"4": 6.78, "6": 0.67, "8": 0.81},
    "reduced": {"4": 2.79, "6": 0.42, "8": 0.48},
}
# Points that soft labels add, by the variance of the noise, as far as figure 1
# of the paper can be read: of cats and dogs of CIFAR-10.
PAPER_DEEP_GAPS = {"0.01": 1, "0.05": 0, "0.2": 8}
# Accuracy with labels, in %, of 4 hidden units.
PAPER_LABELS = {"all": 88.84, "reduced": 93.04}
TASKS = {"all": "all digits", "reduced": "without 1, 7, 4, 9"}
# The radius for which the protocol expects a gap, and how large, in points.
RADIUS = "10"
AT_LEAST = 3.0
# That of hard labels, by proposition 5 at an error of 0.05, a margin of 0.1.
HARD_RADIUS = "88"


def paper_gap(task, width, radius):
    """The paper's gap, as text; it gives no radius, and has `RADIUS` here."""
    gap = PAPER_GAPS.get(task, {}).get(width)
    return f"{gap:+.2f}" if gap and radius == RADIUS else "-"


def accuracy(result, errors):
    """In %, of a number of errors."""
    return 100 * (1 - errors / result["test_examples"])


def accuracies(found, target, width, radius=None):
    """Accuracies of a student, one for each seed.

    Args:
        found: Results of a regime and a task.
        target: What it was taught by.
        width: Its width, as text.
        radius: The theorem's, as text. Defaults to None: of another regime.

    Returns:
        A list of float, %.
    """
    values = []
    for result in found:
        students = result["students"]
        errors = (students[radius] if radius else students)[width][target]
        values.append(accuracy(result, errors))
    return values


def teachers(found):
    """Accuracies of the teachers, one for each seed, %."""
    return [accuracy(result, result["teacher_errors"]) for result in found]


def gap_of(found, target, *place):
    """Points of accuracy above labels: mean, and the ends of its interval."""
    return comparison.paired_difference(
        accuracies(found, target, *place), accuracies(found, "hard", *place)
    )


def signed(gap):
    """As text; of a single seed the number alone."""
    mean, low, high = gap
    if low == -float("inf"):
        return f"{mean:+.2f}"
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def name_of(task):
    """A task in words."""
    if task in TASKS:
        return TASKS[task]
    kind, _, amount = task.rpartition("-")
    if kind == "noise":
        return f"all digits, noise of deviation {amount}"
    return f"groups of CIFAR-100, noise of variance {task}"


def has(found, width, radius=None):
    """Whether students of a width, and of a radius, are in the results."""
    students = found[0]["students"]
    return width in (students.get(radius, {}) if radius else students)
