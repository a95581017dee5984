"""Noise of gradients along training, and what shows of it.

The ratio of noise to mean gradient grows as a student comes near an optimum,
where the mean goes to 0. So targets are compared after equally many epochs,
with the same weights, and at equal error.
"""

import math

import keras

from kd_keras.experiments import noise_measures


def measure(course, probe, target, targets, epochs, common_epochs):
    """Trains by one target and measures the noise on the way.

    Args:
        course: `noise_measures.Course`.
        probe: As `noise_measures.probe_of` gives it.
        target: The one by which it trains, measured after every epoch.
        targets: Those that are measured after some.
        epochs: Passes over the data.
        common_epochs: The epochs after which these are, 0 before training.

    Returns:
        A list of dicts, from before the first epoch to after the last one:
        `epoch`, `error_share` on the test split, and `noise`, a dict of
        targets to what `noise_measures.noise_of` gives.
    """
    student, points = course.student, []

    def look(epoch):
        these = targets if epoch in common_epochs else (target,)
        points.append(
            {
                "epoch": epoch,
                "error_share": course.error_share(),
                "noise": {
                    name: noise_measures.noise_of(student, probe, name)
                    for name in these
                },
            }
        )

    look(0)
    watcher = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: look(epoch + 1)
    )
    course.run(epochs, f"student by {target}", watcher)
    return points


def ratio_at(points, target, error_share):
    """Noise to signal of a target where a share of errors is first reached.

    Between two epochs its logarithm is taken to go with the errors in a
    straight line. What comes before the end of the first epoch is too far
    apart for that.

    Args:
        points: As `measure` gives them.
        target: One that was measured after every epoch.
        error_share: Share of errors.

    Returns:
        float; None if there are fewer errors after the first epoch already,
        if it is never reached, or if the mean is covered by the noise.
    """
    trained = points[1:]
    for before, after in zip(trained, trained[1:], strict=False):
        high, low = before["error_share"], after["error_share"]
        if high <= error_share:
            break
        if low <= error_share:
            first, last = (
                own_ratio(point, target) for point in (before, after)
            )
            if not math.isfinite(first * last):
                return None
            way = (high - error_share) / (high - low)
            return math.exp((1 - way) * math.log(first) + way * math.log(last))
    return None


def own_ratio(point, target):
    """Noise to signal of a target at one point of a way."""
    return noise_measures.ratio(point["noise"][target])


def at_equal_error(found, level):
    """Ratios of the seeds in which all targets reach a share of errors.

    Args:
        found: Dict of targets, by which students were trained, to dicts of
            seeds to what `measure` gave.
        level: The share.

    Returns:
        A dict of targets to lists, one value for each of these seeds.
    """
    seeds = set.intersection(*map(set, found.values()))
    ratios = {target: [] for target in found}
    for seed in sorted(seeds):
        of_seed = {
            target: ratio_at(of_seeds[seed], target, level)
            for target, of_seeds in found.items()
        }
        if None not in of_seed.values():
            for target, value in of_seed.items():
                ratios[target].append(value)
    return ratios
