"""What evaluation reports, and that it changes nothing."""

import keras
import tensorflow as tf

import kd_keras
from tests import reference


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
        distiller = reference.compiled(student, reference.mlp(1))
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
        distiller = reference.compiled(student, reference.mlp(1))
        hard = (reference.crossentropy(y, student(x)) * weights).mean()
        self.assertAllClose(distiller.evaluate(x, y, 8, 0, weights), hard)

    def test_validation_logs(self):
        x, y, weights = reference.data()
        student = reference.mlp(2)
        distiller = reference.compiled(student, reference.mlp(1))
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
        distiller = reference.compiled(
            student, teacher, soft_weight=1, loss=None
        )
        logs = distiller.evaluate(x, verbose=0, return_dict=True)
        expected = 16 * reference.kl(teacher(x), student(x), 4).mean()
        self.assertAllClose(logs, {"loss": expected, "soft_loss": expected})

    def test_stored_targets_report_the_soft_loss(self):
        x, y, weights = reference.data()
        teacher, student = reference.mlp(1), reference.mlp(2)
        distiller = reference.compiled(student, None)
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
