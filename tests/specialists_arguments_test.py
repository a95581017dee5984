"""What `combine` and `objective` refuse, before they compute anything."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import specialists
from tests import equation_5_problems


class ArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        ({"method": "newton"}, ValueError, "newton"),
        ({"max_steps": -1}, ValueError, "from 0 to .* Received: -1"),
        ({"max_steps": 2**40}, ValueError, "Received: 1099511627776"),
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
        # Its own classes alone, which do not sum to 1, either.
        ({"first": np.full([5, 4], 0.2)}, ValueError, "classes and a dustbin"),
        ({"first": [[0.5, 0.5, 0.5, -0.5, 0.0]] * 5}, ValueError, "-0.5"),
        ({"first": [[np.inf, 0.5, 0.5, 0.0, 0.0]] * 5}, ValueError, "inf"),
        ({"generalist_probs": np.full([5, 12], 0.2)}, ValueError, "of sum 1"),
        ({"active": np.ones([5, 4])}, TypeError, "bool tensor.*float64"),
        ({"specialist_probs": None}, TypeError, "list with.*NoneType"),
        ({"method": ["x"]}, ValueError, "`method` is one of.*'x'"),
        ({"active": np.ones([1, 4], bool)}, ValueError, r"shape \[5, 4\]"),
    )
    def test_refused(self, change, error, says):
        """Before anything is computed, and not by a graph."""
        generalist, probs, class_sets = equation_5_problems.problem(0)
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

    def test_one_row_is_not_for_all_in_a_graph(self):
        generalist, (first, *others), sets = equation_5_problems.problem(0)
        active = equation_5_problems.all_active(generalist, sets)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 5], tf.float64),
                tf.TensorSpec([None, 4], tf.bool),
                tf.TensorSpec([None, 12], tf.float64),
            ]
        )
        def combined(probs, active, q):
            problem = generalist, [probs, *others], sets, active
            return (
                specialists.combine(*problem[:3], active=active),
                specialists.objective(q, *problem),
            )

        given = {"probs": first, "active": active, "q": generalist}
        expected = specialists.combine(
            generalist, [first, *others], sets, active=active
        )
        self.assertAllClose(combined(**given)[0], expected)
        for name, says in (
            ("probs", "`specialist_probs.0.` is not of as many"),
            ("active", "`active` is not of as many"),
            ("q", "`probs` is not of as many"),
        ):
            with self.assertRaisesRegex(tf.errors.InvalidArgumentError, says):
                combined(**{**given, name: given[name][:1]})

    def test_specialists_that_there_are_not(self):
        generalist, probs, sets = equation_5_problems.problem(0)

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.bool)])
        def value(active):
            return specialists.objective(
                generalist, generalist, probs, sets, active
            )

        with self.assertRaises(tf.errors.InvalidArgumentError):
            value(np.ones([5, 5], bool))

    def test_objective_refuses(self):
        generalist, probs, class_sets = equation_5_problems.problem(0)
        active = equation_5_problems.all_active(generalist, probs)
        for q, says in (
            (np.full([5, 11], 1 / 11), r"`probs` is of shape \[5, 12\]"),
            (np.full([1, 12], 1 / 12), r"`probs` is of shape \[5, 12\]"),
            (np.zeros([5, 12]), "Rows of `probs` are distributions"),
        ):
            with self.assertRaisesRegex(ValueError, says):
                specialists.objective(q, generalist, probs, class_sets, active)
        with self.assertRaisesRegex(TypeError, "`active` is.*Received: None"):
            specialists.objective(
                generalist, generalist, probs, class_sets, None
            )


if __name__ == "__main__":
    tf.test.main()
