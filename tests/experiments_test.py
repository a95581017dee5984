"""Experiments: their units on disk, their findings from given numbers."""

import json
import pathlib
import re
import tempfile
import time
from concurrent import futures
from unittest import mock

import numpy as np
import tensorflow as tf

from kd_keras import comparison
from kd_keras import datasets
from kd_keras import experiments
from kd_keras import reports
from kd_keras.experiments import digit_nets
from kd_keras.experiments import findings
from kd_keras.experiments import laboratory
from kd_keras.experiments import mnist_table
from kd_keras.experiments import per_example
from kd_keras.experiments import units
from kd_keras.reports import experiment_plots
from kd_keras.training import curves
from tests import digits_runs


class UnitsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def test_results_stay(self):
        path = self.folder / "results"
        first = units.Units(path, {"epochs": 3})
        with first.begin():
            first.finish("hard", 1, {"errors": 5})
            first.finish("soft-20", 0, {"errors": 4})
        second = units.Units(path, {"epochs": 3})
        self.assertIsNone(second.result("hard", 0))
        self.assertEqual(
            second.results(),
            {("soft-20", 0): {"errors": 4}, ("hard", 1): {"errors": 5}},
        )
        with self.assertRaisesRegex(ValueError, "`epochs` is 3 there, and 4"):
            units.Units(path, {"epochs": 4})

    def test_one_at_a_time(self):
        first = units.Units(self.folder / "results", {})
        second = units.Units(self.folder / "results", {})
        with first.begin():
            with self.assertRaisesRegex(FileExistsError, "Another process"):
                with second.begin():
                    pass
        with second.begin():
            pass
        self.assertLen(list(self.folder.iterdir()), 1)

    def test_damaged(self):
        first = units.Units(self.folder / "results", {})
        with first.begin():
            first.finish("hard", 1, {})
        self.assertEqual(first.result("hard", 1), {})
        path = self.folder / "results" / "seed-1-hard.json"
        path.write_text('{"errors": 5')
        for read in (first.results, lambda: first.result("hard", 1)):
            with self.assertRaisesRegex(
                ValueError, "seed-1-hard.json is damaged.*Remove it"
            ):
                read()

    def test_something_else(self):
        (self.folder / "thesis.txt").write_text("years of work")
        with self.assertRaisesRegex(ValueError, "something else"):
            units.Units(self.folder, {})


class LaboratoryTest(digits_runs.DigitsTestCase):
    def laboratory(self, scope=0, **kwargs):
        settings = laboratory.Settings(data_dir=self.data_dir, **kwargs)
        return laboratory.Laboratory(settings, self.folder / "models", scope)

    def test_the_full_form_needs_mnist(self):
        with self.assertRaisesRegex(FileNotFoundError, "tfds.load.*--quick"):
            self.laboratory()

    def test_two_forms_at_once(self):
        with self.assertRaisesRegex(ValueError, "--quick or --selection"):
            self.laboratory(quick=True, selection=True)

    def test_a_damaged_model(self):
        lab = self.laboratory(quick=True)
        lab.kept("damaged", lambda: digit_nets.student(lab, (4,), 0))
        path = lab.folder / "damaged.keras"
        path.write_bytes(path.read_bytes()[:500])
        with self.assertRaisesRegex(ValueError, "damaged.keras.*Remove it"):
            lab.kept("damaged", None)

    def test_who_is_first_makes_it(self):
        """Another process that wants the same waits for it."""
        lab = self.laboratory(quick=True)
        made = []

        def make():
            made.append(1)
            time.sleep(1.0)
            return digit_nets.student(lab, (4,), 0)

        with futures.ThreadPoolExecutor(2) as threads:
            both = [threads.submit(lab.kept, "awaited", make) for _ in range(2)]
            for one in both:
                one.result()
        self.assertLen(made, 1)
        self.assertEmpty(list(lab.folder.glob("*.lock")))

    def test_kept_models(self):
        lab = self.laboratory(quick=True)
        self.assertEqual(lab.train.name, "digits")
        made = []

        def make():
            made.append(digit_nets.student(lab, (4,), 0))
            return made[-1]

        first, second = (lab.kept("small", make) for _ in range(2))
        self.assertLen(made, 1)
        for one, other in zip(first.weights, second.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_half_precision_is_measured_in_float32(self):
        lab = self.laboratory(quick=True)
        recipe = laboratory.Recipe(2, 64, 0.01, "mixed_bfloat16")
        model = lab.fit(
            "half", lambda: digit_nets.student(lab, (16,), 0), recipe, 0
        )
        self.assertEqual(
            {layer.compute_dtype for layer in model.layers}, {"float32"}
        )
        self.assertLess(lab.test.errors(lab.test.logits(model)), 300)
        self.assertEqual(list(lab.folder.rglob("half*")), [])

    def test_what_was_broken_off_belongs_to_its_experiment(self):
        """Another one of the same arm and seed begins anew."""
        recipe = laboratory.Recipe(2, 64, 0.01)

        def train(scope, **kwargs):
            lab = self.laboratory(scope, quick=True)
            return lab.fit(
                "hard",
                lambda: digit_nets.student(lab, (4,), 0),
                recipe,
                0,
                **kwargs,
            ).get_weights()

        expected = train("first")
        whole = curves.Curve.on_epoch_end

        def breaks(callback, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt
            whole(callback, epoch, logs)

        with (
            mock.patch.object(curves.Curve, "on_epoch_end", breaks),
            self.assertRaises(KeyboardInterrupt),
        ):
            train(
                "second",
                transform=lambda d: datasets.drop_classes(d, [3]),
            )
        self.assertAllEqual(train("first")[0], expected[0])
        lab = self.laboratory("second", quick=True)
        self.assertLen(list(lab.folder.rglob("hard-0.npz")), 1)

    def test_mean_over_views(self):
        """Shifting by hand gives the same."""
        lab = self.laboratory(quick=True)
        teacher = digit_nets.student(lab, (8,), 3)
        images = np.random.RandomState(1).rand(4, 8, 8, 1).astype(np.float32)
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
        by_hand = [
            teacher.predict_on_batch(padded[:, y : y + 8, x : x + 8])
            for y in range(3)
            for x in range(3)
        ]
        mean = digit_nets.mean_over_views(teacher, 1)
        self.assertAllClose(
            mean.predict_on_batch(images), np.mean(by_hand, axis=0), 1e-5, 1e-5
        )

    def test_digest(self):
        recipe = {"epochs": 3}
        self.assertEqual(
            laboratory.digest("a", recipe), laboratory.digest("a", recipe)
        )
        self.assertNotEqual(
            laboratory.digest("a", recipe),
            laboratory.digest("a", {"epochs": 4}),
        )


class MnistTableTest(digits_runs.DigitsTestCase):
    def test_quick(self):
        settings = experiments.Settings(quick=True, data_dir=self.data_dir)
        path = self.folder / "results"
        small = mnist_table.Plan(
            teacher=digit_nets.TeacherPlan(
                units=(16,), recipe=laboratory.Recipe(1, 64, 1e-2)
            ),
            student_units=(8,),
            narrow_units=(4,),
            student=laboratory.Recipe(1, 64, 1e-2),
            changing=laboratory.Recipe(1, 64, 1e-2),
            narrow=laboratory.Recipe(1, 64, 1e-2),
        )
        arms = ["teacher", "logits", "4-3"]
        with mock.patch.object(mnist_table, "QUICK", small):
            for _ in range(2):
                found = experiments.run_experiment(
                    mnist_table,
                    settings,
                    path,
                    arms=arms,
                    models_dir=self.folder / "models",
                )
            with self.assertRaisesRegex(ValueError, "no arm soft-30"):
                experiments.run_experiment(
                    mnist_table,
                    settings,
                    path,
                    arms=["soft-30"],
                    models_dir=self.folder,
                )
            (path / "seed-0-old.json").write_text("{}")
            with self.assertRaisesRegex(ValueError, "of old, which is no arm"):
                experiments.run_experiment(
                    mnist_table,
                    settings,
                    path,
                    arms=["teacher"],
                    models_dir=self.folder / "models",
                )
        self.assertLen(found.tables[0].rows, 2)
        unit = json.loads((path / "seed-0-logits.json").read_text())
        self.assertEqual(unit["test_examples"], 500)
        self.assertIn("keras", unit["versions"])
        page = reports.write_experiment_report(path, "Title", found, "command")
        for name in re.findall(r"\((\w+\.png)\)", page):
            self.assertTrue((path / name).exists())
        self.assertIn(f"| {unit['test_errors']} |", " ".join(page.split()))

    def test_findings(self):
        """Checks against numbers that are given."""
        errors = {
            "teacher": (70, 72, 74),
            "hard": (140, 150, 145),
            "hard-masked": (120, 121, 122),
            "soft-hard-20": (80, 82, 85),
            "views-20": (73, 74, 75),
            "masked-20": (76, 77, 78),
            "jittered-20": (70, 71, 72),
        }
        errors |= {f"30-{t}": (310, 320) for t in ("hard", 1, 8, 20, 100)}
        errors |= {f"30-{t}": (280, 285) for t in (2, 4)}
        errors |= {"30-3": (270, 275), "300-8": (150, 151)}
        errors |= {"300-20": (155, 157), "300-100": (170, 171)}
        results = {
            (arm, seed): {"test_errors": value}
            for arm, values in errors.items()
            for seed, value in enumerate(values)
        }
        found = mnist_table.find(results, experiments.Settings())
        holds = {check.claim: check.holds for check in found.checks}
        self.assertEqual(
            [claim for claim, does in holds.items() if not does],
            [
                "labels and soft targets, T = 20: at most 74 errors",
                "labels and soft targets, T = 20, pixels masked: at most 74 "
                "errors",
                "labels and soft targets, T = 20, jittered: at most 67 errors",
                # T = 2 does as well as T = 4.
                "30 units, as the paper has it: T = 3 and 4 make fewer errors "
                "than lower and higher temperatures",
                "300 units: means of T = 8, 20 and 100 within 15 errors of "
                "each other",
            ],
        )
        self.assertLen(holds, 19)
        self.assertEqual(
            found.summary,
            "The teacher makes 72.0 errors, the student 145.0 with labels "
            "alone and 82.3 with soft targets at T = 20 (paper: 67, 146 and "
            "74). With more besides: 74.0 with the teacher's mean over "
            "shifted views, 77.0 with masked pixels (labels alone on the "
            "same: 121.0), 71.0 with jittered images.",
        )
        for seed in (0, 1):
            results["30-2", seed]["test_errors"] = 290
        found = mnist_table.find(results, experiments.Settings())
        by_claim = {check.claim: check.holds for check in found.checks}
        self.assertTrue(
            by_claim[
                "30 units, as the paper has it: T = 3 and 4 make fewer errors "
                "than lower and higher temperatures"
            ]
        )
        # 72 of 75 and all of the interval up to 77: in the mean.
        self.assertEqual(
            [c.is_sure for c in found.checks if "at most 75" in c.claim],
            [False],
        )
        for labels, of_arm, says in (
            (145, [80, 82, 85], "between labels and teacher that T = 20 close"),
            (145, [76, 77, 78], "T = 20 with masked pixels, longer"),
            (121, [76, 77, 78], "between labels with masked pixels and"),
        ):
            expected = (labels - np.mean(of_arm)) / (labels - 72)
            (measured,) = (
                check.measured
                for check in found.checks
                if says in check.claim and "0.8" in check.claim
            )
            self.assertIn(f"{expected:.2f}", measured)

    def test_seeds_that_are_not_all_there(self):
        """Pairs are of the same seeds, and others are left out."""
        results = {
            (f"30-{t}", seed): {"test_errors": 300 - 10 * (t == 3) + seed}
            for t in (1, 2, 3, 4, 8, 20, 100)
            for seed in range(2)
        }
        results["30-3", 2] = {"test_errors": 9999}
        results |= {
            (arm, seed): {"test_errors": errors}
            for arm, errors in (("soft-hard-20", 90), ("hard", 150))
            for seed in range(3)
        }
        results["teacher", 1] = {"test_errors": 70}
        found = mnist_table.find(results, experiments.Settings())
        measured = {check.claim: check.measured for check in found.checks}
        self.assertIn(
            "T = 3; at T = 20 more errors by 10.0 (10.0 to 10.0)",
            measured.values(),
        )
        (share,) = (line for line in found.headlines if "share" in line.what)
        self.assertEqual((share.ours, share.seeds), ("0.75", 1))

    def test_right_on_which(self):
        """McNemar's test takes what results keep."""
        labels = np.zeros(100, int)
        wrong = np.zeros([2, 100, 2])
        wrong[0, :30, 1] = wrong[1, :5, 1] = 1.0
        found = mnist_table.find(
            {
                (arm, 0): {
                    "test_errors": int(logits.argmax(1).sum()),
                    "test_examples": 100,
                    "right": per_example.packed(logits, labels),
                }
                for arm, logits in zip(
                    ("hard", "soft-hard-20"), wrong, strict=True
                )
            },
            experiments.Settings(),
        )
        p = comparison.mcnemar(np.arange(100) >= 30, np.arange(100) >= 5)
        self.assertIn(
            f"fewer by 25.0, in 1 of 1 seeds; McNemar's p = {p:.2g}",
            [check.measured for check in found.checks],
        )


class PlotsTest(tf.test.TestCase):
    def test_dots(self):
        plot = experiment_plots.dots(
            findings.Dots("n", "t", "errors", {"a": [1, 2, 3]}, {"a": 5.0})
        )
        (axes,) = plot.axes
        self.assertAllEqual(axes.lines[0].get_xdata(), [1, 2, 3])
        self.assertAllClose(axes.lines[1].get_xdata(), [-0.4841, 4.4841], 1e-3)
        self.assertAllClose(axes.lines[2].get_xdata(), [2])
        self.assertAllClose(axes.lines[3].get_xdata(), [5])

    def test_lines(self):
        plot = experiment_plots.lines(
            findings.Lines(
                "n",
                "t",
                "temperature",
                "errors",
                {"30 units": {1: [4, 8], 8: [2, 2]}},
                {"labels": 3.0},
                log_x=True,
            )
        )
        (axes,) = plot.axes
        self.assertAllClose(axes.lines[0].get_ydata(), [6, 2])
        self.assertEqual(axes.get_xlabel(), "temperature")
        self.assertEqual(
            [tick.get_text() for tick in axes.get_xticklabels()], ["1", "8"]
        )


if __name__ == "__main__":
    tf.test.main()
