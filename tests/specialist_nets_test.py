"""A specialist begins where its generalist is."""

import keras
import numpy as np
import tensorflow as tf

from kd_keras import models
from kd_keras.training import specialist_nets


class SpecialistOfTest(tf.test.TestCase):
    def test_begins_as_the_generalist(self):
        generalist = models.convnet((8, 8, 1), 6, (4,), seed=0)
        images = np.random.RandomState(0).rand(5, 8, 8, 1)
        whole = generalist.predict_on_batch(images)
        specialist = specialist_nets.specialist_of(generalist, [4, 1])
        said = specialist.predict_on_batch(images)
        self.assertAllClose(said[:, :2], whole[:, [4, 1]], 1e-5, 1e-5)
        others = whole[:, [0, 2, 3, 5]].mean(axis=1) + np.log(4)
        self.assertAllClose(said[:, 2], others, 1e-5, 1e-5)

    def test_nothing_is_shared(self):
        generalist = models.mlp((4, 4, 1), 5, (6,), seed=0)
        before = generalist.get_weights()
        specialist = specialist_nets.specialist_of(generalist, [0, 2])
        specialist.compile(
            keras.optimizers.SGD(1.0),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        specialist.fit(
            np.ones([8, 4, 4, 1]), np.arange(8) % 3, epochs=2, verbose=0
        )
        for one, other in zip(before, generalist.get_weights(), strict=True):
            self.assertAllEqual(one, other)
        self.assertNotAllClose(specialist.get_weights()[0], before[0])

    def test_a_generalist_of_other_forms(self):
        """Sequential, as built and as read; and with a layer named as ours."""
        sequential = keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(6, "relu", name="head"),
                keras.layers.Dense(5),
            ]
        )
        path = self.get_temp_dir() + "/sequential.keras"
        sequential.save(path)
        images = np.random.RandomState(0).rand(3, 4, 4, 1)
        expected = sequential(images).numpy()[:, [4, 1]]
        for generalist in (
            sequential,
            keras.saving.load_model(path),
            keras.Model(sequential.inputs, sequential.outputs),
        ):
            specialist = specialist_nets.specialist_of(generalist, [4, 1])
            said = specialist(images).numpy()
            self.assertAllClose(said[:, :2], expected, 1e-5, 1e-5)
            self.assertEqual(specialist.layers[-1].name, "head_1")

    def test_copies_draw_alike(self):
        """Of a generalist without seeds, and nested; others draw otherwise."""
        layers = keras.layers
        inner = keras.Sequential(
            [
                keras.Input((6,)),
                layers.Reshape((3, 2)),
                layers.TimeDistributed(layers.Dropout(0.5)),
                layers.RNN([layers.LSTMCell(6, dropout=0.5)]),
                layers.Dropout(0.5),
            ],
            name="inner",
        )
        inputs = keras.Input((6,))
        outputs = keras.layers.Dense(5)(inner(keras.ops.relu(inputs)) * 2.0)
        generalist = keras.Model(inputs, outputs)
        x = np.random.RandomState(0).rand(20, 6).astype(np.float32)
        one, again, other, seed = (
            specialist_nets.seeded_copy(generalist, *seeds)(x, training=True)
            for seeds in ((0, 1), (0, 1), (0, 2), (1, 1))
        )
        self.assertAllEqual(one, again)
        self.assertNotAllClose(one, other)
        self.assertNotAllClose(one, seed)
        copy = specialist_nets.seeded_copy(generalist, 0)
        self.assertAllEqual(copy(x), generalist(x))
        # A seed that is given stays.
        seeded = models.mlp((6, 1), 5, (4,), dropout=0.5, seed=3)
        layers = zip(
            seeded.layers,
            specialist_nets.seeded_copy(seeded, 0).layers,
            strict=True,
        )
        for layer, copied in layers:
            self.assertEqual(layer.get_config(), copied.get_config())

    def test_refused(self):
        generalist = models.mlp((4, 4, 1), 3, (6,), seed=0)
        for classes in ([], [0, 0], [0, 5], [0, 1, 2]):
            with self.assertRaisesRegex(ValueError, "some of 0 to 2"):
                specialist_nets.specialist_of(generalist, classes)
        softmax = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, "softmax")]
        )
        with self.assertRaisesRegex(ValueError, "without activation"):
            specialist_nets.specialist_of(softmax, [0])


if __name__ == "__main__":
    tf.test.main()
