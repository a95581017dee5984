"""What the tests of the metrics compare with, in float64."""

import os
import subprocess
import sys

import numpy as np
import tensorflow as tf

from kd_keras import metrics


def softmax(logits, temperature=1.0):
    exps = [np.exp(np.float64(logit) / temperature) for logit in logits]
    return [value / sum(exps) for value in exps]


def agreement(teacher_logits, student_logits, weights):
    agreed = 0.0
    for teacher, student, weight in zip(
        teacher_logits, student_logits, weights, strict=True
    ):
        agreed += weight * (
            list(teacher).index(max(teacher))
            == list(student).index(max(student))
        )
    return agreed / sum(weights)


def predictive_kl(teacher_logits, student_logits, weights, temperature):
    total = 0.0
    for teacher, student, weight in zip(
        teacher_logits, student_logits, weights, strict=True
    ):
        p = softmax(teacher, temperature)
        q = softmax(student, temperature)
        total += weight * sum(
            a * (np.log(a) - np.log(b)) for a, b in zip(p, q, strict=True)
        )
    return total / sum(weights)


def calibration_error(labels, logits, weights, num_bins):
    error = 0.0
    for lower in range(num_bins):
        count = correct = confidence = 0.0
        for label, row, weight in zip(labels, logits, weights, strict=True):
            probs = softmax(row)
            top = max(probs)
            if lower / num_bins < top <= (lower + 1) / num_bins:
                count += weight
                correct += weight * (probs.index(top) == label)
                confidence += weight * top
        if count:
            error += (
                count / sum(weights) * abs(correct / count - confidence / count)
            )
    return error


def batch(seed=0, shape=(200,), num_classes=4):
    rng = np.random.default_rng(seed)
    teacher = rng.normal(scale=2.0, size=(*shape, num_classes))
    student = teacher + rng.normal(size=teacher.shape)
    weights = rng.uniform(size=shape) * (rng.uniform(size=shape) < 0.8)
    # About equally right at every confidence: too confident in some bins and
    # not confident enough in others, so that the bins matter.
    labels = np.where(
        rng.uniform(size=shape) < 0.6,
        student.argmax(axis=-1),
        rng.integers(0, num_classes, size=shape),
    )
    return (
        teacher.astype("float32"),
        student.astype("float32"),
        labels,
        weights.astype("float32").astype("float64"),
    )


def update(metric, data, dtype="float32", part=slice(None), weights=None):
    """Updates any of the metrics from one `batch`."""
    teacher, student, labels, _ = data
    first = (
        labels[part]
        if isinstance(metric, metrics.ExpectedCalibrationError)
        else tf.cast(teacher[part], dtype)
    )
    metric.update_state(first, tf.cast(student[part], dtype), weights)
    return metric


def run(code):
    """Runs Python code in a process of its own and returns its output."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout
