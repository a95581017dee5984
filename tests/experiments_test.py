"""Experiments: their units on disk, their findings from given numbers."""

import json
import math
import pathlib
import re
import tempfile
import time
from concurrent import futures
from unittest import mock

import numpy as np
import tensorflow as tf

from kd_keras import datasets
from kd_keras import experiments
from kd_keras import reports
from kd_keras.experiments import digit_nets
from kd_keras.experiments import findings
from kd_keras.experiments import laboratory
from kd_keras.experiments import mnist_table
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

    def test_a_configuration_that_is_lost_or_none(self):
        done = units.Units(self.folder / "results", {"form": "full"})
        with done.begin():
            done.finish("hard", 1, {"seconds": 2.5})
            done.finish("hard", 2, {"seconds": 4.0})
        self.assertEqual(units.form_of(done.folder), "full")
        self.assertEqual(units.seconds(done.folder), 6.5)
        config = done.folder / "config.json"
        config.write_text("[]")
        with self.assertRaisesRegex(ValueError, "holds no configuration"):
            units.form_of(done.folder)
        config.unlink()
        with self.assertRaisesRegex(ValueError, "no config.json.*Put it back"):
            units.check_config(done.folder, {})
        with self.assertRaisesRegex(ValueError, "has lost its config.json"):
            units.Units(done.folder, {})


class VerdictsTest(tf.test.TestCase):
    def test_differences(self):
        for difference, at_least, holds, is_sure in (
            ((3.0, 1.0, 5.0), 0.0, True, True),
            # Above 0 for sure, and in the mean above what it is to reach.
            ((3.0, 1.0, 5.0), 2.0, True, False),
            ((3.0, 2.0, 4.0), 2.0, True, True),
            ((3.0, -1.0, 7.0), 2.0, None, True),
            ((1.0, 0.5, 1.5), 2.0, False, True),
            ((-1.0, -2.0, -0.5), 0.0, False, True),
        ):
            check = findings.check_difference(
                "", difference, at_least, " apples"
            )
            self.assertEqual((check.holds, check.is_sure), (holds, is_sure))
            self.assertEndsWith(check.measured, ") apples")

    def test_a_share_without_bounds(self):
        """Of a gap that may be none, whatever its middle is."""
        for value in (0.3, 0.9):
            share = findings.Share(value, -math.inf, math.inf, 2)
            check = findings.check_share("", share, 0.8)
            self.assertIsNone(check.holds)


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
