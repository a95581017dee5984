"""What the noise of gradients along training shows: tables, plots, checks."""

import dataclasses
import math

import numpy as np

from kd_keras import comparison
from kd_keras.experiments import findings
from kd_keras.experiments import noise_trajectories

# After these epochs the students of the targets are held side by side.
_EPOCHS = (1, 2, 3)
# What the ratio at T = 20 is to be below, in units of that of labels.
_AT_MOST = 0.7
_BY_ENTROPY = (
    (
        "ratio",
        "variance / squared mean",
        "Labels have entropy 0. Each line is of the same weights. This is "
        "noise in units of the mean gradient: where it falls, though the "
        "variance itself (below) does not, it is because targets of higher "
        "entropy leave more of a mean gradient to follow.",
    ),
    (
        "variance",
        "variance of the gradient",
        "The variance alone, with T ** 2 in the soft loss, as the Distiller "
        "has it: no measure of noise, as the mean gradient changes by that "
        "factor, too.",
    ),
)


def find(found, entropies, error_levels):
    """What the noise on the way says.

    Args:
        found: Dict of targets, by which students were trained, to dicts of
            seeds to what `measure` gave.
        entropies: Dict of targets to the mean entropy of each seed.
        error_levels: Shares of errors at which targets are compared.

    Returns:
        `findings.Findings`.
    """
    equal = {
        level: noise_trajectories.at_equal_error(found, level)
        for level in sorted(error_levels, reverse=True)
    }
    return findings.Findings(
        (_own_table(found), _common_table(found), *_equal_table(equal)),
        tuple(_plots(found, entropies, equal)),
        tuple(_checks(found, equal)),
        tuple(_headlines(found)),
        _summary(found),
    )


def _summary(found):
    """What came out early on, a sentence."""
    ratios, variances = _early(found)
    if not ratios:
        return ""
    return (
        "After epochs 1 to 3 the gradient noise of soft targets at T = 20 is "
        f"{min(ratios):.2f} to {max(ratios):.2f} of that of labels, each "
        "relative to its own mean gradient; the variance alone, with T ** 2 in "
        f"it, is {min(variances):.0f} to {max(variances):.0f} times as large."
    )


def _headlines(found):
    hard, soft = found.get("hard", {}), found.get("soft-20", {})
    for epoch in _EPOCHS:
        ratios = [
            noise_trajectories.own_ratio(soft[seed][epoch], "soft-20")
            / noise_trajectories.own_ratio(hard[seed][epoch], "hard")
            for seed in hard
            if seed in soft and epoch < len(hard[seed])
        ]
        if ratios:
            yield findings.Headline(
                "gradient noise relative to its mean, T = 20 over labels, "
                f"epoch {epoch}, geometric mean",
                "-",
                spread_text(ratios),
                len(ratios),
            )


def _common(found):
    """`(target of training, epoch, seeds' points)` where all are measured."""
    for target, of_seeds in found.items():
        for points in zip(*of_seeds.values(), strict=True):
            if len(points[0]["noise"]) > 1:
                yield target, points[0]["epoch"], points


def _own_table(found):
    rows = []
    for target, epoch, points in _common(found):
        own = [point["noise"][target] for point in points]
        errors = [100 * point["error_share"] for point in points]
        rows.append(
            [
                f"{target}, {epoch} epochs",
                comparison.interval(errors, 2),
                _mean([noise["variance"] for noise in own]),
                _mean([noise["squared_mean"] for noise in own]),
                spread_text(
                    [
                        noise_trajectories.own_ratio(point, target)
                        for point in points
                    ]
                ),
            ]
        )
    return findings.Table(
        "Each on its own way",
        ("trained by", "errors, %", "variance", "squared mean", "ratio"),
        rows,
        "Of the gradient of the weights from one training example to the "
        "next: trace of its covariance, squared norm of its mean, and their "
        "ratio (geometric mean over the seeds with its 95% interval), which "
        "no factor before the loss changes. The variance alone says little: "
        "T ** 2 is in it.",
    )


def _common_table(found):
    rows, names = [], []
    for target, epoch, points in _common(found):
        names = [name for name in points[0]["noise"] if name != "hard"]
        rows.append(
            [
                f"{target}, {epoch} epochs",
                *(spread_text(_relative(points, name)) for name in names),
            ]
        )
    return findings.Table(
        "With the same weights",
        ("weights trained by", *names),
        rows,
        "The ratio of noise to mean gradient of soft targets, divided by that "
        "of labels, at the same weights. By whom these were trained matters: "
        "whose optimum is near has the smaller mean gradient.",
    )


def _relative(points, name):
    """Ratio of a target over that of labels, at the same weights."""
    return [
        noise_trajectories.own_ratio(p, name)
        / noise_trajectories.own_ratio(p, "hard")
        for p in points
    ]


def _equal_table(equal):
    rows, soft = [], []
    for level, ratios in equal.items():
        soft = [name for name in ratios if name != "hard"]
        if ratios.get("hard"):
            rows.append(
                [
                    f"{100 * level:g}%",
                    f"{len(ratios['hard'])}",
                    spread_text(ratios["hard"]),
                    *(
                        spread_text(np.divide(ratios[name], ratios["hard"]))
                        for name in soft
                    ),
                ]
            )
    if not rows:
        return ()
    table = findings.Table(
        "At equal error",
        ("errors", "seeds", "hard", *(f"{name} / hard" for name in soft)),
        rows,
        "Each on its own way, where it first makes so few errors on the test "
        "split; between two epochs the logarithm goes with the errors on a "
        "straight line. Of the seeds in which all get there after the first "
        "epoch.",
    )
    return (table,)


def _plots(found, entropies, equal):
    """Those of `_lines` that have something to show."""
    for plot in _lines(found, entropies, equal):
        plot = dataclasses.replace(plot, lines=_drawn(plot.lines))
        if plot.lines:
            yield plot


def _lines(found, entropies, equal):
    yield findings.Lines(
        "noise",
        "Noise of the gradient, each on its own way",
        "epochs",
        "variance / squared mean",
        {
            target: {
                points[0]["epoch"]: [
                    noise_trajectories.own_ratio(p, target) for p in points
                ]
                for points in zip(*of_seeds.values(), strict=True)
            }
            for target, of_seeds in found.items()
        },
        log_y=True,
    )
    by_entropy = {"ratio": {}, "variance": {}}
    for target, epoch, points in _common(found):
        if epoch not in (0, _EPOCHS[-1]):
            continue
        # Before training the weights are the same for all.
        line = f"by {target}, {epoch} epochs" if epoch else "not trained"
        for name in points[0]["noise"]:
            at = comparison.mean_and_spread(entropies[name])[0]
            by_entropy["ratio"].setdefault(line, {})[at] = [
                noise_trajectories.own_ratio(p, name) for p in points
            ]
            by_entropy["variance"].setdefault(line, {})[at] = [
                p["noise"][name]["variance"] for p in points
            ]
    for what, label, note in _BY_ENTROPY:
        yield findings.Lines(
            f"entropy_{what}",
            f"Entropy of the targets: {label}",
            "entropy of the targets, nats",
            label,
            by_entropy[what],
            log_y=True,
            note=note,
        )
    yield findings.Lines(
        "equal_error",
        "Noise at equal error",
        "errors on the test split, %",
        "variance / squared mean",
        {
            target: {100 * level: of[target] for level, of in equal.items()}
            for target in found
        },
        log_y=True,
    )


def _early(found):
    """Noise at T = 20 over that of labels, after the first epochs.

    Args:
        found: As of `find`.

    Returns:
        Lists over seeds and epochs: of the ratios of the noise, each relative
        to its mean gradient, and of those of the variances.
    """
    hard, soft = found.get("hard", {}), found.get("soft-20", {})
    pairs = [
        (of_soft, of_hard)
        for seed in hard
        if seed in soft
        for of_soft, of_hard in zip(soft[seed], hard[seed], strict=True)
        if of_hard["epoch"] in _EPOCHS
    ]
    ratios = [
        noise_trajectories.own_ratio(of_soft, "soft-20")
        / noise_trajectories.own_ratio(of_hard, "hard")
        for of_soft, of_hard in pairs
    ]
    variances = [
        of_soft["noise"]["soft-20"]["variance"]
        / of_hard["noise"]["hard"]["variance"]
        for of_soft, of_hard in pairs
    ]
    return ratios, variances


def _checks(found, equal):
    ratios, variances = _early(found)
    if not ratios:
        return
    yield findings.Check(
        "noise to mean gradient at T = 20 is below "
        f"{_AT_MOST} of that of labels after epochs 1 to 3, each on its own "
        "way, in every seed",
        f"{min(ratios):.2f} to {max(ratios):.2f} of it",
        max(ratios) < _AT_MOST,
    )
    yield findings.Check(
        "the variance alone goes the other way: larger at T = 20, with T ** "
        "2, in all of these",
        f"{min(variances):.1f} to {max(variances):.1f} times that of labels",
        min(variances) > 1,
    )
    logs = [
        np.log(np.divide(ratios["soft-20"], ratios["hard"]))
        for ratios in equal.values()
        if ratios.get("hard")
    ]
    if logs:
        # Levels with all seeds; of a seed the mean over them is one value.
        most = max(map(len, logs))
        mean = np.mean([values for values in logs if len(values) == most], 0)
        lower = comparison.paired_difference([0.0] * most, mean.tolist())
        yield findings.Check(
            "at equal error, too, noise to mean gradient is lower at T = 20",
            f"{spread_text(np.exp(mean))} of that of labels",
            findings.is_above(lower),
        )


def spread_text(values):
    """Geometric mean over the seeds with its interval, as text.

    Args:
        values: Numbers.

    Returns:
        A string; "covered by noise" if one is no positive finite number.
    """
    values = np.asarray(values, np.float64)
    if not (np.isfinite(values) & (values > 0)).all():
        return "covered by noise"
    mean, low, high = np.exp(
        comparison.paired_difference(
            np.log(values).tolist(), [0.0] * len(values)
        )
    )
    if len(values) == 1:
        return f"{mean:.3g}"
    return f"{mean:.3g} ({low:.3g} to {high:.3g})"


def _mean(values):
    return f"{comparison.mean_and_spread(values)[0]:.3g}"


def _drawn(lines):
    """Lines without what is infinite, and without those that are empty."""
    finite = {
        name: {
            x: [value for value in values if math.isfinite(value)]
            for x, values in points.items()
        }
        for name, points in lines.items()
    }
    drawn = {
        name: {x: values for x, values in points.items() if values}
        for name, points in finite.items()
    }
    return {name: points for name, points in drawn.items() if points}
