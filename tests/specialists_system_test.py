"""A generalist and specialists as one model: values, saving, teaching."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

import kd_keras
from kd_keras import models
from kd_keras import specialists

_SETS = [[0, 3], [4, 1, 2]]
_SHIFTS = [1.5, -0.3]


def _system(**kwargs):
    generalist = models.mlp((3, 3, 1), 6, (8,), seed=1)
    nets = [
        models.mlp((3, 3, 1), size, (4,), seed=size, dropout=0.5)
        for size in (3, 4)
    ]
    system = specialists.combined_model(
        generalist, nets, _SETS, _SHIFTS, **kwargs
    )
    return system, generalist, nets


def _images(count=16):
    return np.random.RandomState(0).randn(count, 3, 3, 1).astype(np.float32)


class CombinedModelTest(tf.test.TestCase):
    def test_what_it_says(self):
        """The shift goes to the dustbin; the rest is `combine`."""
        for top_n in (1, 3):
            system, generalist, nets = _system(top_n=top_n)
            images = _images()
            logits = [net.predict_on_batch(images) for net in nets]
            for one, shift in zip(logits, _SHIFTS, strict=True):
                one[:, -1] += shift
            expected = specialists.combine(
                tf.nn.softmax(generalist.predict_on_batch(images)),
                [tf.nn.softmax(one) for one in logits],
                _SETS,
                top_n=top_n,
            )
            found = np.exp(system.predict_on_batch(images))
            self.assertAllClose(found, expected, 1e-4, 1e-5)

    def test_full_softmax(self):
        """The arithmetic mean of those that are asked, after the shift."""
        generalist, *nets = (
            models.mlp((3, 3, 1), 6, (8,), seed=seed) for seed in range(3)
        )
        system = specialists.combined_model(
            generalist, nets, _SETS, _SHIFTS, top_n=2, full_softmax=True
        )
        images = _images()
        before = tf.nn.softmax(generalist.predict_on_batch(images)).numpy()
        first_two = np.argsort(-before, axis=1)[:, :2]
        expected = before.astype(np.float64)
        count = np.ones([len(images), 1])
        for net, classes, shift in zip(nets, _SETS, _SHIFTS, strict=True):
            logits = net.predict_on_batch(images).astype(np.float64)
            logits[:, np.setdiff1d(range(6), classes)] += shift
            asked = np.isin(first_two, classes).any(axis=1, keepdims=True)
            expected += asked * tf.nn.softmax(logits).numpy()
            count += asked
        self.assertLen(np.unique(count), 2)
        self.assertAllClose(
            np.exp(system.predict_on_batch(images)), expected / count, 0, 1e-6
        )
        folder = self.enterContext(tempfile.TemporaryDirectory())
        system.save(f"{folder}/system.keras")
        self.assertAllClose(
            keras.saving.load_model(f"{folder}/system.keras")(images),
            system(images),
            1e-6,
            1e-6,
        )
        with self.assertRaisesRegex(ValueError, "each of 6 classes.*3 logits"):
            specialists.combined_model(
                generalist,
                [models.mlp((3, 3, 1), 3, (4,))],
                _SETS[:1],
                _SHIFTS[:1],
                full_softmax=True,
            )

    def test_saved(self):
        system, _, _ = _system(top_n=2)
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        system.save(folder / "system.keras")
        loaded = keras.saving.load_model(folder / "system.keras")
        self.assertAllClose(
            loaded.predict_on_batch(_images()),
            system.predict_on_batch(_images()),
            1e-6,
            1e-6,
        )

    def test_teaches(self):
        system, _, _ = _system()
        images = _images(256)
        student = models.mlp((3, 3, 1), 6, (32,), seed=9)
        distiller = kd_keras.Distiller(
            student=student, teacher=system, temperature=1.0, soft_weight=1.0
        )
        distiller.compile(keras.optimizers.Adam(0.01))
        logs = distiller.fit(
            tf.data.Dataset.from_tensor_slices(images).batch(64),
            epochs=60,
            verbose=0,
        ).history["loss"]
        self.assertLess(logs[-1], 0.1 * logs[0])
        says, learnt = (
            model.predict(images, verbose=0).argmax(axis=1)
            for model in (system, student)
        )
        self.assertGreater(np.mean(says == learnt), 0.7)

    def test_the_layer_by_itself(self):
        logits = [np.zeros([2, 6]), np.zeros([2, 3])]
        layer = specialists.CombineSpecialists([[0, 3]], [0.0])
        # Of what the specialist says of 0 and 3, a third each, and of six.
        self.assertAllClose(
            np.exp(layer(logits)),
            [[0.25] + [0.125] * 2 + [0.25] + [0.125] * 2] * 2,
        )
        for sets, top_n in (([[0, 6]], 1), ([[0, 3]], 7)):
            layer = specialists.CombineSpecialists(sets, [0.0], top_n)
            with self.assertRaisesRegex(ValueError, "0 to 5|1 to 6"):
                layer(logits)

    def test_refused(self):
        """When it is made, and not when it is called first."""
        _, generalist, nets = _system()
        probabilities = keras.Sequential([nets[0], keras.layers.Softmax()])
        both = keras.Input((3,)), keras.Input((3,))
        two_inputs = keras.Model(both, keras.layers.Add()(both))
        for arguments, error, says in (
            ((nets, _SETS[:1]), ValueError, "2 specialists and 1 sets"),
            (
                (nets, [[0, 3, 5], [4, 1, 2]]),
                ValueError,
                "Specialist 0 has 3 classes",
            ),
            ((nets, [[0, 6], [4, 1, 2]]), ValueError, "some of 0 to 5"),
            ((nets, [[0, 0], [4, 1, 2]]), ValueError, "each once"),
            ((nets, [[0, 1.0], [4, 1, 2]]), TypeError, "Received: 1.0"),
            (
                ([probabilities, nets[1]], _SETS),
                ValueError,
                "The specialist 0 ends in softmax.*Drop it;",
            ),
            ((nets[0], _SETS), TypeError, "list of models. Received: Func"),
            (
                ([nets[0], lambda x: x], _SETS),
                ValueError,
                "specialist 1 is to be a Functional",
            ),
            (([nets[0], two_inputs], _SETS), ValueError, "with one input"),
        ):
            with self.assertRaisesRegex(error, says):
                specialists.combined_model(generalist, *arguments, _SHIFTS)
        for shifts, top_n, error, says in (
            ([0.0], 1, ValueError, "2 sets of classes and 1"),
            ([0.0, np.nan], 1, ValueError, "finite. Received: .0.0, nan"),
            (["1", 0.0], 1, TypeError, r"`dustbin_shifts\[0\]` is a number"),
            (0.5, 1, TypeError, "a list with a number.*Received: 0.5"),
            (_SHIFTS, 7, ValueError, "from 1 to 6. Received: 7"),
            (_SHIFTS, 1.5, TypeError, "Received: 1.5"),
        ):
            with self.assertRaisesRegex(error, says):
                specialists.combined_model(
                    generalist, nets, _SETS, shifts, top_n=top_n
                )

    def test_one_that_knows_all_has_no_dustbin(self):
        """Two full distributions: the arithmetic mean."""
        generalist, other = (
            models.mlp((3, 3, 1), 4, (5,), seed=seed) for seed in range(2)
        )
        everything = [[2, 0, 1, 3]]
        system = specialists.combined_model(
            generalist, [other], everything, [9.0]
        )
        images = _images()
        mean = tf.nn.softmax(generalist(images)).numpy()
        mean[:, everything[0]] += tf.nn.softmax(other(images)).numpy()
        self.assertAllClose(np.exp(system(images)), mean / 2, 1e-6)
        with self.assertRaisesRegex(ValueError, "4 classes and no dustbin"):
            five = models.mlp((3, 3, 1), 5, (5,))
            specialists.combined_model(generalist, [five], everything, [0.0])

    def test_layer_refuses(self):
        layer = specialists.CombineSpecialists([[0, 3]], [0.0])
        with self.assertRaisesRegex(ValueError, "then of 1 specialists"):
            layer(np.zeros([2, 6]))
        with self.assertRaisesRegex(TypeError, "`full_softmax` is True or"):
            specialists.CombineSpecialists([[0, 3]], [0.0], full_softmax="no")

    def test_double_precision(self):
        logits = np.random.RandomState(0).randn(2, 6), np.zeros([2, 3])
        one, other = (
            specialists.CombineSpecialists([[0, 3]], [0.7], dtype=dtype)(logits)
            for dtype in ("float64", "float32")
        )
        self.assertEqual(one.dtype, "float64")
        self.assertAllClose(one, other, 1e-6)

    def test_of_one_name(self):
        """Each process counts names from the first on."""
        _, generalist, nets = _system()
        for one in nets:
            one.name = "sequential"
        with self.assertRaisesRegex(ValueError, "more than once: .'sequentia"):
            specialists.combined_model(generalist, nets, _SETS, _SHIFTS)
        nets[0].name = "combined"
        with self.assertRaisesRegex(ValueError, "more than once: .'combined"):
            specialists.combined_model(generalist, nets, _SETS, _SHIFTS)
        nets[0].name = "first"
        combined = specialists.combined_model(generalist, nets, _SETS, _SHIFTS)
        self.assertEqual(combined.output_shape, (None, 6))


if __name__ == "__main__":
    tf.test.main()
