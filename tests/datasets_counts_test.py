"""Soft targets from what annotators said: shares, and what is refused."""

import keras
import numpy as np
import tensorflow as tf

import kd_keras
from kd_keras import datasets
from kd_keras import models


def _examples(count):
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": np.random.RandomState(0)
            .randint(0, 256, (count, 2, 2, 1))
            .astype(np.uint8),
            "label": np.arange(count) % 3,
        }
    )


class CountsTest(tf.test.TestCase):
    def test_shares(self):
        said = datasets.with_label_counts(
            _examples(3), [[2, 2, 0], [0, 0, 7], [1, 2, 1]]
        )
        logits = [example["teacher_logits"] for example in said]
        self.assertAllClose(
            tf.nn.softmax(tf.stack(logits)),
            [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.25, 0.5, 0.25]],
            1e-6,
            1e-9,
        )
        self.assertTrue(np.isfinite(logits).all())
        self.assertEqual([int(e["label"]) for e in said], [0, 1, 2])

    def test_gradient_is_the_mean_over_the_labels(self):
        """One step on the shares is one on every label that was said."""
        counts = np.array([[3, 1, 0], [0, 2, 2], [1, 1, 2], [4, 0, 0]])
        examples = _examples(4)

        def weights(distiller, batches):
            distiller.compile(
                keras.optimizers.SGD(0.5),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            )
            distiller.fit(batches, verbose=0, shuffle=False)
            return distiller.student.get_weights()

        of_shares = weights(
            kd_keras.Distiller(
                student=models.mlp((2, 2, 1), 3, (5,), seed=1),
                temperature=1.0,
                soft_weight=1.0,
            ),
            datasets.batches(datasets.with_label_counts(examples, counts), 4),
        )
        # Each label that was said as an example of its own: 16 in one batch.
        images = np.stack([example["image"] for example in examples])
        rows, labels = [], []
        for row, of_row in enumerate(counts):
            for label, times in enumerate(of_row):
                rows += [row] * times
                labels += [label] * times
        of_labels = weights(
            kd_keras.Distiller(
                student=models.mlp((2, 2, 1), 3, (5,), seed=1), soft_weight=0.0
            ),
            datasets.batches(
                tf.data.Dataset.from_tensor_slices(
                    {"image": images[rows], "label": labels}
                ),
                16,
            ),
        )
        for one, other in zip(of_shares, of_labels, strict=True):
            self.assertAllClose(one, other, 1e-6, 1e-6)

    def test_refused(self):
        examples = _examples(2)
        for counts, says in (
            ([[1, 0, 0]], "1 rows for 2 examples"),
            ([[1, 0, 0], [0, 0, 0]], "Nothing was said of example 1"),
            ([[1, 0, 0], [0, -2, 5]], "-2.0 in row 1, class 1"),
            ([[1, 0, 0], [0, np.inf, 5]], "inf in row 1, class 1"),
            ([[1], [1]], r"\[2, 1\]"),
            ([1, 2], r"\[2\]"),
            ([[1, 2, 3], [1, 2]], "as many in each row"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                datasets.with_label_counts(examples, counts)
        with self.assertRaisesRegex(ValueError, "2 columns.*class 2"):
            datasets.with_label_counts(_examples(3), np.ones((3, 2)))
        said = datasets.with_label_counts(examples, np.ones((2, 3)))
        with self.assertRaisesRegex(ValueError, "already"):
            datasets.with_label_counts(said, np.ones((2, 3)))


if __name__ == "__main__":
    tf.test.main()
