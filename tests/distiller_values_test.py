"""What only values show raises before the epoch's end is seen."""

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

    @parameterized.parameters(*zip(HOWS, 2 * ((-1,), (-1, 1)), strict=True))
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

    @parameterized.parameters(*zip(HOWS, 2 * (np.nan, np.inf), strict=True))
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

    @parameterized.parameters(HOWS[0], HOWS[-1])
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

    @parameterized.parameters(HOWS[0], HOWS[-1])
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

    def test_the_lowest_finite_logits_are_no_fault(self):
        """Ruled-out classes, whose sum overflows."""
        v = reference.mlp(1)(self.x).numpy()
        v[:, :2] = np.finfo("float32").min
        distiller = D(student=reference.mlp(2))
        distiller.compile("sgd", reference.from_logits())
        y = {"label": np.full(64, 3), "teacher_logits": v}
        distiller.fit(self.x, y, verbose=0)

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
