import math

import numpy as np
import tensorflow as tf
from scipy import stats

from kd_keras import comparison


class ComparisonTest(tf.test.TestCase):
    def test_mean_and_spread(self):
        values = [3, 5, 10]
        self.assertAllClose(
            comparison.mean_and_spread(values), (6.0, np.std(values, ddof=1))
        )
        mean, spread = comparison.mean_and_spread([3])
        self.assertEqual(mean, 3.0)
        self.assertTrue(math.isnan(spread))

    def test_paired_difference(self):
        first, second = [30, 35, 28, 40, 33], [20, 27, 25, 28, 21]
        test = stats.ttest_rel(first, second)
        interval = test.confidence_interval(0.95)
        self.assertAllClose(
            comparison.paired_difference(first, second),
            (9.0, interval.low, interval.high),
        )
        self.assertEqual(
            comparison.paired_difference([3], [1]), (2.0, -math.inf, math.inf)
        )
        with self.assertRaisesRegex(ValueError, "5 and 1 values"):
            comparison.paired_difference(first, [1])

    def test_ratio_of_means(self):
        """At the bounds a paired t test just tells nothing from 0."""
        top, bottom = [50, 61, 42, 58], [70, 80, 66, 74]
        ratio, low, high = comparison.ratio_of_means(top, bottom)
        self.assertAllClose(ratio, 211 / 290)
        self.assertLess(low, ratio)
        self.assertLess(ratio, high)
        for bound in (low, high):
            test = stats.ttest_rel(top, [bound * value for value in bottom])
            self.assertAllClose(test.pvalue, 0.05)
        self.assertTrue(
            math.isnan(comparison.ratio_of_means([1, 2], [1, -1])[0])
        )
        for uncertain in (([1], [2]), ([1, 2, 3], [1, -1, 0.5])):
            bounds = comparison.ratio_of_means(*uncertain)[1:]
            self.assertEqual(bounds, (-math.inf, math.inf))
        with self.assertRaisesRegex(ValueError, "1 and 2 values"):
            comparison.ratio_of_means([1], [1, 2])

    def test_mcnemar(self):
        first = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 0], bool)
        second = np.array([1, 0, 0, 0, 0, 0, 1, 0, 1, 0], bool)
        # 5 against 1: twice the tail of six tosses.
        self.assertAllClose(
            comparison.mcnemar(first, second), 2 * (1 + 6) / 2**6
        )
        self.assertEqual(comparison.mcnemar(first, first), 1.0)
        with self.assertRaisesRegex(ValueError, "10 and 9"):
            comparison.mcnemar(first, second[1:])

    def test_verdict(self):
        better = comparison.verdict([30, 31, 32], [20, 22, 21], 500, "chance")
        self.assertRegex(better, "^Better than chance: ")
        self.assertIn("removes 10.0 of 31.0 errors on 500", better)
        worse = comparison.verdict([20, 22, 21], [30, 31, 32], 500)
        self.assertRegex(worse, "^Worse than hard labels: ")
        self.assertIn("adds 10.0 errors to 21.0", worse)
        noise = comparison.verdict([20, 31, 25], [30, 21, 24], 500)
        self.assertIn("distillation removes 0.3 of 25.3 errors", noise)
        noise = comparison.verdict([30, 21, 24], [20, 31, 25], 500)
        self.assertIn("distillation adds 0.3 errors to 25.0", noise)
        self.assertRegex(noise, "^No evidence against hard labels: ")
        self.assertIn(
            "No evidence with one seed", comparison.verdict([20], [10], 500)
        )

    def test_equal_arms_are_inside_the_noise(self):
        same = comparison.verdict([20, 21], [20, 21], 500)
        self.assertIn("inside the noise", same)

    def test_format_table(self):
        self.assertEqual(
            comparison.format_table(["arm", "n"], [["a", "10"], ["long", "1"]]),
            "| arm  |  n |\n| ---- | -: |\n| a    | 10 |\n| long |  1 |",
        )


if __name__ == "__main__":
    tf.test.main()
