"""Classes that a transfer set lacks: what is measured, and the findings."""

import json
from unittest import mock

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
            with mock.patch.object(missing_classes, "QUICK", small):
                found = experiments.run_experiment(
                    experiment,
                    settings,
                    path,
                    arms=["hard", "soft-20"],
                    models_dir=self.folder / "models",
                )
            # A class that was never seen and not told of is never predicted.
            (check,) = found.checks
            self.assertTrue(check.holds, check)
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
        results["soft-20", 0]["best"]["shift"] = 6.5
        results["soft-20", 0]["matched"] = of(200, 60, 2.0)
        found = omitted_class.find(results, experiments.Settings())
        self.assertEqual(
            [c.holds for c in found.checks], [True, True, False, False, False]
        )


if __name__ == "__main__":
    tf.test.main()
