"""The plot of a benchmark: how near each ratio comes to its limit."""

import itertools

from kd_keras.reports import style

_VERDICTS = {
    "yes": (style.COLOURS[0], "o", "within the limit"),
    "in the median": (style.COLOURS[2], "o", "within, not all the interval"),
    "not in the median": (style.COLOURS[5], "s", "beyond, not all of it"),
    "NO": (style.COLOURS[1], "X", "beyond the limit"),
}


def write_ratios_plot(path, ratios):
    """Draws ratios that have a limit, as multiples of it.

    Of what is to be at least so much the inverse is drawn, so that all is well
    left of 1.

    Args:
        path: PNG file to write.
        ratios: List of `benchmarks.rounds.Ratio`.

    Returns:
        `matplotlib.figure.Figure`, or None, and no file, if none has a limit.
    """
    limited = [ratio for ratio in ratios if ratio.limit]
    if not limited:
        return None
    rows = _rows(limited)
    figure = style.new_figure(1.2 + 0.21 * len(rows))
    axes = figure.subplots()
    for row, (_, ratio) in enumerate(rows):
        if ratio is None:
            continue
        colour, marker, _ = _VERDICTS[ratio.verdict]
        ends = [_of_limit(ratio, value) for value in ratio.interval]
        axes.plot(ends, [row, row], color=colour, linewidth=1.2)
        axes.plot(
            _of_limit(ratio, ratio.median),
            row,
            marker,
            color=colour,
            markersize=5,
        )
    for verdict, (colour, marker, says) in _VERDICTS.items():
        count = sum(ratio.verdict == verdict for ratio in limited)
        if count:
            axes.plot([], [], marker, color=colour, label=f"{says}: {count}")
    axes.axvline(1.0, color="black", linewidth=1.0)
    axes.set_xscale("log")
    ticks = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [says for says, _ in rows], fontsize=7)
    for label, (_, ratio) in zip(axes.get_yticklabels(), rows, strict=True):
        if ratio is None:
            label.set_fontweight("bold")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(
        "ratio / limit, or limit / ratio\nwhere it is a lower limit"
    )
    style.plain(axes)
    figure.legend(frameon=False, ncols=2, loc="outside upper left")
    style.save(figure, path)
    return figure


def _of_limit(ratio, value):
    """A ratio as a multiple of its limit, or the other way round."""
    limit = float(ratio.limit[2:])
    return value / limit if ratio.limit[0] == "<" else limit / value


def _rows(ratios):
    """Labels and their ratios; what several have in common is said once."""
    rows = []
    for common, group in itertools.groupby(
        ratios, lambda ratio: ratio.name.rpartition(": ")[0]
    ):
        group = list(group)
        is_said_once = common and len(group) > 1
        if is_said_once:
            rows.append((common, None))
        for ratio in group:
            name = ratio.name
            if is_said_once:
                name = name.removeprefix(f"{common}: ")
            rows.append((f"{name}  {ratio.limit}", ratio))
    return rows
