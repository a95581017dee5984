"""The teacher: called once, in inference mode, untouched, untracked."""

import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference


def _delicate(seed):
    """A model that shows every kind of change: statistics, random state."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=seed),
            keras.layers.Dense(
                4, activity_regularizer=keras.regularizers.L2(10.0)
            ),
        ]
    )


class Counting:
    """A teacher that counts its calls as they run, not as they are traced."""

    def __init__(self, model):
        self.model = model
        self.calls = tf.Variable(0)

    def __call__(self, x):
        self.calls.assign_add(1)
        return self.model(x, training=False)


class UntouchedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters({}, {"run_eagerly": True}, {"jit_compile": True})
    def test_bit_identical_after_fit_and_evaluate(self, **how):
        x, y, _ = reference.data()
        teacher = _delicate(1)
        teacher.layers[1].trainable = False
        flags = [layer.trainable for layer in teacher.layers]
        before = [v.numpy() for v in teacher.variables]
        distiller = reference.compiled(
            reference.mlp(2),
            teacher,
            fidelity_metrics=[kd_keras.metrics.TeacherAgreement()],
            **how,
        )
        distiller.fit(x, y, epochs=2, validation_data=(x, y), verbose=0)
        distiller.evaluate(x, y, verbose=0)
        self.assertEqual(flags, [layer.trainable for layer in teacher.layers])
        # The variables include BatchNorm's statistics and dropout's state.
        self.assertLen(before, 9)
        for old, new in zip(before, teacher.variables, strict=True):
            self.assertAllEqual(old, new)

    def test_inference_mode_and_its_regularisers_do_not_count(self):
        x, y, _ = reference.data()
        teacher, student = _delicate(1), reference.mlp(2)
        distiller = reference.compiled(
            student, teacher, soft_weight=1, loss=None
        )
        logs = distiller.train_on_batch(x, return_dict=True)
        z = reference.mlp(2)(x)
        expected = 16 * reference.kl(teacher(x, training=False), z, 4).mean()
        self.assertAllClose(logs["loss"], expected, 1e-5)

    def test_no_gradient_and_no_activations_for_the_backward_pass(self):
        """The tape records nothing of what the teacher does."""
        x, y, _ = reference.data()
        recorded = []

        @tf.custom_gradient
        def spied(x):
            def gradient(upstream):
                recorded.append(True)
                return upstream

            return tf.identity(x), gradient

        weight = tf.Variable(np.ones((3, 4), "float32"))
        distiller = reference.compiled(
            reference.mlp(2), lambda x: spied(x @ weight), run_eagerly=True
        )
        distiller.fit(x, y, verbose=0)
        self.assertEmpty(recorded)
        self.assertAllEqual(weight, np.ones((3, 4)))

        tapes = []
        original = tf.GradientTape.gradient

        def gradient(tape, *args, **kwargs):
            tapes.append(tape)
            return original(tape, *args, **kwargs)

        with mock.patch.object(tf.GradientTape, "gradient", gradient):
            teacher, student = _delicate(1), reference.mlp(2)
            distiller = reference.compiled(student, teacher, run_eagerly=True)
            distiller.fit(x, y, verbose=0)
        self.assertCountEqual(
            [id(v) for v in tapes[0].watched_variables()],
            [id(v.value) for v in student.trainable_variables],
        )

    def test_plain_teacher_keeps_its_place(self):
        teacher = reference.mlp(1)
        distiller = reference.compiled(reference.mlp(2), teacher)
        self.assertIs(distiller.teacher, teacher)


class CallsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (0.0, {}),
        (0.9, {}),
        (0.9, {"run_eagerly": True}),
        (0.9, {"steps_per_execution": 2}),
        (1.0, {}),
    )
    def test_once_a_step_and_never_in_evaluate(self, soft_weight, how):
        x, y, _ = reference.data()
        teacher = Counting(reference.mlp(1))
        distiller = reference.compiled(
            reference.mlp(2), teacher, soft_weight=soft_weight, **how
        )
        distiller.fit(x, y, 8, 2, validation_data=(x, y), verbose=0)
        self.assertEqual(int(teacher.calls), 2 * 3)
        distiller.evaluate(x, y, verbose=0)
        distiller.predict(x, verbose=0)
        distiller.test_on_batch(x, y)
        self.assertEqual(int(teacher.calls), 2 * 3)

    def test_in_evaluate_for_fidelity_metrics(self):
        x, y, _ = reference.data()
        model, student = reference.mlp(1), reference.mlp(2)
        teacher = Counting(model)
        distiller = reference.compiled(
            student,
            teacher,
            fidelity_metrics=[
                kd_keras.metrics.TeacherAgreement(),
                kd_keras.metrics.PredictiveKLDivergence(),
            ],
        )
        logs = distiller.evaluate(
            x, y, batch_size=10, verbose=0, return_dict=True
        )
        self.assertEqual(int(teacher.calls), 2)
        v, z = model(x).numpy(), student(x).numpy()
        self.assertAllClose(
            logs,
            {
                "loss": reference.crossentropy(y, z).mean(),
                "soft_loss": 16 * reference.kl(v, z, 4).mean(),
                "teacher_agreement": (v.argmax(-1) == z.argmax(-1)).mean(),
                "predictive_kl": reference.kl(v, z).mean(),
            },
        )

    def test_not_with_stored_targets(self):
        x, y, _ = reference.data()
        teacher = Counting(reference.mlp(1))
        distiller = reference.compiled(reference.mlp(2), teacher)
        v = teacher.model(x).numpy()
        distiller.fit(x, {"label": y, "teacher_logits": v}, verbose=0)
        self.assertEqual(int(teacher.calls), 0)

    def test_replaced(self):
        x, y, _ = reference.data()
        first, second = (Counting(reference.mlp(seed)) for seed in (1, 3))
        student = reference.mlp(2)
        distiller = reference.compiled(
            student, first, optimizer=keras.optimizers.SGD(0.0)
        )
        distiller.fit(x, y, 20, verbose=0)
        distiller.teacher = second
        logs = distiller.fit(x, y, 20, 2, verbose=0).history
        self.assertEqual((int(first.calls), int(second.calls)), (1, 2))
        expected = 16 * reference.kl(second.model(x), student(x), 4).mean()
        self.assertAllClose(logs["soft_loss"][0], expected)

    def test_replaced_by_a_callback(self):
        x, y, _ = reference.data()
        first, second = (Counting(reference.mlp(seed)) for seed in (1, 3))
        distiller = reference.compiled(reference.mlp(2), first)
        replace = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: (
                setattr(distiller, "teacher", second) if epoch == 2 else None
            )
        )
        distiller.fit(x, y, 20, 5, verbose=0, callbacks=[replace])
        self.assertEqual((int(first.calls), int(second.calls)), (2, 3))


class UntrackedTest(tf.test.TestCase):
    def test_parameters_optimizer_and_files(self):
        x, y, _ = reference.data()
        student = reference.mlp(2)
        distiller = reference.compiled(
            student, reference.mlp(1, hidden=5000), optimizer="adam"
        )
        distiller.fit(x, y, verbose=0)
        distiller.teacher = reference.mlp(3, hidden=5000)
        self.assertEqual(distiller.count_params(), student.count_params())
        self.assertLen(distiller.variables, len(student.variables))
        # Adam: two moments of each weight, iterations and learning rate.
        self.assertLen(
            distiller.optimizer.variables, 2 + 2 * len(student.weights)
        )
        for name in ("distiller.keras", "distiller.weights.h5"):
            path = os.path.join(self.get_temp_dir(), name)
            if name.endswith(".keras"):
                distiller.save(path)
            else:
                distiller.save_weights(path)
            with open(path, "rb") as file:
                self.assertLess(len(file.read()), 60_000)
        path = os.path.join(self.get_temp_dir(), "checkpoint")
        tf.train.Checkpoint(model=distiller).write(path)
        names = [name for name, _ in tf.train.list_variables(path)]
        self.assertNotEmpty(names)
        shapes = [shape for _, shape in tf.train.list_variables(path)]
        self.assertLess(max(np.prod(shape) for shape in shapes), 5000)


if __name__ == "__main__":
    tf.test.main()
