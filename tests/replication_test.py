"""Two replicas train as one device does: Mirrored, on two logical CPUs."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from tests import reference
from tests import replica_jobs

JOBS = (
    "uneven",
    "uneven_at_rest",
    "from_dataset",
    "on_batches",
    "values",
    "normalised",
    "overflow",
    "clipped",
    "calibration",
    "refusals",
)


def mirrored(jobs=JOBS):
    (results,) = replica_jobs.run(replica_jobs.MIRRORED, jobs)
    if isinstance(results, RuntimeError):
        raise results
    return results


@functools.cache
def on_one_device(job):
    return getattr(replica_jobs, job)(tf.distribute.get_strategy())


class ReplicationTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters("uneven", "from_dataset")
    def test_weights_and_logs_are_those_of_one_device(self, job):
        self.check(job, mirrored()[job])

    @pytest.mark.slow
    def test_batches_that_divide(self):
        job = "even_many_steps"
        self.check(job, mirrored((job,))[job])

    def check(self, job, got):
        expected = on_one_device(job)
        for one, other in zip(expected["weights"], got["weights"], strict=True):
            self.assertAllClose(one, other, rtol=0, atol=2e-6)
        self.assertAllClose(
            expected["history"], got["history"], rtol=0, atol=2e-5
        )
        first, second = got["history"]["loss"][:2]
        self.assertNotAllClose(first, second, rtol=1e-3, atol=0)

    def test_predictions_and_evaluation_are_those_of_one_device(self):
        expected, got = on_one_device("uneven"), mirrored()["uneven"]
        for key in ("predicted", "evaluated"):
            self.assertAllClose(expected[key], got[key], rtol=0, atol=2e-5)

    def test_callbacks_see_each_execution(self):
        expected = on_one_device("uneven")["batches"]
        got = mirrored()["uneven"]["batches"]
        self.assertEqual([b for b, _ in got], [b for b, _ in expected])
        # The loss so far, a mean over all examples.
        self.assertAllClose(expected, got, rtol=0, atol=2e-5)

    def test_at_rest_logs_are_means_over_all_examples(self):
        x, y, weights = replica_jobs.data(23)
        distiller = replica_jobs.build()
        student, teacher = distiller.student, distiller.teacher
        z, v = student(x).numpy(), teacher(x).numpy()
        labelled = y >= 0
        hard = reference.weighted_mean(reference.crossentropy(y, z), weights)
        soft = 4 * reference.weighted_mean(reference.kl(v, z, 2.0), weights)
        right = z.argmax(-1) == y
        expected = {
            "hard_loss": hard,
            "soft_loss": soft,
            "loss": 0.5 * hard + 0.5 * soft + float(sum(student.losses)),
            "accuracy": right[labelled].mean(),
            "weighted_accuracy": np.average(right, weights=weights * labelled),
            "teacher_agreement": (z.argmax(-1) == v.argmax(-1)).mean(),
            "val_loss": hard + float(sum(student.losses)),
        }
        history = mirrored()["uneven_at_rest"]["history"]
        for name, value in expected.items():
            self.assertAllClose(
                history[name], [value] * 3, rtol=0, atol=2e-6, msg=name
            )

    def test_calibration_error(self):
        """That of all is not the mean of the replicas' errors."""
        expected, got = on_one_device("calibration"), mirrored()["calibration"]
        self.assertAllClose(expected, got, rtol=1e-5)
        self.assertGreater(expected, 0.02)

    def test_a_single_batch(self):
        expected, got = on_one_device("on_batches"), mirrored()["on_batches"]
        self.assertAllClose(expected["logs"], got["logs"], atol=2e-5)
        for one, other in zip(expected["weights"], got["weights"], strict=True):
            self.assertAllClose(one, other, rtol=0, atol=2e-6)

    def test_bad_values_of_one_replica_raise(self):
        label, teacher = mirrored()["values"]["said"]
        self.assertStartsWith(label, "Step 2 of training met a label at or")
        self.assertStartsWith(teacher, "Step 2 of training met teacher logits")

    def test_batch_normalisation_of_no_example_raises(self):
        said = mirrored()["normalised"]["said"]
        self.assertStartsWith(said, "Step 4 of training had fewer examples")
        self.assertIn("drop_remainder=True", said)

    @pytest.mark.slow
    def test_activity_regulariser_of_no_example(self):
        expected = on_one_device("regularised")
        got = mirrored(("regularised",))["regularised"]
        # At first, before the share of the last batch makes a difference.
        self.assertAllClose(
            expected["history"]["loss"][0], got["history"]["loss"][0]
        )
        self.assertAllClose(expected["evaluated"], got["evaluated"], atol=1e-3)

    @pytest.mark.slow
    def test_together(self):
        expected = on_one_device("together")
        got = mirrored(("together",))["together"]
        for one, other in zip(expected["weights"], got["weights"], strict=True):
            self.assertAllClose(one, other, rtol=0, atol=2e-6)
        self.assertAllClose(
            expected["history"], got["history"], rtol=0, atol=2e-5
        )
        self.assertIn("val_teacher_agreement", got["history"]["two"])

    @pytest.mark.slow
    def test_loss_scaling(self):
        expected, got = (
            on_one_device("half_precision"),
            mirrored(("half_precision",))["half_precision"],
        )
        self.assertEqual(got["optimizer"], "LossScaleOptimizer")
        scale = np.abs(expected["moved"]).max()
        self.assertGreater(scale, 1e-5)
        self.assertAllClose(
            expected["moved"], got["moved"], rtol=0, atol=0.01 * scale
        )

    def test_an_overflow_of_one_replica_skips_the_step_of_all(self):
        for told in (on_one_device("overflow"), mirrored()["overflow"]):
            self.assertEqual(told, {"scale": 0.5, "moved": [0.0, 0.0]})

    def test_gradients_are_clipped_together(self):
        expected, got = on_one_device("clipped"), mirrored()["clipped"]
        for name, moved in expected.items():
            with self.subTest(name):
                self.assertAllClose(moved, got[name], rtol=0, atol=2e-6)
                self.assertGreater(np.abs(moved).max(), 1e-3)

    @pytest.mark.slow
    def test_gradients_are_clipped_together_otherwise(self):
        expected = on_one_device("clipped_otherwise")
        got = mirrored(("clipped_otherwise",))["clipped_otherwise"]
        for name, moved in expected.items():
            with self.subTest(name):
                self.assertAllClose(moved, got[name], rtol=0, atol=2e-6)
                self.assertGreater(np.abs(moved).max(), 1e-3)
        clipped = on_one_device("clipped") | expected
        for name in ("clipnorm", "global_clipnorm", "clipvalue"):
            self.assertNotAllClose(
                clipped[name], expected["not reached"], atol=1e-3
            )

    @pytest.mark.slow
    def test_labels_of_the_user_are_left_alone(self):
        index = np.arange(24)
        expected = np.where(index % 3 == 0, -1, index % 4)
        labels = mirrored(("views",))["views"]["labels"]
        self.assertAllEqual(labels, expected)

    def test_refusals(self):
        said = mirrored()["refusals"]
        for name, text in (
            ("student outside", "inside the scope of MirroredStrategy"),
            ("distiller outside", "outside of any strategy's scope"),
            ("all outside", "This is the scope of MirroredStrategy"),
            ("evaluated", "This is the scope of MirroredStrategy"),
            ("predicted", "This is the scope of MirroredStrategy"),
            ("on a batch", "This is the scope of MirroredStrategy"),
            ("optimizer inside", "The optimizer was made in the scope of a"),
            ("summed", "must be a mean over the examples"),
            ("central", "Keras 3 does not train under CentralStorage"),
            ("its data", "The data was distributed by a strategy"),
            ("strings", "The data holds strings at [0]['id']"),
            ("optimizer outside", "The optimizer was made outside"),
            ("averaged", "ema_overwrite_frequency=2 with 2 replicas"),
            ("accumulated", "gradient_accumulation_steps=2 with 2 replicas"),
            ("jit", '"auto", which does not compile there'),
            ("jit evaluated", '"auto", which does not compile there'),
        ):
            with self.subTest(name):
                self.assertIn(text, said[name])


if __name__ == "__main__":
    tf.test.main()
