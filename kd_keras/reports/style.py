"""How plots look: colours that all readers can tell apart, one size."""

from matplotlib import figure

# Okabe and Ito (2008), without the yellow that is pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
# In colour-blindness and in print the marks tell the lines apart, too.
MARKERS = ("o", "s", "^", "D", "v", "P")
# Each has the same colour and mark in all plots of a report.
_ARMS = ("teacher", "hard labels", "label smoothing", "distilled")
_PIXELS_PER_INCH = 100
WIDTH = 8.0
# Characters of a legend in one line of that width, and what a mark takes.
_LINE, _OF_MARK = 110, 8


def new_figure(height=4.5):
    """A figure 800 pixels wide.

    Args:
        height: Inches, of 100 pixels. Defaults to 4.5.

    Returns:
        `matplotlib.figure.Figure`.
    """
    return figure.Figure(
        figsize=(WIDTH, height), dpi=_PIXELS_PER_INCH, layout="constrained"
    )


def look_of(name, number):
    """Colour and mark of what is called so.

    Args:
        name: Its name.
        number: Its place among what is shown.

    Returns:
        A tuple of two strings.
    """
    if name in _ARMS:
        number = _ARMS.index(name)
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def plain(axes):
    """Takes away what is not data from axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)


def legend(axes):
    """A legend above axes, where it hides nothing, in lines that fit."""
    _, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels), default=0)
    axes.figure.legend(
        frameon=False,
        ncols=max(1, _LINE // (longest + _OF_MARK)),
        loc="outside upper left",
        columnspacing=1.2,
    )


def save(plot, path):
    """Writes a figure as PNG, the same bytes for the same data."""
    plot.savefig(path, metadata={"Software": None})
