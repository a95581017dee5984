"""Which classes belong together, and what a dustbin is worth."""

import math
import warnings
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from sklearn import cluster
from sklearn import linear_model

from kd_keras import specialists


def _planted(groups, count, seed):
    """Predictions that share their mass within a group of classes."""
    random = np.random.RandomState(seed)
    num_classes = sum(map(len, groups))
    probs = np.zeros((count, num_classes))
    for row in probs:
        classes = groups[random.randint(len(groups))]
        row[classes] = random.dirichlet(np.full(len(classes), 0.7))
    noise = random.dirichlet(np.ones(num_classes), count)
    return 0.9 * probs + 0.1 * noise


class ClustersTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(0, 1, 2)
    def test_planted(self, seed):
        order = np.random.RandomState(seed).permutation(20)
        groups = [order[:6], order[6:10], order[10:15], order[15:]]
        found = specialists.cluster_classes(
            _planted(groups, 4000, seed), 4, seed=seed
        )
        self.assertEqual(found, sorted(sorted(g.tolist()) for g in groups))

    def test_overlapping(self):
        groups = [np.arange(0, 5), np.arange(5, 10), np.arange(10, 15)]
        found = specialists.cluster_classes(_planted(groups, 3000, 0), 3, 7)
        self.assertEqual([len(classes) for classes in found], [7, 7, 7])
        for group in groups:
            self.assertTrue(any(set(group) <= set(one) for one in found))

    def test_correlation(self):
        """Classes that the generalist never names are near to all others.

        Their columns are short. By the covariance all sets get these.
        """
        random = np.random.RandomState(0)
        probs = 0.01 * random.dirichlet(np.ones(18), 3000)
        for row, named in zip(
            probs, random.randint(12, size=3000), strict=True
        ):
            mates = slice(named // 4 * 4, named // 4 * 4 + 4)
            row[mates] += 0.3 * random.dirichlet(np.ones(4))
            row[named] += 0.69
        sets = {
            columns: specialists.cluster_classes(probs, 3, 4, columns=columns)
            for columns in ("correlation", "covariance")
        }
        groups = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        self.assertEqual(sets["correlation"], groups)
        self.assertAllGreaterEqual(np.concatenate(sets["covariance"]), 12)
        clustered, whole = [], cluster.KMeans.fit

        def fit(means, matrix):
            clustered.append(matrix)
            return whole(means, matrix)

        with mock.patch.object(cluster.KMeans, "fit", fit):
            specialists.cluster_classes(probs, 3, columns="correlation")
        self.assertAllClose(clustered[0], np.corrcoef(probs, rowvar=False))
        # A class of which always the same is said has no correlation.
        probs = np.concatenate([0.8 * probs, np.full([3000, 1], 0.2)], axis=1)
        found = specialists.cluster_classes(probs, 3, 4, columns="correlation")
        self.assertEqual(found[:2], groups[:2])

    def test_random_classes(self):
        """Like the others in all but which classes they are."""
        sets = [[0, 1, 2, 5], [1, 2, 7], [2, 5]]

        def counted(class_sets):
            flat = [one for classes in class_sets for one in classes]
            return sorted(np.bincount(flat, minlength=10).tolist())

        places = set()
        for seed in range(200):
            drawn = specialists.random_classes(sets, 10, seed)
            self.assertEqual([len(s) for s in drawn], [4, 3, 2])
            self.assertEqual(counted(drawn), counted(sets))
            self.assertEqual(
                len(set(drawn[0]) & set(drawn[1])),
                len(set(sets[0]) & set(sets[1])),
            )
            self.assertEqual(drawn[0], sorted(drawn[0]))
            places.add(tuple(drawn[2]))
        # Each of 45 pairs comes about 4 times.
        self.assertGreater(len(places), 40)
        self.assertEqual(
            specialists.random_classes(sets, 10, 3),
            specialists.random_classes(sets, 10, 3),
        )

    def test_covariance(self):
        probs = np.random.RandomState(0).dirichlet(np.ones(4), 50)
        centred = probs - probs.mean(axis=0)
        self.assertAllClose(
            specialists.prediction_covariance(probs), centred.T @ centred / 49
        )

    def test_fewer_columns_than_sets(self):
        """Equal ones are one cluster, which is nothing to warn of."""
        apart = np.kron(np.eye(2), np.full([2, 2], 0.5))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertEqual(
                specialists.cluster_classes(apart, 4), [[0, 1], [2, 3]]
            )

    def test_refused(self):
        probs = np.eye(3)
        for arguments, error, says in (
            ((probs, 0), ValueError, "num_sets.*from 1 to 3"),
            ((probs, 4), ValueError, "Received: 4"),
            ((probs, 2.5), TypeError, "`num_sets` is an int. Received: 2.5"),
            ((probs, 2, 5), ValueError, "set_size"),
            ((probs[:1], 2), ValueError, r"\[1, 3\]"),
            ((probs[:, :1], 1), ValueError, r"\[3, 1\]"),
            ((probs * np.nan, 2), ValueError, "3 rows.*first is row 0"),
            ((3 * probs - 1, 2), ValueError, "take the softmax"),
            ((np.full([4, 3], 1 / 3), 2), ValueError, "4 examples with"),
        ):
            with self.assertRaisesRegex(error, says):
                specialists.cluster_classes(*arguments)
        for change, says in (
            ({"columns": "x"}, "'correlation'. Received: 'x'"),
            ({"seed": -1}, "`seed` is an int from 0 to .*Received: -1"),
            ({"seed": 2**32}, "Received: 4294967296"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                specialists.cluster_classes(probs, 2, **change)
        for arguments, says in (
            (([[0, 7]], 7, 0), "some of 0 to 6"),
            (([[0, 1]], 7, -1), "Received: -1"),
            (([[0, 1]], 0, 1), "`num_classes`"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                specialists.random_classes(*arguments)


class DustbinTest(tf.test.TestCase):
    def test_posterior_of_gaussians(self):
        """Two special classes of 8% and 4%, and what is left, oversampled."""
        random = np.random.RandomState(0)
        centres = np.array([[0.0, 1.0], [1.5, 0.0], [-1.0, -1.0]])
        priors = np.array([0.08, 0.04, 0.88])
        share = 0.12
        sampled = np.array([0.5 * 8 / 12, 0.5 * 4 / 12, 0.5])
        labels = random.choice(3, 200_000, p=sampled)
        points = centres[labels] + random.randn(len(labels), 2)
        # Of Gaussians of one covariance the posterior is a linear softmax.
        model = linear_model.LogisticRegression(C=1e6).fit(points, labels)
        seen = random.randn(2000, 2) + centres[random.choice(3, 2000, p=priors)]
        squares = ((seen[:, None] - centres) ** 2).sum(axis=2)
        bayes = tf.nn.softmax(np.log(priors) - squares / 2).numpy()
        logits = model.decision_function(seen)

        def deviation(shift):
            corrected = logits + [0.0, 0.0, shift]
            return np.abs(tf.nn.softmax(corrected) - bayes).max()

        self.assertLess(deviation(specialists.dustbin_shift(share)), 0.015)
        self.assertGreater(deviation(0.0), 0.3)
        by_the_letter = specialists.dustbin_shift(share, rule="paper")
        self.assertGreater(deviation(by_the_letter), 0.05)

    def test_values(self):
        self.assertAllClose(specialists.dustbin_shift(0.5), 0.0)
        self.assertAllClose(
            specialists.dustbin_shift(0.1, 0.25), math.log(9 / 1 * 0.25 / 0.75)
        )
        self.assertAllClose(
            specialists.dustbin_shift(0.1, 0.25, "paper"), math.log(2.5)
        )
        self.assertEqual(specialists.dustbin_shift(0.1, 0.25, "none"), 0.0)
        for arguments, says in (
            ((0.0,), "special_share"),
            ((0.1, 1.0), "sampled_share"),
            ((0.1, 0.5, "guess"), "guess"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                specialists.dustbin_shift(*arguments)
        # Not infinite, however few there are.
        self.assertAllClose(
            specialists.dustbin_shift(1e-320), -math.log(1e-320)
        )
        with self.assertRaisesRegex(TypeError, "`special_share` is a number"):
            specialists.dustbin_shift("a")


if __name__ == "__main__":
    tf.test.main()
