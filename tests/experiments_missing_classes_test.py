"""Classes that a transfer set lacks: what is measured, and the findings."""

import json
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from kd_keras import experiments
from kd_keras.experiments import digit_nets
from kd_keras.experiments import laboratory
from kd_keras.experiments import missing_classes
from kd_keras.experiments import omitted_class
from kd_keras.experiments import two_classes
from tests import digits_runs


class MissingClassesTest(digits_runs.DigitsTestCase):
    # Traces each of its models anew.
    @pytest.mark.slow
    def test_quick(self):
        """What is measured of a student follows from its logits."""
        settings = experiments.Settings(quick=True, data_dir=self.data_dir)
        small = missing_classes.Plan(
            teacher=digit_nets.TeacherPlan(
                units=(32,),
                dropout=0.0,
                input_dropout=0.0,
                max_shift=1,
                recipe=laboratory.Recipe(6, 64, 1e-2),
            ),
            student_units=(16,),
            student=laboratory.Recipe(6, 64, 1e-2),
        )
        for experiment, kept in ((omitted_class, 9), (two_classes, 2)):
            path = self.folder / experiment.__name__
            arms = ["hard", "soft-20", *experiment.arms(settings)[3:]]
            with mock.patch.object(missing_classes, "QUICK", small):
                found = experiments.run_experiment(
                    experiment,
                    settings,
                    path,
                    arms=arms,
                    models_dir=self.folder / "models",
                )
            # A class that was never seen and not told of is never predicted.
            (check,) = found.checks
            self.assertTrue(check.holds, check)
            self.assertEqual("soft-masked-20" in arms, kept == 2)
            soft = json.loads((path / "seed-0-soft-20.json").read_text())
            self.assertLessEqual(
                soft["best"]["errors"], soft["plain"]["errors"]
            )
            self.assertLessEqual(
                soft["best"]["errors"], soft["matched"]["errors"]
            )
            self.assertEqual(soft["test_examples"], 500)
            hard = json.loads((path / "seed-0-hard.json").read_text())
            self.assertEqual(kept == 9, hard["matched"]["shift"] > 0)
            self.assertEqual(kept == 9, soft["unseen_examples"] < 100)

    def trained(self, experiment, arm):
        """What the laboratory is asked to train for an arm."""
        lab = mock.MagicMock()
        lab.settings = experiments.Settings()
        lab.train.num_classes = 10
        with (
            mock.patch.object(digit_nets, "teacher_of", return_value="live"),
            mock.patch.object(digit_nets, "targets_of", return_value="stored"),
            mock.patch.object(missing_classes, "measure"),
        ):
            experiment.run(arm, 0, lab)
        (_, _, recipe, _), given = lab.fit.call_args
        examples = tf.data.Dataset.from_tensor_slices(
            {"image": tf.zeros([20, 4, 4, 1]), "label": tf.range(20) % 10}
        )
        kept = given.pop("transform")(examples)
        return recipe, given, {int(example["label"]) for example in kept}

    def test_arms(self):
        soft = {"store": "stored", "temperature": 20.0, "soft_weight": 1.0}
        for experiment, seen in (
            (omitted_class, set(range(10)) - {3}),
            (two_classes, {7, 8}),
        ):
            of = experiment.plan(experiments.Settings())
            for arm, expected in (
                ("hard", {}),
                ("soft-20", soft),
                ("soft-hard-20", {**soft, "soft_weight": 0.9}),
            ):
                recipe, given, kept = self.trained(experiment, arm)
                self.assertEqual(recipe, of.student)
                self.assertEqual(given, expected)
                self.assertEqual(kept, seen)
        recipe, given, kept = self.trained(omitted_class, "soft-20-all")
        self.assertEqual(recipe, omitted_class.plan(mock.Mock(quick=0)).student)
        self.assertEqual(given, soft)
        self.assertEqual(kept, set(range(10)))

    def test_images_that_both_see_masked(self):
        recipe, given, kept = self.trained(two_classes, "soft-masked-20")
        mask = given.pop("augment")
        self.assertEqual(recipe, two_classes.Plan().masked)
        self.assertEqual(
            given, {"teacher": "live", "temperature": 20.0, "soft_weight": 1.0}
        )
        self.assertEqual(kept, {7, 8})
        image = np.full((28, 28, 1), 255, np.uint8)
        taken = [np.mean(mask(image, [0, n]) == 0) for n in range(20)]
        self.assertBetween(np.mean(taken), 0.48, 0.52)

    def test_findings(self):
        def of(errors, unseen, shift):
            return {"errors": errors, "unseen_errors": unseen, "shift": shift}

        results = {}
        for seed in range(3):
            for arm, plain in (("hard", 1010), ("soft-20", 200 + seed)):
                results[arm, seed] = {
                    "test_examples": 10_000,
                    "unseen_examples": 1010,
                    "plain": of(1500, plain, 0.0),
                    "matched": of(120 + seed, 30, 2.0),
                    "best": of(110, 20, 3.0 + seed),
                }
        found = omitted_class.find(results, experiments.Settings())
        self.assertEqual([c.holds for c in found.checks], [True] * 5)
        self.assertIn("misses 19.9% of the test 3s, and 3.0%", found.summary)
        results["soft-20", 0]["best"]["shift"] = 6.5
        results["soft-20", 0]["matched"] = of(200, 60, 2.0)
        found = omitted_class.find(results, experiments.Settings())
        self.assertEqual(
            [c.holds for c in found.checks], [True, True, False, False, False]
        )
        of_all = {"plain": of(100, 2, 0.0)}
        results["soft-20-all", 1] = results["soft-20-all", 2] = {
            **results["soft-20", 1],
            **of_all,
        }
        found = omitted_class.find(results, experiments.Settings())
        self.assertIn("21.5 (15.1 to 27.9)", found.checks[-1].measured)
        self.assertTrue(found.checks[-1].holds)
        self.assertIn("3s, too: as it is", str(found.tables[0].rows[-1]))
        of_all["plain"]["errors"] = 61
        found = omitted_class.find(results, experiments.Settings())
        self.assertFalse(found.checks[-1].holds)

    def test_findings_of_two_classes(self):
        def of(errors, shift):
            return {"errors": errors, "unseen_errors": errors, "shift": shift}

        def result(plain, matched, best):
            return {
                "test_examples": 10_000,
                "unseen_examples": 7998,
                "plain": of(plain, 0.0),
                "matched": of(matched, -5.0),
                "best": of(best, -6.0),
            }

        results = {}
        for seed in range(3):
            results["hard", seed] = result(8000, 7990, 7990)
            results["soft-20", seed] = result(4000, 1490 + 10 * seed, 1400)
            results["soft-hard-20", seed] = result(7000, 2000, 1900)
            results["soft-masked-20", seed] = result(400, 300, 290)
        found = two_classes.find(results, experiments.Settings())
        self.assertEqual([c.holds for c in found.checks], [True] * 5)
        self.assertIn("12.0 (", found.checks[-1].measured)
        self.assertIn("40.0% of the ten, and on 15.0%", found.summary)
        self.assertIn("(paper: 47.3%, and 13.2% by", found.summary)
        self.assertEqual(
            [line.paper for line in found.headlines],
            ["47.3", "-", "13.2", "-", "-"],
        )
        results["soft-20", 2]["matched"] = of(1530, -5.0)
        results["soft-masked-20", 0]["matched"] = of(1490, -5.0)
        found = two_classes.find(results, experiments.Settings())
        self.assertEqual(
            [c.holds for c in found.checks], [True, False, True, True, False]
        )
        # Seeds that are not done yet are left out.
        del results["soft-masked-20", 0]
        found = two_classes.find(results, experiments.Settings())
        self.assertEqual(
            [c.holds for c in found.checks], [True, False, True, True, True]
        )


if __name__ == "__main__":
    tf.test.main()
