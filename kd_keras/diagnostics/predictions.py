"""How good predictions are, and how like the teacher's."""

import dataclasses

import numpy as np
from scipy import special
from scipy import stats

from kd_keras import metrics


@dataclasses.dataclass(frozen=True)
class Quality:
    """How good predictions of labelled examples are.

    Attributes:
        examples: Number of examples.
        errors: How many of them get the wrong class.
        accuracy: Share that gets the right one, from 0 to 1.
        accuracy_interval: Its 95% binomial interval (Clopper and Pearson
            1934), for the draw of the examples; another seed of training
            differs by more.
        negative_log_likelihood: Mean of `-log(softmax(logits)[label])`, nats.
        calibration_error: As of `metrics.ExpectedCalibrationError`.
        num_bins: Bins of equal width that it takes.
    """

    examples: int
    errors: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    negative_log_likelihood: float
    calibration_error: float
    num_bins: int


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """How like a teacher's predictions a student's are.

    Attributes:
        agreement: Share of examples to which both give the same class.
        predictive_kl: Mean KL divergence of the student's distribution from
            the teacher's, at T = 1, nats.
        teacher_errors: Examples to which the teacher gives the wrong class.
        accuracy_where_teacher_wrong: Share of these to which the student gives
            the right one; None if there are none.
        accuracy_where_teacher_right: The same of the others.
    """

    agreement: float
    predictive_kl: float
    teacher_errors: int
    accuracy_where_teacher_wrong: float | None
    accuracy_where_teacher_right: float | None


def quality(labels, logits, *, num_bins=15):
    """Measures predictions against labels.

    Args:
        labels: int array, shape `[num_examples]`.
        logits: float array, shape `[num_examples, num_classes]`.
        num_bins: Bins of the calibration error. Defaults to 15.

    Returns:
        `Quality`.

    Raises:
        ValueError: If the shapes do not fit, there is no example, or a label
            is no class.

    Example:

    >>> found = quality([0, 1], [[2.0, 0.0], [1.0, 0.0]])
    >>> found.errors, round(found.negative_log_likelihood, 4)
    (1, 0.7201)
    """
    labels, logits = _checked(labels, logits)
    right = logits.argmax(axis=-1) == labels
    log_probs = special.log_softmax(logits, axis=-1)
    calibration = metrics.ExpectedCalibrationError(num_bins, dtype="float64")
    calibration.update_state(labels, logits)
    count, num_right = len(right), int(right.sum())
    return Quality(
        examples=count,
        errors=count - num_right,
        accuracy=num_right / count,
        accuracy_interval=accuracy_interval(num_right, count),
        negative_log_likelihood=float(
            -np.take_along_axis(log_probs, labels[:, None], axis=-1).mean()
        ),
        calibration_error=float(calibration.result()),
        num_bins=num_bins,
    )


def accuracy_interval(num_right, num_examples):
    """The 95% binomial interval of an accuracy (Clopper and Pearson 1934).

    Args:
        num_right: Examples that get the right class.
        num_examples: All of them.

    Returns:
        A tuple of two floats from 0 to 1.

    Example:

    >>> low, high = accuracy_interval(90, 100)
    >>> round(low, 3), round(high, 3)
    (0.824, 0.951)
    """
    test = stats.binomtest(num_right, num_examples)
    interval = test.proportion_ci(0.95, "exact")
    return float(interval.low), float(interval.high)


def fidelity(labels, teacher_logits, student_logits):
    """Measures a student's predictions against a teacher's.

    Args:
        labels: int array, shape `[num_examples]`.
        teacher_logits: float array, shape `[num_examples, num_classes]`.
        student_logits: float array of the same shape.

    Returns:
        `Fidelity`.

    Raises:
        ValueError: As `quality`.

    Example:

    >>> found = fidelity([0, 1], [[2.0, 0.0], [1.0, 0.0]], [[1.0, 0.0]] * 2)
    >>> found.agreement, found.accuracy_where_teacher_wrong
    (1.0, 0.0)
    """
    labels, teacher_logits = _checked(labels, teacher_logits)
    _, student_logits = _checked(labels, student_logits)
    if teacher_logits.shape != student_logits.shape:
        raise ValueError(
            "Teacher and student must have the same classes. Received logits "
            f"of shape {teacher_logits.shape} and {student_logits.shape}."
        )
    agreement = metrics.TeacherAgreement(dtype="float64")
    divergence = metrics.PredictiveKLDivergence(dtype="float64")
    for metric in (agreement, divergence):
        metric.update_state(teacher_logits, student_logits)
    teacher_right = teacher_logits.argmax(axis=-1) == labels
    student_right = student_logits.argmax(axis=-1) == labels
    return Fidelity(
        agreement=float(agreement.result()),
        predictive_kl=float(divergence.result()),
        teacher_errors=int((~teacher_right).sum()),
        accuracy_where_teacher_wrong=_share(student_right[~teacher_right]),
        accuracy_where_teacher_right=_share(student_right[teacher_right]),
    )


def _share(right):
    return float(right.mean()) if len(right) else None


def _checked(labels, logits):
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    if (
        logits.ndim != 2
        or labels.shape != logits.shape[:1]
        or not np.issubdtype(labels.dtype, np.integer)
        or not len(labels)
    ):
        raise ValueError(
            "Labels must be ints of shape [num_examples], and logits of shape "
            f"[num_examples, num_classes]. Received: {labels.dtype} "
            f"{labels.shape} and {logits.shape}."
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(
            f"Labels must be from 0 to {logits.shape[1] - 1}. Received: "
            f"{labels.min()} to {labels.max()}."
        )
    bad = ~np.isfinite(logits).all(axis=-1)
    if bad.any():
        raise ValueError(
            f"The logits of {bad.sum()} of {len(bad)} examples are NaN or "
            "infinite: training diverged. Lower the learning rate."
        )
    return labels, logits
