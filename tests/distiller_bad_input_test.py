"""Bad input raises before the first step; bad values before the epoch ends."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference

D = kd_keras.Distiller
HOWS = (
    {},
    {"jit_compile": True},
    {"steps_per_execution": 4},
    {"jit_compile": True, "steps_per_execution": 4},
)


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
        with self.assertRaisesRegex(FileNotFoundError, "no teacher at"):
            kd_keras.load_teacher(os.path.join(folder, "nothing"))
        with self.assertRaisesRegex(ValueError, "saved_model.pb"):
            kd_keras.load_teacher(folder)


class DataTest(tf.test.TestCase, parameterized.TestCase):
    """Raises before the first step: the weights have not moved."""

    def setUp(self):
        super().setUp()
        self.x, self.y, _ = reference.data()
        self.student = reference.mlp(2)
        self.v = reference.mlp(1)(self.x).numpy()

    def assertRefused(
        self, message, data, teacher=None, error=ValueError, **kwargs
    ):
        loss = kwargs.pop("loss", reference.from_logits())
        fit_args = kwargs.pop("fit_args", {})
        distiller = D(student=self.student, teacher=teacher, **kwargs)
        distiller.compile("sgd", loss)
        before = self.student.get_weights()
        for source in ("numpy", "tf.data"):
            if source == "numpy":
                try:
                    data = (data,) if not isinstance(data, tuple) else data
                    with self.assertRaisesRegex(error, message):
                        distiller.fit(*data, verbose=0, **fit_args)
                except AssertionError as failure:
                    # Keras itself counts the examples of arrays.
                    if "Data cardinality" not in str(failure):
                        raise
            else:
                dataset = tf.data.Dataset.from_tensors(data)
                with self.assertRaisesRegex(error, message):
                    distiller.fit(dataset, verbose=0, **fit_args)
        for one, other in zip(before, self.student.get_weights(), strict=True):
            self.assertAllEqual(one, other)

    def test_no_teacher(self):
        self.assertRefused(
            r"Attach one: distiller.teacher = teacher", (self.x, self.y)
        )

    @parameterized.parameters(
        ("wider", "have the shape"),
        ("rank", "have the shape"),
        ("list", "have the structure"),
        ("one", "have the structure"),
        ("dict", "have the structure"),
        ("shorter", "have the shape"),
    )
    def test_teacher_logits(self, fault, message):
        v = {
            "wider": np.zeros((20, 5), "float32"),
            "rank": np.zeros((20, 1, 4), "float32"),
            "list": (self.v, self.v),
            "one": (self.v,),
            "dict": {"a": self.v, "b": self.v},
            "shorter": self.v[:1],
        }[fault]
        y = {"label": self.y, "teacher_logits": v}
        if fault == "shorter":
            self.check_shorter(y)
        else:
            self.assertRefused(message, (self.x, y))

    def check_shorter(self, y):
        distiller = D(student=self.student)
        distiller.compile("sgd", reference.from_logits())
        before = self.student.get_weights()
        dataset = tf.data.Dataset.from_tensors((self.x, y))
        with self.assertRaisesRegex(ValueError, "have the shape"):
            distiller.fit(dataset, verbose=0)
        # Where the data set does not tell its shapes before it runs.
        dataset = tf.data.Dataset.from_generator(
            lambda: iter([(self.x, y)]),
            output_signature=(
                tf.TensorSpec([None, 3]),
                {
                    "label": tf.TensorSpec([None], tf.int64),
                    "teacher_logits": tf.TensorSpec([None, 4]),
                },
            ),
        )
        with self.assertRaisesRegex(
            tf.errors.InvalidArgumentError, "must have the shape"
        ):
            distiller.fit(dataset, verbose=0)
        for one, other in zip(before, self.student.get_weights(), strict=True):
            self.assertAllEqual(one, other)

    def test_unknown_keys(self):
        self.assertRefused(
            "Received also: \\['labels'\\]",
            (self.x, {"labels": self.y, "teacher_logits": self.v}),
        )
        self.assertRefused(
            "keys of stored targets",
            (self.x, {"label": self.y, "logits": self.v}),
            teacher=reference.mlp(1),
        )

    def test_teacher_gives_another_shape(self):
        self.assertRefused(
            "callable",
            (self.x, self.y),
            teacher=lambda x: tf.zeros([tf.shape(x)[0], 5]),
        )
        self.assertRefused(
            "nothing is called 'logits'",
            (self.x, self.y),
            teacher=lambda x: {"a": x, "b": x},
        )
        self.assertRefused(
            "returned None", (self.x, self.y), teacher=lambda x: None
        )
        # The message shows the shapes that came.
        self.assertRefused(
            r"Received: \(\(\w+, 3\), \(\w+, 3\)\)",
            (self.x, self.y),
            teacher=lambda x: (x, x),
        )

    def test_no_labels(self):
        teacher = reference.mlp(1)
        self.assertRefused("has no labels", (self.x,), teacher)
        self.assertRefused(
            "has no labels", (self.x, {"teacher_logits": self.v})
        )

    def test_no_loss(self):
        self.assertRefused(
            "was given no loss",
            (self.x, self.y),
            teacher=reference.mlp(1),
            loss=None,
        )

    def test_evaluation_without_labels(self):
        distiller = D(student=self.student, soft_weight=1)
        distiller.compile("sgd", reference.from_logits())
        with self.assertRaisesRegex(ValueError, "evaluation needs them"):
            distiller.evaluate(self.x, verbose=0)

    @parameterized.parameters(
        ({4: 1.0}, "4 classes"),
        ({-1: 1.0}, "class -1"),
        ({0: float("nan")}, "finite"),
        ({0: -1.0}, "not\\s+negative"),
        ([1.0, 2.0], "must be a dict"),
        ({"cat": 1.0}, "must be a dict"),
    )
    def test_class_weight(self, class_weight, message):
        self.assertRefused(
            message,
            (self.x, self.y),
            teacher=reference.mlp(1),
            fit_args={"class_weight": class_weight},
        )

    def test_class_weight_and_sample_weight(self):
        distiller = D(student=self.student, teacher=reference.mlp(1))
        distiller.compile("sgd", reference.from_logits())
        weights = np.ones(20)
        with self.assertRaisesRegex(ValueError, "at the same time"):
            distiller.fit(
                self.x, self.y, sample_weight=weights, class_weight={0: 2.0}
            )
        dataset = tf.data.Dataset.from_tensors((self.x, self.y, weights))
        with self.assertRaisesRegex(ValueError, "at the same time"):
            distiller.fit(dataset, class_weight={0: 2.0}, verbose=0)

    @parameterized.parameters(
        ("sparse_categorical_crossentropy",),
        (keras.losses.SparseCategoricalCrossentropy(),),
    )
    def test_a_loss_of_probabilities_is_warned_of(self, loss):
        distiller = D(student=self.student, teacher=reference.mlp(1))
        distiller.compile("sgd", loss)
        with self.assertWarnsRegex(UserWarning, "from_logits=True"):
            distiller.fit(self.x, self.y, verbose=0)


class ValuesTest(tf.test.TestCase, parameterized.TestCase):
    """What only values show, in compiled steps."""

    def setUp(self):
        super().setUp()
        self.x, self.y, _ = reference.data(64)
        self.path = os.path.join(self.get_temp_dir(), "spoilt.keras")
        if os.path.exists(self.path):
            os.remove(self.path)

    def assertRaisesAtTheEndOfTheEpoch(
        self, message, x, y, teacher, how, student=None, after=None
    ):
        student = student or reference.mlp(2)
        distiller = D(student=student, teacher=teacher)
        distiller.compile("sgd", reference.from_logits(), **how)
        ended = []
        with self.assertRaisesRegex(ValueError, message):
            distiller.fit(
                x,
                y,
                batch_size=4,
                epochs=2,
                shuffle=False,
                verbose=0,
                callbacks=[
                    keras.callbacks.ModelCheckpoint(self.path),
                    keras.callbacks.LambdaCallback(
                        on_epoch_end=lambda epoch, logs: ended.append(epoch)
                    ),
                ],
            )
        self.assertEmpty(ended)
        self.assertFalse(os.path.exists(self.path))

    @parameterized.product(how=HOWS, shape=((-1,), (-1, 1)))
    def test_label_out_of_range(self, how, shape):
        y = self.y.copy()
        y[21] = y[40] = 4
        self.assertRaisesAtTheEndOfTheEpoch(
            "Step 6 of training met a label",
            self.x,
            y.reshape(shape),
            reference.mlp(1),
            how,
        )

    @parameterized.product(how=HOWS, value=(float("nan"), float("inf")))
    def test_teacher_logits_not_finite(self, how, value):
        v = reference.mlp(1)(self.x).numpy()
        v[[30, 50], 2] = value
        self.assertRaisesAtTheEndOfTheEpoch(
            "Step 8 of training met teacher logits",
            self.x,
            {"label": self.y, "teacher_logits": v},
            None,
            how,
        )

    @parameterized.parameters(*HOWS)
    def test_live_teacher_not_finite(self, **how):
        model = reference.mlp(1)
        self.x[9] = np.inf
        self.assertRaisesAtTheEndOfTheEpoch(
            "Step 3 of training met teacher logits",
            self.x,
            self.y,
            lambda x: model(x) * tf.reduce_sum(x, -1, keepdims=True),
            how,
        )

    @parameterized.parameters(*HOWS)
    def test_teacher_gives_probabilities(self, **how):
        model = reference.mlp(1)
        self.assertRaisesAtTheEndOfTheEpoch(
            "kd_keras.ProbabilityTeacher",
            self.x,
            self.y,
            lambda x: tf.nn.softmax(model(x)),
            how,
        )

    def test_probabilities_in_evaluation(self):
        model = reference.mlp(1)
        distiller = D(
            student=reference.mlp(2),
            teacher=lambda x: tf.nn.softmax(model(x)),
            fidelity_metrics=[kd_keras.metrics.PredictiveKLDivergence()],
        )
        distiller.compile("sgd", reference.from_logits())
        with self.assertRaisesRegex(ValueError, "steps of evaluation"):
            distiller.evaluate(self.x, self.y, verbose=0)

    def test_stored_probabilities(self):
        p = tf.nn.softmax(reference.mlp(1)(self.x)).numpy().astype("float16")
        self.assertRaisesAtTheEndOfTheEpoch(
            "summed to 1",
            self.x,
            {"label": self.y, "teacher_logits": p},
            None,
            {},
        )

    def test_subclassed_student_gives_probabilities(self):
        class Student(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(4)

            def call(self, inputs):
                return tf.nn.softmax(self.dense(inputs))

        self.assertRaisesAtTheEndOfTheEpoch(
            "the student's outputs",
            self.x,
            self.y,
            reference.mlp(1),
            {},
            student=Student(),
        )

    def test_a_row_of_logits_that_looks_like_probabilities_is_no_fault(self):
        v = np.full((64, 4), 0.25, "float32")
        v[60] = [3.0, 0.0, 0.0, 0.0]
        distiller = D(student=reference.mlp(2))
        distiller.compile("sgd", reference.from_logits())
        y = {"label": self.y, "teacher_logits": v}
        distiller.fit(self.x, y, batch_size=4, verbose=0)

    @parameterized.parameters({}, {"jit_compile": True})
    def test_in_evaluation_and_on_batch(self, **how):
        y = self.y.copy()
        y[0] = 7
        distiller = D(student=reference.mlp(2), teacher=reference.mlp(1))
        distiller.compile("sgd", reference.from_logits(), **how)
        for call in (
            lambda: distiller.evaluate(self.x, y, verbose=0),
            lambda: distiller.test_on_batch(self.x, y),
            lambda: distiller.train_on_batch(self.x, y),
            lambda: distiller.fit(
                self.x, self.y, validation_data=(self.x, y), verbose=0
            ),
        ):
            with self.assertRaisesRegex(ValueError, "met a label at or above"):
                call()
            # It is reported once; good data is good again.
            distiller.evaluate(self.x, self.y, verbose=0)

    def test_training_is_reported_before_its_validation(self):
        y = self.y.copy()
        y[0] = 7
        distiller = D(student=reference.mlp(2), teacher=reference.mlp(1))
        distiller.compile("sgd", reference.from_logits())
        with self.assertRaisesRegex(ValueError, "Step 1 of training"):
            distiller.fit(
                self.x, y, 64, validation_data=(self.x, self.y), verbose=0
            )

    def test_callback_list(self):
        y = self.y.copy()
        y[0] = 7
        distiller = D(student=reference.mlp(2), teacher=reference.mlp(1))
        distiller.compile("sgd", reference.from_logits())
        history = keras.callbacks.History()
        callbacks = keras.callbacks.CallbackList([history], model=distiller)
        with self.assertRaisesRegex(ValueError, "Step 1 of training"):
            distiller.fit(self.x, y, 64, callbacks=callbacks)
        self.assertEmpty(history.epoch)
        self.assertEqual(callbacks.callbacks, [history])


if __name__ == "__main__":
    tf.test.main()
