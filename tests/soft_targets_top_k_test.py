"""The largest logits, and the others as one exact bucket on both sides."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import ops
from kd_keras import soft_targets
from kd_keras.soft_targets import codecs
from tests import stored_targets


def softmax(logits):
    logits = np.float64(logits)
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def with_bucket(probs, kept):
    """The kept probabilities, and the others together, written plainly."""
    return np.stack(
        [
            np.append(p[k], p[[i for i in range(len(p)) if i not in k]].sum())
            for p, k in zip(probs, kept.tolist(), strict=True)
        ]
    )


def bucket_kl(teacher_logits, student_logits, k, temperature):
    """KL over the k largest and a bucket, and its gradient, in float64."""
    p = softmax(np.float64(teacher_logits) / temperature)
    q = softmax(np.float64(student_logits) / temperature)
    kept = np.argsort(-p, axis=-1, kind="stable")[:, :k]
    pb, qb = with_bucket(p, kept), with_bucket(q, kept)
    gradient = q.copy()
    for row in range(len(p)):
        for i in range(p.shape[1]):
            if i in kept[row]:
                gradient[row, i] -= p[row, i]
            else:
                gradient[row, i] -= pb[row, -1] * q[row, i] / qb[row, -1]
    return (pb * np.log(pb / qb)).sum(axis=-1), gradient / temperature


class CodecTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ("float16", 10, 1, 1.0, ()),
        ("float16", 10, 9, 4.0, (3,)),
        ("float32", 10, 3, 20.0, ()),
        ("float16", 70_000, 5, 2.0, ()),
        ("float32", 70_000, 5, 2.0, (2,)),
    )
    def test_round_trip(self, dtype, num_classes, k, temperature, lead):
        rng = np.random.default_rng(0)
        logits = 5 * rng.normal(size=(4, *lead, num_classes))
        codec = codecs.TopK(dtype, lead, num_classes, k, temperature)
        rows = codec.to_stored(np.float32(logits))
        self.assertEqual(rows.shape, (4, *codec.stored_shape))
        self.assertEqual(rows.dtype, codec.stored_dtype)
        found = codec.from_stored(tf.constant(rows)).numpy()
        self.assertEqual(found.shape, logits.shape)
        kept = np.isfinite(found)
        self.assertAllEqual(kept.sum(axis=-1), np.full((4, *lead), k))
        probs = softmax(logits / temperature)
        lowest_kept = np.where(kept, probs, np.inf).min(axis=-1)
        self.assertAllGreaterEqual(
            lowest_kept - np.where(kept, 0, probs).max(axis=-1), 0
        )
        tolerance = 2e-2 if dtype == "float16" else 1e-5
        self.assertAllClose(
            np.exp(found / temperature)[kept], probs[kept], rtol=tolerance
        )
        # What is left is the bucket.
        self.assertAllClose(
            1 - np.exp(np.float64(found) / temperature).sum(axis=-1),
            np.where(kept, 0, probs).sum(axis=-1),
            rtol=tolerance,
            atol=1e-6,
        )

    def test_of_equal_logits_the_first_are_kept(self):
        codec = codecs.TopK("float16", (), 5, 2, 1.0)
        rows = codec.to_stored(np.zeros((1, 5), np.float32))
        self.assertAllClose(
            codec.from_stored(rows), [np.log([0.2, 0.2, 0, 0, 0])], atol=1e-3
        )

    def test_a_bucket_without_mass(self):
        codec = codecs.TopK("float16", (), 4, 2, 1.0)
        logits = np.float32([[1e5, 1e5, 0, -1e5]])
        rows = codec.to_stored(logits)
        self.assertTrue(codec.is_finite(rows).all())
        self.assertAllClose(np.exp(codec.from_stored(rows)), [[0.5, 0.5, 0, 0]])

    def test_what_is_not_finite_shows(self):
        codec = codecs.TopK("float16", (), 4, 2, 1.0)
        for bad in (np.nan, np.inf):
            rows = codec.to_stored(np.float32([[0, bad, 1, 2], [0, 1, 2, 3]]))
            finite = codec.is_finite(rows).all(axis=-1)
            self.assertAllEqual(finite, [False, True])


class FillRemainderTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(k=(1, 3, 6), temperature=(1.0, 4.0, 20.0))
    def test_value_and_gradient(self, k, temperature):
        rng = np.random.default_rng(k)
        teacher, student = 4 * rng.normal(size=(2, 8, 7))
        codec = codecs.TopK("float32", (), 7, k, temperature)
        stored = codec.from_stored(codec.to_stored(teacher))
        values, gradient = bucket_kl(teacher, student, k, temperature)
        logits = tf.constant(student)
        with tf.GradientTape() as tape:
            tape.watch(logits)
            found = kd_keras.losses.soft_target_kl_divergence(
                ops.fill_remainder(
                    tf.cast(stored, tf.float64), logits, temperature
                ),
                logits,
                temperature,
            )
        self.assertAllClose(found, values, rtol=1e-4, atol=2e-6)
        self.assertAllClose(
            tape.gradient(found, logits), gradient, rtol=1e-4, atol=1e-6
        )

    def test_all_but_one_are_all(self):
        rng = np.random.default_rng(0)
        teacher, student = np.float32(3 * rng.normal(size=(2, 8, 7)))
        codec = codecs.TopK("float32", (), 7, 6, 2.0)
        stored = codec.from_stored(codec.to_stored(teacher))
        filled = ops.fill_remainder(stored, student, 2.0)
        self.assertAllClose(
            softmax(filled / 2.0), softmax(teacher / 2.0), atol=1e-6
        )


class TopKTest(stored_targets.StoreTestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.images = stored_targets.pixels(40)
        self.source = stored_targets.source(self.images)
        self.teacher = stored_targets.teacher(scale=1.0)

    def store(self, teacher=None, **kwargs):
        stored_targets.write(
            self.path,
            self.teacher if teacher is None else teacher,
            self.source,
            **{
                "top_k": 2,
                "temperature": 4.0,
                "dtype": "float32",
                "num_ranges": 2,
                **kwargs,
            },
        )
        return soft_targets.open_store(self.path, teacher=teacher)

    def distiller(self, store, student=None, **kwargs):
        distiller = kd_keras.Distiller(
            student=student or stored_targets.teacher(1, scale=1.0),
            teacher=store,
            **kwargs,
        )
        distiller.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return distiller

    @parameterized.parameters(False, True)
    def test_training(self, is_ensemble):
        inputs = np.float32(self.images) / 255
        teacher = self.teacher
        logits = teacher(inputs).numpy()
        if is_ensemble:
            teacher = [teacher, stored_targets.teacher(2, scale=1.0)]
            logits = kd_keras.EnsembleTeacher(teacher)(inputs, 4.0).numpy()
        store = self.store(teacher)
        student = stored_targets.teacher(1, scale=1.0)
        before = student.get_weights()
        values, gradient = bucket_kl(logits, student(inputs), 2, 4.0)
        distiller = self.distiller(store, student, soft_weight=1.0)
        logs = distiller.fit(store.batches(self.source, 40), verbose=0).history
        self.assertAllClose(logs["soft_loss"][0], 16 * values.mean(), rtol=1e-5)
        # Of the last layer's bias: the mean gradient of the logits.
        moved = (before[1] - student.get_weights()[1]) / 0.1
        self.assertAllClose(
            moved, 16 * gradient.mean(axis=0), rtol=1e-4, atol=1e-6
        )
        # Not what a student is told for whom the rest is nothing.
        p = softmax(logits / 4.0)
        kept = np.sort(p, axis=-1)[:, -2:].sum(axis=-1)
        self.assertBetween(kept.mean(), 0.4, 0.9)

    def test_size(self):
        self.store(dtype="float16")
        files = list(self.path.glob("range-*"))
        size = sum(file.stat().st_size for file in files)
        # Two logits with their classes, and the bucket.
        self.assertEqual(size, 40 * (16 + 2 * 2 + 2 * 2 + 2) + 2 * (8 + 16))

    def test_refusals(self):
        for kwargs, message in (
            ({"top_k": 0}, "from 1 to one less"),
            ({"top_k": 5}, "from 1 to one less"),
            ({"top_k": True}, "from 1 to one less"),
            ({"temperature": None}, "top_k takes temperature"),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.store(**kwargs)
        store = self.store()
        for kwargs, message in (
            ({"temperature": 2.0}, "4.0 alone"),
            ({"soft_loss": kd_keras.losses.LogitMatching()}, "4.0 alone"),
            (
                {"fidelity_metrics": [kd_keras.metrics.TeacherAgreement()]},
                "holds the largest only",
            ),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.distiller(store, **kwargs)
        # Nobody takes the rest for zero because the store was not attached.
        with self.assertRaisesRegex(ValueError, "NaN or infinite"):
            self.distiller(None).fit(store.batches(self.source, 40), verbose=0)

    @parameterized.parameters("float16", "float32")
    def test_audit(self, dtype):
        store = self.store(dtype=dtype)
        audit = soft_targets.audit(store, self.teacher, self.source)
        self.assertTrue(audit.passed, audit)
        soft_targets.open_store(self.path, teacher=self.teacher)
        weights = self.teacher.get_weights()
        self.teacher.set_weights([w * 1.02 for w in weights])
        audit = soft_targets.audit(store, self.teacher, self.source)
        self.assertFalse(audit.passed, audit)

    def test_views(self):
        augment = kd_keras.datasets.random_shift(1)
        store = self.store(augment=augment, augment_seed=1, num_views=2)
        for epoch in range(2):
            for image, targets in store.batches(
                self.source, 40, augment=augment, epoch=epoch
            ):
                p = softmax(self.teacher(image).numpy() / 4.0)
                found = np.exp(targets["teacher_logits"].numpy() / 4.0)
                self.assertAllEqual((found > 0).sum(axis=-1), [2] * 40)
                self.assertAllClose(found[found > 0], p[found > 0], rtol=1e-5)


if __name__ == "__main__":
    tf.test.main()
