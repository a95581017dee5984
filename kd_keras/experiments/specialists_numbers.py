"""What results of the experiment with specialists come to, as numbers."""

import numpy as np

from kd_keras import comparison
from kd_keras.experiments import findings

SAYS = {
    "generalist": "the generalist",
    "clusters": "with specialists",
    "covariance": "classes by the covariance, as in the paper",
    "random": "classes at random",
    "covariance-random": "classes at random, as many as by the covariance",
    "uncorrected": "dustbins not corrected",
    "full-softmax": "specialists that tell all classes",
    "longer": "the generalist, trained on for as long",
    "anew": "a generalist, trained as much longer",
    "student-combined": "one net, distilled from all",
    "student-generalist": "one net, distilled from the generalist",
}
SYSTEMS = (
    "clusters",
    "covariance",
    "random",
    "covariance-random",
    "uncorrected",
    "full-softmax",
)
LONGER = ("longer", "anew")


def accuracy(found):
    """Accuracy of each result of a list, %."""
    return [100 * result["test_accuracy"] for result in found]


def gained(results, arm, baseline):
    """Points of accuracy by which an arm is better, for each paired seed."""
    better, worse = findings.paired(results, arm, baseline)
    return [
        a - b for a, b in zip(accuracy(better), accuracy(worse), strict=True)
    ]


def covering(found):
    """Examples, right and gained by how many specialists have the class.

    Args:
        found: Results of one arm, a list.

    Returns:
        Dict of numbers of specialists to int arrays, summed over the results.
    """
    lines = {}
    for result in found:
        for line in result["coverage"]:
            of = lines.setdefault(line["specialists"], np.zeros(3, int))
            of += [line["examples"], line["generalist_right"], line["gained"]]
    return dict(sorted(lines.items()))


def gains_of_students(results):
    """What comes to one net distilled from all, and of what.

    Args:
        results: Dict of `(arm, seed)` to results.

    Returns:
        Two lists of points, for the seeds that have all arms: by how much it
        is better than a net distilled from the generalist alone, and the
        specialists than the generalist.
    """
    arms = "student-combined", "student-generalist", "clusters", "generalist"
    student, control, system, generalist = (
        np.array(accuracy(found)) for found in findings.paired(results, *arms)
    )
    return (student - control).tolist(), (system - generalist).tolist()


def kept(results):
    """Share of the specialists' gain that comes to one net distilled from all.

    Args:
        results: Dict of `(arm, seed)` to results.

    Returns:
        A `findings.Share` of `gains_of_students`, or None if an arm is missing.
    """
    student, system = gains_of_students(results)
    if not student:
        return None
    return findings.Share(
        *comparison.ratio_of_means(student, system), len(student)
    )


def points(values):
    """Points gained, with their interval, as text."""
    mean, low, high = comparison.paired_difference(values, [0.0] * len(values))
    if len(values) == 1:
        return f"{mean:+.2f} points"
    return f"{mean:+.2f} points ({low:+.2f} to {high:+.2f})"
