"""Workers on loopback train as one process does, and end together."""

import functools

import pytest
import tensorflow as tf
from absl.testing import parameterized

from tests import replica_jobs

# Those of `replica_jobs` that cover most, and all that matter to workers.
JOBS = ("uneven", "from_dataset", "unseeded", "written")
ALL_JOBS = (*JOBS, "values", "even_many_steps", "shuffled")


def workers(number):
    jobs = JOBS if number == 2 else ALL_JOBS
    found = replica_jobs.run(replica_jobs.MULTI_WORKER, jobs, number)
    if isinstance(found[0], RuntimeError):
        raise found[0]
    return found


@functools.cache
def in_one_process(job):
    return getattr(replica_jobs, job)(tf.distribute.get_strategy())


class MultiWorkerTest(parameterized.TestCase, tf.test.TestCase):
    def check(self, number, job):
        expected = in_one_process(job)
        for got in (worker[job] for worker in workers(number)):
            for one, other in zip(
                expected["weights"], got["weights"], strict=True
            ):
                self.assertAllClose(one, other, rtol=0, atol=2e-6)
            for key in set(expected) - {"weights"}:
                self.assertAllClose(
                    expected[key], got[key], rtol=0, atol=2e-5, msg=key
                )

    def test_orders_of_their_own_are_refused(self):
        for worker in workers(2):
            self.assertIn("set_random_seed", worker["unseeded"]["said"])
        self.assertEqual(in_one_process("unseeded")["said"], "nothing")

    @parameterized.parameters("uneven", "from_dataset")
    def test_two_train_as_one(self, job):
        self.check(2, job)

    def test_two_are_identical(self):
        first, second = workers(2)
        for job in ("uneven", "from_dataset"):
            self.assertEqual(first[job]["weights"], second[job]["weights"])
            self.assertEqual(first[job]["history"], second[job]["history"])

    def test_only_the_first_writes(self):
        for worker in workers(2):
            told = worker["written"]
            self.assertTrue(told["paths kept"])
            self.assertIn("Use kd_keras.callbacks.TrainingState", told["said"])
        # The other may look before the first has written the last line.
        told = workers(2)[0]["written"]
        self.assertEqual(
            told["files"],
            ["1.keras", "2.keras", "3.keras", "best.weights.h5", "log.csv"],
        )
        self.assertEqual(told["lines"], 4)

    @pytest.mark.slow
    def test_bad_values_of_one_worker_raise_on_all(self):
        for worker in workers(3):
            label, teacher = worker["values"]["said"]
            self.assertStartsWith(label, "Step 2 of training met a label")
            self.assertStartsWith(teacher, "Step 2 of training met teacher")

    @parameterized.parameters(
        "even_many_steps", "uneven", "from_dataset", "shuffled"
    )
    @pytest.mark.slow
    def test_three_train_as_one(self, job):
        self.check(3, job)


if __name__ == "__main__":
    tf.test.main()
