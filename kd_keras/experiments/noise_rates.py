"""How fast students can be trained: learning rates of plain SGD."""

import math

import keras

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import noise_measures

# Above this share of errors after the last epoch a rate counts as unstable.
STABLE_ERROR = 0.1


def measure(course, probe, target, rates, epochs, reach):
    """Trains at each of several rates, from the same weights.

    Args:
        course: `noise_measures.Course` with plain SGD.
        probe: As `noise_measures.probe_of` gives it.
        target: As of `noise_measures.loss_of`.
        rates: Learning rates.
        epochs: Passes over the data at each of them.
        reach: Share of errors to which the steps are counted.

    Returns:
        A list of dicts, one for each rate: whether it is stable (the loss on
        the probe is finite and below that of the start, and the errors are
        few), the share of errors, and the steps to `reach`, None if it was
        not reached.
    """
    start = noise_measures.mean_loss(course.student, probe, target)
    found = []
    for rate in rates:
        watcher = StepsTo(course, reach)
        course.run_at(rate, epochs, f"{target} at rate {rate:g}", watcher)
        loss = noise_measures.mean_loss(course.student, probe, target)
        share = course.error_share()
        found.append(
            {
                "rate": rate,
                # Not so of NaN.
                "is_stable": loss < start and share <= STABLE_ERROR,
                "error_share": share,
                "steps": watcher.steps,
            }
        )
    return found


class StepsTo(keras.callbacks.Callback):
    """Counts the steps until few enough errors are left.

    Attributes:
        steps: Steps after which that was seen first; None if it was not.

    Args:
        course: `noise_measures.Course`.
        at_most: Share of errors that is few enough.
    """

    def __init__(self, course, at_most):
        super().__init__()
        self.steps = None
        self._course, self._at_most = course, at_most
        self._before = 0

    def on_train_batch_end(self, batch, logs=None):
        """Looks, if it was not seen yet."""
        if self.steps is None and self._course.error_share() <= self._at_most:
            # The last execution of an epoch may hold fewer steps than it
            # counts.
            self.steps = self._before + min(batch + 1, self.params["steps"])

    def on_epoch_end(self, epoch, logs=None):
        """Counts the steps of the epoch."""
        self._before += self.params["steps"]


def largest_stable(runs):
    """The largest rate up to which all are stable, from the least that is.

    Args:
        runs: As `measure` gives them.

    Returns:
        float; None if no rate is stable.
    """
    largest = None
    for run in sorted(runs, key=lambda run: run["rate"]):
        if run["is_stable"]:
            largest = run["rate"]
        elif largest is not None:
            break
    return largest


def fewest_steps(runs):
    """The fewest steps of any stable rate; None if none got there."""
    return min(
        (run["steps"] for run in runs if run["steps"] and run["is_stable"]),
        default=None,
    )


def find(found, reach):
    """How rates and targets go together.

    Args:
        found: Dict of targets to dicts of seeds to what `measure` gave.
        reach: Share of errors to which the steps were counted.

    Returns:
        `findings.Findings`.
    """
    level = f"{100 * (1 - reach):g}%"
    rows, lines = [], {}
    for target, of_seeds in found.items():
        largest = [largest_stable(runs) for runs in of_seeds.values()]
        fewest = [fewest_steps(runs) for runs in of_seeds.values()]
        rows.append(
            [
                target,
                " ".join(_text(rate) for rate in largest),
                " ".join(_text(steps) for steps in fewest),
                comparison.interval(fewest, 0) if None not in fewest else "-",
            ]
        )
        lines[target] = _steps_by_rate(of_seeds.values())
    table = findings.Table(
        "Learning rates of plain SGD",
        (
            "targets",
            "largest stable rate, each seed",
            f"fewest steps to {level}, each seed",
            "mean",
        ),
        rows,
        "Stable: after the last epoch the loss is finite and below that of "
        f"the start, with at most {100 * STABLE_ERROR:g}% of errors; so are "
        "the lower rates that were tried. The soft loss has its factor T ** "
        "2, which multiplies the gradient and so divides the rates: what a "
        "rate is worth shows in the steps, of the stable rate that takes the "
        "fewest, read off test errors. -: not reached at any rate.",
    )
    plots = []
    lines = {target: points for target, points in lines.items() if points}
    if lines:
        plots.append(
            findings.Lines(
                "rates",
                f"Steps to {level}",
                "learning rate",
                f"steps to {level}",
                lines,
                log_x=True,
                log_y=True,
                note="Rates at which all seeds get there.",
            )
        )
    return findings.Findings((table,), tuple(plots), tuple(_checks(found)))


def _steps_by_rate(of_seeds):
    points = {}
    for runs in of_seeds:
        for run in runs:
            points.setdefault(run["rate"], []).append(run["steps"])
    return {rate: steps for rate, steps in points.items() if all(steps)}


def _checks(found):
    hard, soft = found.get("hard", {}), found.get("soft-20", {})
    pairs = [
        (largest_stable(soft[seed]), largest_stable(hard[seed]))
        for seed in hard
        if seed in soft
    ]
    if pairs and all(None not in pair for pair in pairs):
        ratios = [of_soft / of_hard for of_soft, of_hard in pairs]
        # Without the factor the same runs have rates 400 times as large.
        for says, factor in (
            ("with T ** 2 in the loss", 1),
            (
                "without T ** 2 in the loss, by which alone it is 400 times as "
                "large",
                400,
            ),
        ):
            each = [factor * ratio for ratio in ratios]
            yield findings.Check(
                f"the largest stable learning rate at T = 20, {says}, is at "
                "least that of labels in every seed",
                f"{_span(each)} of that of labels",
                min(each) >= 1,
            )
    steps = [
        (fewest_steps(hard[seed]), fewest_steps(soft[seed]))
        for seed in hard
        if seed in soft
    ]
    if steps and all(None not in pair for pair in steps):
        fewer = comparison.paired_difference(*zip(*steps, strict=True))
        yield findings.Check(
            "each at its best rate, T = 20 needs fewer steps than labels",
            comparison.fewer_text(fewer, 0),
            findings.is_above(fewer),
        )


def _span(values):
    low, high = min(values), max(values)
    if math.isclose(low, high):
        return f"{low:.3g}"
    return f"{low:.3g} to {high:.3g}"


def _text(value):
    return "-" if value is None else f"{value:g}"
