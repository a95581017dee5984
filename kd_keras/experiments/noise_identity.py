"""What a label drawn from a distribution adds to the noise of gradients.

It is compared with the distribution itself as the target, both at T = 1 of the
student: there the difference of the covariances is known exactly.
"""

import math

import numpy as np
import tensorflow as tf
from scipy import special

from kd_keras import comparison
from kd_keras.diagnostics import gradients
from kd_keras.experiments import findings
from kd_keras.experiments import noise_measures

# Standard errors that a measured value may be away from an exact one.
_WITHIN = 3


def measure(model, probe, temperatures, num_draws, rng):
    """Compares drawn labels with the distributions that they are drawn from.

    Args:
        model: Student, `keras.Model`.
        probe: As `noise_measures.probe_of` gives it.
        temperatures: Those of the teacher's distributions.
        num_draws: How often the labels of all examples are drawn.
        rng: `numpy.random.Generator`.

    Returns:
        A list of dicts, one for each temperature: what `label_sampling` gives,
        and the variance of the gradients of the weights, with the labels of
        one draw and with the distributions.
    """
    images = [images for images, _ in probe]
    logits = np.concatenate(
        [targets["teacher_logits"] for _, targets in probe]
    ).astype(np.float64)
    student_probs = special.softmax(
        np.concatenate([model(x, training=False) for x in images]).astype(
            np.float64
        ),
        axis=1,
    )

    def variance(probs):
        parts = np.split(probs.astype(np.float32), len(images))
        batches = zip(images, parts, strict=True)
        return gradients.gradient_noise(
            model, batches, tf.nn.softmax_cross_entropy_with_logits
        ).variance

    found = []
    for temperature in temperatures:
        probs = special.softmax(logits / temperature, axis=1)
        found.append(
            {
                "temperature": temperature,
                "entropy": noise_measures.entropy(logits, temperature),
                **label_sampling(probs, student_probs, num_draws, rng),
                "drawn_variance": variance(one_hot(probs, rng)),
                "soft_variance": variance(probs),
            }
        )
    return found


def one_hot(probs, rng):
    """Labels drawn from distributions.

    Args:
        probs: float array, shape `[num_examples, num_classes]`.
        rng: `numpy.random.Generator`.

    Returns:
        float64 array of that shape, one 1 in each row.
    """
    below = rng.random([len(probs), 1]) < np.cumsum(probs, axis=1)
    # A row may sum to less than 1 by its last digit.
    below[:, -1] = True
    return np.eye(probs.shape[1])[below.argmax(axis=1)]


def label_sampling(probs, student_probs, num_draws, rng):
    """Both sides of the identity, for gradients of the logits.

    Args:
        probs: float array, shape `[num_examples, num_classes]`, the
            distributions.
        student_probs: float array of that shape, what the student says.
        num_draws: How often the labels of all examples are drawn, at least 2.
        rng: `numpy.random.Generator`.

    Returns:
        A dict: `exact`, the trace of `label_noise_covariance`; `measured`,
        the mean over the draws of the trace of `cov(q - y) - cov(q - p)`, with
        its `standard_error`; `soft`, the trace of `cov(q - p)`.
    """

    def trace(targets):
        return float(np.var(student_probs - targets, axis=0, ddof=1).sum())

    soft = trace(probs)
    drawn = [trace(one_hot(probs, rng)) - soft for _ in range(num_draws)]
    mean, spread = comparison.mean_and_spread(drawn)
    return {
        "exact": float(np.trace(gradients.label_noise_covariance(probs))),
        "measured": mean,
        "standard_error": spread / math.sqrt(num_draws),
        "soft": soft,
    }


def find(found):
    """What drawing labels adds.

    Args:
        found: A list, one for each seed, of what `measure` gave.

    Returns:
        `findings.Findings`.
    """
    rows, lines, checks = [], {"exact": {}, "measured": {}}, []
    for of_seeds in zip(*found, strict=True):
        temperature = of_seeds[0]["temperature"]

        def mean(name, of_seeds=of_seeds):
            return comparison.mean_and_spread([s[name] for s in of_seeds])[0]

        away, error = distance(of_seeds)
        added = mean("drawn_variance") - mean("soft_variance")
        rows.append(
            [
                f"T = {temperature:g}",
                f"{mean('entropy'):.3f}",
                f"{mean('exact'):.5f}",
                f"{mean('measured'):.5f} ± {error:.5f}",
                f"{mean('soft'):.4f}",
                f"{mean('drawn_variance'):.1f}",
                f"{mean('soft_variance'):.1f}",
                f"{100 * added / mean('drawn_variance'):.0f}%",
            ]
        )
        for name, points in lines.items():
            points[mean("entropy")] = [seed[name] for seed in of_seeds]
        if temperature == 1:
            checks.append(
                findings.Check(
                    "drawing labels from the distributions at T = 1 adds "
                    "mean(1 - sum(p ** 2)) to the variance of the logits' "
                    f"gradients: within {_WITHIN} standard errors",
                    f"{abs(away) / error:.1f} standard errors away",
                    abs(away) <= _WITHIN * error,
                    is_certain=True,
                )
            )
    table = findings.Table(
        "A label drawn from a distribution, and the distribution itself",
        (
            "labels drawn from the teacher at",
            "entropy, nats",
            "exact",
            "measured",
            "logits, soft",
            "weights, drawn",
            "weights, soft",
            "share of drawing",
        ),
        rows,
        "Variance of the gradient of the cross-entropy at T = 1, a student "
        "after its first epoch. Exact and measured: what drawing adds to the "
        "variance of the logits' gradients, with its standard error over the "
        "draws; then that variance with the distribution as the target; then "
        "the variance of the weights' gradients with either target, and the "
        "share of it that drawing is.",
    )
    plot = findings.Lines(
        "label_sampling",
        "What drawing a label adds",
        "entropy of the targets, nats",
        "variance added to the logits' gradients",
        lines,
        note="Why would targets of high entropy give less gradient variance? "
        "Less than what: than labels drawn from the same distribution. This "
        "much is gone where the distribution itself is the target, exactly, "
        "and the more the higher its entropy is. Of a teacher that is sure of "
        "its training images that is least at T = 1. What share of the "
        "variance it is there, and what the mean gradient does, the tables "
        "say: whether soft targets are less noisy than the labels of a data "
        "set does not follow from this.",
    )
    return findings.Findings((table,), (plot,), tuple(checks))


def distance(of_seeds):
    """How far the measured values are from the exact ones, over the seeds.

    Args:
        of_seeds: Dicts as `label_sampling` gives them.

    Returns:
        A tuple of the mean difference and its standard error.
    """
    away = [seed["measured"] - seed["exact"] for seed in of_seeds]
    errors = [seed["standard_error"] for seed in of_seeds]
    return math.fsum(away) / len(away), math.hypot(*errors) / len(errors)
