"""Gradient noise: what of it targets of high entropy take away.

Paper (Hinton et al., 2015, section 1): targets of high entropy tell more of
each training case than labels do, and their gradients vary much less from one
case to the next, so that fewer examples and a much higher learning rate will
do. It measures none of that. What is provable is less: the variance that comes
of drawing a label from a distribution is gone where the distribution itself is
the target (Menon et al., 2021); of the rest a teacher takes a part at best
(Safaryan et al., 2023).
"""

import dataclasses

import keras
import numpy as np

from kd_keras.experiments import digit_nets
from kd_keras.experiments import findings
from kd_keras.experiments import noise_findings
from kd_keras.experiments import noise_identity
from kd_keras.experiments import noise_measures
from kd_keras.experiments import noise_rates
from kd_keras.experiments import noise_trajectories

TITLE = "Gradient noise: soft targets against labels"
NUM_SEEDS = 5
FIXED = {
    "optimizer": "Adam at a constant rate; for the rates SGD",
    "stable_error": noise_rates.STABLE_ERROR,
}

# By these students are trained, and of these the noise is measured.
_TRAINED = ("hard", "soft-1", "soft-20")
_MEASURED = ("hard", "soft-1", "soft-2", "soft-4", "soft-8", "soft-20")
_TEMPERATURES = (1, 2, 4, 8, 20)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        teacher: `digit_nets.TeacherPlan`.
        student_units: Hidden layers of the students.
        batch_size: Examples per step.
        check_every: Steps after which errors are counted.
        learning_rate: Of Adam, along training; it stays as it is.
        epochs: Passes over the data, along training.
        common_epochs: Epochs after which all targets are measured.
        error_levels: Shares of errors at which targets are compared.
        probe_batch_size: Examples of a batch of which the noise is measured.
        probe_batches: How many there are.
        draws: How often labels are drawn.
        rates: Of SGD, for labels and soft targets at T = 1.
        soft_rates: The same at T = 20.
        rate_epochs: Passes over the data at each rate.
        reach: Share of errors to which steps are counted.
    """

    teacher: digit_nets.TeacherPlan = digit_nets.TeacherPlan()
    student_units: tuple[int, ...] = (400, 400)
    batch_size: int = 128
    check_every: int = 50
    learning_rate: float = 1e-3
    epochs: int = 10
    common_epochs: tuple[int, ...] = (0, 1, 3, 10)
    error_levels: tuple[float, ...] = (0.03, 0.025, 0.02)
    probe_batch_size: int = 200
    probe_batches: int = 50
    draws: int = 200
    rates: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0)
    soft_rates: tuple[float, ...] = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
    rate_epochs: int = 5
    reach: float = 0.025


QUICK = Plan(
    teacher=digit_nets.QUICK_TEACHER,
    student_units=(64, 64),
    batch_size=32,
    check_every=25,
    epochs=3,
    common_epochs=(0, 3),
    error_levels=(0.09, 0.08),
    probe_batch_size=25,
    probe_batches=40,
    rates=(0.5, 2.0),
    soft_rates=(1 / 16, 1 / 4),
    rate_epochs=3,
    reach=0.1,
)


def plan(settings):
    """The `Plan` of settings."""
    return QUICK if settings.quick else Plan()


def arms(settings):
    """Names of the arms, in the order in which they are run."""
    del settings
    parts = ("trajectory", "rates")
    return (
        "identity",
        *(f"{part}-{target}" for part in parts for target in _TRAINED),
    )


def run(arm, seed, lab):
    """Runs one arm of one seed.

    Args:
        arm: Its name.
        seed: int.
        lab: `laboratory.Laboratory`.

    Returns:
        A dict of what was measured.
    """
    of = plan(lab.settings)
    store = digit_nets.targets_of(lab, of.teacher, seed)
    probe = noise_measures.probe_of(
        lab, store, of.probe_batch_size, of.probe_batches
    )
    part, _, target = arm.partition("-")
    if part == "rates":
        optimizer = keras.optimizers.SGD()
    else:
        optimizer = keras.optimizers.Adam(of.learning_rate)
    course = noise_measures.Course(
        lab,
        digit_nets.student(lab, of.student_units, seed),
        target or "hard",
        store,
        of.batch_size,
        seed,
        optimizer,
        of.check_every,
    )
    if part == "rates":
        rates = of.soft_rates if target == "soft-20" else of.rates
        return {
            "rates": noise_rates.measure(
                course, probe, target, rates, of.rate_epochs, of.reach
            )
        }
    if part == "trajectory":
        logits = np.concatenate([t["teacher_logits"] for _, t in probe])
        return {
            "entropy": {
                name: noise_measures.entropy_of(name, logits)
                for name in _MEASURED
            },
            "points": noise_trajectories.measure(
                course,
                probe,
                target,
                _MEASURED,
                of.epochs,
                of.common_epochs,
            ),
        }
    course.run(1, "student by hard")
    return {
        "temperatures": noise_identity.measure(
            course.student,
            probe,
            _TEMPERATURES,
            of.draws,
            np.random.default_rng(seed),
        )
    }


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    of = plan(settings)

    def part(name, field):
        """Dict of targets to dicts of seeds to a field."""
        found = {}
        for target in _TRAINED:
            of_seeds = {
                seed: result[field]
                for (arm, seed), result in results.items()
                if arm == f"{name}-{target}"
            }
            if of_seeds:
                found[target] = of_seeds
        return found

    parts = []
    by_arm = findings.by_arm(results, arms(settings))
    if "identity" in by_arm:
        parts.append(
            noise_identity.find(
                [result["temperatures"] for result in by_arm["identity"]]
            )
        )
    if found := part("trajectory", "points"):
        # Seeds differ by their teachers, and arms of a seed do not.
        entropies = next(iter(part("trajectory", "entropy").values()))
        parts.append(
            noise_findings.find(
                found,
                {
                    name: [of_seed[name] for of_seed in entropies.values()]
                    for name in _MEASURED
                },
                of.error_levels,
            )
        )
    if found := part("rates", "rates"):
        parts.append(noise_rates.find(found, of.reach))
    return findings.Findings(
        tuple(table for found in parts for table in found.tables),
        tuple(plot for found in parts for plot in found.plots),
        tuple(check for found in parts for check in found.checks),
        tuple(line for found in parts for line in found.headlines),
        ""
        if settings.quick
        else " ".join(found.summary for found in parts if found.summary),
    )
