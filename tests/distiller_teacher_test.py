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


def _compiled(student, teacher, optimizer="sgd", **kwargs):
    compile_args = {
        key: kwargs.pop(key)
        for key in ("steps_per_execution", "jit_compile", "run_eagerly")
        if key in kwargs
    }
    loss = kwargs.pop("loss", reference.from_logits())
    distiller = kd_keras.Distiller(student=student, teacher=teacher, **kwargs)
    distiller.compile(optimizer, loss, **compile_args)
    return distiller


class UntouchedTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters({}, {"run_eagerly": True}, {"jit_compile": True})
    def test_bit_identical_after_fit_and_evaluate(self, **how):
        x, y, _ = reference.data()
        teacher = _delicate(1)
        teacher.layers[1].trainable = False
        flags = [layer.trainable for layer in teacher.layers]
        before = [v.numpy() for v in teacher.variables]
        distiller = _compiled(
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
        distiller = _compiled(student, teacher, soft_weight=1, loss=None)
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
        distiller = _compiled(
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
            distiller = _compiled(student, teacher, run_eagerly=True)
            distiller.fit(x, y, verbose=0)
        self.assertCountEqual(
            [id(v) for v in tapes[0].watched_variables()],
            [id(v.value) for v in student.trainable_variables],
        )

    def test_plain_teacher_keeps_its_place(self):
        teacher = reference.mlp(1)
        distiller = _compiled(reference.mlp(2), teacher)
        self.assertIs(distiller.teacher, teacher)


class CallsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.product(
        soft_weight=(0.0, 0.9, 1.0),
        how=({}, {"run_eagerly": True}, {"steps_per_execution": 2}),
    )
    def test_once_a_step_and_never_in_evaluate(self, soft_weight, how):
        x, y, _ = reference.data()
        teacher = Counting(reference.mlp(1))
        distiller = _compiled(
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
        distiller = _compiled(
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
        distiller = _compiled(reference.mlp(2), teacher)
        v = teacher.model(x).numpy()
        distiller.fit(x, {"label": y, "teacher_logits": v}, verbose=0)
        self.assertEqual(int(teacher.calls), 0)

    def test_replaced(self):
        x, y, _ = reference.data()
        first, second = (Counting(reference.mlp(seed)) for seed in (1, 3))
        student = reference.mlp(2)
        distiller = _compiled(
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
        distiller = _compiled(reference.mlp(2), first)
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
        distiller = _compiled(
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


class KindsTest(tf.test.TestCase, parameterized.TestCase):
    """Everything that may be a teacher gives the same loss."""

    def setUp(self):
        super().setUp()
        self.x, self.y, _ = reference.data()
        self.model = reference.mlp(1, bias_initializer="random_normal")
        self.v = self.model(self.x).numpy()

    def assertTeaches(self, teacher, v=None, **kwargs):
        v = self.v if v is None else v
        student = reference.mlp(2)
        distiller = _compiled(
            student, teacher, keras.optimizers.SGD(0.0), **kwargs
        )
        logs = distiller.fit(self.x, self.y, verbose=0).history
        expected = 16 * reference.kl(v, student(self.x), 4).mean()
        self.assertAllClose(logs["soft_loss"][0], expected, 1e-5, 1e-6)

    def test_callables(self):
        self.assertTeaches(lambda x: self.model(x))
        self.assertTeaches(lambda x, training: self.model(x))
        self.assertTeaches(tf.function(lambda x: self.model(x)))
        self.assertTeaches(lambda x: {"anything": self.model(x)})
        self.assertTeaches(lambda x: {"logits": self.model(x), "more": x})
        self.assertTeaches(lambda x: [self.model(x)])
        self.assertTeaches(lambda x: self.model(2 * x), self.model(2 * self.x))

    def test_layers_without_weights(self):
        self.assertTeaches(keras.layers.Lambda(lambda x: self.model(x)))
        # An unbuilt layer with weights would teach what it was born with.
        with self.assertRaisesRegex(ValueError, "has no weights yet"):
            self.assertTeaches(keras.layers.Dense(4))

    def test_callable_in_training_mode_is_told_not_to(self):
        delicate = _delicate(1)
        expected = delicate(self.x, training=False)

        def teacher(x, training=True):
            return delicate(x, training=training)

        self.assertTeaches(teacher, expected)

    def test_probabilities(self):
        softmax = keras.Sequential([self.model, keras.layers.Softmax()])
        softmax.build((None, 3))
        self.assertTeaches(kd_keras.ProbabilityTeacher(softmax))
        self.assertTeaches(
            kd_keras.ProbabilityTeacher(lambda x: tf.nn.softmax(self.model(x)))
        )

    def test_saved(self):
        folder = self.get_temp_dir()
        self.model.save(folder + "/teacher.keras")
        self.assertTeaches(kd_keras.load_teacher(folder + "/teacher.keras"))
        self.model.export(folder + "/saved", verbose=False)
        self.assertTeaches(kd_keras.load_teacher(folder + "/saved"))
        for endpoint in ("serve", "serving_default"):
            self.assertTeaches(
                keras.layers.TFSMLayer(
                    folder + "/saved", call_endpoint=endpoint
                )
            )
        loaded = tf.saved_model.load(folder + "/saved")
        self.assertTeaches(loaded.serve)
        distiller = _compiled(self.model, None)
        distiller.export(folder + "/exported")
        self.assertTeaches(kd_keras.load_teacher(folder + "/exported"))
        distiller.save(folder + "/distiller.keras")
        self.assertTeaches(kd_keras.load_teacher(folder + "/distiller.keras"))

    @parameterized.parameters("arithmetic", "geometric", "list", "nested")
    def test_ensembles(self, kind):
        models = [reference.mlp(seed) for seed in (1, 3, 4)]
        for model in models:
            model.layers[-1].kernel.assign(40 * model.layers[-1].kernel)
        outputs = np.array([model(self.x).numpy() for model in models])
        weights = [1.0, 2.0, 5.0]
        if kind == "geometric":
            teacher = kd_keras.EnsembleTeacher(models, "geometric", weights)
            v = np.average(outputs, axis=0, weights=weights)
        elif kind == "arithmetic":
            teacher = kd_keras.EnsembleTeacher(models, weights=weights)
            p = reference.softmax(outputs, 4.0)
            v = 4 * np.log(np.average(p, axis=0, weights=weights))
        elif kind == "list":
            teacher = models
            v = 4 * np.log(reference.softmax(outputs, 4.0).mean(axis=0))
        else:
            inner = kd_keras.EnsembleTeacher(models[:2])
            teacher = kd_keras.EnsembleTeacher([inner, models[2]], "geometric")
            p = reference.softmax(outputs[:2], 4.0).mean(axis=0)
            v = (4 * np.log(p) + outputs[2]) / 2
        self.assertTeaches(teacher, v)

    def test_fidelity_to_an_ensemble_is_measured_at_t_1(self):
        models = [reference.mlp(seed) for seed in (1, 3)]
        for model in models:
            model.layers[-1].kernel.assign(40 * model.layers[-1].kernel)
        student = reference.mlp(2)
        distiller = _compiled(
            student,
            models,
            fidelity_metrics=[kd_keras.metrics.PredictiveKLDivergence()],
        )
        logs = distiller.evaluate(self.x, self.y, verbose=0, return_dict=True)
        p = np.mean([reference.softmax(m(self.x)) for m in models], axis=0)
        log_q = reference.log_softmax(student(self.x))
        expected = (p * (np.log(p) - log_q)).sum(-1).mean()
        self.assertAllClose(logs["predictive_kl"], expected, 1e-5)

    def test_half_precision_teacher(self):
        student = reference.mlp(2)
        keras.config.set_dtype_policy("mixed_float16")
        try:
            teacher = reference.mlp(1)
        finally:
            keras.config.set_dtype_policy("float32")
        self.assertEqual(teacher(self.x).dtype, tf.float16)
        distiller = _compiled(student, teacher)
        logs = distiller.fit(self.x, self.y, verbose=0).history
        self.assertAllClose(
            logs["soft_loss"][0],
            16
            * reference.kl(teacher(self.x), reference.mlp(2)(self.x), 4).mean(),
            1e-4,
        )


class CountingStudent(keras.Model):
    """Updates a metric of its own, as do its layers."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4, kernel_initializer="ones")
        self.seen = keras.metrics.Sum(name="seen")

    def call(self, inputs):
        self.seen.update_state(keras.ops.mean(inputs**2))
        return self.dense(inputs)


class EvaluationTest(tf.test.TestCase):
    def test_metrics_of_the_student_itself(self):
        x, y, _ = reference.data()
        student = CountingStudent()
        distiller = _compiled(student, reference.mlp(1))
        plain = CountingStudent()
        plain.compile("sgd", reference.from_logits())
        logs = [
            model.fit(x, y, 20, epochs=3, verbose=0).history["seen"]
            for model in (distiller, plain)
        ]
        self.assertAllClose(*logs)
        self.assertAllClose(logs[0][2], (x**2).mean())
        results = [
            model.evaluate(x, y, verbose=0, return_dict=True)["seen"]
            for model in (distiller, plain)
        ]
        self.assertEqual(*results)

    def test_equals_plain_keras(self):
        x, y, weights = reference.data()
        keras.utils.set_random_seed(0)
        student = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(8, kernel_regularizer="l2"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(4),
            ]
        )
        distiller = kd_keras.Distiller(
            student=student, teacher=reference.mlp(1)
        )
        results = []
        for model in (distiller, student):
            model.compile(
                "sgd",
                reference.from_logits(),
                metrics=[
                    "accuracy",
                    kd_keras.metrics.ExpectedCalibrationError(),
                ],
                weighted_metrics=["accuracy"],
            )
        distiller.fit(x, y, verbose=0)
        before = [v.numpy() for v in distiller.variables]
        optimizer = [v.numpy() for v in distiller.optimizer.variables]
        for model in (distiller, student):
            results.append(
                model.evaluate(
                    x, y, 8, 0, sample_weight=weights, return_dict=True
                )
            )
        self.assertEqual(*results)
        lists = [m.evaluate(x, y, 8, 0) for m in (distiller, student)]
        self.assertEqual(*lists)
        for old, new in zip(before, distiller.variables, strict=True):
            self.assertAllEqual(old, new)
        for old, new in zip(
            optimizer, distiller.optimizer.variables, strict=True
        ):
            self.assertAllEqual(old, new)

    def test_positional_arguments(self):
        x, y, weights = reference.data()
        student = reference.mlp(2)
        distiller = _compiled(student, reference.mlp(1))
        hard = (reference.crossentropy(y, student(x)) * weights).mean()
        self.assertAllClose(distiller.evaluate(x, y, 8, 0, weights), hard)

    def test_validation_logs(self):
        x, y, weights = reference.data()
        student = reference.mlp(2)
        distiller = _compiled(student, reference.mlp(1))
        logs = distiller.fit(
            x, y, epochs=2, validation_data=(x, y, weights), verbose=0
        ).history
        self.assertCountEqual(
            logs, ["loss", "hard_loss", "soft_loss", "val_loss"]
        )
        hard = reference.crossentropy(y, student(x).numpy())
        self.assertAllClose(logs["val_loss"][-1], (hard * weights).mean())

    def test_without_a_loss_it_is_the_soft_loss(self):
        x, _, _ = reference.data()
        teacher, student = reference.mlp(1), reference.mlp(2)
        distiller = _compiled(student, teacher, soft_weight=1, loss=None)
        logs = distiller.evaluate(x, verbose=0, return_dict=True)
        expected = 16 * reference.kl(teacher(x), student(x), 4).mean()
        self.assertAllClose(logs, {"loss": expected, "soft_loss": expected})

    def test_stored_targets_report_the_soft_loss(self):
        x, y, weights = reference.data()
        teacher, student = reference.mlp(1), reference.mlp(2)
        distiller = _compiled(student, None)
        stored = {"label": y, "teacher_logits": teacher(x).numpy()}
        kl = 16 * reference.kl(teacher(x), student(x), 4)
        hard = reference.crossentropy(y, student(x).numpy())
        logs = distiller.evaluate(
            x, stored, verbose=0, sample_weight=weights, return_dict=True
        )
        self.assertAllClose(
            logs,
            {
                "loss": (hard * weights).mean(),
                "soft_loss": (kl * weights).mean(),
            },
        )


if __name__ == "__main__":
    tf.test.main()
