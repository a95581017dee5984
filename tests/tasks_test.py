"""Tasks on disk: each done once, and none lost with a process that dies."""

import multiprocessing
import os
import pathlib
import tempfile
import threading
import time
from concurrent import futures

import tensorflow as tf

from kd_keras import locks
from kd_keras import runs
from kd_keras.training import tasks

NAMES = [f"task-{number}" for number in range(6)]


class TasksTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = pathlib.Path(folder) / "out"

    def run_of(self, config=None, **kwargs):
        run = runs.Run(self.path, config or {"program": "p", "epochs": 3})
        with run.begin(**kwargs):
            pass
        return run

    def test_each_is_done_once(self):
        """Three at a time, which all end when nothing is left for them."""
        done, together = [], threading.Barrier(3)

        def work(number):
            run = self.run_of(wait=True)
            together.wait()

            def do(name):
                time.sleep(0.05)
                done.append((name, number))
                return [name, number]

            return tasks.work_through(run, NAMES, do)

        with futures.ThreadPoolExecutor(3) as threads:
            all_done = list(threads.map(work, range(3)))
        self.assertCountEqual([name for name, _ in done], NAMES)
        self.assertLen({number for _, number in done}, 3)
        self.assertIn(True, all_done)
        run = self.run_of()
        self.assertCountEqual([tuple(run.done(name)) for name in NAMES], done)
        self.assertEmpty(list(run.work.glob("*.lock")))

    def test_a_killed_one_is_free_again(self):
        """Also for a process that was at work meanwhile."""
        run = self.run_of()
        context = multiprocessing.get_context("fork")
        claimed = context.Event()

        def hang(name):
            claimed.set()
            time.sleep(60)

        process = context.Process(
            target=tasks.work_through, args=(run, NAMES, hang)
        )
        process.start()
        self.assertTrue(claimed.wait(30))
        done = []

        def do(name):
            # The last that is left: now the other one dies.
            if name == NAMES[-1]:
                process.kill()
                process.join()
            done.append(name)
            return name

        self.assertTrue(tasks.work_through(run, NAMES, do))
        self.assertEqual(done, [*NAMES[1:], NAMES[0]])

    def test_what_another_one_holds_is_left(self):
        run = self.run_of()
        with locks.hold(run.work / NAMES[2]):
            self.assertTrue(locks.is_held(run.work / f"{NAMES[2]}.lock"))
            self.assertFalse(tasks.work_through(run, NAMES, str))
        self.assertFalse(run.has_unit(NAMES[2]))
        self.assertTrue(tasks.work_through(run, NAMES, str))

    def test_a_failure_is_told(self):
        """Even one of the kind by which a claim is refused."""
        run = self.run_of()

        def fails(name):
            raise FileExistsError("the disk")

        with self.assertRaisesRegex(FileExistsError, "the disk"):
            tasks.work_through(run, NAMES, fails)
        self.assertTrue(tasks.work_through(run, NAMES, str))

    def test_another_one_published(self):
        first, second = self.run_of(), self.run_of()
        self.assertTrue(tasks.work_through(first, NAMES, str))
        with first.begin_last() as is_left:
            self.assertTrue(is_left)
            first.publish()
        self.assertFalse(tasks.work_through(second, NAMES, None))
        with second.begin_last() as is_left:
            self.assertFalse(is_left)
        self.assertEqual(os.listdir(self.path.parent), ["out"])
        self.assertEqual(os.listdir(self.path), ["config.json"])

    def test_another_configuration(self):
        run = self.run_of()
        other = {"program": "p", "epochs": 4}
        with self.assertRaisesRegex(ValueError, "`epochs` is 3 there, and 4"):
            self.run_of(other)
        replacing = runs.Run(self.path, other, overwrite=True)
        with locks.hold(run.work / NAMES[0]):
            with self.assertRaisesRegex(FileExistsError, "at work in"):
                with replacing.begin():
                    pass
        with replacing.begin():
            pass
        # Who comes late does not write into what is another's now.
        self.assertFalse(tasks.work_through(run, NAMES, None))


if __name__ == "__main__":
    tf.test.main()
