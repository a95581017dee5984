"""Several outputs, sequences and masks."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference

KL = kd_keras.losses.SoftTargetKLDivergence


def _two_heads(seed, structure):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(6, activation="tanh")(inputs)
    normal = keras.initializers.RandomNormal(stddev=2.0, seed=seed)
    a = keras.layers.Dense(4, name="a", kernel_initializer=normal)(hidden)
    b = keras.layers.Dense(5, name="b", kernel_initializer=normal)(hidden)
    outputs = {"dict": {"b": b, "a": a}, "list": [b, a], "tuple": (b, a)}
    return keras.Model(inputs, outputs[structure])


class SeveralOutputsTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.x, self.y_a, self.w_a = reference.data(seed=1)
        _, self.y_b, self.w_b = reference.data(num_classes=5, seed=2)

    def models(self, structure):
        return _two_heads(1, structure), _two_heads(2, structure)

    def logits(self, model, structure):
        outputs = model(self.x)
        if structure == "dict":
            return outputs["a"].numpy(), outputs["b"].numpy()
        return outputs[1].numpy(), outputs[0].numpy()

    def pack(self, structure, a, b):
        return {"dict": {"a": a, "b": b}, "list": [b, a], "tuple": (b, a)}[
            structure
        ]

    def fit(self, distiller, y, weights=None, x=None, **compile_args):
        compile_args.setdefault("loss", reference.from_logits())
        distiller.compile(keras.optimizers.SGD(0.0), **compile_args)
        data = (self.x if x is None else x, y)
        data = data if weights is None else (*data, weights)
        data = tf.data.Dataset.from_tensor_slices(data).batch(8)
        history = distiller.fit(data, verbose=0).history
        return {name: values[0] for name, values in history.items()}

    @parameterized.parameters("dict", "list", "tuple")
    def test_one_soft_term_each(self, structure):
        teacher, student = self.models(structure)
        (v_a, v_b), (z_a, z_b) = (
            self.logits(model, structure) for model in (teacher, student)
        )
        distiller = kd_keras.Distiller(student=student, teacher=teacher)
        y = self.pack(structure, self.y_a, self.y_b)
        # Data sets know no lists.
        logs = self.fit(distiller, tuple(y) if structure == "list" else y)
        hard = (
            reference.crossentropy(self.y_a, z_a).mean()
            + reference.crossentropy(self.y_b, z_b).mean()
        )
        soft = 16 * (
            reference.kl(v_a, z_a, 4).mean() + reference.kl(v_b, z_b, 4).mean()
        )
        self.assertAllClose(logs["hard_loss"], hard, 1e-5)
        self.assertAllClose(logs["soft_loss"], soft, 1e-5)
        self.assertAllClose(logs["loss"], 0.1 * hard + 0.9 * soft, 1e-5)

    # Every pair of the settings once.
    @parameterized.parameters(
        ("dict", False, False),
        ("dict", True, True),
        ("list", False, True),
        ("list", True, False),
    )
    def test_weights_of_outputs_and_examples(self, structure, stored, missing):
        teacher, student = self.models(structure)
        (v_a, v_b), (z_a, z_b) = (
            self.logits(model, structure) for model in (teacher, student)
        )
        y_a = np.where(np.arange(20) % 3 == 0, -1, self.y_a)
        y_a = y_a if missing else self.y_a
        y = self.pack(structure, y_a, self.y_b)
        if stored:
            v = self.pack(structure, v_a, v_b)
            if structure == "list":
                y, v = tuple(y), tuple(v)
            y = {"label": y, "teacher_logits": v}
        elif structure == "list":
            y = tuple(y)
        weights = self.pack(structure, self.w_a, self.w_b)
        weights = tuple(weights) if structure == "list" else weights
        distiller = kd_keras.Distiller(
            student=student, teacher=None if stored else teacher
        )
        logs = self.fit(
            distiller,
            y,
            weights,
            loss_weights=self.pack(structure, 2.0, 0.5),
            loss=self.pack(
                structure, reference.from_logits(), reference.from_logits()
            ),
            metrics=self.pack(structure, ["accuracy"], ["accuracy"]),
            weighted_metrics=self.pack(structure, ["accuracy"], []),
        )
        mean = reference.weighted_mean
        hard = 2 * mean(reference.crossentropy(y_a, z_a), self.w_a)
        hard += 0.5 * mean(reference.crossentropy(self.y_b, z_b), self.w_b)
        soft = 32 * mean(reference.kl(v_a, z_a, 4), self.w_a)
        soft += 8 * mean(reference.kl(v_b, z_b, 4), self.w_b)
        self.assertAllClose(logs["hard_loss"], hard, 1e-5)
        self.assertAllClose(logs["soft_loss"], soft, 1e-5)
        self.assertAllClose(logs["loss"], 0.1 * hard + 0.9 * soft, 1e-5)
        known = y_a >= 0
        right = z_a.argmax(-1) == y_a
        self.assertAllClose(logs["a_accuracy"], right[known].mean())
        self.assertAllClose(
            logs["weighted_a_accuracy"]
            if "weighted_a_accuracy" in logs
            else logs["a_weighted_accuracy"],
            np.average(right[known], weights=self.w_a[known]),
        )
        self.assertAllClose(
            logs["b_accuracy"], (z_b.argmax(-1) == self.y_b).mean()
        )

    def test_targets_of_listed_outputs_by_name(self):
        """As Keras takes them: y, losses and weights by the layers' names."""
        teacher, student = self.models("list")
        (v_a, v_b), (z_a, z_b) = (
            self.logits(model, "list") for model in (teacher, student)
        )
        names = {"a": self.y_a, "b": self.y_b}
        y = {"label": names, "teacher_logits": {"a": v_a, "b": v_b}}
        distiller = kd_keras.Distiller(student=student)
        logs = self.fit(
            distiller,
            y,
            loss={"a": reference.from_logits(), "b": reference.from_logits()},
            loss_weights={"a": 2.0, "b": 0.5},
        )
        hard = 2 * reference.crossentropy(self.y_a, z_a).mean()
        hard += 0.5 * reference.crossentropy(self.y_b, z_b).mean()
        soft = 32 * reference.kl(v_a, z_a, 4).mean()
        soft += 8 * reference.kl(v_b, z_b, 4).mean()
        self.assertAllClose(logs["hard_loss"], hard, 1e-5)
        self.assertAllClose(logs["soft_loss"], soft, 1e-5)

    def test_labels_after_batches_without(self):
        teacher, student = self.models("dict")
        distiller = kd_keras.Distiller(
            student=student, teacher=teacher, soft_weight=1
        )
        distiller.compile(
            "sgd", reference.from_logits(), metrics={"a": ["accuracy"]}
        )
        distiller.fit(self.x, verbose=0)
        logs = distiller.evaluate(
            self.x,
            {"a": self.y_a, "b": self.y_b},
            verbose=0,
            return_dict=True,
        )
        z_a, z_b = self.logits(student, "dict")
        self.assertAllClose(
            logs["a_loss"], reference.crossentropy(self.y_a, z_a).mean(), 1e-5
        )
        distiller.fit(self.x, {"a": self.y_a, "b": self.y_b}, verbose=0)

    def test_labels_of_one_output_only(self):
        teacher, student = self.models("dict")
        z_a, _ = self.logits(student, "dict")
        distiller = kd_keras.Distiller(student=student, teacher=teacher)
        logs = self.fit(
            distiller,
            {"a": self.y_a},
            loss={"a": reference.from_logits(), "b": None},
        )
        hard = reference.crossentropy(self.y_a, z_a).mean()
        self.assertAllClose(logs["hard_loss"], hard, 1e-5)

    def test_labels_of_an_output_with_a_loss_are_missing(self):
        teacher, student = self.models("dict")
        distiller = kd_keras.Distiller(student=student, teacher=teacher)
        loss = reference.from_logits()
        for losses in (loss, {"a": loss, "b": loss}):
            with self.assertRaisesRegex(ValueError, "labels lack an output"):
                self.fit(distiller, {"a": self.y_a}, loss=losses)

    def test_an_output_that_is_not_distilled(self):
        """Here a regression, whose negative targets are values."""
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        a = keras.layers.Dense(4, name="a")(inputs)
        b = keras.layers.Dense(1, name="b", activation="sigmoid")(inputs)
        student = keras.Model(inputs, {"a": a, "b": b})
        teacher = reference.mlp(1)
        target = np.random.default_rng(0).normal(size=(20, 1))
        distiller = kd_keras.Distiller(
            student=student,
            teacher=lambda x: {"a": teacher(x)},
            soft_loss={"a": KL(2.0), "b": None},
            soft_weight=0.5,
        )
        logs = self.fit(
            distiller,
            {"a": self.y_a, "b": target},
            loss={"a": reference.from_logits(), "b": "mse"},
        )
        z = {name: t.numpy() for name, t in student(self.x).items()}
        soft = 4 * reference.kl(teacher(self.x), z["a"], 2).mean()
        hard = reference.crossentropy(self.y_a, z["a"]).mean()
        hard += ((z["b"] - target) ** 2).mean()
        self.assertAllClose(logs["soft_loss"], soft, 1e-5)
        self.assertAllClose(logs["hard_loss"], hard, 1e-5)

    def test_a_temperature_for_each_output(self):
        members = [_two_heads(seed, "dict") for seed in (1, 3)]
        student = _two_heads(2, "dict")
        distiller = kd_keras.Distiller(
            student=student,
            teacher=members,
            soft_loss={"a": KL(2.0), "b": KL(8.0)},
        )
        logs = self.fit(distiller, {"a": self.y_a, "b": self.y_b})
        z_a, z_b = self.logits(student, "dict")
        soft = 0.0
        for z, name, temperature in ((z_a, "a", 2.0), (z_b, "b", 8.0)):
            p = np.mean(
                [
                    reference.softmax(m(self.x)[name], temperature)
                    for m in members
                ],
                axis=0,
            )
            kl = p * (np.log(p) - reference.log_softmax(z, temperature))
            soft += temperature**2 * kl.sum(-1).mean()
        self.assertAllClose(logs["soft_loss"], soft, 1e-5)

    def test_fidelity_metrics_by_output(self):
        teacher, student = self.models("dict")
        distiller = kd_keras.Distiller(
            student=student,
            teacher=teacher,
            fidelity_metrics={
                "a": [kd_keras.metrics.TeacherAgreement(name="agree_a")],
                "b": [kd_keras.metrics.TeacherAgreement(name="agree_b")],
            },
        )
        logs = self.fit(distiller, {"a": self.y_a, "b": self.y_b})
        (v_a, v_b), (z_a, z_b) = (
            self.logits(model, "dict") for model in (teacher, student)
        )
        for name, v, z in (("agree_a", v_a, z_a), ("agree_b", v_b, z_b)):
            self.assertAllClose(
                logs[name], (v.argmax(-1) == z.argmax(-1)).mean()
            )

    def test_evaluates_as_plain_keras(self):
        teacher, student = self.models("dict")
        y = {"a": self.y_a, "b": self.y_b}
        distiller = kd_keras.Distiller(student=student, teacher=teacher)
        results = []
        for model in (distiller, student):
            model.compile(
                "sgd", reference.from_logits(), metrics={"a": ["accuracy"]}
            )
            results.append(
                model.evaluate(self.x, y, verbose=0, return_dict=True)
            )
        self.assertEqual(*results)

    def test_class_weight_is_refused_as_keras_does(self):
        teacher, student = self.models("dict")
        distiller = kd_keras.Distiller(student=student, teacher=teacher)
        distiller.compile("sgd", reference.from_logits())
        with self.assertRaisesRegex(ValueError, "a single output"):
            distiller.fit(
                self.x, {"a": self.y_a, "b": self.y_b}, class_weight={0: 2.0}
            )


class SequenceTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        rng = np.random.default_rng(0)
        self.x = rng.integers(1, 9, (12, 6))
        lengths = rng.integers(2, 7, 12)
        self.mask = np.arange(6) < lengths[:, np.newaxis]
        self.x[~self.mask] = 0
        self.y = rng.integers(0, 4, (12, 6))
        self.weights = rng.uniform(0, 2, (12, 6)).astype("float32")

    def model(self, seed):
        keras.utils.set_random_seed(seed)
        return keras.Sequential(
            [
                keras.Input((6,), dtype="int32"),
                keras.layers.Embedding(9, 5, mask_zero=True),
                keras.layers.LSTM(5, return_sequences=True),
                keras.layers.Dense(4, kernel_initializer="he_normal"),
            ]
        )

    # Every pair of the settings once.
    @parameterized.parameters(
        (False, False, False, "numpy"),
        (False, True, True, "tf.data"),
        ("time", False, True, "numpy"),
        ("time", True, False, "tf.data"),
        ("example", False, False, "tf.data"),
        ("example", True, True, "numpy"),
    )
    def test_masked(self, weighted, unlabelled, stored, source):
        teacher, student = self.model(1), self.model(2)
        v, z = teacher(self.x).numpy(), student(self.x).numpy()
        y = np.where(self.y == 1, -1, self.y) if unlabelled else self.y
        weights = {
            False: None,
            "time": self.weights,
            "example": self.weights[:, :1],
        }[weighted]
        distiller = kd_keras.Distiller(
            student=student, teacher=None if stored else teacher
        )
        distiller.compile(
            keras.optimizers.SGD(0.0),
            reference.from_logits(),
            metrics=["accuracy"],
        )
        targets = {"label": y, "teacher_logits": v} if stored else y
        if source == "numpy":
            arguments = {"x": self.x, "y": targets, "sample_weight": weights}
            arguments["batch_size"] = 12
        else:
            data = (self.x, targets)
            data = data if weights is None else (*data, weights)
            arguments = {
                "x": tf.data.Dataset.from_tensor_slices(data).batch(12)
            }
        logs = distiller.fit(**arguments, shuffle=False, verbose=0).history
        # Keras divides by the number of positions that are not masked.
        w = np.ones((12, 6)) if weights is None else weights
        w = np.broadcast_to(w, (12, 6)) * self.mask / self.mask.sum()
        hard = (w * reference.crossentropy(y, z)).sum()
        soft = (w * 16 * reference.kl(v, z, 4.0)).sum()
        self.assertAllClose(logs["hard_loss"][0], hard, 1e-5)
        self.assertAllClose(logs["soft_loss"][0], soft, 1e-5)
        known = self.mask & (y >= 0)
        self.assertAllClose(
            logs["accuracy"][0], (z.argmax(-1) == y)[known].mean()
        )

    def test_one_weight_for_each_example(self):
        logs = []
        for weights in (self.weights[:, 0], self.weights[:, :1]):
            distiller = kd_keras.Distiller(
                student=self.model(2), teacher=self.model(1)
            )
            distiller.compile("sgd", reference.from_logits())
            logs.append(
                distiller.train_on_batch(
                    self.x, self.y, weights, return_dict=True
                )
            )
        self.assertAllClose(*logs)


if __name__ == "__main__":
    tf.test.main()
