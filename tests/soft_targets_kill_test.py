"""A writer that is killed leaves nothing to read, and goes on where it was."""

import pathlib
import random
import signal
import subprocess
import tempfile
import time

import pytest
import tensorflow as tf

from kd_keras import soft_targets
from tests import processes
from tests import stored_targets

NUM_EXAMPLES = 320
NUM_RANGES = 8
BATCH_SIZE = 8


def slow_teacher(seconds):
    """A teacher that takes so long for a batch."""
    model = stored_targets.teacher()

    def wait(x):
        time.sleep(seconds)
        return x

    def teacher(x):
        waited = tf.numpy_function(wait, [x], tf.float32)
        return model(tf.ensure_shape(waited, x.shape))

    return teacher


def write(path, seconds):
    """Writes the store, from the beginning or from where it was."""
    print("begin", flush=True)
    stored_targets.write(
        pathlib.Path(path),
        slow_teacher(seconds),
        stored_targets.source(stored_targets.pixels(NUM_EXAMPLES)),
        num_ranges=NUM_RANGES,
        batch_size=BATCH_SIZE,
        teacher_fingerprint="slow",
    )
    print("end", flush=True)


def content(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


class KillTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enterContext(tempfile.TemporaryDirectory())
        )

    def start(self, path, seconds=0.02):
        program = (
            "from tests import soft_targets_kill_test as t; "
            f"t.write({str(path)!r}, {seconds})"
        )
        process = processes.start(["-c", program], {})
        line = ""
        while line != "begin\n":
            line = process.stdout.readline()
            self.assertNotEqual(line, "", "it ended before it began")
        return process

    def check(self, num_kills):
        unbroken = self.folder / "unbroken"
        process = self.start(unbroken)
        begin = time.monotonic()
        process.communicate(timeout=processes.PATIENCE)
        duration = time.monotonic() - begin
        expected = content(unbroken)
        rng = random.Random(0)
        ranges_kept = []
        for number in range(3 * num_kills):
            if len(ranges_kept) == num_kills:
                break
            path = self.folder / f"{number}"
            process = self.start(path)
            try:
                process.communicate(timeout=rng.uniform(0, 0.9 * duration))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            if path.exists():
                # It was faster this time.
                self.assertEqual(content(path), expected)
                continue
            with self.assertRaises(FileNotFoundError):
                soft_targets.open_store(path)
            with self.assertRaises((FileNotFoundError, ValueError)):
                soft_targets.open_store(self.folder / f"{number}.partial")
            done = list((self.folder / f"{number}.partial").glob("range-*"))
            ranges_kept.append(len(done))
            # By the same call, in this process.
            write(path, 0.0)
            self.assertEqual(content(path), expected)
        self.assertLen(ranges_kept, num_kills)
        print(f"ranges kept at the kills: {ranges_kept}")

    @pytest.mark.slow
    def test_many_kills(self):
        self.check(20)


class ResumeTest(tf.test.TestCase):
    def test_no_example_is_computed_twice(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "store"
        source = stored_targets.source(stored_targets.pixels(40))
        seen = []

        def teacher(fails):
            model = stored_targets.teacher()

            def note(x):
                if fails and len(seen) == 7:
                    raise RuntimeError("out of memory")
                seen.append(len(x))
                return x

            def call(x):
                noted = tf.numpy_function(note, [x], tf.float32)
                return model(tf.ensure_shape(noted, x.shape))

            return call

        def write(fails):
            stored_targets.write(
                path,
                teacher(fails),
                source,
                num_ranges=4,
                batch_size=5,
                teacher_fingerprint="counted",
            )

        with self.assertRaisesRegex(Exception, "out of memory"):
            write(True)
        # First the canaries, twice.
        self.assertEqual(seen, [32, 32] + [5] * 5)
        write(False)
        # Two of four ranges were done, of which a block is compared; half of
        # the third is done again.
        self.assertEqual(seen[7:], [32, 5, 5] + [5] * 4)
        store = soft_targets.open_store(path)
        self.assertLen(list(store.examples(source)), 40)


if __name__ == "__main__":
    tf.test.main()
