"""The same fingerprint for the same logits, another one for others."""

import pathlib

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras.soft_targets import fingerprints


class FingerprintTest(tf.test.TestCase, parameterized.TestCase):
    def model(self, **kwargs):
        return kd_keras.models.mlp((4, 4, 1), 5, (8,), **{"seed": 0, **kwargs})

    def test_the_same(self):
        first = fingerprints.fingerprint(self.model())
        for _ in range(3):
            # Keras counts the names of layers on.
            self.assertEqual(fingerprints.fingerprint(self.model()), first)
        loaded = self.model(seed=1)
        loaded.set_weights(self.model().get_weights())
        loaded.trainable = False
        self.assertEqual(fingerprints.fingerprint(loaded), first)
        loaded.save(pathlib.Path(self.get_temp_dir()) / "a.keras")
        loaded = kd_keras.load_teacher(
            pathlib.Path(self.get_temp_dir()) / "a.keras"
        )
        self.assertEqual(fingerprints.fingerprint(loaded), first)

    def test_different(self):
        class Subclass(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(5)

            def call(self, x):
                return self.dense(x)

        subclassed = Subclass()
        subclassed(np.ones((1, 4)))
        model = self.model()
        low = kd_keras.precision.low_precision(model, "bfloat16")
        mixed = kd_keras.precision.low_precision(model, "mixed_bfloat16")
        inner = keras.Sequential([keras.Input((4, 4, 1)), model])
        relu, tanh = (
            keras.Sequential(
                [
                    keras.Input((2,)),
                    keras.layers.Dense(
                        2, activation, kernel_initializer="ones"
                    ),
                    keras.layers.Dense(5, kernel_initializer="ones"),
                ]
            )
            for activation in ("relu", "tanh")
        )
        path = pathlib.Path(self.get_temp_dir()) / "saved"
        model.export(path, verbose=False)
        others = [
            model,
            self.model(seed=1),
            low,
            mixed,
            inner,
            subclassed,
            relu,
            tanh,
            kd_keras.EnsembleTeacher([model]),
            kd_keras.EnsembleTeacher([model, model]),
            kd_keras.EnsembleTeacher([model, model], mean="geometric"),
            kd_keras.EnsembleTeacher([model, model], weights=[1, 2]),
            kd_keras.EnsembleTeacher([model, self.model(seed=1)]),
            kd_keras.EnsembleTeacher([self.model(seed=1), model]),
            kd_keras.load_teacher(path),
        ]
        found = [fingerprints.fingerprint(teacher) for teacher in others]
        self.assertLen(set(found), len(found))
        self.assertEqual(
            fingerprints.fingerprint(kd_keras.load_teacher(path)), found[-1]
        )
        variables = path / "variables" / "variables.data-00000-of-00001"
        content = bytearray(variables.read_bytes())
        content[-1] ^= 1
        loaded = kd_keras.load_teacher(path)
        variables.write_bytes(content)
        self.assertNotEqual(fingerprints.fingerprint(loaded), found[-1])

    def test_branches(self):
        # The same layers, wired otherwise.
        def wired(crossed):
            x = keras.Input((2,))
            one = keras.layers.Dense(2, kernel_initializer="ones", name="a")(x)
            two = keras.layers.Dense(2, kernel_initializer="zeros", name="b")(x)
            pair = [two, one] if crossed else [one, two]
            return keras.Model(x, keras.layers.Subtract()(pair))

        self.assertNotEqual(
            fingerprints.fingerprint(wired(False)),
            fingerprints.fingerprint(wired(True)),
        )


if __name__ == "__main__":
    tf.test.main()
