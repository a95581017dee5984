"""The page about speed says what was measured."""

import json

import tensorflow as tf

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
        self.written = json.loads((_FOLDER / "ratios.json").read_text())
        ratios = [
            rounds.Ratio(
                name=one["name"],
                ratios=one["ratios"],
                seconds=tuple(one["seconds"]),
                limit=one["limit"],
            )
            for one in self.written["ratios"]
        ]
        self.table = rounds.table(ratios)

    def test_page(self):
        page = (_FOLDER / "README.md").read_text()
        self.assertIn(self.table, page)
        self.assertGreaterEqual(self.written["rounds"], 7)
        for key in ("machine", "versions"):
            self.assertIn(self.written[key], page)

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
