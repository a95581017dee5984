"""Soft targets without a teacher: several noisy labels of each image.

No table of Hinton et al. (2015): it is their loss at T = 1 with the shares of
what annotators said in place of a teacher's probabilities. The annotators are
simulated: each says of an image a class that is drawn from the softmax of a
small net, at a temperature at which a fifth of what they say is wrong. So hard
images are mistaken more often than easy ones, and for what they resemble.
"""

import dataclasses
import functools
import statistics

import numpy as np
import tensorflow as tf

from kd_keras import comparison
from kd_keras import datasets
from kd_keras import diagnostics
from kd_keras import ops
from kd_keras.experiments import digit_nets
from kd_keras.experiments import findings
from kd_keras.experiments import laboratory
from kd_keras.experiments import per_example

TITLE = "Soft targets from repeated noisy labels, without a teacher"
NUM_SEEDS = 5
FIXED = {"optimizer": laboratory.OPTIMIZER}

_SAYS = {
    "one": "one annotator",
    "majority": "the class most of them say",
    "shares": "the shares of what they say",
    "distribution": "the distribution they draw from",
    "true": "true labels",
}
# Draws of annotators are apart from all other random numbers of a seed.
_DRAWS = 77


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        annotator_units: Hidden layers of the net that the annotators draw from.
        annotator: Its `laboratory.Recipe`.
        mistakes: Share of the labels that are wrong.
        num_annotators: Numbers of annotators of an image.
        units: Hidden layers of the students.
        student: Their `laboratory.Recipe`.
    """

    annotator_units: tuple[int, ...] = (30,)
    annotator: laboratory.Recipe = laboratory.Recipe(3, 128, 1e-3)
    mistakes: float = 0.2
    num_annotators: tuple[int, ...] = (1, 3, 5, 10)
    units: tuple[int, ...] = (300, 300)
    student: laboratory.Recipe = laboratory.Recipe(
        20, 256, 1e-3, "mixed_bfloat16"
    )


QUICK = Plan(
    annotator=laboratory.Recipe(3, 64, 1e-2),
    num_annotators=(1, 5),
    units=(64,),
    student=laboratory.Recipe(20, 64, 3e-3),
)


def plan(settings):
    """The `Plan` of settings."""
    return QUICK if settings.quick else Plan()


def arms(settings):
    """Names of the arms, in the order in which they are run."""
    counts = plan(settings).num_annotators
    return (
        "true",
        "distribution",
        "one-1",
        *(
            f"{kind}-{count}"
            for count in counts
            if count > 1
            for kind in ("majority", "shares")
        ),
    )


def run(arm, seed, lab):
    """Trains one arm of one seed.

    Args:
        arm: Its name.
        seed: int, also of what the annotators say.
        lab: `laboratory.Laboratory`.

    Returns:
        A dict of errors on the true labels of the test split, and of how far
        the student's probabilities are from the annotators' there.
    """
    of = plan(lab.settings)
    net = _annotators(lab, of, seed)
    logits = lab.probe.logits(net)
    temperature = temperature_of_mistakes(logits, lab.probe.labels, of.mistakes)
    probs = ops.tempered_softmax(logits, temperature).numpy()
    kind, _, count = arm.partition("-")
    targets = probs
    if kind == "true":
        targets = np.eye(lab.train.num_classes)[lab.probe.labels]
    elif kind != "distribution":
        targets = said(probs, int(count), seed)
        if kind == "majority":
            targets = majority(targets, seed)
    student = lab.fit(
        arm,
        lambda: digit_nets.student(lab, of.units, seed),
        of.student,
        seed,
        transform=functools.partial(datasets.with_label_counts, counts=targets),
        temperature=1.0,
        soft_weight=1.0,
    )
    student_logits = lab.test.logits(student)
    test_logits = lab.test.logits(net) / temperature
    return {
        "annotators_temperature": temperature,
        "wrong_targets": float(
            (targets.argmax(axis=1) != lab.probe.labels).mean()
        ),
        **per_example.quality(lab.test, student_logits),
        "divergence_from_annotators": diagnostics.fidelity(
            lab.test.labels, test_logits, student_logits
        ).predictive_kl,
    }


def temperature_of_mistakes(logits, labels, share):
    """The temperature at which labels drawn from a softmax err so often.

    Args:
        logits: float array, shape `[num_examples, num_classes]`.
        labels: int array, shape `[num_examples]`, the true ones.
        share: float, the expected share of wrong ones.

    Returns:
        float, to 1e-4 of itself.

    Raises:
        ValueError: If no temperature between 0.01 and 100 does so.
    """

    def mistakes(log_temperature):
        probs = ops.tempered_softmax(logits, float(np.exp(log_temperature)))
        right = tf.gather(probs, labels, axis=1, batch_dims=1)
        return 1.0 - float(tf.reduce_mean(right))

    low, high = np.log(0.01), np.log(100.0)
    if not mistakes(low) < share < mistakes(high):
        raise ValueError(
            f"No temperature makes {share:.0%} of the labels wrong: from "
            f"{mistakes(low):.1%} to {mistakes(high):.1%} can be had."
        )
    while high - low > 1e-4:
        middle = (low + high) / 2
        if mistakes(middle) < share:
            low = middle
        else:
            high = middle
    return float(np.exp(low))


def said(probs, count, seed):
    """How often each class is said by annotators who draw from `probs`.

    Args:
        probs: float array, shape `[num_examples, num_classes]`.
        count: int, annotators of each example. The first of them say the same
            whatever their number.
        seed: int.

    Returns:
        int array of the shape of `probs`; each row sums to `count`.
    """
    uniform = np.random.default_rng([_DRAWS, seed]).random(
        (count, len(probs), 1)
    )
    edges = np.cumsum(probs, axis=1)
    # Rounding must not leave a class beyond the last one.
    edges[:, -1] = 1.0
    classes = (uniform >= edges).sum(axis=2)
    counts = np.zeros(probs.shape, np.int64)
    for of_one in classes:
        np.add.at(counts, (np.arange(len(probs)), of_one), 1)
    return counts


def majority(counts, seed):
    """The class that was said most often, one-hot; of several a random one.

    Args:
        counts: int array, shape `[num_examples, num_classes]`.
        seed: int, of the choice among several.

    Returns:
        float array of the same shape.
    """
    ties = np.random.default_rng([_DRAWS + 1, seed]).random(counts.shape)
    most = (counts + ties).argmax(axis=1)
    return np.eye(counts.shape[1])[most]


def _annotators(lab, of, seed):
    """The net that the annotators of a seed draw from."""
    name = laboratory.digest(
        of.annotator_units, dataclasses.asdict(of.annotator)
    )
    return lab.kept(
        f"annotators-{name}-{seed}",
        lambda: lab.fit(
            "annotators",
            lambda: digit_nets.student(lab, of.annotator_units, seed + 1000),
            of.annotator,
            seed,
        ),
    )


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    by_arm = findings.by_arm(results, arms(settings))
    rows = [
        [
            _says(arm),
            comparison.interval(
                [100 * result["wrong_targets"] for result in found]
            ),
            comparison.interval([result["test_errors"] for result in found]),
            comparison.interval(
                [result["divergence_from_annotators"] for result in found], 3
            ),
            comparison.interval(
                [result["negative_log_likelihood"] for result in found], 3
            ),
        ]
        for arm, found in by_arm.items()
    ]
    table = findings.Table(
        "Students of noisy labels",
        (
            "trained on",
            "wrong targets, %",
            "errors on true labels",
            "KL from the annotators, nats",
            "negative log-likelihood of true labels, nats",
        ),
        rows,
        "The annotators are simulated: each draws a class from the tempered "
        "softmax of a small net of its own seed. Means with 95% intervals over "
        "the seeds, each with annotators of its own. KL: how far the student's "
        "probabilities on the test split are from the distribution that the "
        "annotators draw from. Annotators are right in 80% of the cases, so a "
        "student that has learnt their distribution is as unsure as they are. "
        "Wrong targets: by the most probable class, the first of several; a "
        "majority is drawn among these.",
    )
    plots = []
    for name, says, key in (
        ("errors", "errors on true labels of the test split", "test_errors"),
        (
            "divergence",
            "KL from the annotators' distribution, nats",
            "divergence_from_annotators",
        ),
    ):
        lines = _over_annotators(by_arm, key)
        if lines:
            plots.append(
                findings.Lines(
                    name,
                    says[0].upper() + says[1:],
                    "annotators of each image",
                    says,
                    lines,
                    {
                        _SAYS[arm]: statistics.fmean(
                            result[key] for result in by_arm[arm]
                        )
                        for arm in ("distribution", "true")
                        if arm in by_arm
                        and (arm, key) != ("true", "divergence_from_annotators")
                    },
                    log_x=True,
                )
            )
    headlines = [
        findings.Headline(
            f"KL from simulated annotators, nats: {_says(arm)}",
            "-",
            comparison.interval(
                [result["divergence_from_annotators"] for result in found], 3
            ),
            len(found),
        )
        for arm, found in by_arm.items()
        if arm in ("one-1", *arms(settings)[-2:])
    ]
    return findings.Findings(
        (table,),
        tuple(plots),
        tuple(_checks(results, settings)),
        tuple(headlines),
        "" if settings.quick else _summary(by_arm, plan(settings)),
    )


def _summary(by_arm, of):
    """What came out, a sentence."""
    most = of.num_annotators[-1]
    means = {
        arm: [
            statistics.fmean(result[key] for result in by_arm[arm])
            for key in ("test_errors", "divergence_from_annotators")
        ]
        for arm in (f"shares-{most}", f"majority-{most}")
        if arm in by_arm
    }
    if len(means) < 2:
        return ""
    (errors, divergence), (of_majority, from_majority) = means.values()
    return (
        f"Trained on the shares of what {most} annotators say, simulated ones "
        f"who are wrong in a fifth of the cases, a student makes {errors:.1f} "
        f"errors and is {divergence:.3f} nats from what they hold possible; "
        "trained on the class most of them "
        f"say {of_majority:.1f} and {from_majority:.3f}."
    )


def _says(arm):
    kind, _, count = arm.partition("-")
    return _SAYS[kind] + (f", of {count}" if count not in ("", "1") else "")


def _over_annotators(by_arm, key):
    lines = {}
    for arm, found in by_arm.items():
        kind, _, count = arm.partition("-")
        if count:
            values = [result[key] for result in found]
            for name in ("majority", "shares") if kind == "one" else (kind,):
                lines.setdefault(_SAYS[name], {})[int(count)] = values
    return lines


def _checks(results, settings):
    most = plan(settings).num_annotators[-1]
    for than, says in (
        ("one-1", f"one label of each image, {most} times fewer labels"),
        (f"majority-{most}", "the class most of them say"),
    ):
        one, shares = findings.paired(results, than, f"shares-{most}")
        if not one:
            continue
        for key, what, digits in (
            ("divergence_from_annotators", "nats of KL", 3),
            ("test_errors", "errors", 1),
        ):
            fewer = comparison.paired_difference(
                [result[key] for result in one],
                [result[key] for result in shares],
            )
            holds = findings.is_above(fewer)
            # What they hold possible besides is gone from the majority.
            is_certain = "majority" in than and "divergence" in key
            if settings.quick and is_certain and holds is None:
                # Of a single seed.
                holds = fewer[0] > 0
            yield findings.Check(
                f"shares of {most} against {says}: fewer {what}",
                comparison.fewer_text(fewer, digits),
                holds,
                is_certain,
            )
