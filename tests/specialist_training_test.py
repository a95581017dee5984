"""Training of one specialist: parts, objective, correction of the sampling."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

import kd_keras
from kd_keras import datasets
from kd_keras import models
from kd_keras import specialists
from kd_keras.training import specialist_losses
from kd_keras.training import specialist_training


def _examples(num=64, num_classes=5):
    random = np.random.RandomState(0)
    return tf.data.Dataset.from_tensor_slices(
        {
            "image": random.randint(0, 256, [num, 4, 4, 1]).astype(np.uint8),
            "label": np.arange(num, dtype=np.int64) % num_classes,
        }
    )


def _generalist():
    """With statistics and dropout, which a frozen trunk must leave alone."""
    return models.convnet(
        (4, 4, 1), 5, (3,), dense_units=(4,), dropout=0.5, batch_norm=True
    )


class PartsTest(tf.test.TestCase, parameterized.TestCase):
    def train(self, recipe, generalist):
        """Trains by plain `fit`; returns the model after each part."""
        training = specialist_training.SpecialistTraining(
            [3, 1], recipe, _examples(), seed=0, name="third"
        )
        after = {}

        def copy():
            model = keras.models.clone_model(generalist)
            model.set_weights(generalist.get_weights())
            return model

        def fit(part, build, epochs, learning_rate, **objective):
            model = build()
            loss = objective.pop("loss", None)
            distiller = kd_keras.Distiller(
                student=model, **{"soft_weight": 0.0, **objective}
            )
            distiller.compile(
                keras.optimizers.SGD(learning_rate),
                loss
                or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                run_eagerly=True,
            )
            batches = datasets.batches(training.dataset, 16)
            distiller.fit(batches, epochs=epochs, verbose=0, shuffle=False)
            after[part] = [model.get_weights(), learning_rate, epochs]
            return model

        return training.train(copy, fit), after

    @parameterized.parameters(False, True)
    def test_head_first(self, full_softmax):
        """The trunk stays to the last bit; then all of it moves."""
        generalist = _generalist()
        recipe = specialist_training.SpecialistRecipe(
            head_epochs=2,
            epochs=1,
            head_learning_rate=0.3,
            learning_rate=0.2,
            full_softmax=full_softmax,
        )
        model, after = self.train(recipe, generalist)
        trunk = generalist.get_weights()[:-2]
        head, whole = after["head"][0], after["whole"][0]
        self.assertEqual(
            [part[1:] for part in after.values()], [[0.3, 2], [0.2, 1]]
        )
        for before, one in zip(trunk, head[:-2], strict=True):
            self.assertAllEqual(before, one)
        for before, one in zip(trunk, whole[:-2], strict=True):
            self.assertNotAllEqual(before, one)
        for one, other in zip(whole, model.get_weights(), strict=True):
            self.assertAllEqual(one, other)
        self.assertEqual(model.output_shape[-1], 5 if full_softmax else 3)
        self.assertEqual(model.name, "third")
        self.assertTrue(all(layer.trainable for layer in model.layers))

    def test_whole_at_once(self):
        recipe = specialist_training.SpecialistRecipe(0, 1, 1.0, 0.1)
        _, after = self.train(recipe, _generalist())
        self.assertEqual(list(after), ["whole"])

    def test_share(self):
        """26 of 64 examples are special; of 38 others 13 make two thirds."""
        recipe = specialist_training.SpecialistRecipe(
            0, 1, 1.0, 0.1, sampled_share=2 / 3
        )
        training = specialist_training.SpecialistTraining(
            [0, 3], recipe, _examples(), seed=0
        )
        labels = [int(one["label"]) for one in training.dataset]
        self.assertEqual([labels.count(n) for n in range(3)], [13, 13, 13])
        self.assertAllClose(training.special_share, 26 / 64)
        self.assertAllClose(training.sampled_share, 2 / 3)
        self.assertAllClose(
            training.shift(), np.log((38 / 64 / (1 / 3)) / (26 / 64 / (2 / 3)))
        )
        self.assertAllClose(
            training.shift("paper"), np.log((2 / 3) / (26 / 64))
        )
        # With all classes in the softmax labels stay what they are.
        recipe = dataclasses.replace(recipe, full_softmax=True)
        training = specialist_training.SpecialistTraining(
            [0, 3], recipe, _examples(), seed=0
        )
        kept = [int(one["label"]) for one in training.dataset]
        self.assertEqual(labels, [{0: 0, 3: 1}.get(label, 2) for label in kept])


class FullSoftmaxTest(tf.test.TestCase):
    def test_objective(self):
        """Against float64: the sum over a batch, and its gradient."""
        random = np.random.RandomState(1)
        z, v = random.randn(2, 6, 5).astype(np.float32)
        labels, own, temperature = [0, 1, 2, 3, 4, 3], [3, 1], 3.0
        distiller = kd_keras.Distiller(
            student=keras.Sequential([keras.Input((5,)), _Rows(z)]),
            teacher=lambda x: tf.constant(v),
            soft_loss=specialist_losses.OtherClassesKLDivergence(
                own, 5, temperature
            ),
            soft_weight=0.3,
        )
        distiller.compile(
            keras.optimizers.SGD(1.0),
            specialist_losses.SpecialClassesCrossentropy(own, 5),
        )
        others = [0, 2, 4]
        q = special.softmax(z.astype(np.float64), axis=1)
        p_others, q_others = (
            special.softmax(x[:, others].astype(np.float64) / temperature, 1)
            for x in (v, z)
        )
        hard = [
            -np.log(q[n, y] if y in own else q[n, others].sum())
            for n, y in enumerate(labels)
        ]
        soft = temperature**2 * (p_others * np.log(p_others / q_others)).sum(
            axis=1
        )
        target = q / q[:, others].sum(axis=1, keepdims=True)
        target[:, own] = 0.0
        for n, y in enumerate(labels):
            if y in own:
                target[n] = np.eye(5)[y]
        gradient = 0.7 * (q - target)
        gradient[:, others] += 0.3 * temperature * (q_others - p_others)
        logs = distiller.train_on_batch(
            np.zeros([6, 5]), np.array(labels), return_dict=True
        )
        self.assertAllClose(logs["hard_loss"], np.mean(hard), 1e-5)
        self.assertAllClose(logs["soft_loss"], np.mean(soft), 1e-5)
        self.assertAllClose(
            logs["loss"], 0.7 * np.mean(hard) + 0.3 * np.mean(soft), 1e-5
        )
        moved = z - distiller.student.get_weights()[0]
        self.assertAllClose(moved, gradient / 6, 1e-4, 1e-6)

    def test_what_is_learnt_is_corrected_exactly(self):
        """Whatever weight and temperature; and `combine` of what is learnt.

        One input, so that the posterior is the share of each label: of 100
        examples 10 are of class 0, of which all are seen, and 30 each of the
        others, of which 10 in all are drawn. The generalist says of these
        that they are 1, 2 and 3 as 1 to 2 to 3.
        """
        logits = np.log([[0.4, 0.1, 0.2, 0.3]]).astype(np.float32)
        student = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4)])
        distiller = kd_keras.Distiller(
            student=student,
            teacher=lambda x: tf.repeat(logits, tf.shape(x)[0], axis=0),
            soft_loss=specialist_losses.OtherClassesKLDivergence([0], 4, 4.0),
            soft_weight=0.7,
        )
        distiller.compile(
            keras.optimizers.SGD(0.5),
            specialist_losses.SpecialClassesCrossentropy([0], 4),
            steps_per_execution=300,
        )
        x, y = np.ones([20, 1], np.float32), np.repeat([0, 1, 2, 3], 5)
        y[:10] = 0
        data = tf.data.Dataset.from_tensors((x, y)).repeat(300)
        distiller.fit(data, verbose=0)
        q = tf.nn.softmax(student(np.ones([1, 1]))).numpy()
        self.assertAllClose(q, [[1 / 2, 1 / 12, 1 / 6, 1 / 4]], 1e-3, 1e-4)
        layer = specialists.CombineSpecialists(
            [[0]],
            [specialists.dustbin_shift(0.1, 0.5)],
            full_softmax=True,
        )
        together = np.exp(layer([logits, np.log(q)]))
        expected = [0.1, 0.15, 0.3, 0.45]
        self.assertAllClose(
            together,
            [(np.array([0.4, 0.1, 0.2, 0.3]) + expected) / 2],
            1e-3,
            1e-4,
        )

    def test_they_round_trip(self):
        for loss in (
            specialist_losses.OtherClassesKLDivergence([1], 3, 2.0),
            specialist_losses.SpecialClassesCrossentropy([1], 3),
        ):
            again = keras.losses.deserialize(keras.losses.serialize(loss))
            self.assertEqual(again.get_config(), loss.get_config())


class _Rows(keras.layers.Layer):
    """Logits that are weights themselves, one row for each example."""

    def __init__(self, rows):
        super().__init__()
        self.rows = self.add_weight(
            shape=rows.shape, initializer=lambda *_, **__: rows
        )

    def call(self, x):
        return self.rows + 0.0 * x

    def compute_output_shape(self, input_shape):
        return input_shape


if __name__ == "__main__":
    tf.test.main()
