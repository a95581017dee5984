"""From a data set to a served student: the lines of the README, run."""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from kd_keras import datasets
from kd_keras import pixels
from kd_keras.export import runners
from tests import export_models
from tests import readme_test
from tests import sources


def lines():
    """The commands of the README's chain."""
    text = (sources.ROOT / "README.md").read_text()
    [chain] = [
        block
        for block in readme_test.blocks(text, "text")
        if "export_student" in block
    ]
    return [shlex.split(line) for line in chain.splitlines()]


class ChainTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_mnist(self):
        if "TFDS_DATA_DIR" not in os.environ:
            self.skipTest("TFDS_DATA_DIR is not set")
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        commands = lines()
        self.assertLen(commands, 6)
        for command in commands:
            done = self.run_line(command, folder)
            self.assertEqual(
                done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}"
            )
        rows = (folder / "runs/mnist/metrics.jsonl").read_text().splitlines()
        errors = {}
        for row in map(json.loads, rows):
            errors.setdefault(row["arm"], []).append(row["test_errors"])
        # What was measured is 310 against 628.
        self.assertLess(np.mean(errors["distilled"]), 450)
        self.assertGreater(np.mean(errors["hard labels"]), 450)
        self.assert_served(folder / "runs")

    def run_line(self, command, folder):
        """Runs a line of the README with this Python and its tools."""
        program, *arguments = command
        beside = pathlib.Path(sys.executable).with_name(program)
        start = [sys.executable] if program == "python" else [str(beside)]
        if program != "python" and not beside.exists():
            self.skipTest(f"{program} is not installed beside Python")
        return subprocess.run(
            [*start, *arguments],
            cwd=folder,
            env=export_models.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def assert_served(self, folder):
        """All files answer as the student does, on 1,000 test images."""
        test = datasets.load("mnist", "test[:1000]")
        images = next(test.dataset.batch(1000).as_numpy_iterator())["image"]
        student = keras.saving.load_model(folder / "mnist/student.keras")
        expected = student(pixels.to_float(images)).numpy()
        scale = np.abs(expected).max()
        found = {
            "saved_model_cli": np.load(folder / "answers/logits.npy"),
            "litert": runners.LiteRTModel(folder / "served/model.tflite")(
                images
            )["logits"],
            "onnx": runners.OnnxModel(folder / "served/model.onnx")(images)[
                "logits"
            ],
        }
        for name, logits in found.items():
            with self.subTest(name):
                self.assertLess(np.abs(logits - expected).max() / scale, 1e-4)
                self.assertAllEqual(logits.argmax(-1), expected.argmax(-1))
        np.save(folder / "images.npy", images)
        said = export_models.run(
            """
            import json, sys
            sys.modules["keras"] = sys.modules["kd_keras"] = None
            import numpy as np
            import tensorflow as tf
            loaded = tf.saved_model.load("served/saved_model")
            answer = loaded.signatures["serving_default"](
                image=tf.constant(np.load("images.npy")))
            print(json.dumps(answer["class_id"].numpy().tolist()))
            """,
            folder,
        ).stdout
        self.assertAllEqual(json.loads(said), expected.argmax(-1))


if __name__ == "__main__":
    tf.test.main()
