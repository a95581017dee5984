"""The audit finds what is not the teacher's, and nothing else."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import datasets
from kd_keras import soft_targets
from tests import stored_targets


class AuditTest(stored_targets.StoreTestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.source = stored_targets.source(stored_targets.pixels(300))
        self.teacher = stored_targets.teacher()

    def store(self, teacher=None, **kwargs):
        stored_targets.write(
            self.path,
            self.teacher if teacher is None else teacher,
            self.source,
            **{"batch_size": 32, **kwargs},
        )
        return soft_targets.open_store(self.path, temperature=4.0)

    @parameterized.parameters("float16", "float32")
    def test_the_same_teacher(self, dtype):
        store = self.store(dtype=dtype)
        audit = soft_targets.audit(
            store, self.teacher, self.source, num_examples=100
        )
        self.assertTrue(audit.passed, audit)
        self.assertEqual(audit.num_compared, 100)
        self.assertEqual(audit.num_examples, 300)
        if dtype == "float16":
            # Half of the last of 11 digits, of a logit below 32.
            self.assertBetween(audit.deviation, 1e-3, 2**-7)
        self.assertIn("are those of the teacher", str(audit))

    @parameterized.parameters("members", "bound", "views", "geometric")
    def test_the_same_of_every_kind(self, kind):
        teacher, write, read = self.teacher, {}, {}
        if kind == "views":
            augment = datasets.random_shift(1)
            write = {"augment": augment, "augment_seed": 1, "num_views": 2}
            read = {"augment": augment}
        else:
            teacher = kd_keras.EnsembleTeacher(
                [self.teacher, stored_targets.teacher(1)],
                mean="geometric" if kind == "geometric" else "arithmetic",
            )
        if kind == "bound":
            write["temperature"] = 4.0
        store = self.store(teacher, **write)
        audit = soft_targets.audit(store, teacher, self.source, **read)
        self.assertTrue(audit.passed, audit)
        self.assertEqual(audit.num_compared, 300)

    @parameterized.parameters(("float16", 2e-3), ("float32", 1e-5))
    def test_a_teacher_that_changed(self, dtype, share):
        store = self.store(dtype=dtype)
        weights = self.teacher.get_weights()
        self.teacher.set_weights([w * (1 + share) for w in weights])
        audit = soft_targets.audit(store, self.teacher, self.source)
        self.assertFalse(audit.passed, audit)
        self.assertIn("ARE NOT", str(audit))

    def test_one_wrong_example(self):
        images = np.stack(
            [e["image"] for e in self.source.dataset.as_numpy_iterator()]
        )
        rare = np.float32(images[123]) / 255

        def teacher(x):
            found = tf.reduce_all(tf.abs(x - rare) < 1e-6, axis=[1, 2, 3])
            wrong = tf.where(found, 0.1, 0.0)[:, None]
            return self.teacher(x) + wrong * [[1.0, 0.0, 0.0, 0.0, 0.0]]

        store = self.store(teacher, teacher_fingerprint="wrong at one")
        audit = soft_targets.audit(store, self.teacher, self.source)
        self.assertFalse(audit.passed)
        self.assertEqual(audit.worst_id, 123)
        # 0.1 of one class, less its mean over five; stored and rounded.
        self.assertAllClose(audit.deviation, 0.08, atol=audit.rounding)
        self.assertBetween(audit.excess, 0.08 - 2 * audit.rounding, 0.08)

    def test_nan(self):
        store = self.store()
        audit = soft_targets.audit(
            store, lambda x: self.teacher(x) * np.nan, self.source
        )
        self.assertFalse(audit.passed)

    def test_bad_arguments(self):
        store = self.store()
        with self.assertRaisesRegex(ValueError, "num_examples"):
            soft_targets.audit(store, self.teacher, self.source, num_examples=0)
        with self.assertRaisesRegex(ValueError, "of one teacher"):
            soft_targets.audit(store, [self.teacher] * 2, self.source)
        with self.assertRaisesRegex(ValueError, "the images as they are"):
            soft_targets.audit(
                store,
                self.teacher,
                self.source,
                augment=datasets.random_shift(1),
            )


if __name__ == "__main__":
    tf.test.main()
