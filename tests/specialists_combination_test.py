"""Equation 5: its minimum, by two ways, and what is known of it."""

import time

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import optimize

from kd_keras import specialists


def _distributions(random, count, num_classes, sharpness=2.0):
    logits = sharpness * random.randn(count, num_classes)
    return tf.nn.softmax(logits).numpy()


def _problem(
    seed, count=5, num_classes=12, num_specialists=4, size=4, sharpness=2.0
):
    """A random problem in float64."""
    random = np.random.RandomState(seed)
    class_sets = [
        random.permutation(num_classes)[:size].tolist()
        for _ in range(num_specialists)
    ]
    return (
        _distributions(random, count, num_classes, sharpness),
        [
            _distributions(random, count, size + 1, sharpness)
            for _ in class_sets
        ],
        class_sets,
    )


def _all(generalist, specialist_probs):
    return np.ones((len(generalist), len(specialist_probs)), bool)


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


class CombineTest(tf.test.TestCase, parameterized.TestCase):
    def test_nobody_is_asked(self):
        generalist, probs, class_sets = _problem(0)
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
        first, second = (_distributions(random, 6, 8) for _ in range(2))
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
        generalist, probs, class_sets = _problem(seed)
        active = _all(generalist, probs)
        combined = specialists.combine(
            generalist, probs, class_sets, active=active
        ).numpy()
        values = specialists.objective(
            combined, generalist, probs, class_sets, active
        ).numpy()
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
        generalist, probs, class_sets = _problem(3, num_specialists=1)
        combined = specialists.combine(
            generalist, probs, class_sets, active=_all(generalist, probs)
        ).numpy()
        others = np.setdiff1d(np.arange(12), class_sets[0])
        self.assertAllClose(
            combined[:, others].sum(axis=1),
            (generalist[:, others].sum(axis=1) + probs[0][:, -1]) / 2,
            1e-8,
        )

    @parameterized.parameters((20, 5, 6), (60, 10, 12))
    def test_both_ways(self, num_classes, num_specialists, size):
        self.check_both_ways(num_classes, num_specialists, size)

    # Gradient descent takes minutes for so flat a problem.
    @pytest.mark.slow
    def test_both_ways_of_many_classes(self):
        self.check_both_ways(1000, 60, 30)

    def check_both_ways(self, num_classes, num_specialists, size):
        generalist, probs, class_sets = _problem(
            7, 2, num_classes, num_specialists, size
        )
        first, second = (
            specialists.combine(
                generalist,
                probs,
                class_sets,
                active=_all(generalist, probs),
                method=method,
                max_steps=100_000,
            ).numpy()
            for method in ("fixed_point", "gradient_descent")
        )
        self.assertAllClose(first, second, 0, 1e-6)

    def test_many_classes(self):
        """1,000 classes and 60 specialists: the gradient is 0 at the end."""
        generalist, probs, class_sets = _problem(4, 3, 1000, 60, 30)
        combined = specialists.combine(
            generalist, probs, class_sets, active=_all(generalist, probs)
        ).numpy()
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
        generalist, probs, class_sets = _problem(11, 40, 20, 3, 6, sharpness)
        active = _all(generalist, probs)
        values = [
            specialists.objective(
                specialists.combine(
                    generalist,
                    probs,
                    class_sets,
                    active=active,
                    method=method,
                    max_steps=steps,
                ),
                generalist,
                probs,
                class_sets,
                active,
            ).numpy()
            for steps in range(0, 12)
        ]
        self.assertAllLessEqual(np.diff(values, axis=0), 1e-12)
        self.assertAllLess(values[-1] - values[0], 0)

    def test_models_that_are_sure_of_themselves(self):
        """Plain steps creep there: the accelerated ones do not."""
        generalist, probs, class_sets = _problem(0, 200, 20, 3, 6, 4.0)
        combined = specialists.combine(
            generalist,
            probs,
            class_sets,
            active=_all(generalist, probs),
            max_steps=40,
        )
        expected = generalist
        for _ in range(3000):
            total = generalist.copy()
            for says, classes in zip(probs, class_sets, strict=True):
                others = np.setdiff1d(range(20), classes)
                total[:, classes] += says[:, :-1]
                dealt = expected[:, others]
                dealt = dealt / dealt.sum(axis=1, keepdims=True)
                total[:, others] += says[:, -1:] * dealt
            expected = total / 4
        self.assertAllClose(combined, expected, 0, 1e-8)

    def test_what_is_not_at_the_minimum_is_told(self):
        generalist, probs, class_sets = _problem(6)
        active = _all(generalist, probs)
        for method in ("fixed_point", "gradient_descent"):
            with self.assertWarnsRegex(UserWarning, f"5 of 5.*2 .*{method}"):
                specialists.combine(
                    generalist,
                    probs,
                    class_sets,
                    active=active,
                    method=method,
                    max_steps=2,
                )

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
        generalist, probs, class_sets = _problem(5, 50, 40, 6, 8)
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

    @parameterized.parameters("fixed_point", "gradient_descent")
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

    def test_speed(self):
        """10,000 images of 100 classes, 3 of 15 specialists active."""
        generalist, probs, class_sets = _problem(2, 10_000, 100, 15, 12)
        active = np.zeros((10_000, 15), bool)
        active[:, [1, 5, 9]] = True
        begin = time.monotonic()
        specialists.combine(
            generalist.astype(np.float32), probs, class_sets, active=active
        )
        self.assertLess(time.monotonic() - begin, 5.0)

    @parameterized.parameters(
        ({"method": "newton"}, ValueError, "newton"),
        ({"max_steps": -1}, ValueError, "from 0. Received: -1"),
        ({"max_steps": 2.5}, TypeError, "`max_steps` is an int"),
        ({"top_n": 0}, ValueError, "from 1 to 12"),
        ({"top_n": 13}, ValueError, "Received: 13"),
        ({"top_n": True}, TypeError, "`top_n` is an int. Received: True"),
        ({"class_sets": [[0, 1, 2, 3]]}, ValueError, "1 specialists and.* 4"),
        ({"class_sets": 3}, TypeError, "Received: 3"),
        ({"first_set": [0, 0, 1, 2]}, ValueError, "each once"),
        ({"first_set": [12, 0, 1, 2]}, ValueError, "0 to 11"),
        ({"first_set": [-1, 0, 1, 2]}, ValueError, "0 to 11"),
        ({"first_set": [0.0, 1, 2, 3]}, TypeError, "ints. Received: 0.0"),
        ({"first_set": [True, 0, 2, 3]}, TypeError, "ints. Received: True"),
        ({"first_set": "0123"}, TypeError, "Received: '0'"),
        ({"first_set": [2, 0, 1]}, ValueError, r"\[0\]` is of shape \[5, 4\]"),
        # A dustbin in which nothing can be.
        ({"first_set": list(range(12))}, ValueError, r"is of shape \[5, 12\]"),
        ({"first": np.full([1, 5], 0.2)}, ValueError, r"Received: \(1, 5\)"),
        ({"first": np.full(5, 0.2)}, ValueError, "a row for each example"),
        ({"first": np.full([5, 5], 0.3)}, ValueError, "of sum 1.*row 0"),
        ({"first": [[0.5, 0.5, 0.5, -0.5, 0.0]] * 5}, ValueError, "-0.5"),
        ({"first": [[np.inf, 0.5, 0.5, 0.0, 0.0]] * 5}, ValueError, "inf"),
        ({"generalist_probs": np.full([5, 12], 0.2)}, ValueError, "of sum 1"),
        ({"active": np.ones([5, 4])}, TypeError, "bool tensor.*float64"),
        ({"active": np.ones([1, 4], bool)}, ValueError, r"shape \[5, 4\]"),
    )
    def test_refused(self, change, error, says):
        """Before anything is computed, and not by a graph."""
        generalist, probs, class_sets = _problem(0)
        change = dict(change)
        arguments = {
            "generalist_probs": generalist,
            "specialist_probs": [change.pop("first", probs[0]), *probs[1:]],
            "class_sets": [
                change.pop("first_set", class_sets[0]),
                *class_sets[1:],
            ],
        }
        with self.assertRaisesRegex(error, says) as raised:
            specialists.combine(**{**arguments, **change})
        self.assertNotIn("in user code", str(raised.exception))

    def test_objective_refuses(self):
        generalist, probs, class_sets = _problem(0)
        active = _all(generalist, probs)
        for q, says in (
            (np.full([5, 11], 1 / 11), r"`probs` is of shape \[5, 12\]"),
            (np.full([1, 12], 1 / 12), r"`probs` is of shape \[5, 12\]"),
            (np.zeros([5, 12]), "Rows of `probs` are distributions"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                specialists.objective(q, generalist, probs, class_sets, active)


if __name__ == "__main__":
    tf.test.main()
