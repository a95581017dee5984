"""Transfer sets: exact counts, order, nesting, and what is refused."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras.datasets import NO_LABEL
from kd_keras.datasets import drop_classes
from kd_keras.datasets import hide_labels
from kd_keras.datasets import keep_classes
from kd_keras.datasets import selection
from kd_keras.datasets import take_fraction

# 300 examples of five classes: 100, 80, 60, 40, 20.
_LABELS = np.random.RandomState(0).permutation(
    np.repeat(np.arange(5), [100, 80, 60, 40, 20])
)


def _examples(labels=_LABELS):
    """Example i, whose position is in its `id` and its image."""
    count = len(labels)
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": np.zeros((count, 1, 1, 1), np.uint8),
            "label": np.asarray(labels, np.int64),
            "id": np.arange(count),
        }
    )


def _ids(dataset):
    return [int(example["id"]) for example in dataset]


def _labels(dataset):
    return np.array([int(example["label"]) for example in dataset])


class ClassesTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ([0, 2], [0, 2]),
        ([4], [4]),
        ({1, 3}, [1, 3]),
        (np.array([3, 3, 0]), [0, 3]),
        (range(5), [0, 1, 2, 3, 4]),
    )
    def test_keep(self, classes, kept):
        dataset = keep_classes(_examples(), classes)
        self.assertEqual(
            _ids(dataset), list(np.flatnonzero(np.isin(_LABELS, kept)))
        )
        self.assertLen(dataset, int(np.isin(_LABELS, kept).sum()))

    @parameterized.parameters(([3],), ([0, 1, 2, 3],))
    def test_drop(self, classes):
        dataset = drop_classes(_examples(), classes)
        kept = np.flatnonzero(~np.isin(_LABELS, classes))
        self.assertEqual(_ids(dataset), list(kept))
        self.assertLen(dataset, len(kept))
        # The labels are not renumbered.
        self.assertAllEqual(_labels(dataset), _LABELS[kept])

    def test_holds_in_any_order(self):
        shuffled = _examples().shuffle(300, seed=1)
        for _ in range(2):
            self.assertEqual(set(_labels(keep_classes(shuffled, [2]))), {2})

    @parameterized.parameters(keep_classes, drop_classes)
    def test_refused(self, function):
        for classes, error, message in (
            (3, TypeError, r"pass \[3\]"),
            (["3"], TypeError, "must hold ints"),
            ([True], TypeError, "must hold ints"),
            ([1.0], TypeError, "must hold ints"),
            ([], ValueError, "at least one class"),
            ([5], ValueError, "label 5.*present: 0, 1, 2, 3, 4"),
            ([-1, 2], ValueError, "label -1"),
        ):
            with self.assertRaisesRegex(error, message):
                function(_examples(), classes)
        with self.assertRaisesRegex(ValueError, "finite"):
            function(_examples().repeat(), [1])

    def test_nothing_left(self):
        with self.assertRaisesRegex(ValueError, "leave no example"):
            drop_classes(_examples(), range(5))


class TakeFractionTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        fraction=[0.01, 0.03, 0.29, 0.5, 1 / 3, 0.999, 1, 1.0],
        stratified=[False, True],
    )
    def test_exact_count_in_order(self, fraction, stratified):
        dataset = take_fraction(
            _examples(), fraction, seed=3, stratified=stratified
        )
        ids = _ids(dataset)
        self.assertLen(ids, round(300 * fraction))
        self.assertLen(dataset, round(300 * fraction))
        self.assertEqual(ids, sorted(set(ids)))
        self.assertAllEqual(_labels(dataset), _LABELS[ids])

    def test_pinned(self):
        # Drawn from raw generator output, which NumPy keeps for ever: what a
        # seed means must not change between releases.
        dataset = take_fraction(_examples(), 0.02, seed=0)
        self.assertEqual(_ids(dataset), [61, 93, 176, 184, 256, 263])

    @parameterized.parameters(False, True)
    def test_seed(self, stratified):
        def ids(seed):
            return _ids(
                take_fraction(
                    _examples(), 0.3, seed=seed, stratified=stratified
                )
            )

        self.assertEqual(ids(1), ids(1))
        self.assertNotEqual(ids(1), ids(2))
        before = ids(1)
        tf.random.set_seed(99)
        np.random.seed(99)
        self.assertEqual(ids(1), before)

    @parameterized.parameters(False, True)
    def test_nested(self, stratified):
        previous = set()
        for fraction in np.linspace(0.01, 1, 15):
            ids = set(
                _ids(
                    take_fraction(
                        _examples(), fraction, seed=5, stratified=stratified
                    )
                )
            )
            self.assertLessEqual(previous, ids)
            previous = ids

    def test_every_position_is_equally_likely(self):
        # 400 seeds, a quarter each: 100 hits expected, standard deviation
        # 8.7; five of them are 43.
        hits = np.zeros(40)
        for seed in range(400):
            priorities = selection.random_priorities("take", seed, 40)
            hits += selection.mark_lowest(priorities, 0.25)
        self.assertAllInRange(hits, 57, 143)

    @parameterized.parameters(0.05, 0.1, 0.33, 0.8)
    def test_stratified_share(self, fraction):
        for seed in range(5):
            taken = _labels(
                take_fraction(_examples(), fraction, seed=seed, stratified=True)
            )
            share = fraction * np.array([100, 80, 60, 40, 20])
            self.assertAllInRange(
                np.bincount(taken, minlength=5) - share, -1.5, 1.5
            )

    def test_stratified_is_exact_for_equal_classes(self):
        labels = np.tile(np.arange(10), 60)
        taken = take_fraction(_examples(labels), 0.05, seed=2, stratified=True)
        self.assertAllEqual(np.bincount(_labels(taken)), [3] * 10)

    def test_stratified_keeps_large_classes_in_proportion(self):
        # 100 classes of 4 beside one of 1000: the small ones together must
        # not be taken too often, nor all left out.
        labels = np.concatenate([np.repeat(np.arange(100), 4), [100] * 1000])
        counts = [
            np.sum(
                _labels(
                    take_fraction(
                        _examples(labels), 0.1, seed=seed, stratified=True
                    )
                )
                == 100
            )
            for seed in range(5)
        ]
        self.assertAllInRange(counts, 90, 110)

    def test_independent_of_what_comes_after(self):
        taken = take_fraction(_examples(), 0.1, seed=4)
        shuffled = taken.shuffle(300, seed=0).batch(7).unbatch()
        self.assertEqual(sorted(_ids(shuffled)), _ids(taken))

    @parameterized.parameters(0, -0.1, 1.01, float("nan"))
    def test_fraction_out_of_range(self, fraction):
        for function in (take_fraction, hide_labels):
            with self.assertRaisesRegex(ValueError, r"must be in \(0, 1\]"):
                function(_examples(), fraction, seed=0)

    def test_refused(self):
        for function in (take_fraction, hide_labels):
            with self.assertRaisesRegex(TypeError, '"fraction" must be a num'):
                function(_examples(), "0.5", seed=0)
            with self.assertRaisesRegex(TypeError, '"seed" must be an int'):
                function(_examples(), 0.5, seed=None)
            with self.assertRaisesRegex(ValueError, "not be negative"):
                function(_examples(), 0.5, seed=-1)
            with self.assertRaisesRegex(ValueError, "rounds to 0"):
                function(_examples(), 0.001, seed=0)
            with self.assertRaisesRegex(ValueError, "unbatch"):
                function(_examples().batch(2), 0.5, seed=0)


class HideLabelsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(0.01, 0.29, 0.5, 1.0)
    def test_exact_count_and_nothing_else_changes(self, fraction):
        dataset = hide_labels(_examples(), fraction, seed=1)
        labels = _labels(dataset)
        hidden = labels == NO_LABEL
        self.assertEqual(hidden.sum(), round(300 * fraction))
        self.assertAllEqual(labels[~hidden], _LABELS[~hidden])
        self.assertEqual(_ids(dataset), list(range(300)))
        self.assertLen(dataset, 300)

    def test_no_label_is_what_the_distiller_takes(self):
        self.assertEqual(NO_LABEL, -1)
        dataset = hide_labels(
            _examples().map(
                lambda e: {**e, "label": tf.cast(e["label"], tf.uint8)}
            ),
            1.0,
            seed=0,
        )
        # In uint8 it would be class 255.
        self.assertEqual(dataset.element_spec["label"].dtype, tf.int64)
        self.assertEqual(set(_labels(dataset)), {-1})

    def test_pinned(self):
        dataset = hide_labels(_examples(), 0.02, seed=0)
        self.assertEqual(
            list(np.flatnonzero(_labels(dataset) == -1)),
            [20, 104, 166, 186, 225, 258],
        )

    def test_labelled_sets_are_nested(self):
        previous = set(range(300))
        for fraction in np.linspace(0.01, 1, 15):
            labels = _labels(hide_labels(_examples(), fraction, seed=5))
            labelled = set(np.flatnonzero(labels != -1))
            self.assertLessEqual(labelled, previous)
            previous = labelled

    def test_seeds(self):
        def hidden(seed):
            return _labels(hide_labels(_examples(), 0.5, seed=seed)) == -1

        self.assertAllEqual(hidden(1), hidden(1))
        self.assertFalse(np.all(hidden(1) == hidden(2)))

    def test_draws_are_not_those_of_take_fraction(self):
        # With the same numbers, taking and hiding a half by one seed would
        # hide the first half of all that was taken.
        taken = _ids(take_fraction(_examples(), 0.5, seed=1))
        labels = _labels(hide_labels(_examples(), 0.5, seed=1))
        both = np.sum(labels[taken] == -1)
        self.assertBetween(both, 50, 100)

    def test_workers_share_by_elements(self):
        for dataset in (
            hide_labels(_examples(), 0.5, seed=0),
            take_fraction(_examples(), 0.5, seed=0),
            drop_classes(_examples(), [1]),
        ):
            options = dataset.options().experimental_distribute
            self.assertEqual(
                options.auto_shard_policy,
                tf.data.experimental.AutoShardPolicy.DATA,
            )

    def test_filters_compose(self):
        dataset = hide_labels(
            take_fraction(drop_classes(_examples(), [3]), 0.5, seed=0),
            0.25,
            seed=0,
        )
        labels = _labels(dataset)
        self.assertLen(dataset, 130)  # Half of 300 - 40.
        self.assertEqual(np.sum(labels == -1), 32)  # round(32.5) is even.
        self.assertNotIn(3, labels)


if __name__ == "__main__":
    tf.test.main()
