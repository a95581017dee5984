"""The experiment on gradient noise: its measures and its runs."""

import json
import math
import types
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from kd_keras import experiments
from kd_keras import reports
from kd_keras.experiments import digit_nets
from kd_keras.experiments import gradient_noise
from kd_keras.experiments import laboratory
from kd_keras.experiments import noise_findings
from kd_keras.experiments import noise_identity
from kd_keras.experiments import noise_measures
from kd_keras.experiments import noise_rates
from kd_keras.experiments import noise_trajectories
from tests import digits_runs
from tests import noise_points


class MeasuresTest(tf.test.TestCase):
    def test_losses_are_those_of_the_distiller(self):
        rng = np.random.default_rng(0)
        logits, teacher_logits = rng.normal(size=(2, 6, 4)).astype(np.float32)
        labels = np.array([0, 1, 2, 3, 0, 1])
        targets = {"label": labels, "teacher_logits": teacher_logits}
        log_q = special.log_softmax(logits, axis=1)
        self.assertAllClose(
            noise_measures.loss_of("hard")(targets, logits),
            -log_q[np.arange(6), labels].mean(),
        )
        p = special.softmax(teacher_logits / 20.0, axis=1)
        log_q = special.log_softmax(logits / 20.0, axis=1)
        self.assertAllClose(
            noise_measures.loss_of("soft-20")(targets, logits),
            400 * (p * (np.log(p) - log_q)).sum(axis=1).mean(),
            1e-4,
        )

    def test_entropy(self):
        logits = np.log([[0.5, 0.25, 0.25], [1.0, 1.0, 1.0]])
        expected = (1.5 * math.log(2) + math.log(3)) / 2
        self.assertAllClose(noise_measures.entropy(logits, 1), expected)
        self.assertAllClose(
            noise_measures.entropy_of("soft-1", logits), expected
        )
        self.assertEqual(noise_measures.entropy_of("hard", logits), 0.0)
        self.assertGreater(noise_measures.entropy(logits, 20), 1.09)

    def test_drawn_labels(self):
        rng = np.random.default_rng(1)
        probs = np.repeat([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0]], 20_000, axis=0)
        drawn = noise_identity.one_hot(probs, rng)
        self.assertAllEqual(drawn.sum(axis=1), np.ones(40_000))
        self.assertAllClose(
            drawn[:20_000].mean(axis=0), [0.2, 0.5, 0.3], atol=0.015
        )
        self.assertAllEqual(drawn[20_000:, 2], np.ones(20_000))

    def test_label_sampling(self):
        rng = np.random.default_rng(2)
        probs, student = special.softmax(rng.normal(0, 2, (2, 300, 5)), axis=2)
        found = noise_identity.label_sampling(probs, student, 400, rng)
        self.assertAllClose(found["exact"], (1 - (probs**2).sum(1)).mean())
        self.assertAllClose(
            found["soft"], np.trace(np.cov((student - probs).T))
        )
        self.assertLess(found["standard_error"], 0.003)
        self.assertLess(
            abs(found["measured"] - found["exact"]),
            3 * found["standard_error"],
        )
        # Labels that are sure add nothing.
        sure = np.eye(5)[rng.integers(0, 5, 300)]
        found = noise_identity.label_sampling(sure, student, 3, rng)
        self.assertEqual((found["exact"], found["measured"]), (0.0, 0.0))

    def test_equal_error(self):
        points = [
            noise_points.point(0, 0.9, hard=(1.0, 1.0)),
            noise_points.point(1, 0.06, hard=(200.0, 2.0)),
            noise_points.point(2, 0.04, hard=(800.0, 2.0)),
            noise_points.point(3, 0.05, hard=(900.0, 1.0)),
            noise_points.point(4, 0.02, hard=(800.0, 0.0)),
        ]

        def at(error_share):
            return noise_trajectories.ratio_at(points, "hard", error_share)

        self.assertAllClose(at(0.04), 400.0)
        self.assertAllClose(at(0.05), 200.0)
        self.assertAllClose(at(0.055), 100 * 4**0.25)
        # Before the end of the first epoch, in the noise, and never.
        self.assertEqual([at(e) for e in (0.06, 0.3, 0.03, 0.01)], [None] * 4)
        other = [
            noise_points.point(1, 0.8, soft_20=(1.0, 1.0)),
            noise_points.point(1, 0.08, soft_20=(20.0, 1.0)),
            noise_points.point(2, 0.02, soft_20=(20.0, 1.0)),
        ]
        found = {
            "hard": {0: points, 1: points, 2: points},
            "soft-20": {1: other, 0: other},
        }
        self.assertAllClose(
            noise_trajectories.at_equal_error(found, 0.05),
            {"hard": [200.0] * 2, "soft-20": [20.0] * 2},
        )
        self.assertEqual(
            noise_trajectories.at_equal_error(found, 0.07),
            {"hard": [], "soft-20": []},
        )

    def test_rates(self):
        def runs(stable, steps=(None,) * 4):
            return [
                {"rate": 2.0**n, "is_stable": of, "steps": count}
                for n, (of, count) in enumerate(zip(stable, steps, strict=True))
            ]

        for stable, expected in (
            ([True, True, False, False], 2.0),
            ([True, False, True, False], 1.0),
            ([False, True, True, True], 8.0),
            ([False] * 4, None),
        ):
            self.assertEqual(noise_rates.largest_stable(runs(stable)), expected)
        steps = [None, 300, 200, None]
        self.assertEqual(noise_rates.fewest_steps(runs([True] * 4, steps)), 200)
        # What gets there first and diverges then does not count.
        stable = [True, True, False, False]
        self.assertEqual(noise_rates.fewest_steps(runs(stable, steps)), 300)
        self.assertIsNone(noise_rates.fewest_steps(runs([True] * 4)))

    def test_steps_are_counted_over_epochs(self):
        """Looked at every 4 of 10 steps, the last time after 2 more."""
        for looks, expected in ((1, 4), (8, 28), (9, 30), (10, None)):
            shares = iter([0.9] * (looks - 1) + [0.1] * 10)
            course = types.SimpleNamespace(error_share=shares.__next__)
            watcher = noise_rates.StepsTo(course, 0.1)
            watcher.set_params({"steps": 10})
            for epoch in range(3):
                for batch in (3, 7, 11):
                    watcher.on_train_batch_end(batch)
                watcher.on_epoch_end(epoch)
            self.assertEqual(watcher.steps, expected)

    def test_text(self):
        self.assertEqual(noise_findings.spread_text([2.0]), "2")
        # Of logarithms 0 and 2: 12.706 standard errors of 1.
        self.assertEqual(
            noise_findings.spread_text([1.0, math.exp(2)]),
            f"2.72 ({math.exp(1 - 12.7062):.3g} to {math.exp(13.7062):.3g})",
        )
        self.assertEqual(
            noise_findings.spread_text([1.0, math.inf]), "covered by noise"
        )


class QuickTest(digits_runs.DigitsTestCase):
    SMALL = gradient_noise.Plan(
        teacher=digit_nets.TeacherPlan(
            units=(32,),
            dropout=0.0,
            input_dropout=0.0,
            max_shift=1,
            recipe=laboratory.Recipe(4, 64, 1e-2),
        ),
        student_units=(8,),
        batch_size=64,
        check_every=8,
        epochs=2,
        common_epochs=(1,),
        error_levels=(0.5,),
        probe_batch_size=20,
        probe_batches=10,
        rates=(0.1,),
        soft_rates=(0.05, 1e6),
        rate_epochs=2,
        reach=1.0,
    )

    # Traces each of its models anew.
    @pytest.mark.slow
    def test_quick(self):
        settings = experiments.Settings(quick=True, data_dir=self.data_dir)
        path = self.folder / "results"
        arms = [
            "identity",
            "trajectory-hard",
            "trajectory-soft-20",
            "rates-soft-20",
        ]
        with mock.patch.multiple(
            gradient_noise,
            QUICK=self.SMALL,
            _TEMPERATURES=(1, 20),
            _MEASURED=noise_points.TARGETS,
        ):
            self.assertLen(gradient_noise.arms(settings), 7)
            found = experiments.run_experiment(
                gradient_noise,
                settings,
                path,
                arms=arms,
                models_dir=self.folder / "models",
            )
            (check,) = found.checks
            self.assertTrue(check.holds, check)
            page = reports.write_experiment_report(path, "T", found, "command")
        self.assertIn("What drawing a label adds", page)
        self.check_trajectories(
            *(
                json.loads((path / f"seed-0-{arm}.json").read_text())
                for arm in arms[1:3]
            )
        )
        rates = json.loads((path / "seed-0-rates-soft-20.json").read_text())
        slow, fast = rates["rates"]
        self.assertEqual(slow["steps"], 8)
        self.assertFalse(fast["is_stable"])
        self.assertLess(slow["error_share"], fast["error_share"])

    def check_trajectories(self, hard, soft):
        self.assertEqual([p["epoch"] for p in hard["points"]], [0, 1, 2])
        self.assertEqual(
            [list(p["noise"]) for p in soft["points"]],
            [["soft-20"], list(hard["entropy"]), ["soft-20"]],
        )
        entropies = list(hard["entropy"].values())
        self.assertEqual(entropies, sorted(entropies))
        # The same weights at first, and others then.
        errors = [
            [p["error_share"] for p in found["points"]]
            for found in (hard, soft)
        ]
        self.assertEqual(errors[0][0], errors[1][0])
        self.assertNotEqual(errors[0][1:], errors[1][1:])
        self.assertLess(errors[0][2], errors[0][0])

    def test_course(self):
        """It begins anew each time, and what it measures has one meaning."""
        settings = experiments.Settings(quick=True, data_dir=self.data_dir)
        lab = laboratory.Laboratory(settings, self.folder / "models", "course")
        store = digit_nets.targets_of(lab, self.SMALL.teacher, 0)
        student = digit_nets.student(lab, (8,), 0)
        probe = noise_measures.probe_of(lab, store, 30, 4)
        initial = student.get_weights()
        course = noise_measures.Course(
            lab, student, "soft-4", store, 64, 0, keras.optimizers.SGD(), 8
        )
        before = noise_measures.mean_loss(student, probe, "soft-4")
        weights, level = [], 1.0
        for rate in (0.1, 0.05, 0.1):
            watcher = noise_rates.StepsTo(course, level)
            course.run_at(rate, 2, "a student", watcher)
            weights.append(student.get_weights())
            if level == 1.0:
                self.assertEqual(watcher.steps, 8)
                level = course.error_share()
        self.assertAllEqual(weights[0][0], weights[2][0])
        self.assertNotAllClose(weights[0][0], weights[1][0])
        self.assertLess(
            noise_measures.mean_loss(student, probe, "soft-4"), before
        )
        logits = lab.test.logits(student)
        self.assertEqual(
            course.error_share(), lab.test.errors(logits) / len(logits)
        )
        # As few as at the end of the first course: not at the first look.
        steps = -(-lab.train.num_examples // 64)
        self.assertBetween(watcher.steps, 9, 2 * steps)
        # The factor T ** 2 of the loss is in the variance, twice.
        student.set_weights(initial)
        inputs = np.concatenate([images for images, _ in probe])
        logits = student.predict(inputs, verbose=0)
        teacher_logits = np.concatenate([t["teacher_logits"] for _, t in probe])
        delta = 4.0 * (
            special.softmax(logits / 4.0, axis=1)
            - special.softmax(teacher_logits / 4.0, axis=1)
        )
        # Of one logits' bias: the batches' means tell it by themselves.
        biases = delta.reshape(4, 30, -1).mean(axis=1)
        for layer in student.layers[:-1]:
            layer.trainable = False
        student.layers[-1].trainable = True
        ones = np.concatenate(
            [hidden_of(student, inputs), np.ones([120, 1])], 1
        )
        of_layer = ones[:, :, None] * delta[:, None, :]
        means = of_layer.reshape(4, 30, -1).mean(axis=1)
        self.assertAllClose(means[:, -10:], biases)
        found = noise_measures.noise_of(student, probe, "soft-4")
        self.assertAllClose(
            found["variance"], 30 * np.trace(np.cov(means.T)), 1e-4
        )


def hidden_of(model, inputs):
    hidden = keras.Model(model.input, model.layers[-2].output)
    return hidden.predict(inputs, verbose=0)


if __name__ == "__main__":
    tf.test.main()
