"""The width experiment: its data, bounds, runs and findings."""

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from kd_keras import distiller as distiller_lib
from kd_keras import experiments
from kd_keras import reports
from kd_keras.experiments import bounds
from kd_keras.experiments import laboratory
from kd_keras.experiments import running
from kd_keras.experiments import width
from kd_keras.experiments import width_data
from kd_keras.experiments import width_measures
from kd_keras.experiments import width_students
from kd_keras.experiments import width_training
from tests import digits_runs


def _inputs(count=64, pixels=6):
    return np.random.default_rng(0).random((count, pixels), np.float32)


def _task(count=64):
    x = _inputs(count)
    labels = (x[:, 0] > x[:, 1]).astype(np.int64)
    return width_data.Task(x, labels, x, labels)


class DataTest(digits_runs.DigitsTestCase):
    def test_noise(self):
        task = _task(4000)
        first, again, other = (task.noisy(0.5, seed) for seed in (0, 0, 1))
        self.assertAllEqual(first.train, again.train)
        self.assertAllEqual(first.test, again.test)
        noise = [
            first.train - task.train,
            first.test - task.test,
            other.train - task.train,
        ]
        for one in noise:
            # 24,000 numbers: three standard errors.
            self.assertAllClose(one.mean(), 0.0, atol=0.01)
            self.assertAllClose(one.std(), 0.5, atol=0.007)
        correlations = np.corrcoef([one.ravel() for one in noise])
        self.assertAllClose(correlations, np.eye(3), atol=0.03)

    def test_digits(self):
        settings = laboratory.Settings(quick=True, data_dir=self.data_dir)
        lab = laboratory.Laboratory(settings, self.folder / "models", 0)
        whole = width_data.digits(lab)
        self.assertAllEqual(whole.test_labels, lab.test.labels > 4)
        images = np.concatenate([x.numpy() for x, _ in lab.test.batches])
        self.assertAllEqual(whole.test, images.reshape(500, 64))
        reduced = width_data.digits(lab, reduced=True)
        kept = [label not in (1, 4, 7, 9) for label in lab.test.labels]
        self.assertAllEqual(reduced.test, whole.test[kept])
        self.assertAllEqual(reduced.test_labels, whole.test_labels[kept])
        norms = np.linalg.norm(whole.scaled().train, axis=1)
        self.assertAllClose(norms.max(), 1.0)

    def test_groups_need_cifar(self):
        settings = laboratory.Settings(data_dir=str(self.folder))
        with self.assertRaisesRegex(FileNotFoundError, "tfds build cifar100"):
            width_data.groups(settings)
        for wanted, message in (
            (["deep-0.2"], "variable TFDS_DATA_DIR.$"),
            (
                ["practical-all", "deep-0.2", "theorem-all"],
                "cifar100.*--arms=practical-all,theorem-all",
            ),
        ):
            with self.assertRaisesRegex(FileNotFoundError, message):
                width.check(wanted, settings)


class BoundsTest(tf.test.TestCase):
    def test_by_hand(self):
        # sqrt(2 / pi) / 0.3 = 2.659615; ln(2 * 60000 / 0.01) = 16.300417,
        # whose root is 4.037378: (2.659615 + 12.112134)**2 = 218.204559.
        # 96 * (1 + e**2) = 805.349386.
        self.assertAllClose(
            bounds.soft_width(0.1, 60000, 0.3), 8053.49386 * 218.204559, 1e-6
        )
        self.assertAllClose(bounds.soft_steps(0.1), 900.0)
        # 25771.18 / (0.01 * 0.05) = 51542361.
        self.assertAllClose(
            bounds.soft_error_width(0.05, 0.1, 60000, 0.3),
            51542361 * 218.204559,
            1e-6,
        )
        self.assertAllClose(bounds.soft_error_steps(0.05, 0.1), 3.6e7)
        # ln(2 / 0.480453 / 0.05) = ln(83.254779) = 4.421905;
        # 2 * 2.659615 * 4.421905 + 12.112134 = 35.633266, squared 1269.7296.
        self.assertAllClose(
            bounds.hard_error_width(0.05, 0.1, 60000, 0.3),
            160000 * 1269.7296,
            1e-6,
        )
        self.assertAllClose(bounds.hard_radius(0.05, 0.1), 20 * 4.421905, 1e-6)
        # One of the radii that are trained.
        radius = int(bounds.hard_radius(0.05, 0.1))
        self.assertEqual(width_measures.HARD_RADIUS, f"{radius}")
        self.assertIn(radius, width.Plan().radii)

    def test_relations(self):
        """Where the bounds meet, and that of corollary 4 from theorem 2."""
        of = 60000, 0.3
        for margin, soft_is_less in ((0.0133, True), (0.0136, False)):
            soft = bounds.soft_error_width(0.05, margin, *of)
            hard = bounds.hard_error_width(0.05, margin, *of)
            self.assertEqual(soft < hard, soft_is_less)
        self.assertAllClose(
            bounds.soft_error_width(0.2, 0.1, *of),
            bounds.soft_width(0.1**2 * 0.2 / 32, *of),
        )


_SMALL = dataclasses.replace(
    width.QUICK,
    teacher_width=8,
    teacher=laboratory.Recipe(1, 128, 1e-2),
    widths=(2,),
    student=laboratory.Recipe(1, 128, 1e-2),
    theorem_widths=(4,),
    radii=(1.0, 10.0),
    descent=width_students.Descent(1, 128, 20.0),
)


class RunTest(digits_runs.DigitsTestCase):
    @pytest.mark.slow
    def test_quick(self):
        settings = experiments.Settings(quick=True, data_dir=self.data_dir)
        path, models = self.folder / "results", self.folder / "models"
        with mock.patch.object(width, "QUICK", _SMALL):
            found = running.run_experiment(
                width,
                settings,
                path,
                arms=["practical-all", "theorem-all"],
                models_dir=models,
            )
        self.assertLen(found.tables, 3)
        self.assertEqual([c.is_certain for c in found.checks], [True])
        self.assertLen(list(models.rglob("width-teacher*.keras")), 1)
        practical, theorem = (
            json.loads((path / f"seed-0-{regime}-all.json").read_text())
            for regime in ("practical", "theorem")
        )
        self.assertEqual(practical["teacher_errors"], theorem["teacher_errors"])
        self.assertEqual(
            list(practical["students"]["2"]), ["hard", "soft-1", "soft-4"]
        )
        self.assertEqual(
            set(theorem["students"]["10"]["4"]),
            {"hard", "soft", "raw", "smoothed"},
        )
        self.assertGreater(theorem["divergence"]["1"]["4"], 0.0)
        page = reports.write_experiment_report(path, "Title", found, "command")
        accuracy = 100 - practical["students"]["2"]["hard"] / 5
        self.assertIn(f"{accuracy:.2f}", page)

    @pytest.mark.slow
    def test_deep(self):
        """A convolutional pair on images made up, and how it is taught."""
        made = []

        class Spy(distiller_lib.Distiller):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                made.append((self.soft_weight, self.temperature))

        rng = np.random.default_rng(0)
        images = rng.random((64, 8, 8, 3), np.float32)
        labels = rng.integers(0, 2, 64)
        task = width_data.Task(images, labels, images[:32], labels[:32])
        small = dataclasses.replace(
            _SMALL,
            deep_filters=((4,), (2,)),
            deep_teacher=laboratory.Recipe(1, 32, 1e-3),
            deep_student=laboratory.Recipe(1, 32, 1e-3),
        )
        settings = laboratory.Settings(quick=True, data_dir=self.data_dir)
        lab = laboratory.Laboratory(settings, self.folder / "deep", 0)
        with (
            mock.patch.object(width, "QUICK", small),
            mock.patch.object(width_data, "groups", lambda _: task),
            mock.patch.object(width_training, "Distiller", Spy),
        ):
            result = width.run("deep-0.05", 0, lab)
        self.assertEqual([soft_weight for soft_weight, _ in made], [0, 0, 1, 1])
        self.assertEqual([temperature for _, temperature in made[2:]], [1, 4])
        self.assertEqual(result["test_examples"], 32)
        self.assertEqual(
            list(result["students"]["2"]), ["hard", "soft-1", "soft-4"]
        )


class FindingsTest(tf.test.TestCase):
    def results(self, gap):
        """Three seeds, of 1000 test examples."""
        results = {}
        for seed in range(3):
            students = {
                units: {"hard": 100 + seed, "soft-1": 100, "soft-4": 90}
                for units in ("4", "8")
            }
            hard = 200 + 10 * seed
            limited = {
                units: {
                    "hard": hard,
                    "soft": hard - gap - seed,
                    "raw": hard,
                    "smoothed": hard - 20,
                }
                for units in ("4", "8")
            }
            teacher = {"test_examples": 1000, "teacher_errors": 16 + seed}
            for task in ("all", "noise-0.6"):
                results[f"practical-{task}", seed] = {
                    **teacher,
                    "students": students,
                }
            results["deep-0.05", seed] = {
                **teacher,
                "students": {"4-4": students["4"]},
            }
            results["theorem-all", seed] = {
                **teacher,
                "students": {"1": limited, "10": limited},
                "divergence": {"1": {"4": 0.01, "8": 0.02}},
                "train_examples": 60000,
                "smallest_norm": 0.2,
            }
        return results

    def test_findings(self):
        settings = experiments.Settings()
        found = width.find(self.results(50), settings)
        self.assertEqual([c.holds for c in found.checks], [True] * 5)
        # Labels that are smoothed as much bring 2 points of the 5.
        (part, _) = (c for c in found.checks if "has a part" in c.claim)
        self.assertEqual(part.measured[:5], "+3.10")
        practical, theorem, asked = found.tables
        self.assertIn("+0.10 (-0.15 to +0.35)", practical.rows[0])
        self.assertEqual(practical.rows[0][1], "98.30 (98.05 to 98.55)")
        # The paper's gap is of projected descent.
        papers = [row[2] for row in theorem.rows]
        self.assertEqual(papers, ["-", "-", "+6.78", "+0.81"])
        self.assertNotIn("+6.78", practical.rows[0])
        self.assertEqual(theorem.rows[0][3][:5], "+5.10")
        self.assertEqual(theorem.rows[0][5][:5], "+0.00")
        self.assertEqual(
            asked.rows[0][2], f"{bounds.soft_width(0.01, 60000, 0.2):.1e}"
        )
        self.assertEqual(
            found.plots[-1].lines["teacher"],
            {
                0.05: [98.4, 98.3, 98.2],
            },
        )
        self.assertEqual(found.headlines[1].ours[:5], "+5.10")
        # 1.1 errors of 1,000 in the mean are 0.1 points, and 11 are 1.1.
        self.assertIn("bring +0.10 points", found.summary)
        self.assertIn("and +1.10 at T = 4.", found.summary)
        self.assertIn("they bring +5.10 (paper, by projected", found.summary)
        self.assertIn("too: +6.78), and labels", found.summary)
        self.assertIn("without a teacher, +2.00. But labels", found.summary)
        self.assertTrue(found.summary.endswith("(paper 88.84)."))
        # At least three in the mean, and fewer within the interval.
        found = width.find(self.results(31), settings)
        self.assertEqual(
            [c.is_sure for c in found.checks[1:]], [False, True] * 2
        )
        self.assertEqual([c.holds for c in found.checks], [True] * 5)
        self.assertNotIn("the teacher has no part", found.summary)
        # Less than two points are too few, and less than without a teacher.
        found = width.find(self.results(10), settings)
        self.assertEqual(
            [c.holds for c in found.checks], [True, *[False, False] * 2]
        )
        self.assertIn(
            "+2.00, so that the teacher has no part in it. But", found.summary
        )
        found = width.find(self.results(19), settings)
        self.assertEqual(
            [c.holds for c in found.checks], [True, *[False, None] * 2]
        )

    def test_radii_and_controls(self):
        """What the ball does, and labels near 1/2 without a teacher."""
        results = self.results(50)
        for seed in range(3):
            students = results["theorem-all", seed]["students"]
            for radius, gained in (("88", 40), ("inf", 90)):
                students[radius] = {
                    "4": {
                        **students["10"]["4"],
                        "hard": students["10"]["4"]["soft"] + 60 - gained,
                    }
                }
        found = width.find(results, experiments.Settings())
        measured = {check.claim: check for check in found.checks}
        at_88 = measured[
            "projected, all digits, 4 units: soft labels at B = 10 above "
            "labels at B = 88"
        ]
        self.assertEqual(at_88.measured[:5], "+2.00")
        self.assertTrue(at_88.holds)
        self.assertIn("at a radius of 88, which they ask for", found.summary)
        ours = {line.what.partition(": ")[2]: line for line in found.headlines}
        near = ours["projected, B = 10, labels smoothed as much, no teacher"]
        self.assertEqual(near.ours[:5], "+2.00")
        self.assertEqual(near.paper, "-")
        self.assertEqual(ours["projected, B = 10"].paper, "+6.78")
        self.assertEqual(ours["not projected"].ours[:5], "-3.00")
        self.assertEqual(ours["not projected"].paper, "-")
        self.assertIn(
            "without that limit soft labels bring -3.00.", found.summary
        )

    def test_difficulty(self):
        """Whether more is added where the task is harder."""

        def of(soft):
            return {"hard": 100, "soft-1": 100, "soft-4": 100 - soft}

        results = {
            (f"{regime}-{task}", seed): {
                "test_examples": 1000,
                "teacher_errors": 16,
                "students": {units: of(soft + seed)},
            }
            for regime, task, units, soft in (
                ("practical", "reduced", "4", 10),
                ("practical", "all", "4", 30),
                ("practical", "noise-1", "4", 20),
                ("deep", "0.01", "4-4", 0),
                ("deep", "0.2", "4-4", 40),
            )
            for seed in range(3)
        }
        told = {
            claim: (check.measured[:5], check.holds)
            for check in width.find(results, experiments.Settings()).checks
            if "T = 4" in (claim := check.claim)
        }
        self.assertEqual(
            list(told.values()),
            [("+2.00", True), ("-1.00", False), ("+4.00", True)],
        )
        self.assertIn("all digits than with easy ones", list(told)[0])

    def test_quick_and_single_seeds(self):
        one = {
            key: result
            for key, result in self.results(50).items()
            if key[1] == 0
        }
        found = width.find(one, experiments.Settings())
        self.assertEqual([c.holds for c in found.checks], [None] * 5)
        quick = {key: result for key, result in one.items() if "-all" in key[0]}
        found = width.find(quick, experiments.Settings(quick=True))
        self.assertEqual(found.summary, "")
        self.assertEqual(
            [(c.holds, c.is_certain) for c in found.checks], [(True, True)]
        )

    def test_arms(self):
        full, quick = (
            width.arms(experiments.Settings(quick=quick))
            for quick in (False, True)
        )
        self.assertLen(full, 10)
        self.assertEqual(quick, full[:2])
        self.assertEqual(
            [f"practical-{task}" for task in width_measures.PAPER_GAPS],
            [full[0], full[2]],
        )


if __name__ == "__main__":
    tf.test.main()
