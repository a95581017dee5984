"""The weights after training."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference


def _delicate():
    """A student that trains otherwise than it predicts."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((3,)),
            # Without a bias, which batch normalisation takes out again: its
            # gradient is rounding alone, and Adam makes steps of that.
            keras.layers.Dense(8, use_bias=False, kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(4),
        ]
    )


class UpdateTest(tf.test.TestCase, parameterized.TestCase):
    """The weights after training."""

    @parameterized.parameters("sgd", "adam")
    def test_soft_weight_0_is_plain_fit(self, optimizer):
        x, y, weights = reference.data()
        arguments = {"batch_size": 8, "epochs": 3, "verbose": 0}
        plain, student = _delicate(), _delicate()
        plain.compile(optimizer, reference.from_logits())
        plain.fit(x, y, sample_weight=weights, shuffle=False, **arguments)
        distiller = kd_keras.Distiller(
            student=student, teacher=reference.mlp(2), soft_weight=0
        )
        distiller.compile(optimizer, reference.from_logits())
        distiller.fit(x, y, sample_weight=weights, shuffle=False, **arguments)
        for one, other in zip(plain.weights, student.weights, strict=True):
            self.assertAllClose(one, other, 1e-7, 1e-7)

    def test_a_step_is_the_gradient_of_the_closed_form(self):
        x, y, weights = reference.data()
        weights[:5] = 0
        labels = np.where(np.arange(20) % 3 == 0, -1, y)
        teacher, student = reference.mlp(1), reference.mlp(2)
        v, z = teacher(x).numpy(), student(x).numpy()
        distiller = kd_keras.Distiller(
            student=student, teacher=teacher, temperature=5.0, soft_weight=0.7
        )
        distiller.compile(keras.optimizers.SGD(1.0), reference.from_logits())
        bias = student.layers[-1].bias.numpy()
        distiller.fit(
            x, labels, sample_weight=weights, batch_size=20, verbose=0
        )
        # Of the last bias the gradient is the sum of that of the logits.
        soft = 5.0 * (reference.softmax(z, 5.0) - reference.softmax(v, 5.0))
        hard = reference.softmax(z) - np.eye(4)[labels]
        hard *= (labels >= 0)[:, np.newaxis]
        gradient = 0.7 * soft + 0.3 * hard
        expected = bias - (gradient * weights[:, np.newaxis]).sum(0) / 20
        self.assertAllClose(student.layers[-1].bias, expected, 1e-5, 1e-6)

    def test_unlabelled_batches_are_traced_once(self):
        x, _, _ = reference.data()
        traces = []
        model = reference.mlp(1)

        def teacher(x):
            traces.append(True)
            return model(x)

        distiller = reference.compiled(
            reference.mlp(2), teacher, soft_weight=1, metrics=["accuracy"]
        )
        for _ in range(4):
            distiller.train_on_batch(x)
        self.assertLen(traces, 1)

    def test_zero_weights_move_nothing(self):
        x, y, _ = reference.data()
        student = reference.mlp(2)
        before = student.get_weights()
        distiller = kd_keras.Distiller(
            student=student, teacher=reference.mlp(1)
        )
        distiller.compile("sgd", reference.from_logits())
        distiller.fit(x, y, sample_weight=np.zeros(20), verbose=0)
        for one, other in zip(before, student.get_weights(), strict=True):
            self.assertAllEqual(one, other)

    @parameterized.parameters(
        {"run_eagerly": True},
        {"jit_compile": True},
        {"steps_per_execution": 2},
    )
    def test_the_same_weights_however_it_runs(self, **how):
        x, y, weights = reference.data()
        results = []
        for arguments in ({}, how):
            student = reference.mlp(2)
            distiller = kd_keras.Distiller(
                student=student, teacher=reference.mlp(1)
            )
            distiller.compile("sgd", reference.from_logits(), **arguments)
            distiller.fit(
                x, y, 8, 3, verbose=0, sample_weight=weights, shuffle=False
            )
            results.append(student.get_weights())
        for one, other in zip(*results, strict=True):
            self.assertAllClose(one, other, 1e-5, 1e-6)

    def test_distillation_approaches_the_teacher(self):
        x, _, _ = reference.data(200)
        teacher, student = reference.mlp(1), reference.mlp(2)
        distiller = kd_keras.Distiller(
            student=student, teacher=teacher, soft_weight=1
        )
        distiller.compile("adam")
        distiller.fit(x, epochs=60, verbose=0)
        p, q = reference.softmax(teacher(x)), reference.softmax(student(x))
        self.assertAllClose(p, q, atol=0.01)


if __name__ == "__main__":
    tf.test.main()
