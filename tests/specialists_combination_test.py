"""Equation 5: its minimum, by two ways, and what is known of it."""

import time
import warnings

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import optimize

from kd_keras import specialists
from kd_keras.specialists import combination
from tests import equation_5_problems


def _reference(log_probs, generalist, specialist_probs, class_sets):
    """Equation 5 and its gradient for one example, written down plainly."""
    logits = log_probs - log_probs.max()
    q = np.exp(logits) / np.exp(logits).sum()
    value = (generalist * np.log(generalist / q)).sum()
    gradient = q - generalist
    for probs, classes in zip(specialist_probs, class_sets, strict=True):
        others = np.setdiff1d(np.arange(len(q)), classes)
        dustbin = q[others].sum()
        value += (probs[:-1] * np.log(probs[:-1] / q[classes])).sum()
        value += probs[-1] * np.log(probs[-1] / dustbin)
        says = np.zeros_like(q)
        says[classes] = probs[:-1]
        says[others] = probs[-1] * q[others] / dustbin
        gradient = gradient + q - says
    return value, gradient


def _all_asked(problem, **kwargs):
    """What `combine` makes of a problem, all specialists asked."""
    active = equation_5_problems.all_active(*problem[:2])
    return specialists.combine(*problem, active=active, **kwargs).numpy()


def _objective(probs, problem):
    """What `objective` gives where all specialists are asked."""
    return specialists.objective(
        probs, *problem, equation_5_problems.all_active(*problem[:2])
    ).numpy()


class CombineTest(tf.test.TestCase, parameterized.TestCase):
    def test_nobody_is_asked(self):
        generalist, probs, class_sets = equation_5_problems.problem(0)
        for method in ("fixed_point", "gradient_descent"):
            combined = specialists.combine(
                generalist,
                probs,
                class_sets,
                active=np.zeros((5, 4), bool),
                method=method,
            )
            self.assertAllEqual(combined, generalist)
        self.assertAllEqual(specialists.combine(generalist, [], []), generalist)

    def test_two_full_distributions(self):
        """Their arithmetic mean: KL(p, q) has it, KL(q, p) the geometric."""
        random = np.random.RandomState(1)
        first, second = (
            equation_5_problems.distributions(random, 6, 8) for _ in range(2)
        )
        combined = specialists.combine(first, [second], [range(8)])
        self.assertAllClose(combined, (first + second) / 2, 1e-9, 1e-9)

    def test_by_hand(self):
        """One specialist of one class in three: mass is moved, ratios stay."""
        combined = specialists.combine(
            np.array([[0.5, 0.3, 0.2]]),
            [np.array([[0.9, 0.1]])],
            [[0]],
        )
        self.assertAllClose(combined, [[0.7, 0.18, 0.12]], 1e-8, 1e-8)

    @parameterized.parameters(range(8))
    def test_minimum(self, seed):
        """No other distribution has a lower value; SciPy ends there, too."""
        problem = equation_5_problems.problem(seed)
        generalist, probs, class_sets = problem
        combined = _all_asked(problem)
        values = _objective(combined, problem)
        self.assertAllClose(combined.sum(axis=1), np.ones(5), 1e-9)
        for row in range(5):
            of_row = [p[row] for p in probs]
            value, gradient = _reference(
                np.log(combined[row]), generalist[row], of_row, class_sets
            )
            self.assertAllClose(values[row], value, 1e-9)
            self.assertLess(np.abs(gradient).max(), 1e-8)
            found = optimize.minimize(
                _reference,
                np.log(generalist[row]),
                args=(generalist[row], of_row, class_sets),
                jac=True,
                method="BFGS",
                options={"gtol": 1e-9},
            )
            self.assertAllClose(
                tf.nn.softmax(found.x), combined[row], 1e-6, 1e-6
            )

    def test_dustbin(self):
        """Where it alone speaks beside a flat generalist, its mass counts."""
        problem = equation_5_problems.problem(3, num_specialists=1)
        generalist, probs, class_sets = problem
        combined = _all_asked(problem)
        others = np.setdiff1d(np.arange(12), class_sets[0])
        self.assertAllClose(
            combined[:, others].sum(axis=1),
            (generalist[:, others].sum(axis=1) + probs[0][:, -1]) / 2,
            1e-8,
        )

    def test_all_ways(self):
        self.check_ways(20, 5, 6)

    # Gradient descent takes minutes for so flat a problem as the second.
    @parameterized.parameters((60, 10, 12), (1000, 60, 30))
    @pytest.mark.slow
    def test_all_ways_of_many_classes(self, *sizes):
        self.check_ways(*sizes)

    def check_ways(self, num_classes, num_specialists, size):
        problem = equation_5_problems.problem(
            7, 2, num_classes, num_specialists, size
        )
        expected = _all_asked(problem)
        for method in ("fixed_point", "gradient_descent"):
            found = _all_asked(problem, method=method, max_steps=100_000)
            self.assertAllClose(expected, found, 0, 1e-6)

    def test_many_classes(self):
        """1,000 classes and 60 specialists: the gradient is 0 at the end."""
        problem = equation_5_problems.problem(4, 3, 1000, 60, 30)
        generalist, probs, class_sets = problem
        combined = _all_asked(problem)
        for row in range(3):
            _, gradient = _reference(
                np.log(combined[row]),
                generalist[row],
                [p[row] for p in probs],
                class_sets,
            )
            self.assertLess(np.abs(gradient).max(), 1e-5)

    @parameterized.product(
        method=("fixed_point", "gradient_descent"), sharpness=(2.0, 8.0)
    )
    def test_never_rises(self, method, sharpness):
        """Not where models are sure of themselves and steps long, either."""
        problem = equation_5_problems.problem(11, 40, 20, 3, 6, sharpness)
        values = [
            _objective(
                _all_asked(problem, method=method, max_steps=steps), problem
            )
            for steps in range(0, 12)
        ]
        self.assertAllLessEqual(np.diff(values, axis=0), 1e-12)
        self.assertAllLess(values[-1] - values[0], 0)

    def test_models_that_are_sure_of_themselves(self):
        """As plain steps end, where these get there at all."""
        problem = equation_5_problems.problem(0, 200, 20, 3, 6, 4.0)
        self.assertAllClose(
            _all_asked(problem),
            _all_asked(problem, method="fixed_point"),
            0,
            1e-7,
        )

    def test_models_that_contradict_each_other(self):
        """What is dealt out by probabilities of 1e-13 decides.

        A fixed point needs a million steps for it. 3 and 4 are classes of the
        same specialists, so that their ratio is that of what is said of them.
        """
        generalist = np.array(
            [[0.998935, 1.0642e-3, 8.3751e-12, 1.3983e-9, 4.7863e-13]]
        )
        probs = [
            np.array([[8.1389e-5, 1.3193e-2, 9.8673e-1]]),
            np.array([[9.3611e-6, 8.2191e-7, 1.8144e-6, 0.999988]]),
            np.array([[1.0497e-5, 1.9282e-5, 1.4024e-3, 0.99857]]),
        ]
        generalist, *probs = (p / p.sum() for p in (generalist, *probs))
        class_sets = [[0, 2], [0, 3, 4], [0, 1, 2]]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (combined,) = _all_asked((generalist, probs, class_sets))
        self.assertAllClose(
            combined, [0.24976, 0.36468, 0.01091, 0.11694, 0.25771], 0, 1e-5
        )
        said = generalist[0, 3:] + probs[1][0, 1:3]
        self.assertAllClose(combined[3] / combined[4], said[0] / said[1], 1e-7)

    def test_little_is_not_lost_beside_much(self):
        """Two that know the same say of the others next to nothing."""
        generalist = [0.0, -30.0, -50.0, -40.0]
        says = [-20.0, -40, 0], [0.0, -20, -20, -50], [0.0, 0, -30, -50]
        generalist, *probs = (
            tf.nn.softmax(tf.constant([one], tf.float64)).numpy()
            for one in (generalist, *says)
        )
        problem = generalist, probs, [[1, 3], [0, 1, 2], [0, 1, 2]]
        (combined,) = _all_asked(problem)
        # Of 0 and 1 what is said of each; 1 of the four dustbins goes to 0.
        self.assertAllClose(combined, [0.875, 0.125, 0, 0], 0, 1e-8)
        self.assertAllClose(
            combined, _all_asked(problem, method="fixed_point")[0], 0, 1e-9
        )

    def test_all_but_impossible(self):
        """Probabilities from 1 down to 1e-35 side by side."""
        random = np.random.RandomState(0)
        class_sets = [[1, 3], [0, 1, 2], [0, 1, 2], [3, 4]]
        generalist, *probs = (
            tf.nn.softmax(-10.0 * random.randint(0, 9, [5000, n])).numpy()
            for n in (5, 3, 4, 4, 3)
        )
        problem = generalist, probs, class_sets
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            combined = _all_asked(problem)
        with self.assertWarnsRegex(UserWarning, "fixed_point ended"):
            plain = _all_asked(problem, method="fixed_point", max_steps=200)
        self.assertAllLess(
            _objective(combined, problem) - _objective(plain, problem), 1e-6
        )

    @parameterized.parameters(range(6))
    def test_nothing_is_lower(self, seed):
        """By the gap of Frank and Wolfe, for models as sure as may be."""
        random = np.random.RandomState(seed)
        sharpness = random.uniform(2, 15)
        problem = equation_5_problems.problem(
            seed, 100, random.randint(4, 11), random.randint(2, 6), 3, sharpness
        )
        generalist, probs, class_sets = problem
        combined = _all_asked(problem)
        # The slope towards each class, of which none leads down.
        slope = generalist / combined
        for says, classes in zip(probs, class_sets, strict=True):
            others = np.setdiff1d(np.arange(combined.shape[1]), classes)
            slope[:, classes] += says[:, :-1] / combined[:, classes]
            outside = combined[:, others].sum(axis=1, keepdims=True)
            slope[:, others] += says[:, -1:] / outside
        self.assertAllLess(slope.max(axis=1) - (1 + len(probs)), 1e-6)

    @parameterized.parameters(
        "interior_point", "fixed_point", "gradient_descent"
    )
    def test_what_is_not_at_the_minimum_is_told(self, method):
        problem = equation_5_problems.problem(6)
        with self.assertWarnsRegex(
            UserWarning,
            rf"\d of 5 .* {method} ended: .* up to .* nats too high. T",
        ) as caught:
            combined = _all_asked(problem, method=method, max_steps=2)
        told = float(str(caught.warning).split("up to ")[1].split(" nats")[0])
        best = _objective(_all_asked(problem), problem)
        above = np.max(_objective(combined, problem) - best)
        self.assertAllClose(above, told, 0.06, 0)

    def test_who_is_asked(self):
        probs = np.array([[0.1, 0.2, 0.7, 0.0], [0.6, 0.3, 0.1, 0.0]])
        class_sets = [[0, 3], [2], [1, 2]]
        self.assertAllEqual(
            specialists.active_specialists(probs, class_sets),
            [[False, True, True], [True, False, False]],
        )
        self.assertAllEqual(
            specialists.active_specialists(probs, class_sets, top_n=2),
            [[False, True, True], [True, False, True]],
        )

    def test_float32_is_near_float64(self):
        generalist, probs, class_sets = equation_5_problems.problem(
            5, 50, 40, 6, 8
        )
        exact = specialists.combine(generalist, probs, class_sets)
        combined = specialists.combine(
            generalist.astype(np.float32), probs, class_sets
        )
        self.assertEqual(combined.dtype, tf.float32)
        self.assertAllClose(combined, exact, 0, 1e-7)

    def test_zeros(self):
        """Probabilities of 0 on all sides give numbers."""
        combined = specialists.combine(
            np.array([[1.0, 0.0, 0.0]]), [np.array([[0.0, 1.0]])], [[0]]
        )
        self.assertAllClose(combined, [[0.5, 0.25, 0.25]])

    @parameterized.parameters(
        "interior_point", "fixed_point", "gradient_descent"
    )
    def test_not_a_number_stays_in_its_row(self, method):
        generalist = np.array([[0.2, 0.2, 0.3, 0.3]] * 4)
        first = np.array([[0.1, 0.3, 0.6]] * 4)
        other = np.array([[0.5, 0.5, 0.0]] * 4)
        first[1] = np.nan
        # Nobody asks it there.
        other[2] = np.nan
        generalist[3] = np.nan
        asked = np.array([[True, False]] * 4)
        combined = specialists.combine(
            generalist,
            [first, other],
            [[0, 1], [2, 3]],
            active=asked,
            method=method,
        ).numpy()
        self.assertAllClose(combined[[0, 2]], [[0.15, 0.25, 0.3, 0.3]] * 2)
        self.assertTrue(np.isnan(combined[[1, 3]]).all())
        # At the minimum from the first there is no step to show it.
        alone = specialists.combine(
            generalist[1:2],
            [first[1:2]],
            [[0, 1]],
            active=[[True]],
            method=method,
        )
        self.assertTrue(np.isnan(alone).all())

    def test_is_traced_once(self):
        minimum = combination._MINIMA[combination.INTERIOR_POINT]
        for sizes in ((4, 10, 2, 3), (5, 12, 3, 4), (1, 9, 1, 2)):
            specialists.combine(*equation_5_problems.problem(0, *sizes))
        self.assertEqual(minimum.experimental_get_tracing_count(), 1)

    def test_speed(self):
        """10,000 images of 100 classes, 3 of 15 specialists active.

        Specialists say much the same as the generalist, as real ones do.
        """
        random = np.random.RandomState(2)
        logits = 3.0 * random.randn(10_000, 100)
        _, _, class_sets = equation_5_problems.problem(2, 1, 100, 15, 12)
        probs = []
        for classes in class_sets:
            seen = np.exp(logits + 0.5 * random.randn(*logits.shape))
            others = seen.sum(axis=1) - seen[:, classes].sum(axis=1)
            says = np.concatenate([seen[:, classes], others[:, None]], axis=1)
            probs.append(says / says.sum(axis=1, keepdims=True))
        active = np.zeros((10_000, 15), bool)
        active[:, [1, 5, 9]] = True
        generalist = tf.nn.softmax(logits.astype(np.float32))
        begin = time.monotonic()
        specialists.combine(generalist, probs, class_sets, active=active)
        self.assertLess(time.monotonic() - begin, 5.0)


if __name__ == "__main__":
    tf.test.main()
