"""Students to export, and how to look at what was written."""

import os
import subprocess
import sys
import textwrap

import keras
import tensorflow as tf


def small_student():
    """A student with everything that inference treats in its own way."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )


def two_inputs(outputs="dict"):
    keras.utils.set_random_seed(0)
    image = keras.Input((4,), name="image", dtype="uint8")
    words = keras.Input((None,), name="words", dtype="int32")
    embedded = keras.layers.Embedding(7, 2)(words)
    features = keras.layers.Concatenate()(
        [
            keras.layers.Rescaling(1 / 255)(image),
            keras.layers.GlobalAveragePooling1D()(embedded),
        ]
    )
    coarse = keras.layers.Dense(2, name="coarse")(features)
    fine = keras.layers.Dense(3, name="fine")(features)
    if outputs == "dict":
        return keras.Model(
            {"image": image, "words": words}, {"a": coarse, "b": fine}
        )
    return keras.Model([image, words], [coarse, fine])


class Subclassed(keras.Model):
    """A model whose inputs cannot be read from it."""

    def __init__(self, noise=0.0, outputs=1):
        super().__init__()
        self.dense = keras.layers.Dense(3)
        self.unused = keras.layers.Dense(2)
        self.noise = noise
        self.outputs_wanted = outputs

    def build(self, shape):
        self.dense.build(shape)
        self.unused.build(shape)

    def call(self, x):
        logits = self.dense(x)
        if self.noise:
            logits += self.noise * tf.random.normal([3])
        return [logits] * self.outputs_wanted


class Branching(keras.Model):
    """A model called with a nested structure."""

    def call(self, inputs):
        left, right = inputs["pair"]
        return {"sum": left + right, "nested": [left, inputs["scale"] * right]}


def signature_of(path):
    loaded = tf.saved_model.load(path)
    assert list(loaded.signatures) == ["serving_default"]
    serve = loaded.signatures["serving_default"]
    # Otherwise its variables go with what holds them.
    serve.loaded = loaded
    return serve


def leftovers(path):
    return sorted(set(os.listdir(os.path.dirname(path))))


def environment():
    """The environment for a process that imports what this one does."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(code, folder):
    """Runs Python code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    return done
