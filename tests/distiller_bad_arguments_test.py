"""What the constructor and the setters refuse."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference

D = kd_keras.Distiller


def _ending(last, nested=False):
    """A functional model that ends in `last`."""
    inputs = keras.Input((3,))
    outputs = last(keras.layers.Dense(4)(inputs))
    model = keras.Model(inputs, outputs)
    if nested:
        inputs = keras.Input((3,))
        hidden = keras.layers.Dense(3)(inputs)
        model = keras.Model(inputs, model(hidden))
    return model


def _with_activation(activation):
    return reference.mlp(0, activation=activation)


class ConstructorTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        0, -1.0, float("nan"), float("inf"), "4", None, True
    )
    def test_temperature(self, temperature):
        with self.assertRaisesRegex(ValueError, "positive finite number"):
            D(student=reference.mlp(0), temperature=temperature)

    @parameterized.parameters(-0.1, 1.1, float("nan"), "0.5", None, True)
    def test_soft_weight(self, soft_weight):
        with self.assertRaisesRegex(ValueError, "from 0 .* to 1"):
            D(student=reference.mlp(0), soft_weight=soft_weight)
        distiller = D(student=reference.mlp(0))
        with self.assertRaisesRegex(ValueError, "from 0 .* to 1"):
            distiller.soft_weight = soft_weight

    def test_temperature_and_soft_loss(self):
        loss = kd_keras.losses.SoftTargetKLDivergence(2.0)
        for temperature in (2.0, 4.0):
            with self.assertRaisesRegex(ValueError, "either `temperature`"):
                D(
                    student=reference.mlp(0),
                    temperature=temperature,
                    soft_loss=loss,
                )
        self.assertEqual(D(student=reference.mlp(0)).temperature, 4.0)
        self.assertEqual(
            D(student=reference.mlp(0), soft_loss=loss).temperature, 2.0
        )

    def test_keyword_only(self):
        with self.assertRaises(TypeError):
            D(reference.mlp(0), reference.mlp(1))

    @parameterized.parameters(
        ("student",), (42,), (lambda x: x,), (keras.layers.Dense(3),)
    )
    def test_student_is_no_model(self, student):
        with self.assertRaisesRegex(TypeError, "keras.Model"):
            D(student=student)

    @parameterized.parameters(("teacher",), (42,), (keras.Model,), ([3],))
    def test_teacher_is_no_model(self, teacher):
        with self.assertRaisesRegex(TypeError, "callable"):
            D(student=reference.mlp(0), teacher=teacher)
        distiller = D(student=reference.mlp(0))
        with self.assertRaisesRegex(TypeError, "callable"):
            distiller.teacher = teacher
        self.assertIsNone(distiller.teacher)

    def test_unbuilt_teacher(self):
        teacher = keras.Sequential([keras.layers.Dense(4)])
        with self.assertRaisesRegex(ValueError, "has no weights yet"):
            D(student=reference.mlp(0), teacher=teacher)

    @parameterized.parameters(
        ("kl_divergence",),
        (keras.losses.kl_divergence,),
        (keras.losses.KLDivergence,),
    )
    def test_soft_loss_is_no_loss_object(self, soft_loss):
        with self.assertRaisesRegex(TypeError, "keras.losses.Loss object"):
            D(student=reference.mlp(0), soft_loss=soft_loss)

    def test_soft_loss_without_reduction(self):
        loss = kd_keras.losses.LogitMatching(reduction=None)
        with self.assertRaisesRegex(ValueError, "reduce to a scalar"):
            D(student=reference.mlp(0), soft_loss=loss)

    def test_fidelity_metrics(self):
        for metrics in ("accuracy", ["accuracy"], kd_keras.metrics):
            with self.assertRaisesRegex(TypeError, "fidelity_metrics"):
                D(student=reference.mlp(0), fidelity_metrics=metrics)
        twice = [kd_keras.metrics.TeacherAgreement() for _ in range(2)]
        with self.assertRaisesRegex(ValueError, "a name of its own"):
            D(student=reference.mlp(0), fidelity_metrics=twice)

    def test_names_of_metrics_clash(self):
        distiller = D(
            student=reference.mlp(0),
            teacher=reference.mlp(1),
            fidelity_metrics=[kd_keras.metrics.TeacherAgreement(name="same")],
        )
        distiller.compile(
            "sgd",
            reference.from_logits(),
            metrics=[kd_keras.metrics.ExpectedCalibrationError(name="same")],
        )
        x, y, _ = reference.data()
        with self.assertRaisesRegex(ValueError, "Two metrics are called"):
            distiller.fit(x, y, verbose=0)

    def test_class_counts_differ(self):
        with self.assertRaisesRegex(ValueError, "any callable|Any callable"):
            D(student=reference.mlp(0), teacher=reference.mlp(1, num_classes=5))

    def test_input_shapes_differ(self):
        with self.assertRaisesRegex(ValueError, "Any callable may preprocess"):
            D(student=reference.mlp(0), teacher=reference.mlp(1, num_inputs=7))

    def test_single_output_unit(self):
        with self.assertRaisesRegex(ValueError, r"two logits\s+\[0, z\]"):
            D(student=reference.mlp(0, num_classes=1))

        class Student(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(1)

            def call(self, inputs):
                return self.dense(inputs)

        distiller = D(student=Student(), teacher=reference.mlp(1))
        distiller.compile("sgd", "mse")
        with self.assertRaisesRegex(ValueError, r"two logits\s+\[0, z\]"):
            distiller.fit(np.zeros((4, 3)), np.zeros(4), verbose=0)

    def test_student_cannot_be_replaced(self):
        distiller = D(student=reference.mlp(0))
        with self.assertRaisesRegex(AttributeError, "keeps its student"):
            distiller.student = reference.mlp(1)

    def test_structure_of_the_soft_loss(self):
        loss = kd_keras.losses.LogitMatching()
        for soft_loss in ({"a": loss}, [loss], [loss, loss]):
            with self.assertRaisesRegex(ValueError, "have the structure"):
                D(student=reference.mlp(0), soft_loss=soft_loss)

    @parameterized.parameters(
        (keras.losses.KLDivergence(),),
        (keras.losses.CategoricalCrossentropy(from_logits=True),),
    )
    def test_a_soft_loss_of_probabilities_is_warned_of(self, soft_loss):
        with self.assertWarnsRegex(UserWarning, "SoftTargetKLDivergence"):
            D(student=reference.mlp(0), soft_loss=soft_loss)

    def test_predict_is_no_teacher(self):
        with self.assertRaisesRegex(TypeError, "Pass the model itself"):
            D(student=reference.mlp(0), teacher=reference.mlp(1).predict)

    @parameterized.product(
        model=(
            lambda: _with_activation("softmax"),
            lambda: _with_activation("sigmoid"),
            lambda: _with_activation("log_softmax"),
            lambda: _with_activation(tf.nn.softmax),
            lambda: _with_activation(keras.ops.softmax),
            lambda: _ending(keras.layers.Softmax()),
            lambda: _ending(keras.layers.Activation("sigmoid")),
            lambda: _ending(keras.ops.softmax),
            lambda: _ending(keras.ops.log_softmax),
            lambda: _ending(keras.activations.sigmoid),
            lambda: _ending(keras.layers.Softmax(), nested=True),
            lambda: _ending(
                lambda t: keras.layers.Dropout(0.1)(keras.ops.softmax(t))
            ),
            lambda: _ending(
                lambda t: keras.layers.Activation("linear", dtype="float32")(
                    keras.layers.Softmax()(t)
                )
            ),
            lambda: keras.Sequential(
                [keras.layers.Dense(4), keras.layers.Softmax()]
            ),
            lambda: keras.Sequential(
                [keras.Input((3,)), _with_activation("softmax")]
            ),
        ),
        who=("student", "teacher"),
    )
    def test_final_softmax(self, model, who):
        model = model()
        if not model.built:
            if who == "teacher":
                model.build((None, 3))
        other = reference.mlp(0)
        teacher = [other, model] if who == "teacher" else other
        student = other if who == "teacher" else model
        if who == "teacher":
            student = reference.mlp(5)
        with self.assertRaisesRegex(ValueError, f"The {who} ends in"):
            D(student=student, teacher=teacher)

    def test_a_hidden_softmax_is_no_fault(self):
        inputs = keras.Input((3,))
        gate = keras.layers.Dense(4, activation="softmax")(inputs)
        logits = keras.layers.Dense(4)(gate)
        D(student=keras.Model(inputs, logits), teacher=reference.mlp(1))

    def test_empty_ensemble(self):
        for make in (
            lambda: D(student=reference.mlp(0), teacher=[]),
            lambda: kd_keras.EnsembleTeacher([]),
        ):
            with self.assertRaisesRegex(ValueError, "at least one member"):
                make()

    def test_members_of_differing_size(self):
        members = [reference.mlp(1), reference.mlp(2, num_classes=5)]
        with self.assertRaisesRegex(ValueError, "logits of the same shape"):
            kd_keras.EnsembleTeacher(members)
        members = [lambda x, m=m: m(x) for m in members]
        distiller = D(student=reference.mlp(0), teacher=members)
        distiller.compile("sgd", reference.from_logits())
        x, y, _ = reference.data()
        with self.assertRaisesRegex(ValueError, "the same\\s+shape"):
            distiller.fit(x, y, verbose=0)

    def test_ensemble_arguments(self):
        members = [reference.mlp(1), reference.mlp(2)]
        with self.assertRaisesRegex(ValueError, "arithmetic.*geometric"):
            kd_keras.EnsembleTeacher(members, mean="harmonic")
        for weights in ([1.0], [1.0, -1.0], [1.0, float("nan")], [0, 1]):
            with self.assertRaisesRegex(ValueError, "one positive finite"):
                kd_keras.EnsembleTeacher(members, weights=weights)
        with self.assertRaisesRegex(TypeError, "list of teachers"):
            kd_keras.EnsembleTeacher(reference.mlp(1))

    def test_arithmetic_mean_needs_a_temperature(self):
        members = [reference.mlp(1), reference.mlp(2)]
        for soft_loss in (
            kd_keras.losses.LogitMatching(),
            keras.losses.MeanSquaredError(),
        ):
            with self.assertRaisesRegex(ValueError, 'mean="geometric"'):
                D(
                    student=reference.mlp(0),
                    teacher=members,
                    soft_loss=soft_loss,
                )
            D(
                student=reference.mlp(0),
                teacher=kd_keras.EnsembleTeacher(members, "geometric"),
                soft_loss=soft_loss,
            )

    def test_shared_variables(self):
        model = reference.mlp(0)
        with self.assertRaisesRegex(ValueError, "share variables"):
            D(student=model, teacher=model)

    def test_probability_teacher_of_logits(self):
        with self.assertRaisesRegex(ValueError, "ends in a\\s+softmax"):
            kd_keras.ProbabilityTeacher(reference.mlp(1))

    def test_load_teacher(self):
        folder = self.get_temp_dir()
        with self.assertRaisesRegex(FileNotFoundError, "no saved model at"):
            kd_keras.load_teacher(os.path.join(folder, "nothing"))
        with self.assertRaisesRegex(ValueError, "saved_model.pb"):
            kd_keras.load_teacher(folder)

        class Odd(keras.layers.Layer):
            def call(self, x):
                return x

        path = os.path.join(folder, "odd.keras")
        keras.Sequential([keras.Input((2,)), Odd()]).save(path)
        with self.assertRaisesRegex(ValueError, "class 'Odd', .* known here"):
            kd_keras.load_teacher(path)
        loaded = kd_keras.load_teacher(path, custom_objects={"Odd": Odd})
        self.assertIsInstance(loaded.layers[0], Odd)


if __name__ == "__main__":
    tf.test.main()
