"""What was measured, kept comparison by comparison."""

import pathlib

from kd_keras import json_files
from kd_keras.benchmarks import rounds


class Measured:
    """Ratios by comparison, in a file that is written after each of them.

    Args:
        path: JSON file, which is taken up if it is there. Defaults to None:
            nothing is kept.

    Raises:
        ValueError: If the path cannot be such a file, or holds something else.

    Example:

    >>> measured = Measured()
    >>> ratio = rounds.Ratio("a / b", [2.0], (4.0, 2.0), "<= 1")
    >>> measured.add("a_and_b", [ratio], {"rounds": 1})
    >>> measured.ratios(["a_and_b"])[0].verdict
    'NO'
    """

    def __init__(self, path=None):
        self._path = None if path is None else pathlib.Path(path)
        self._of = {}
        if self._path is None:
            return
        if self._path.suffix != ".json" or self._path.is_dir():
            raise ValueError(
                "Results are kept in a JSON file, as speed.json, with a plot "
                f"beside it, speed.png. Received: {self._path}."
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            self._of = _comparisons(json_files.read(self._path))
        elif self.plot_path.exists():
            raise ValueError(
                f"{self.plot_path}, where the plot would be, is there, and "
                f"{self._path} is not. Give another name, or remove it."
            )
        if self._of is None:
            raise ValueError(
                f"{self._path} is there and holds no results of comparisons. "
                "Give another name, or remove it."
            )

    @property
    def plot_path(self):
        """Where the plot of the results belongs."""
        return self._path.with_suffix(".png")

    def has(self, comparison):
        """Whether a comparison was made."""
        return comparison in self._of

    def add(self, comparison, ratios, made_with):
        """Keeps what a comparison gave, in place of what it gave before.

        Args:
            comparison: Its name.
            ratios: List of `rounds.Ratio`.
            made_with: Dict of texts and numbers that say how.
        """
        self._of[comparison] = {
            **made_with,
            "ratios": [
                {
                    **vars(ratio),
                    "median": ratio.median,
                    "interval": ratio.interval,
                    "verdict": ratio.verdict,
                }
                for ratio in ratios
            ],
        }
        if self._path is not None:
            json_files.write(self._path, {"comparisons": self._of})

    def ratios(self, comparisons):
        """Returns `rounds.Ratio` of some comparisons, those that were made."""
        return [
            _ratio(one)
            for comparison in comparisons
            if comparison in self._of
            for one in self._of[comparison]["ratios"]
        ]

    def made_with(self, comparisons):
        """How comparisons were made: lines, each with the names of some."""
        alike = {}
        for comparison in comparisons:
            if comparison in self._of:
                made = "; ".join(
                    f"{key}: {value}"
                    for key, value in self._of[comparison].items()
                    if key != "ratios"
                )
                alike.setdefault(made, []).append(comparison)
        return [f"{', '.join(names)}: {made}" for made, names in alike.items()]


def _comparisons(written):
    """What a file of results holds; None if it is no such file."""
    try:
        of = written["comparisons"]
        for comparison in of.values():
            for one in comparison["ratios"]:
                _ratio(one)
    except (AttributeError, KeyError, TypeError):
        return None
    return of


def _ratio(written):
    return rounds.Ratio(
        name=written["name"],
        ratios=written["ratios"],
        medians=tuple(written["medians"]),
        limit=written["limit"],
        unit=written["unit"],
    )
