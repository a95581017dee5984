"""What a saved state holds, what it refuses, and the counter of epochs."""

import contextlib
import json
import os
import pathlib
import tempfile
import zipfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import callbacks
from kd_keras.callbacks import state_file
from tests import reference


class StateFileTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.get_temp_dir(), "state.npz")

    def test_everything_comes_back(self):
        content = {
            "numbers": [1, -0.1, 1e-300, float("inf"), None, True, "ü"],
            "scalar": np.float32(0.1),
            "nested": {"": [{}, []]},
            **{
                name: np.array([[0, 1, 2]], dtype)
                for name, dtype in (
                    ("bool", bool),
                    ("int64", np.int64),
                    ("uint8", np.uint8),
                    ("float16", np.float16),
                    ("float64", np.float64),
                    ("bfloat16", "bfloat16"),
                    ("float8", "float8_e4m3fn"),
                )
            },
            "no_dimension": np.array(3, np.float32),
            "bfloat16_scalar": np.array(0.3, "bfloat16"),
            "empty": np.zeros([0, 2], np.float32),
        }
        state_file.write(self.path, content)
        found = state_file.read(self.path)
        self.assertEqual(list(found), list(content))
        for key, value in content.items():
            if not isinstance(value, (np.ndarray, np.generic)):
                self.assertEqual(found[key], value)
                continue
            self.assertEqual(type(found[key]), type(value), key)
            self.assertEqual(found[key].dtype, value.dtype)
            self.assertEqual(found[key].shape, value.shape)
            self.assertEqual(found[key].tobytes(), value.tobytes())

    def test_numpy_opens_it(self):
        state_file.write(self.path, {"kernel": np.arange(3)})
        with np.load(self.path, allow_pickle=False) as file:
            self.assertAllEqual(file["array_0"], [0, 1, 2])

    def test_no_file(self):
        self.assertIsNone(state_file.read(self.path + ".other"))

    def test_what_it_cannot_hold(self):
        with self.assertRaisesRegex(TypeError, r"object.*content.a\[1\]"):
            state_file.write(self.path, {"a": [1, object()]})
        self.assertFalse(os.path.exists(self.path))

    def test_damaged(self):
        state_file.write(self.path, {"kernel": np.arange(1000)})
        with open(self.path, "rb") as file:
            whole = file.read()
        middle = len(whole) // 2
        flipped = bytearray(whole)
        flipped[middle] ^= 1
        for damaged in (b"", b"text", whole[:middle], whole[:-1], flipped):
            with open(self.path, "wb") as file:
                file.write(damaged)
            with self.assertRaisesRegex(ValueError, "state.npz is damaged"):
                state_file.read(self.path)

    def test_any_flipped_bit(self):
        state_file.write(self.path, {"weights": np.arange(8.0), "epoch": 3})
        content = bytearray(pathlib.Path(self.path).read_bytes())
        expected = state_file.read(self.path)
        refused = 0
        for place in range(len(content)):
            damaged = content.copy()
            damaged[place] ^= 1 << place % 8
            pathlib.Path(self.path).write_bytes(damaged)
            try:
                found = state_file.read(self.path)
            except ValueError as error:
                self.assertIn("state.npz", str(error))
                refused += 1
            else:
                # In what nobody reads, as the date of an entry.
                self.assertEqual(found["epoch"], expected["epoch"])
                self.assertAllEqual(found["weights"], expected["weights"])
        self.assertGreater(refused, len(content) / 2)

    def test_newer_format(self):
        state_file.write(self.path, {})
        version = state_file.FORMAT_VERSION + 1
        metadata = json.dumps({"format_version": version}).encode()
        np.savez(self.path, metadata=np.frombuffer(metadata, np.uint8))
        with self.assertRaisesRegex(
            ValueError, f"`format_version`. Found: {version}. Expected: at most"
        ):
            state_file.read(self.path)

    def test_a_write_that_fails_leaves_the_old_one(self):
        state_file.write(self.path, {"epoch": 1})
        savez = np.savez

        def broken(file, **arrays):
            savez(file, **arrays)
            file.seek(10)
            file.truncate()
            raise OSError("No space left")

        with contextlib.ExitStack() as stack:
            stack.callback(setattr, np, "savez", savez)
            np.savez = broken
            with self.assertRaises(OSError):
                state_file.write(self.path, {"epoch": 2})
        self.assertEqual(state_file.read(self.path), {"epoch": 1})
        state_file.remove_temporary(self.path)
        self.assertEqual(os.listdir(self.get_temp_dir()), ["state.npz"])


class RefusalTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(dir=self.get_temp_dir())

    def fit(
        self,
        config=None,
        model=None,
        optimizer="adam",
        others=(),
        epochs=1,
    ):
        model = model or reference.mlp(0)
        model.compile(optimizer, reference.from_logits())
        state = callbacks.TrainingState(self.folder, config)
        state.watch([state, *others])
        x, y, _ = reference.data()
        return model.fit(
            x, y, epochs=epochs, callbacks=[state, *others], verbose=0
        )

    def test_another_configuration(self):
        config = {"seed": 1, "student": {"units": [8, 4]}, "name": None}
        self.fit(config)
        # What JSON does not tell apart is the same.
        self.fit({**config, "student": {"units": (8, 4)}})
        for change, message in (
            ({"seed": 2}, "`config.seed` differs. Found: 1. Expected: 2."),
            (
                {"student": {"units": [8, 5]}},
                r"`config.student.units\[1\]` differs. Found: 4. Expected: 5.",
            ),
            ({"more": 1}, "`config.more` .* Found: nothing. Expected: 1."),
            ({"name": "a"}, "`config.name` .* Found: None. Expected: 'a'."),
        ):
            with self.assertRaisesRegex(ValueError, message):
                self.fit({**config, **change})
        del config["name"]
        with self.assertRaisesRegex(
            ValueError, "`config.name` .* Found: None. Expected: nothing."
        ):
            self.fit(config)
        with self.assertRaisesRegex(ValueError, "`config` .* Expected: None"):
            self.fit()

    @parameterized.parameters(
        (
            {"model": {"hidden": 6}},
            r"`variables\[0\]` .* Found: 'sequential/dense/kernel: float32 "
            r"\[3, 5\]'. Expected: 'sequential/dense/kernel: float32 \[3, 6\]'",
        ),
        ({"optimizer": "sgd"}, "`variables.*adam|`variables.*momentum"),
        ({"others": ["stop"]}, r"`callbacks\[0\]`.*nothing.*EarlyStopping"),
    )
    def test_other_variables_or_callbacks(self, change, message):
        self.fit()
        if "model" in change:
            change = {"model": reference.mlp(0, **change["model"])}
        if "others" in change:
            change = {"others": [keras.callbacks.EarlyStopping("loss")]}
        with self.assertRaisesRegex(ValueError, message):
            self.fit(**change, epochs=2)

    def test_other_precision(self):
        self.fit()
        keras.config.set_floatx("float64")
        self.addCleanup(keras.config.set_floatx, "float32")
        keras.config.set_dtype_policy("float64")
        self.addCleanup(keras.config.set_dtype_policy, "float32")
        with self.assertRaisesRegex(ValueError, "Found.*float32.*float64"):
            self.fit()

    def test_not_built(self):
        model = keras.Sequential([keras.layers.Dense(4)])
        with self.assertRaisesRegex(ValueError, "Build it before `fit`"):
            self.fit(model=model)

    def test_no_json(self):
        with self.assertRaisesRegex(TypeError, "must be None or of JSON.*obj"):
            callbacks.TrainingState(self.folder, {"a": object()})

    def test_damaged(self):
        self.fit()
        path = os.path.join(self.folder, "training_state.npz")
        os.truncate(path, os.path.getsize(path) - 1)
        with self.assertRaisesRegex(ValueError, "Remove the file"):
            self.fit()
        self.assertFalse(zipfile.is_zipfile(path))

    def test_no_path(self):
        with self.assertRaisesRegex(ValueError, "must name a file"):
            callbacks.TrainingState("")

    def test_path_that_cannot_be(self):
        file = os.path.join(self.folder, "file")
        with open(file, "w"):
            self.folder = os.path.join(file, "state")
        batches = []
        noting = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: batches.append(batch)
        )
        with self.assertRaises(NotADirectoryError):
            self.fit(others=[noting])
        self.assertEqual(batches, [])

    def test_averages_between_epochs(self):
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        state = callbacks.TrainingState(self.folder)
        with self.assertRaisesRegex(ValueError, "Leave swap_on_epoch out"):
            state.watch([swap])

    def test_path(self):
        self.folder = os.path.join(self.folder, "new", "run_1.npz")
        self.fit()
        self.assertTrue(zipfile.is_zipfile(self.folder))


class EpochCounterTest(tf.test.TestCase):
    def test_set_before_the_data_is_read(self):
        counter = callbacks.EpochCounter()
        self.assertEqual(int(counter.value), 0)
        x, y, _ = reference.data()
        seen = []

        def note(x, y):
            tf.py_function(
                lambda epoch: seen.append(int(epoch)), [counter.value], []
            )
            return x, y

        # One element an epoch; others read ahead after its end.
        data = tf.data.Dataset.from_tensors((x, y)).map(note)
        model = reference.mlp(0)
        model.compile("sgd", reference.from_logits())
        model.fit(
            data, initial_epoch=3, epochs=6, callbacks=[counter], verbose=0
        )
        self.assertEqual(int(counter.value), 5)
        self.assertEqual(seen, [3, 4, 5])

    def test_on_the_host_and_not_replicated(self):
        counter = callbacks.EpochCounter()
        self.assertIn("CPU:0", counter.value.device)
        self.assertEqual(counter.value.dtype, tf.int64)
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        with strategy.scope():
            with self.assertRaisesRegex(ValueError, "outside strategy.scope"):
                callbacks.EpochCounter()

    def test_steps_per_epoch(self):
        counter = callbacks.EpochCounter()
        counter.check_steps(None)
        with self.assertRaisesRegex(ValueError, "steps_per_epoch=7"):
            counter.check_steps(7)


if __name__ == "__main__":
    tf.test.main()
