"""Few examples, an ensemble, annotators: their pieces, and given numbers."""

import json
import math
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from kd_keras import experiments
from kd_keras.experiments import digit_nets
from kd_keras.experiments import ensemble
from kd_keras.experiments import few_examples
from kd_keras.experiments import findings
from kd_keras.experiments import laboratory
from kd_keras.experiments import soft_labels_from_counts as counts_lib
from tests import digits_runs

_SHORT = laboratory.Recipe(2, 64, 1e-2)
_TEACHER = digit_nets.TeacherPlan(
    units=(16,), dropout=0.0, input_dropout=0.0, max_shift=1, recipe=_SHORT
)


class SplitsTest(tf.test.TestCase):
    def splits(self, load, **settings):
        """Those that are loaded where MNIST is there."""
        with mock.patch.object(laboratory.datasets, "load") as loading:
            load(experiments.Settings(**settings))
        return [
            call.args[1]
            for call in loading.call_args_list
            if call.args[1] != "test[:1]"
        ]

    def test_all(self):
        load = laboratory.digits
        self.assertEqual(self.splits(load), ["train", "test"])
        self.assertEqual(
            self.splits(load, selection=True),
            ["train[:50000]", "train[50000:]"],
        )

    def test_fewer(self):
        load = ensemble.load
        self.assertEqual(self.splits(load), ["train[:10000]", "test"])
        self.assertEqual(
            self.splits(load, selection=True),
            ["train[:10000]", "train[50000:]"],
        )
        self.assertEqual(
            self.splits(load, quick=True), ["train[:6000]", "test[:2000]"]
        )


class QuickTest(digits_runs.DigitsTestCase):
    def results(self, experiment, small, arms):
        """Runs a small plan; the findings and the units."""
        path = self.folder / experiment.__name__
        with mock.patch.object(experiment, "QUICK", small):
            found = experiments.run_experiment(
                experiment,
                experiments.Settings(quick=True, data_dir=self.data_dir),
                path,
                arms=arms,
                models_dir=self.folder / "models",
            )
        units = {
            arm: json.loads((path / f"seed-0-{arm}.json").read_text())
            for arm in arms
        }
        return found, units

    # Traces each of its models anew.
    @pytest.mark.slow
    def test_few_examples(self):
        small = few_examples.Plan(
            teacher=_TEACHER, units=(8,), full=_SHORT, few=_SHORT, share=0.1
        )
        _, units = self.results(
            few_examples,
            small,
            ["full", "soft-20", "hard-masked", "soft-masked-20"],
        )
        self.assertEqual(units["full"]["train_examples"], 1297)
        for arm in ("soft-20", "hard-masked", "soft-masked-20"):
            self.assertEqual(units[arm]["train_examples"], 130)
        for unit in units.values():
            self.assertEqual(list(unit["along_the_way"]), ["1", "2"])
            # Validation along the way counts what is counted at the end.
            self.assertEqual(unit["along_the_way"]["2"], unit["test_errors"])

    # Traces each of its models anew.
    @pytest.mark.slow
    def test_ensemble(self):
        small = ensemble.Plan(
            members=2, units=(8,), recipe=_SHORT, distilled=_SHORT, max_shift=1
        )
        arms = ["ensemble", "distilled", "from-one", "longer"]
        _, units = self.results(ensemble, small, arms)
        self.assertLen(units["ensemble"]["member_errors"], 2)
        models = list((self.folder / "models").rglob("member-*.keras"))
        self.assertLen(models, 2)
        rights = {units[arm]["right"] for arm in arms}
        self.assertLen(rights, 4)
        self.assertEqual(units["distilled"]["test_examples"], 500)

    @pytest.mark.slow
    def test_annotators(self):
        small = counts_lib.Plan(
            annotator=_SHORT, num_annotators=(1, 3), units=(8,), student=_SHORT
        )
        found, units = self.results(
            counts_lib, small, ["one-1", "majority-3", "shares-3"]
        )
        self.assertAllClose(units["one-1"]["wrong_targets"], 0.2, 0, 0.03)
        self.assertLess(
            units["majority-3"]["wrong_targets"],
            units["one-1"]["wrong_targets"],
        )
        (check,) = found.checks
        self.assertIn("fewer nats", check.claim)


class AnnotatorsTest(tf.test.TestCase):
    def test_what_is_said_follows_the_distribution(self):
        probs = np.array([[0.5, 0.3, 0.2], [0.0, 0.9, 0.1]])
        shares = counts_lib.said(np.tile(probs, (20000, 1)), 3, seed=1)
        self.assertAllEqual(np.unique(shares.sum(axis=1)), [3])
        for row in range(2):
            self.assertAllClose(
                shares[row::2].mean(axis=0) / 3, probs[row], 0, 0.01
            )
        self.assertEqual(shares[1::2, 0].sum(), 0)
        # The first of more annotators say the same as fewer do.
        fewer = counts_lib.said(np.tile(probs, (20000, 1)), 2, seed=1)
        self.assertTrue((shares - fewer >= 0).all())

    def test_majority(self):
        counts = np.tile([[3, 1, 1], [2, 0, 2]], (1000, 1))
        chosen = counts_lib.majority(counts, seed=0)
        self.assertAllEqual(chosen[0::2], np.tile([1.0, 0, 0], (1000, 1)))
        self.assertAllClose(chosen[1::2].mean(axis=0), [0.5, 0.0, 0.5], 0, 0.06)

    def test_temperature_of_mistakes(self):
        logits = np.log([[0.9, 0.1], [0.2, 0.8]]).astype(np.float32)
        self.assertAllClose(
            counts_lib.temperature_of_mistakes(logits, [0, 1], 0.15), 1.0, 1e-3
        )
        with self.assertRaisesRegex(ValueError, "60% of the labels"):
            counts_lib.temperature_of_mistakes(logits, [0, 1], 0.6)


class FindingsTest(tf.test.TestCase):
    def test_few_examples(self):
        def unit(errors, best, train_errors):
            return {
                "test_examples": 10_000,
                "test_errors": errors,
                "test_accuracy": 1 - errors / 10_000,
                "train_examples": 1800,
                "train_errors": train_errors,
                "along_the_way": {"5": best, "10": errors},
            }

        results = {}
        for seed in range(3):
            results["full", seed] = unit(140 + seed, 140, 0)
            results["hard", seed] = unit(740 + seed, 700, 0)
            results["soft-20", seed] = unit(430 + 2 * seed, 420, 18)
            results["hard-masked", seed] = unit(640 + seed, 600, 0)
            results["soft-masked-20", seed] = unit(240 + seed, 230, 18)
        found = few_examples.find(results, experiments.Settings())
        self.assertEqual([c.holds for c in found.checks], [True] * 5)
        self.assertTrue(all(c.is_sure for c in found.checks))
        self.assertEqual(
            found.summary,
            "With 3% of the examples soft targets, of a teacher that learnt "
            "from all, bring 95.68% and labels 92.59%; with all of them labels "
            "bring 98.59%: soft targets close 0.52 of that gap (paper: 0.87 "
            "(speech)).",
        )
        share, of_masked = found.headlines[-2:]
        self.assertRegex(share.ours, r"^0\.52 \(0\.51 to 0\.52\)$")
        self.assertRegex(of_masked.ours, r"^0\.80 \(0\.80 to 0\.80\)$")
        self.assertIn("3.09 (3.07 to 3.11) points", found.checks[0].measured)
        self.assertIn("0.12", found.checks[1].measured)
        self.assertEqual(found.headlines[1].ours.split()[0], "92.59")
        results["soft-20", 0] = unit(740, 400, 0)
        found = few_examples.find(results, experiments.Settings())
        self.assertEqual(
            [c.holds for c in found.checks], [None, False, True, True, False]
        )
        # One seed of three is another: more of them might say otherwise.
        self.assertEqual(
            [c.is_sure for c in found.checks], [True, False, True, True, False]
        )

    def test_ensemble(self):
        results = {}
        for seed in range(3):
            results["ensemble", seed] = {
                "test_errors": 100 + seed,
                "member_errors": [140, 138 + 2 * seed],
            }
            results["distilled", seed] = {"test_errors": 105 + 2 * seed}
            results["from-one", seed] = {"test_errors": 120 + seed}
            results["longer", seed] = {"test_errors": 100}
        found = ensemble.find(results, experiments.Settings())
        self.assertEqual(
            [c.holds for c in found.checks], [True, True, False, True]
        )
        self.assertIn("labels alone", found.checks[2].claim)
        self.assertIn("more by 7.0", found.checks[2].measured)
        self.assertIn("fewer by 14.0", found.checks[3].measured)
        self.assertEqual(
            [row[0] for row in found.tables[0].rows][:2],
            ["one net, mean of the members", "the ensemble"],
        )
        # 140 in the mean; 107 and 101 for the others.
        self.assertIn("fewer by 33.0", found.checks[0].measured)
        self.assertIn(f"{33 / 39:.2f} (", found.checks[1].measured)
        self.assertEqual(
            found.summary,
            "Of 10,000 examples a net learns to make 140.0 errors, ten "
            "together make 101.0, and one distilled from the ten 107.0: it "
            "keeps 0.85 of the ensemble's gain (paper, on speech: 0.86). But "
            "that one was trained for three times as long as the members, and "
            "a net that learns from labels alone for as long makes 100.0: how "
            "much of the gain is the ensemble's this cannot tell.",
        )

    def test_annotators(self):
        def unit(divergence, errors):
            return {
                "wrong_targets": 0.2,
                "test_errors": errors,
                "negative_log_likelihood": 0.5,
                "divergence_from_annotators": divergence,
            }

        results = {}
        for seed in range(3):
            results["one-1", seed] = unit(0.05 + seed / 1000, 200 + seed)
            results["majority-10", seed] = unit(0.2 + seed / 500, 150)
            results["shares-10", seed] = unit(0.02, 150 + seed)
        found = counts_lib.find(results, experiments.Settings())
        self.assertEqual(
            [c.holds for c in found.checks], [True, True, True, None]
        )
        self.assertIn(
            "makes 151.0 errors and is 0.020 nats from what they hold possible;"
            " trained on the class most of them say 150.0 and 0.202.",
            found.summary,
        )
        lines = found.plots[0].lines
        self.assertEqual(
            {name: list(points) for name, points in lines.items()},
            {
                "the class most of them say": [1, 10],
                "the shares of what they say": [1, 10],
            },
        )

    def test_is_above(self):
        for difference, at_least, expected in (
            ((5.0, 1.0, 9.0), 0, True),
            ((5.0, -1.0, 11.0), 0, None),
            ((-5.0, -9.0, -1.0), 0, False),
            ((5.0, -math.inf, math.inf), 0, None),
            ((2.0, 1.0, 3.5), 3, None),
            ((2.0, 1.0, 2.9), 3, False),
            ((4.0, 1.0, 7.0), 3, True),
        ):
            self.assertEqual(findings.is_above(difference, at_least), expected)

    def test_paired(self):
        results = {("a", 0): 1, ("b", 1): 5, ("a", 1): 2, ("b", 2): 6}
        self.assertEqual(findings.paired(results, "a", "b"), [[2], [5]])
        self.assertEqual(findings.paired(results, "a", "c"), [[], []])


if __name__ == "__main__":
    tf.test.main()
