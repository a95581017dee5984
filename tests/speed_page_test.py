"""The page about speed says what was measured."""

import tensorflow as tf

from kd_keras import benchmarks
from kd_keras.benchmarks import measured
from kd_keras.benchmarks import rounds
from tests import sources

_FOLDER = sources.ROOT / "docs" / "speed"


def cells(line):
    """The cells of a line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


class SpeedPageTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        if not _FOLDER.exists():
            self.skipTest("the page is not here")
        self.measured = measured.Measured(_FOLDER / "ratios.json")
        self.table = rounds.table(self.measured.ratios(benchmarks.NAMES))

    def test_page(self):
        page = (_FOLDER / "README.md").read_text()
        self.assertIn(self.table, page)
        made_with = self.measured.made_with(benchmarks.NAMES)
        self.assertNotEmpty(made_with)
        for line in made_with:
            self.assertIn(line, page)
        for ratio in self.measured.ratios(benchmarks.NAMES):
            # Ensembles on a data set take minutes for one.
            if not ratio.name.endswith("writing included"):
                self.assertGreaterEqual(len(ratio.ratios), 7, ratio.name)

    def test_readme(self):
        page = (sources.ROOT / "README.md").read_text()
        begin = page.index("## What a step costs")
        section = page[begin : page.index("\n## ", begin + 1)]
        shown = [
            cells(line)
            for line in section.splitlines()
            if line.startswith("| ") and ":" in line and "---" not in line
        ]
        measured = {}
        for line in self.table.splitlines():
            what, _, median, interval, *_ = cells(line)
            measured.setdefault(what, (median, interval))
        self.assertGreater(len(shown), 5)
        for what, median, interval in shown:
            self.assertEqual((median, interval), measured[what])


if __name__ == "__main__":
    tf.test.main()
