"""A folder for the tests of a class, with the digits and small models."""

import pathlib
import tempfile

import keras
import tensorflow as tf

import kd_keras
from kd_keras import datasets

# Fields of a `DistillConfig` that trains in seconds.
SMALL = {
    "teacher_model": "mlp:32",
    "student_model": "mlp:8",
    "teacher_epochs": 1,
    "student_epochs": 1,
    "seeds": 1,
}


class DigitsTestCase(tf.test.TestCase):
    """Tests that share `folder`, and the digits at `data_dir` in it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.data_dir = str(cls.folder / "data")

    @classmethod
    def trained(cls, name, seed):
        """A small model that has learnt something; saved as `name`.keras."""
        model = kd_keras.models.mlp((8, 8, 1), 10, (32,), seed=seed)
        model.compile(
            keras.optimizers.Adam(0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        train = datasets.load(data_dir=cls.data_dir)
        model.fit(
            datasets.batches(train.dataset, 64, shuffle_seed=0), verbose=0
        )
        model.save(cls.folder / f"{name}.keras")
        return model
