"""The first table: what its arms are trained on, and what they show."""

import copy
from unittest import mock

import numpy as np
import tensorflow as tf

from kd_keras import comparison
from kd_keras import experiments
from kd_keras.experiments import digit_nets
from kd_keras.experiments import mnist_table
from kd_keras.experiments import per_example


class ArmsTest(tf.test.TestCase):
    def trained(self, arm):
        """What the laboratory is asked to train for an arm."""
        lab = mock.MagicMock()
        lab.settings = experiments.Settings()
        lab.test.logits.return_value = np.eye(10)
        lab.test.labels = np.arange(10)
        lab.test.quality.return_value = {}
        with (
            mock.patch.object(digit_nets, "teacher_of", return_value="live"),
            mock.patch.object(
                digit_nets,
                "targets_of",
                side_effect=lambda *_, max_shift=0: f"stored {max_shift}",
            ),
        ):
            mnist_table.run(arm, 0, lab)
        (_, _, recipe, _), given = lab.fit.call_args
        return recipe, given

    def test_labels_alone(self):
        recipe, given = self.trained("hard")
        self.assertEqual(given, {})
        self.assertEqual(recipe, mnist_table.Plan().student)

    def test_stored(self):
        for arm, store in (
            ("soft-hard-20", "stored 0"),
            ("views-20", "stored 1"),
        ):
            recipe, given = self.trained(arm)
            self.assertEqual(
                given, {"store": store, "temperature": 20.0, "soft_weight": 0.9}
            )
            self.assertEqual(recipe, mnist_table.Plan().student)

    def test_images_that_both_see_changed(self):
        image = np.full((28, 28, 1), 255, np.uint8)
        for arm, is_soft, is_shifted in (
            ("hard-masked", False, False),
            ("hard-jittered", False, True),
            ("masked-20", True, False),
            ("jittered-20", True, True),
        ):
            recipe, given = self.trained(arm)
            self.assertEqual(recipe, mnist_table.Plan().changing)
            self.assertEqual(
                {key: given[key] for key in given if key != "augment"},
                {"teacher": "live", "temperature": 20.0, "soft_weight": 0.9}
                if is_soft
                else {},
            )
            seen = [given["augment"](image, [0, n]).numpy() for n in range(20)]
            self.assertEqual(
                seen[0].dtype, np.uint8 if is_shifted else np.float32
            )
            if is_shifted:
                # Up to two lines of zeros come in.
                lines = [int((one[:, 14, 0] == 0).sum()) for one in seen]
                self.assertEqual(max(lines), 2)
            else:
                share = mnist_table.Plan().mask
                taken = np.mean(np.array(seen) == 0)
                self.assertBetween(taken, share - 0.02, share + 0.02)


class FindingsTest(tf.test.TestCase):
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
        for seed in range(3):
            results["hard", seed]["teacher_agreement"] = 0.97
            results["hard", seed]["predictive_kl"] = 0.02 + seed / 1000
        results["teacher", 0]["predictive_kl"] = 0.0
        found = mnist_table.find(results, experiments.Settings())
        likeness = {row[0]: row[-2:] for row in found.tables[0].rows}
        self.assertEqual(
            likeness["student: labels"],
            ["97.00 (97.00 to 97.00)", "0.0210 (0.0185 to 0.0235)"],
        )
        # Of one seed of three.
        (of_teacher,) = (
            row for name, row in likeness.items() if name.startswith("teacher")
        )
        self.assertEqual(of_teacher, ["-", "-"])
        holds = {check.claim: check.holds for check in found.checks}
        self.assertEqual(
            [claim for claim, does in holds.items() if not does],
            [
                "labels and soft targets, T = 20: at most 74 errors",
                "labels and soft targets, T = 20, pixels masked: at most 74 "
                "errors",
                "labels and soft targets, T = 20, jittered: at most 67 errors",
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
        by_claim = {check.claim: check for check in found.checks}
        of_30 = (
            "30 units, as the paper has it: T = 3 or 4 makes fewer errors than "
            "lower and higher temperatures"
        )
        self.assertEqual(
            by_claim[of_30].measured,
            "T = 3 272.5, T = 2 282.5: fewer by 10.0 (10.0 to 10.0)",
        )
        self.assertTrue(by_claim[of_30].holds)
        for better, holds in ((280, False), (290, None)):
            # Of both seeds by as much, and of one.
            changed = copy.deepcopy(results)
            changed["30-2", 0]["test_errors"] = better - 20
            changed["30-2", 1]["test_errors"] = 265
            (check,) = (
                check
                for check in mnist_table.find(
                    changed, experiments.Settings()
                ).checks
                if check.claim == of_30
            )
            self.assertEqual(check.holds, holds)
        # In the mean they are near, and by the seeds they may be far apart.
        for errors, holds, is_sure in (
            ((155, 157), False, True),
            ((160, 170), True, False),
            ((170, 171), True, True),
        ):
            changed = copy.deepcopy(results)
            for seed in (0, 1):
                changed["300-8", seed]["test_errors"] = errors[seed]
                changed["300-20", seed]["test_errors"] = (170, 171)[seed]
            if not holds:
                for seed in (0, 1):
                    changed["300-100", seed]["test_errors"] += 2
            (check,) = (
                check
                for check in mnist_table.find(
                    changed, experiments.Settings()
                ).checks
                if check.claim.startswith("300 units")
            )
            self.assertEqual((check.holds, check.is_sure), (holds, is_sure))
        # Marks are in the order in which they were set.
        self.assertEqual(
            [
                check.claim.rpartition(": at ")[2]
                for check in found.checks
                if check.tried
            ],
            [
                "most 75 errors",
                "least 0.8",
                "least 0.8",
                "most 74 errors",
                "most 74 errors",
                "most 74 errors",
                "most 67 errors",
            ],
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


if __name__ == "__main__":
    tf.test.main()
