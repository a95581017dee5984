"""The page of all results: from files, beside what was committed."""

import dataclasses
import json
import pathlib
import tempfile

import tensorflow as tf
from absl.testing import flagsaver

from kd_keras import experiments
from kd_keras import reports
from kd_keras.experiments import omitted_class
from kd_keras.experiments import units
from scripts import write_results
from tests import sources

_RESULTS = sources.ROOT / "docs" / "results"


def _unit(unseen):
    def of(errors, unseen, shift):
        return {"errors": errors, "unseen_errors": unseen, "shift": shift}

    return {
        "test_examples": 10_000,
        "unseen_examples": 1010,
        "plain": of(300, unseen, 0.0),
        "matched": of(120, unseen - 95, 2.0),
        "best": of(110, 20, 2.5),
        "seconds": 90.0,
        "machine": "abacus, 2 CPU cores",
        "versions": {"keras": "3.15.1"},
    }


class ResultsPageTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def write_units(self, form="full", **changes):
        plan = omitted_class.plan(experiments.Settings())
        plan = dataclasses.replace(plan, **changes)
        done = units.Units(
            self.folder / "omitted_class",
            {
                "plan": dataclasses.asdict(plan),
                "dataset": ["mnist", "3.0.1", "train"],
                "counted_on": "test",
                "form": form,
                "fixed": omitted_class.FIXED,
            },
        )
        with done.begin():
            for seed, unseen in enumerate((100, 130, 145)):
                # The last one beside other work.
                result = {**_unit(unseen), "seconds": (90.0, 90.0, 300.0)[seed]}
                done.finish("soft-20", seed, result)

    def test_page(self):
        self.write_units()
        with flagsaver.as_parsed(results_dir=str(self.folder)):
            write_results.main(["write_results"])
        page = " ".join((self.folder / "README.md").read_text().split())
        self.assertIn("as it is | 133 | 125.0 (68.1 to 181.9) | 3 |", page)
        self.assertIn(
            f"--output_dir={self.folder}/omitted_class` | 3 of 5 | 8 min | "
            "8 min |",
            page,
        )
        # 9.9 to 14.4% of the 3s are missed, and 2% after the shift.
        self.assertIn("missed | 12.4 (6.7 to 18.0)% | holds |", page)
        # Of 5 to 50 3s the mean is below the limit, its interval is not.
        self.assertIn("at most 3.5% | 3.0 (-2.7 to 8.6)% | holds in the", page)
        self.assertIn("abacus, 2 CPU cores, with keras 3.15.1", page)
        self.assertIn("The longest unit took 5 min.", page)
        marks = page[page.index("## The marks") : page.index("## All numbers")]
        self.assertEqual(marks.count("(`omitted_class`) |"), 1)
        self.assertIn(
            "at most 3.5% (`omitted_class`) | 3.0 (-2.7 to 8.6)% | reached in "
            "the mean | the recipe of",
            marks,
        )
        done = experiments.read_done(
            omitted_class, self.folder / "omitted_class"
        )
        table = reports.headline_table({"omitted_class": done}, of_paper=True)
        self.assertIn("as it is", table)
        self.assertNotIn("matches the prior", table)
        report = (self.folder / "omitted_class" / "report.md").read_text()
        self.assertIn("The units took 8 min.", report)
        self.assertIn("(omitted_class/unseen.png)", page)
        report = (self.folder / "omitted_class" / "report.md").read_text()
        self.assertIn("Data: mnist 3.0.1, train; counted on test.", report)
        for name in ("report.md", "unseen.png"):
            self.assertTrue((self.folder / "omitted_class" / name).exists())

    def test_time_without_specialists(self):
        self.write_units()
        folder = self.folder / "omitted_class"
        one = experiments.read_done(omitted_class, folder)
        self.assertEqual(one.longest_seconds, 300.0)
        # Five seeds of 90 seconds.
        self.assertEqual((one.seconds, one.expected_seconds), (480.0, 450.0))
        two = dataclasses.replace(
            one,
            seconds=7260.0,
            expected_seconds=8000.0,
            extra_arms=("further", "else"),
        )
        done = {"one": one, "specialists": two}
        page = reports.write_results_page(
            self.folder, {"one": "A", "specialists": "B"}, done
        )
        rows = [" ".join(line.split()) for line in page.splitlines()]
        self.assertIn("| all but `specialists` | | | 8 min | 8 min |", rows)
        self.assertIn("| all | | | 2 h 9 min | 2 h 21 min |", rows)
        self.assertIn(
            "/specialists`, then with `--arms=further,else`, too |", page
        )

    def test_another_plan(self):
        self.write_units(student_units=(7,))
        with self.assertRaisesRegex(ValueError, r"\[7\].* there"):
            experiments.read_done(omitted_class, self.folder / "omitted_class")

    def test_a_selection_is_no_result(self):
        self.write_units("selection")
        with self.assertRaisesRegex(ValueError, '`form` is "selection"'):
            experiments.read_done(omitted_class, self.folder / "omitted_class")

    def test_nothing_there(self):
        self.assertIsNone(experiments.read_done(omitted_class, self.folder))

    def test_what_is_committed(self):
        """Pages follow from the files of results, and so does the README."""
        done = {}
        for name, experiment in experiments.EXPERIMENTS.items():
            of = experiments.read_done(experiment, _RESULTS / name)
            if of:
                done[name] = of
        if not done:
            self.skipTest("no results are committed")
        page = (_RESULTS / "README.md").read_text("utf-8")
        readme = (sources.ROOT / "README.md").read_text("utf-8")
        self.assertIn(reports.headline_table(done), page)
        self.assertIn(reports.headline_table(done, of_paper=True), readme)
        for table in (
            reports.marks_table(done),
            reports.commands_table(done, "docs/results"),
        ):
            self.assertIn(table, page)
            self.assertIn(table, readme)
        for name in done:
            for path in (_RESULTS / name).glob("seed-*.json"):
                text = path.read_text("utf-8")
                self.assertNotIn("/", json.loads(text)["machine"])


if __name__ == "__main__":
    tf.test.main()
