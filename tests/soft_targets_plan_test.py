"""The planner's numbers are those of closed forms."""

import os
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import soft_targets
from kd_keras.soft_targets import planning
from tests import stored_targets


def softmax(logits):
    exp = np.exp(np.float64(logits))
    return exp / exp.sum(axis=-1, keepdims=True)


class PlanTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.images = stored_targets.pixels(60)
        self.source = stored_targets.source(self.images)
        self.teacher = stored_targets.teacher(scale=1.0)

    def plan(self, **kwargs):
        return soft_targets.plan(self.teacher, self.source, **kwargs)

    @parameterized.parameters(False, True)
    def test_mass_and_loss(self, is_ensemble):
        inputs = np.float32(self.images) / 255
        if is_ensemble:
            self.teacher = [self.teacher, stored_targets.teacher(1, 1.0)]
        plan = self.plan(
            temperatures=[1.0, 4.0], ks=[1, 2, 9], dtypes=["float32"]
        )
        # Of an ensemble its members, too.
        self.assertLen(plan.options, 8 if is_ensemble else 6)
        for option in plan.options:
            if option.num_members > 1:
                self.assertEqual(option.bytes_per_example, 16 + 2 * 4 * 5)
                continue
            temperature = option.temperature
            if is_ensemble:
                ensemble = kd_keras.EnsembleTeacher(self.teacher)
                logits = ensemble(inputs, temperature)
            else:
                logits = self.teacher(inputs)
            p = -np.sort(-softmax(logits / temperature), axis=-1)
            if option.top_k is None:
                self.assertEqual(option.bytes_per_example, 16 + 4 * 5)
                self.assertAllClose(option.kl_lost, 0.0, atol=1e-7)
                self.assertEqual(option.retained_mass, 1.0)
                continue
            k = option.top_k
            mass = p[:, :k].sum(axis=-1)
            self.assertAllClose(option.retained_mass, mass.mean(), rtol=1e-6)
            self.assertAllClose(option.least_mass, mass.min(), rtol=1e-6)
            even = p.copy()
            even[:, k:] = p[:, k:].mean(axis=-1, keepdims=True)
            lost = (p * np.log(p / even)).sum(axis=-1).mean()
            self.assertAllClose(option.kl_lost, lost, rtol=1e-4)
            self.assertEqual(option.bytes_per_example, 16 + 4 * (k + 1) + 2 * k)

    def test_half_precision_loses_little_and_something(self):
        [option] = self.plan(
            temperatures=[1.0], ks=[], dtypes=["float16"]
        ).options
        self.assertBetween(option.kl_lost, 1e-10, 1e-6)
        self.assertEqual(option.bytes_per_example, 16 + 2 * 5)

    def test_recommendation(self):
        self.assertIsNone(self.plan().recommended.top_k)
        with mock.patch.object(planning, "CHEAP_BYTES", 60 * 26 - 1):
            # Nothing else loses so little.
            self.assertIsNone(self.plan(ks=[1]).recommended.top_k)
            with mock.patch.object(planning, "MAX_LOSS", 10.0):
                best = self.plan(ks=[1, 2]).recommended
        self.assertEqual((best.top_k, best.dtype), (1, "float16"))

    def test_sizes_are_those_of_stores(self):
        members = [self.teacher, stored_targets.teacher(1)]
        plan = soft_targets.plan(members, self.source, dtypes=["float16"])
        self.assertEqual(plan.recommended.num_members, 2)
        self.assertIn("all logits of 2 members", str(plan))
        mean = next(
            o
            for o in plan.options
            if o.num_members == 1 and o.top_k is None and o.temperature == 4.0
        )
        with tempfile.TemporaryDirectory() as folder:
            for option, temperature in ((plan.recommended, None), (mean, 4.0)):
                path = f"{folder}/{temperature}"
                stored_targets.write(
                    path,
                    members,
                    self.source,
                    temperature=temperature,
                    num_ranges=1,
                )
                size = os.path.getsize(f"{path}/range-00000-of-00001.tfrecord")
                self.assertEqual(size, 60 * option.bytes_per_example + 24)
        views = self.plan(num_views=3, dtypes=["float16"]).recommended
        self.assertEqual(views.bytes_per_example, 16 + 3 * 2 * 5)

    def test_what_half_precision_does_not_hold(self):
        large = lambda x: 1e5 * self.teacher(x)  # noqa: E731
        plan = soft_targets.plan(large, self.source)
        self.assertEqual(plan.recommended.dtype, "float32")
        losses = {o.kl_lost for o in plan.options if o.dtype == "float16"}
        self.assertEqual(losses, {np.inf})

    def test_sample(self):
        plan = self.plan(num_examples=20)
        self.assertEqual((plan.num_sampled, plan.num_examples), (20, 60))
        self.assertIn("Measured on 20 of 60 examples", str(plan))
        self.assertEqual(self.plan(num_examples=1000).num_sampled, 60)

    def test_bad_arguments(self):
        for kwargs, message in (
            ({"temperatures": [0.0]}, "temperature"),
            ({"temperatures": []}, "names none"),
            ({"ks": [0]}, "ks"),
            ({"ks": [1.5]}, "ks"),
            ({"num_examples": 0}, "num_examples"),
            ({"batch_size": 0}, "batch_size"),
            ({"num_views": 0}, "num_views"),
            ({"dtypes": []}, "names none"),
            ({"dtypes": ["int8"]}, "float16"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.plan(**kwargs)
        self.teacher = stored_targets.teacher(num_classes=4)
        with self.assertRaisesRegex(ValueError, "5 classes"):
            self.plan()


if __name__ == "__main__":
    tf.test.main()
