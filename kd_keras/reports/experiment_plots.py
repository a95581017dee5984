"""The plots of experiments, from their data."""

import numpy as np

from kd_keras import comparison
from kd_keras.reports import style


def dots(plot):
    """Values of arms, one dot for each seed, beside what was claimed.

    Args:
        plot: `findings.Dots`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    arms = list(plot.values)
    figure = style.new_figure(1.2 + 0.5 * len(arms))
    axes = figure.subplots()
    for row, arm in enumerate(arms):
        values = plot.values[arm]
        spread = np.linspace(-0.15, 0.15, len(values)) if values[1:] else [0]
        axes.plot(
            values,
            row + np.asarray(spread),
            "o",
            color=style.COLOURS[0],
            alpha=0.6,
            markersize=5,
            label="one seed" if row == 0 else None,
        )
        mean, low, high = comparison.paired_difference(
            values, [0.0] * len(values)
        )
        if len(values) > 1:
            axes.plot([low, high], [row, row], color="black", linewidth=1.2)
        axes.plot(
            mean,
            row,
            "|",
            color="black",
            markersize=16,
            markeredgewidth=2,
            label="mean, 95% interval" if row == 0 else None,
        )
    claimed = [arm for arm in arms if arm in plot.claimed]
    if claimed:
        axes.plot(
            [plot.claimed[arm] for arm in claimed],
            [arms.index(arm) for arm in claimed],
            "D",
            color=style.COLOURS[1],
            markersize=7,
            label="paper",
        )
    axes.set_yticks(range(len(arms)), arms)
    axes.invert_yaxis()
    axes.set_xlabel(plot.label)
    style.plain(axes)
    # Above the names of the arms, too, which leave the axes little room.
    figure.legend(frameon=False, ncols=3, loc="outside upper left")
    return figure


def lines(plot):
    """Values over a quantity: mean over the seeds with the spread.

    Args:
        plot: `findings.Lines`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    figure = style.new_figure()
    axes = figure.subplots()
    for number, (name, points) in enumerate(plot.lines.items()):
        xs = sorted(points)
        found = [comparison.mean_and_spread(points[x]) for x in xs]
        axes.errorbar(
            xs,
            [mean for mean, _ in found],
            yerr=np.nan_to_num([spread for _, spread in found]),
            color=style.COLOURS[number % len(style.COLOURS)],
            marker=style.MARKERS[number % len(style.MARKERS)],
            capsize=3,
            label=name,
        )
    for number, (name, level) in enumerate(plot.levels.items()):
        axes.axhline(
            level,
            color=style.COLOURS[number % len(style.COLOURS)],
            linestyle="--",
            linewidth=1,
            label=name,
        )
    ticks = sorted({x for points in plot.lines.values() for x in points})
    if plot.log_x:
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
    if plot.log_y:
        axes.set_yscale("log")
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    style.plain(axes)
    style.legend(axes)
    return figure
