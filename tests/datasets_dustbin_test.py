"""The data of a specialist: who is in it, under which label."""

import numpy as np
import tensorflow as tf

from kd_keras import datasets

_LABELS = np.random.RandomState(0).randint(0, 20, 2000)


def _examples(labels=_LABELS):
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": np.zeros((len(labels), 1, 1, 1), np.uint8),
            "label": np.asarray(labels, np.int64),
            "id": np.arange(len(labels)),
        }
    )


def _ids_and_labels(chosen):
    rows = [(int(e["id"]), int(e["label"])) for e in chosen]
    return np.array(rows).T


class DustbinSetTest(tf.test.TestCase):
    def test_half_and_half(self):
        classes = [7, 3, 11]
        chosen, of_all, of_these = datasets.dustbin_set(
            _examples(), classes, seed=1
        )
        ids, labels = _ids_and_labels(chosen)
        special = np.isin(_LABELS, classes)
        self.assertEqual(len(chosen), 2 * special.sum())
        self.assertAllEqual(ids, np.sort(ids))
        self.assertAllEqual(ids[labels < 3], np.flatnonzero(special))
        for position, label in enumerate(classes):
            self.assertAllEqual(
                np.unique(_LABELS[ids[labels == position]]), [label]
            )
        self.assertFalse(np.isin(_LABELS[ids[labels == 3]], classes).any())
        self.assertEqual(of_all, special.mean())
        self.assertEqual(of_these, 0.5)
        # The others are drawn alike: 17 classes of some 18 examples each.
        counts = np.bincount(_LABELS[ids[labels == 3]], minlength=20)
        self.assertAllInRange(counts[counts > 0], 6, 34)
        self.assertEqual((counts > 0).sum(), 17)

    def test_seed_and_share(self):
        first, second, third = (
            _ids_and_labels(
                datasets.dustbin_set(_examples(), [2], seed=seed, share=share)[
                    0
                ]
            )[0].tolist()
            for seed, share in ((0, 0.5), (1, 0.5), (0, 0.25))
        )
        self.assertNotEqual(first, second)
        self.assertContainsSubset(first, third)
        self.assertEqual(len(third), 2 * len(first))

    def test_too_few_others(self):
        labels = [0] * 8 + [1] * 2
        chosen, of_all, of_these = datasets.dustbin_set(
            _examples(labels), [0], seed=0
        )
        self.assertLen(list(chosen), 10)
        self.assertEqual((of_all, of_these), (0.8, 0.8))

    def test_without_label(self):
        labels = [0, 0, -1, 1, 1, 1, -1, 1]
        chosen, of_all, _ = datasets.dustbin_set(_examples(labels), [0], seed=0)
        ids, _ = _ids_and_labels(chosen)
        self.assertNoCommonElements(ids, [2, 6])
        self.assertEqual(of_all, 2 / 6)

    def test_refused(self):
        for classes, share, says in (
            ([1, 1], 0.5, "named twice"),
            ([99], 0.5, "99"),
            (range(20), 0.5, "other classes"),
            ([1], 1.0, "`share`"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                datasets.dustbin_set(_examples(), classes, seed=0, share=share)
        for arguments, error, says in (
            ({"share": "a"}, TypeError, "`share` is a number. Received: 'a'"),
            ({"classes": 1}, TypeError, r"For one class pass \[1\]"),
            ({"seed": 1.5}, TypeError, "`seed` is an int. Received: 1.5"),
            ({"seed": -1}, ValueError, "`seed` is not negative"),
        ):
            with self.assertRaisesRegex(error, says):
                datasets.dustbin_set(
                    _examples(), **{"classes": [1], "seed": 0, **arguments}
                )

    def test_a_dustbin_is_never_empty(self):
        chosen, _, share = datasets.dustbin_set(
            _examples(), [1], seed=0, share=0.9999
        )
        labels = [int(one["label"]) for one in chosen]
        self.assertEqual(labels.count(1), 1)
        self.assertEqual(share, labels.count(0) / len(labels))


if __name__ == "__main__":
    tf.test.main()
