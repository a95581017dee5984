"""With learning rate 0 the logs are the closed forms."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference


def _distiller(student, teacher=None, **kwargs):
    return reference.compiled(
        student, teacher, keras.optimizers.SGD(0.0), **kwargs
    )


def _logs(distiller, x, y=None, sample_weight=None, epochs=1, **kwargs):
    """Logs of the last epoch."""
    kwargs.setdefault("batch_size", 8)
    if isinstance(x, tf.data.Dataset):
        kwargs.pop("batch_size")
    history = distiller.fit(
        x,
        y,
        sample_weight=sample_weight,
        shuffle=False,
        verbose=0,
        epochs=epochs,
        **kwargs,
    ).history
    return {name: values[-1] for name, values in history.items()}


class ObjectiveTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.x, self.y, self.weights = reference.data()
        self.teacher = reference.mlp(1, bias_initializer="random_normal")
        self.student = reference.mlp(2)
        # Logits with some spread: nearly uniform ones hide mistakes.
        for model in (self.teacher, self.student):
            kernel = model.layers[-1].kernel
            kernel.assign(kernel * 40)
        self.v = self.teacher(self.x).numpy()
        self.z = self.student(self.x).numpy()

    def terms(self, temperature, weights=None, labels=None):
        labels = self.y if labels is None else labels
        soft = temperature**2 * reference.kl(self.v, self.z, temperature)
        hard = reference.crossentropy(labels, self.z)
        return (
            reference.weighted_mean(hard, weights),
            reference.weighted_mean(soft, weights),
        )

    def assertLogs(self, logs, hard, soft, soft_weight, extra=0.0):
        expected = (1 - soft_weight) * hard + soft_weight * soft + extra
        self.assertAllClose(logs["hard_loss"], hard, 1e-5, 1e-6)
        self.assertAllClose(logs["soft_loss"], soft, 1e-5, 1e-6)
        self.assertAllClose(logs["loss"], expected, 1e-5, 1e-6)

    @parameterized.product(
        temperature=(0.5, 1.0, 4.0, 20.0), soft_weight=(0.0, 0.3, 0.9, 1.0)
    )
    def test_closed_form(self, temperature, soft_weight):
        distiller = _distiller(
            self.student,
            self.teacher,
            temperature=temperature,
            soft_weight=soft_weight,
        )
        # 20 examples in batches of 8, 8 and 4.
        logs = _logs(distiller, self.x, self.y)
        self.assertLogs(logs, *self.terms(temperature), soft_weight)

    def test_defaults(self):
        distiller = _distiller(self.student, self.teacher)
        self.assertLogs(_logs(distiller, self.x, self.y), *self.terms(4.0), 0.9)

    @parameterized.parameters("numpy", "tf.data")
    def test_sample_weight(self, source):
        distiller = _distiller(self.student, self.teacher)
        if source == "numpy":
            logs = _logs(distiller, self.x, self.y, self.weights)
        else:
            dataset = tf.data.Dataset.from_tensor_slices(
                (self.x, self.y, self.weights)
            )
            logs = _logs(distiller, dataset.batch(8))
        self.assertLogs(logs, *self.terms(4.0, self.weights), 0.9)

    # Every pair of the settings once.
    @parameterized.parameters(
        ("numpy", False, False),
        ("numpy", True, True),
        ("tf.data", False, True),
        ("tf.data", True, False),
    )
    def test_class_weight(self, source, stored, unlabelled):
        class_weight = {0: 3.0, 2: 0.25}
        labels = np.where(np.arange(20) % 3 == 0, -1, self.y)
        labels = labels if unlabelled else self.y
        weights = np.array([class_weight.get(c, 1.0) for c in labels])
        y = {"label": labels, "teacher_logits": self.v} if stored else labels
        distiller = _distiller(
            self.student,
            None if stored else self.teacher,
            weighted_metrics=["accuracy"],
        )
        x = self.x
        if source == "tf.data":
            x = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
            y = None
        logs = _logs(distiller, x, y, class_weight=class_weight)
        self.assertLogs(logs, *self.terms(4.0, weights, labels), 0.9)
        weights = weights * (labels >= 0)
        right = self.z.argmax(-1) == labels
        self.assertAllClose(
            logs["accuracy"], (right * weights).sum() / weights.sum()
        )
        # The next fit without class weights has none.
        logs = _logs(distiller, x, y)
        self.assertLogs(logs, *self.terms(4.0, None, labels), 0.9)

    @parameterized.parameters(((-1,),), ((-1, 1),))
    def test_negative_labels(self, shape):
        labels = np.where(np.arange(20) % 3 == 0, -1, self.y)
        distiller = _distiller(
            self.student,
            self.teacher,
            metrics=["accuracy"],
            weighted_metrics=[
                keras.metrics.SparseCategoricalAccuracy(name="weighted")
            ],
        )
        logs = _logs(distiller, self.x, labels.reshape(shape), self.weights)
        self.assertLogs(logs, *self.terms(4.0, self.weights, labels), 0.9)
        right = self.z.argmax(-1) == labels
        known = labels >= 0
        self.assertAllClose(logs["accuracy"], right[known].mean())
        self.assertAllClose(
            logs["weighted"],
            np.average(right[known], weights=self.weights[known]),
        )
        # Evaluation sees the labelled ones only, too.
        logs = distiller.evaluate(
            self.x, labels.reshape(shape), verbose=0, return_dict=True
        )
        self.assertAllClose(logs["accuracy"], right[known].mean())
        hard = reference.crossentropy(labels, self.z).mean()
        self.assertAllClose(logs["loss"], hard)

    def test_every_label_negative(self):
        labels = -np.ones(20, "int64")
        distiller = _distiller(self.student, self.teacher)
        logs = _logs(distiller, self.x, labels)
        self.assertLogs(logs, 0.0, self.terms(4.0)[1], 0.9)

    @parameterized.parameters("uint8", "int32", "float32")
    def test_label_dtypes(self, dtype):
        distiller = _distiller(self.student, self.teacher)
        logs = _logs(distiller, self.x, self.y.astype(dtype))
        self.assertLogs(logs, *self.terms(4.0), 0.9)

    @parameterized.parameters(("uint8", 300), ("int8", 200))
    def test_narrow_labels_of_many_classes(self, dtype, num_classes):
        """The number of classes does not fit into the labels' type."""
        student = reference.mlp(2, num_classes=num_classes)
        teacher = reference.mlp(1, num_classes=num_classes)
        self.v, self.z = teacher(self.x).numpy(), student(self.x).numpy()
        self.y = np.arange(20) * 6
        distiller = _distiller(student, teacher)
        logs = _logs(distiller, self.x, self.y.astype(dtype))
        self.assertLogs(logs, *self.terms(4.0), 0.9)

    def test_one_hot_labels(self):
        distiller = _distiller(
            self.student,
            self.teacher,
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        logs = _logs(distiller, self.x, np.eye(4)[self.y], self.weights)
        self.assertLogs(logs, *self.terms(4.0, self.weights), 0.9)
        self.assertAllClose(
            logs["accuracy"], (self.z.argmax(-1) == self.y).mean()
        )
        logs = _logs(
            distiller, self.x, np.eye(4)[self.y], class_weight={1: 5.0}
        )
        weights = np.where(self.y == 1, 5.0, 1.0)
        self.assertLogs(logs, *self.terms(4.0, weights), 0.9)

    def test_regularisers_and_add_loss(self):
        class Additional(keras.layers.Layer):
            def call(self, inputs):
                self.add_loss(0.3 * keras.ops.mean(keras.ops.abs(inputs)))
                return inputs

        keras.utils.set_random_seed(0)
        student = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(
                    5,
                    kernel_regularizer=keras.regularizers.L2(0.1),
                    activity_regularizer=keras.regularizers.L2(0.2),
                ),
                Additional(),
                keras.layers.Dense(4),
            ]
        )
        self.z = student(self.x).numpy()
        hidden = student.layers[0](self.x).numpy()
        distiller = _distiller(student, self.teacher)
        logs = _logs(distiller, self.x, self.y, batch_size=20)
        student(self.x)
        extra = float(sum(student.losses))
        kernel = student.layers[0].kernel.numpy()
        activity = 0.2 * (hidden**2).sum()
        expected = 0.1 * (kernel**2).sum() + 0.3 * np.abs(hidden).mean()
        # Newer versions of Keras divide the activity by the batch size.
        self.assertAllClose(
            extra - expected,
            activity / 20 if extra < activity else activity,
            1e-4,
        )
        self.assertLogs(logs, *self.terms(4.0), 0.9, extra)

    def test_stored_targets_equal_the_live_teacher(self):
        live = _distiller(self.student, self.teacher, metrics=["accuracy"])
        stored = _distiller(self.student, metrics=["accuracy"])
        y = {"label": self.y, "teacher_logits": self.v}
        self.assertAllClose(
            _logs(live, self.x, self.y, self.weights),
            _logs(stored, self.x, y, self.weights),
            1e-6,
            1e-6,
        )
        dataset = tf.data.Dataset.from_tensor_slices((self.x, y, self.weights))
        self.assertAllClose(
            _logs(live, self.x, self.y, self.weights),
            _logs(stored, dataset.batch(8)),
            1e-6,
            1e-6,
        )

    @parameterized.parameters("x", "(x,)", "stored", "labels")
    def test_soft_weight_1_needs_no_labels(self, form):
        loss = reference.from_logits() if form == "labels" else None
        distiller = _distiller(
            self.student, self.teacher, soft_weight=1, loss=loss
        )
        hard, soft = self.terms(4.0)
        if form == "x":
            logs = _logs(distiller, self.x)
        elif form == "(x,)":
            dataset = tf.data.Dataset.from_tensor_slices((self.x,)).batch(8)
            logs = _logs(distiller, dataset)
        elif form == "stored":
            logs = _logs(distiller, self.x, {"teacher_logits": self.v})
        else:
            logs = _logs(distiller, self.x, self.y)
            self.assertAllClose(logs.pop("hard_loss"), hard)
        self.assertAllClose(logs.pop("soft_loss"), soft)
        self.assertAllClose(logs.pop("loss"), soft)
        self.assertEmpty(logs)

    def test_metrics_without_labels_are_not_reported(self):
        distiller = _distiller(
            self.student,
            self.teacher,
            soft_weight=1,
            metrics=["accuracy"],
        )
        self.assertCountEqual(_logs(distiller, self.x), ["loss", "soft_loss"])

    @parameterized.parameters("fit", "train_on_batch", "evaluate")
    def test_labels_after_batches_without(self, call):
        """Metrics that are first needed when a step is traced again."""
        distiller = _distiller(
            self.student,
            self.teacher,
            soft_weight=1,
            loss=None if call == "evaluate" else reference.from_logits(),
            metrics=["accuracy"],
        )
        accuracy = (self.z.argmax(-1) == self.y).mean()
        if call == "fit":
            _logs(distiller, self.x)
            logs = _logs(distiller, self.x, self.y)
        else:
            function = (
                distiller.train_on_batch
                if call == "train_on_batch"
                else lambda *data, **kwargs: distiller.evaluate(
                    *data, verbose=0, **kwargs
                )
            )
            function(self.x)
            logs = function(self.x, self.y, return_dict=True)
        self.assertAllClose(logs["accuracy"], accuracy)
        self.assertAllClose(logs["soft_loss"], self.terms(4.0)[1])

    @parameterized.parameters(
        (kd_keras.losses.SoftTargetCrossentropy(3.0),),
        (kd_keras.losses.LogitMatching(),),
        (keras.losses.MeanSquaredError(),),
    )
    def test_soft_loss(self, soft_loss):
        distiller = _distiller(
            self.student, self.teacher, soft_loss=soft_loss, soft_weight=0.5
        )
        soft = float(soft_loss(self.v, self.z, self.weights))
        hard, _ = self.terms(1.0, self.weights)
        logs = _logs(distiller, self.x, self.y, self.weights, batch_size=20)
        self.assertLogs(logs, hard, soft, 0.5)

    def test_loss_weights_of_a_single_output(self):
        distiller = _distiller(self.student, self.teacher, loss_weights=[0.5])
        hard, soft = self.terms(4.0)
        logs = _logs(distiller, self.x, self.y)
        self.assertLogs(logs, hard / 2, soft / 2, 0.9)

    @parameterized.parameters(
        {"run_eagerly": True},
        {"jit_compile": True},
        {"steps_per_execution": 3},
    )
    def test_the_same_however_it_runs(self, **how):
        labels = np.where(np.arange(20) % 3 == 0, -1, self.y)
        distiller = _distiller(self.student, self.teacher, **how)
        logs = _logs(distiller, self.x, labels, self.weights)
        self.assertLogs(logs, *self.terms(4.0, self.weights, labels), 0.9)

    @parameterized.parameters({}, {"run_eagerly": True})
    def test_on_batch(self, **how):
        distiller = _distiller(
            self.student, self.teacher, metrics=["accuracy"], **how
        )
        hard, soft = self.terms(4.0, self.weights)
        logs = distiller.train_on_batch(
            self.x, self.y, self.weights, return_dict=True
        )
        self.assertLogs(logs, hard, soft, 0.9)
        accuracy = (self.z.argmax(-1) == self.y).mean()
        self.assertAllClose(logs["accuracy"], accuracy)
        values = distiller.train_on_batch(self.x, self.y, self.weights)
        self.assertAllClose(
            values, [0.1 * hard + 0.9 * soft, accuracy, hard, soft]
        )
        weights = np.where(self.y == 1, 5.0, 1.0)
        logs = distiller.train_on_batch(
            self.x,
            {"label": self.y, "teacher_logits": self.v},
            class_weight={1: 5.0},
            return_dict=True,
        )
        self.assertLogs(logs, *self.terms(4.0, weights), 0.9)
        logs = distiller.test_on_batch(
            self.x, self.y, self.weights, return_dict=True
        )
        self.assertAllClose(logs, {"loss": hard, "accuracy": accuracy})
        self.assertAllClose(
            distiller.test_on_batch(self.x, self.y),
            [self.terms(1)[0], accuracy],
        )

    def test_soft_weight_can_be_changed(self):
        distiller = _distiller(self.student, self.teacher)
        hard, soft = self.terms(4.0)
        _logs(distiller, self.x, self.y)
        distiller.soft_weight = 0.25
        logs = _logs(distiller, self.x, self.y)
        self.assertLogs(logs, hard, soft, 0.25)

    def test_temperature_can_be_changed(self):
        distiller = _distiller(self.student, self.teacher)
        _logs(distiller, self.x, self.y)
        distiller.temperature = 2.0
        logs = _logs(distiller, self.x, self.y)
        self.assertLogs(logs, *self.terms(2.0), 0.9)
        distiller = _distiller(
            self.student,
            self.teacher,
            soft_loss=kd_keras.losses.LogitMatching(),
        )
        with self.assertRaisesRegex(AttributeError, "its own temperature"):
            distiller.temperature = 2.0


if __name__ == "__main__":
    tf.test.main()
