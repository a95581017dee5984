"""Data that is refused before the first step."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference

D = kd_keras.Distiller


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

    def test_none(self):
        distiller = D(student=self.student, teacher=reference.mlp(1))
        distiller.compile("sgd", reference.from_logits())
        for method in ("fit", "evaluate", "predict"):
            with self.subTest(method):
                with self.assertRaisesRegex(
                    ValueError, f'"{method}" needs data.*x=None'
                ):
                    getattr(distiller, method)(None)
        with self.assertRaisesRegex(ValueError, '"fit" needs data'):
            kd_keras.fit_together({"one": distiller})

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


if __name__ == "__main__":
    tf.test.main()
