"""A run that is broken off and started again ends as the unbroken one."""

import os
import random
import signal
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import callbacks
from kd_keras.callbacks import state_file
from tests import reference
from tests import resumable_runs
from tests import sources


def start(*arguments):
    """Starts a run in a process of its own."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.resumable_runs", *arguments],
        cwd=sources.ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


class ResumeTest(tf.test.TestCase, parameterized.TestCase):
    def test_bit_for_bit(self):
        self.check_bit_for_bit("adam", True, 2)

    @parameterized.parameters(
        ("loss_scale", False, 1), ("accumulation", True, 1)
    )
    @pytest.mark.slow
    def test_bit_for_bit_with(self, kind, state_first, num_breaks):
        self.check_bit_for_bit(kind, state_first, num_breaks)

    def check_bit_for_bit(self, kind, state_first, num_breaks):
        folder = self.create_folder()
        unbroken, expected = resumable_runs.train(
            f"{folder}/unbroken", kind, state_first=state_first
        )
        # The callbacks have something to remember.
        self.assertGreater(expected["plateau"][0] + expected["plateau"][2], 0)
        self.assertLess(expected["history"]["learning_rate"][-1], 0.05)

        rng = random.Random(kind)
        first = rng.randrange(1, 3), rng.randrange(resumable_runs.STEPS)
        # After the callbacks have seen the end of an epoch.
        second = first[0] + rng.randrange(1, 3), resumable_runs.STEPS
        for epoch, batch in (first, second)[:num_breaks]:
            with self.assertRaises(resumable_runs.Broken):
                resumable_runs.train(
                    f"{folder}/broken",
                    kind,
                    state_first=state_first,
                    more_callbacks=[resumable_runs.Break(epoch, batch)],
                )
        for _ in range(num_breaks):  # The second finds that all is done.
            resumed, results = resumable_runs.train(
                f"{folder}/broken", kind, state_first=state_first
            )
            self.assertEqual(results, expected)
            self.assertEqual(
                resumable_runs.values(resumed), resumable_runs.values(unbroken)
            )

    @pytest.mark.slow
    def test_killed(self):
        folder = self.create_folder()
        process = start("killed", folder)
        for line in process.stdout:
            saved = os.path.exists(f"{folder}/training_state.npz")
            if saved and line == "batch 2\n":
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(process.returncode, -signal.SIGKILL)
        with open(f"{folder}/training_state.npz.unfinished", "wb") as file:
            file.write(b"half a state")

        output, _ = start("killed", folder).communicate()
        unbroken = resumable_runs.train(f"{folder}/unbroken")
        lines = output.splitlines()
        self.assertEqual(
            lines[-1], f"digest {resumable_runs.digest(*unbroken)}"
        )
        self.assertLess(
            len(lines) - 1, resumable_runs.EPOCHS * resumable_runs.STEPS
        )
        self.assertEqual(
            sorted(os.listdir(folder)), ["training_state.npz", "unbroken"]
        )

    @pytest.mark.slow
    def test_two_replicas(self):
        process = start("mirrored", self.create_folder())
        output, _ = process.communicate()
        # Each replica has its own mean and variance of batch normalisation,
        # and its own sum.
        self.assertEqual(output, "broken\nequal True\ndiffering 3\n")

    def create_folder(self):
        return tempfile.mkdtemp(dir=self.get_temp_dir())


class Scripted(keras.callbacks.Callback):
    """Sets what others monitor."""

    def __init__(self, values):
        super().__init__()
        self.values = values
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(epoch)
        logs["score"] = self.values[epoch]


class EndTest(tf.test.TestCase, parameterized.TestCase):
    """What comes after the end, of a plain Keras model."""

    def setUp(self):
        super().setUp()
        self.x, self.y, _ = reference.data()
        self.folder = tempfile.mkdtemp(dir=self.get_temp_dir())

    def fit(self, *others, epochs=6, before=(), optimizer=None, config=None):
        model = reference.mlp(0)
        model.compile(
            optimizer or keras.optimizers.Adam(0.1), reference.from_logits()
        )
        state = callbacks.TrainingState(self.folder, config)
        everything = [*before, state, *others]
        state.watch(everything)
        history = model.fit(
            self.x,
            self.y,
            epochs=epochs,
            shuffle=False,
            callbacks=everything,
            verbose=0,
        )
        return model, history

    @parameterized.parameters(True, False)
    def test_stopped_early(self, state_first):
        def run():
            stopping = keras.callbacks.EarlyStopping(
                "score", mode="max", patience=2, restore_best_weights=True
            )
            scripted = Scripted([1, 3, 2, 2, 9, 9])
            both = (scripted, stopping)
            model, history = (
                self.fit(*both) if state_first else self.fit(before=both)
            )
            return model, history, scripted.seen, stopping

        model, history, seen, stopping = run()
        self.assertEqual(seen, [0, 1, 2, 3])
        self.assertEqual((stopping.best, stopping.best_epoch), (3, 1))
        again, history_again, seen, _ = run()
        self.assertEqual(seen, [])
        self.assertEqual(history_again.history, history.history)
        self.assertEqual(history_again.epoch, history.epoch)
        for one, other in zip(again.weights, model.weights, strict=True):
            self.assertAllEqual(one, other)
        # And these are the best ones, of the second epoch.
        self.folder = tempfile.mkdtemp(dir=self.get_temp_dir())
        best, _ = self.fit(epochs=2)
        for one, other in zip(again.weights, best.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_averaged_weights_after_the_end(self):
        def run():
            return self.fit(
                epochs=2, optimizer=keras.optimizers.SGD(0.1, use_ema=True)
            )[0]

        first, again = run(), run()
        for one, other in zip(first.weights, again.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_more_epochs(self):
        self.fit(epochs=2)
        longer, history = self.fit(epochs=4)
        self.assertEqual(history.epoch, [0, 1, 2, 3])
        self.assertLen(history.history["loss"], 4)
        self.folder = tempfile.mkdtemp(dir=self.get_temp_dir())
        at_once, expected = self.fit(epochs=4)
        self.assertEqual(history.history, expected.history)
        for one, other in zip(longer.weights, at_once.weights, strict=True):
            self.assertAllEqual(one, other)

    def test_fewer_epochs(self):
        self.fit(epochs=3)
        with self.assertRaisesRegex(ValueError, "after 3 epochs, .* train 2"):
            self.fit(epochs=2)

    def test_other_replicas_are_warned_of(self):
        self.fit(epochs=2)
        path = os.path.join(self.folder, "training_state.npz")
        state = state_file.read(path)
        state_file.write(path, {**state, "replicas": 2})
        with self.assertWarnsRegex(UserWarning, "saved by 2 replicas"):
            self.fit(epochs=3)

    def test_the_next_fit_starts_at_the_beginning(self):
        self.fit(epochs=2)
        model, _ = self.fit(epochs=3)
        history = model.fit(self.x, self.y, epochs=2, verbose=0)
        self.assertEqual(history.epoch, [0, 1])

    def test_a_callback_of_ones_own(self):
        class Counting(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                self.counts = np.zeros(2)

            def on_epoch_end(self, epoch, logs=None):
                self.counts += [1, epoch]

            def get_state(self):
                return {"counts": self.counts}

            def set_state(self, state):
                self.counts = state["counts"]

        self.fit(Counting(), epochs=2)
        counting = Counting()
        self.fit(counting, epochs=4)
        self.assertAllEqual(counting.counts, [4, 0 + 1 + 2 + 3])

    def test_best_value_of_a_checkpoint(self):
        def run(epochs):
            checkpoint = keras.callbacks.ModelCheckpoint(
                os.path.join(self.folder, "best.weights.h5"),
                "score",
                mode="max",
                save_best_only=True,
                save_weights_only=True,
            )
            self.fit(Scripted([1, 3, 2]), checkpoint, epochs=epochs)
            return os.stat(checkpoint.filepath).st_mtime_ns

        self.assertEqual(run(2), run(3))


if __name__ == "__main__":
    tf.test.main()
