"""An output directory is complete or not there, and goes on where it was."""

import contextlib
import fcntl
import io
import json
import os
import pathlib
import signal
import tempfile
from unittest import mock

import tensorflow as tf
from absl.testing import parameterized

from kd_keras import locks
from kd_keras import runs
from tests import processes

CONFIG = {"temperature": 4.0, "units": [400, 400], "name": None}

# Holds the lock of the run in argv[1] until it is killed.
_HOLD = """
import sys, time
from kd_keras import locks
from kd_keras import runs
with runs.Run(sys.argv[1], {"temperature": 4.0}).begin():
    print("holding", flush=True)
    time.sleep(600)
"""


class RunTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.output_dir = pathlib.Path(folder.name) / "runs" / "one"
        self.partial = self.output_dir.with_name("one.partial")

    def make(self, **kwargs):
        return runs.Run(
            self.output_dir, CONFIG | kwargs.pop("config", {}), **kwargs
        )

    def finished(self, text="kept"):
        with self.make(overwrite=True).begin() as run:
            (run.path / "result.txt").write_text(text)
            run.publish()

    def broken(self):
        with self.assertRaises(KeyboardInterrupt):
            with self.make().begin() as run:
                run.finish("first", {"errors": 3})
                raise KeyboardInterrupt

    def test_nothing_is_seen_before_all_is_done(self):
        with self.make().begin({"started": "now"}) as run:
            self.assertEqual(run.path, self.partial)
            self.assertIsNone(run.done("first"))
            run.finish("first", {"errors": 3})
            self.assertEqual(run.done("first"), {"errors": 3})
            (run.path / "result.txt").write_text("done")
            self.assertFalse(self.output_dir.exists())
            run.publish()
        self.assertEqual(os.listdir(self.output_dir.parent), ["one"])
        self.assertCountEqual(
            os.listdir(self.output_dir), ["config.json", "result.txt"]
        )
        config = json.loads((self.output_dir / "config.json").read_text())
        self.assertEqual(config, CONFIG | {"started": "now"})

    def test_goes_on_where_it_was_broken_off(self):
        self.broken()
        self.assertFalse(self.output_dir.exists())
        # A tuple is a list to JSON.
        with self.make(config={"units": (400, 400)}).begin() as run:
            self.assertEqual(run.done("first"), {"errors": 3})
            self.assertIsNone(run.done("second"))

    def test_nothing_is_left_where_nothing_was_done(self):
        # As of a wrong setting: the right one is not held up by it.
        with self.assertRaises(ValueError):
            with self.make(config={"wrong": 1}).begin():
                raise ValueError
        self.assertFalse(self.partial.exists())
        with self.make().begin() as run:
            run.finish("first", 1)
            run.publish()

    def test_what_was_done_is_left(self):
        with self.assertRaises(ValueError):
            with self.make().begin() as run:
                (run.work / "state.npz").write_text("half a training")
                raise ValueError
        self.assertTrue((self.partial / "work" / "state.npz").is_file())

    def test_an_empty_directory_is_no_old_output(self):
        self.output_dir.mkdir(parents=True)
        for _ in range(2):
            self.finished()
        self.assertEqual(os.listdir(self.output_dir.parent), ["one"])

    def test_links(self):
        self.output_dir.parent.mkdir()
        target = self.output_dir.with_name("target")
        self.output_dir.symlink_to(target)
        for _ in range(2):
            self.finished()
        self.assertTrue(self.output_dir.is_symlink())
        self.assertEqual((target / "result.txt").read_text(), "kept")

    def test_no_name(self):
        with self.assertRaisesRegex(ValueError, "needs a name"):
            runs.Run("/", CONFIG)

    def test_something_where_the_old_output_goes(self):
        self.finished()
        other = self.output_dir.with_name("one.replaced")
        other.mkdir()
        (other / "mine").write_text("mine")
        # Before the work, not after.
        with self.assertRaisesRegex(FileExistsError, "Move it away"):
            self.make(overwrite=True)

    def test_a_unit_half_written_is_still_to_do(self):
        self.broken()
        (self.partial / "work" / "second.json.unfinished").write_text('{"err')
        with self.make().begin() as run:
            self.assertIsNone(run.done("second"))

    def test_another_configuration_is_refused_by_its_field(self):
        self.broken()
        for config, text in (
            ({"temperature": 2.0}, "`temperature` is 4.0 there, and 2.0 here"),
            ({"units": [400]}, r"`units` is \[400, 400\] there, and \[400\]"),
            ({"new": 1}, "`new` is null there, and 1 here"),
        ):
            with self.assertRaisesRegex(ValueError, text):
                self.make(config=config)
        # Told to, it begins anew.
        other = self.make(config={"temperature": 2.0}, overwrite=True)
        with other.begin() as run:
            self.assertIsNone(run.done("first"))

    def test_overwrite_goes_on_with_its_own_run(self):
        self.broken()
        with self.make(overwrite=True).begin() as run:
            self.assertEqual(run.done("first"), {"errors": 3})

    def test_a_finished_one_is_kept(self):
        self.finished()
        with self.assertRaisesRegex(FileExistsError, "already. .*--overwrite"):
            self.make()
        with self.assertRaisesRegex(
            FileExistsError, "already, .*`temperature` is 4.0 there, and 1.0"
        ):
            self.make(config={"temperature": 1.0})
        self.assertEqual((self.output_dir / "result.txt").read_text(), "kept")
        self.finished("replaced")
        self.assertEqual(
            (self.output_dir / "result.txt").read_text(), "replaced"
        )
        self.assertEqual(os.listdir(self.output_dir.parent), ["one"])

    def test_whether_it_is_published(self):
        self.assertFalse(runs.is_published(self.output_dir, CONFIG))
        self.broken()
        self.assertFalse(runs.is_published(self.output_dir, CONFIG))
        with self.make().begin({"started": "now"}) as run:
            run.publish()
        self.assertTrue(runs.is_published(self.output_dir, CONFIG))
        other = {**CONFIG, "temperature": 2.0}
        self.assertFalse(runs.is_published(self.output_dir, other))

    def test_what_is_no_run_is_never_removed(self):
        self.output_dir.mkdir(parents=True)
        (self.output_dir / "thesis.txt").write_text("years of work")
        with self.assertRaisesRegex(FileExistsError, "no config.json"):
            self.make(overwrite=True)
        (self.output_dir / "thesis.txt").unlink()
        self.partial.mkdir()
        (self.partial / "thesis.txt").write_text("years of work")
        with self.assertRaisesRegex(FileExistsError, "thesis.txt"):
            with self.make(overwrite=True).begin():
                self.fail("has begun")
        self.assertTrue((self.partial / "thesis.txt").exists())

    def test_what_has_the_name_of_a_replaced_output_is_kept(self):
        self.finished("old")
        other = self.output_dir.with_name("one.replaced")
        other.mkdir()
        (other / "thesis.txt").write_text("years of work")
        with self.assertRaisesRegex(FileExistsError, "one.replaced"):
            self.finished("new")
        self.assertTrue((other / "thesis.txt").exists())
        self.assertEqual((self.output_dir / "result.txt").read_text(), "old")
        (other / "thesis.txt").unlink()
        other.rmdir()
        self.finished("new")
        self.assertEqual((self.output_dir / "result.txt").read_text(), "new")

    def test_killed_while_it_was_made(self):
        (self.partial / "work").mkdir(parents=True)
        (self.partial / "config.json").write_text("{}")
        with self.make().begin() as run:
            run.finish("first", 1)

    def test_killed_while_it_was_published(self):
        """The old output was moved away, the new one not yet renamed."""
        self.finished("old")
        with self.make(overwrite=True).begin() as run:
            (run.path / "result.txt").write_text("new")
        os.rename(self.output_dir, self.output_dir.with_name("one.replaced"))
        with self.make().begin() as run:
            run.publish()
        self.assertEqual((self.output_dir / "result.txt").read_text(), "new")
        # What was replaced then is of no use any more.
        self.finished("newer")
        self.assertEqual(os.listdir(self.output_dir.parent), ["one"])

    def test_two_processes_do_not_work_on_one_run(self):
        process = processes.start(["-c", _HOLD, str(self.output_dir)], {})
        for line in process.stdout:
            if "holding" in line:
                break
        config = {"temperature": 4.0}
        with self.assertRaisesRegex(FileExistsError, "Another process"):
            with runs.Run(self.output_dir, config).begin():
                self.fail("has begun")
        # That it is at work counts more than that it is another one.
        with self.assertRaisesRegex(
            FileExistsError, "at work in .*4.0 there, and 2.0 here"
        ):
            runs.Run(self.output_dir, {"temperature": 2.0})
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with self.assertRaisesRegex(ValueError, "broken off, .*4.0 there"):
            runs.Run(self.output_dir, {"temperature": 2.0})
        # The lock ended with the process.
        with runs.Run(self.output_dir, config).begin() as run:
            run.publish()
        self.assertEqual(os.listdir(self.output_dir.parent), ["one"])

    def test_lock_of_a_file_that_is_gone(self):
        """Opened, then removed by who held it, and made again by a third."""
        self.output_dir.parent.mkdir(exist_ok=True)
        lock = self.output_dir.with_name("one.lock")
        whole = fcntl.flock

        def meanwhile(*arguments):
            lock.unlink()
            lock.write_text("of a third")
            whole(*arguments)

        with mock.patch.object(fcntl, "flock", meanwhile):
            with self.assertRaisesRegex(FileExistsError, "Another process"):
                with locks.hold(self.output_dir):
                    self.fail("has begun")
        self.assertEqual(lock.read_text(), "of a third")

    def test_a_unit_that_is_damaged_is_named(self):
        with self.make().begin() as run:
            run.finish("one", {"a": 1})
            (run.work / "one.json").write_text('{"a"')
            with self.assertRaisesRegex(ValueError, "one.json is damaged. Rem"):
                run.done("one")

    def test_who_waits_says_so(self):
        self.output_dir.parent.mkdir(exist_ok=True)
        told = io.StringIO()
        other = contextlib.ExitStack()
        other.enter_context(locks.hold(self.output_dir))

        def naps(seconds):
            if told.getvalue():
                other.close()

        with (
            other,
            mock.patch.object(locks, "_PATIENCE", 0.0),
            mock.patch.object(locks.time, "sleep", naps),
            contextlib.redirect_stderr(told),
            locks.hold(self.output_dir, wait=True),
        ):
            pass
        self.assertRegex(told.getvalue(), r"\AWaiting: .* holds .*one\.\n\Z")


if __name__ == "__main__":
    tf.test.main()
