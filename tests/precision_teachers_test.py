"""What can teach in a lower precision, and what cannot."""

import keras
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from kd_keras import keras_hooks
from kd_keras import precision
from tests import reference


def inputs():
    return reference.data(16)[0]


class NotCopied(keras.Model):
    """A model whose constructor has an argument that Keras cannot know."""

    def __init__(self, make_layer):
        super().__init__()
        self.logits = make_layer()

    def call(self, x):
        return self.logits(x)


class Mixing(keras.Model):
    """Adds a float32 to what a layer gives, whatever its dtype."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(8)
        self.logits = keras.layers.Dense(4)

    def call(self, x):
        return self.logits(self.hidden(x) + tf.ones((8,)))


def policies(model):
    return {
        layer.name: layer.dtype_policy.name
        for layer in keras_hooks.layers_of(model)
        if layer.weights and not isinstance(layer, keras.Model)
    }


class TeachersTest(tf.test.TestCase, parameterized.TestCase):
    """Teachers made of models, and what is none."""

    def test_members_of_ensembles(self):
        x = inputs()
        one, two = reference.mlp(1), reference.mlp(2)
        probs = keras.Sequential([*reference.mlp(3).layers])
        probs = keras.Sequential(
            [keras.Input((3,)), probs, keras.layers.Softmax()]
        )
        teacher = kd_keras.EnsembleTeacher(
            [
                one,
                kd_keras.EnsembleTeacher([one, two], mean="geometric"),
                kd_keras.ProbabilityTeacher(probs),
            ],
            weights=[1, 2, 5],
        )
        low = precision.low_precision(teacher, "bfloat16")
        # A model that is in it twice is one model still.
        self.assertIs(low.members[0], low.members[1].members[0])
        same = kd_keras.EnsembleTeacher(
            [
                low.members[0],
                kd_keras.EnsembleTeacher(low.members[1].members, "geometric"),
                kd_keras.ProbabilityTeacher(low.members[2].model),
            ],
            weights=[1, 2, 5],
        )
        self.assertAllClose(low(x, 3.0), same(x, 3.0), 1e-6, 1e-6)
        self.assertAllClose(low(x, 3.0), teacher(x, 3.0), atol=0.05)
        for model, given in zip(
            kd_keras.teachers.models_of(low),
            (one, one, two, probs),
            strict=True,
        ):
            self.assertCountEqual(
                policies(model).values(), ["bfloat16", "float32"]
            )
            self.assertEqual(set(policies(given).values()), {"float32"})
        self.assertIs(teacher.members[0], one)

    def test_a_list_is_an_arithmetic_ensemble(self):
        models = [reference.mlp(1), reference.mlp(2)]
        low = precision.low_precision(models, "mixed_float16")
        self.assertIsInstance(low, kd_keras.EnsembleTeacher)
        self.assertEqual(low.mean, "arithmetic")
        for model in low.members:
            self.assertEqual(
                list(policies(model).values()), ["mixed_float16", "float32"]
            )

    # XLA leaves out a rounding between operations that it merges.
    @parameterized.parameters((False, 1e-5), (True, 0.01))
    def test_a_student_learns_from_its_logits(self, jit_compile, tolerance):
        x, y, _ = reference.data()
        student = reference.mlp(2)
        low = precision.low_precision(reference.mlp(1), "bfloat16")
        expected = 16 * reference.kl(low(x), student(x), 4.0).mean()
        distiller = reference.compiled(
            student, low, keras.optimizers.SGD(0.0), jit_compile=jit_compile
        )
        history = distiller.fit(x, y, batch_size=20, verbose=0).history
        self.assertAllClose(history["soft_loss"], [expected], tolerance)

    def test_a_distiller_teaches_with_its_student(self):
        path = f"{self.get_temp_dir()}/distiller.keras"
        x, y, _ = reference.data()
        distiller = reference.compiled(reference.mlp(2), reference.mlp(1))
        distiller.fit(x, y, verbose=0)
        distiller.save(path)
        low = precision.low_precision(
            kd_keras.load_teacher(path), "mixed_bfloat16"
        )
        same = precision.low_precision(distiller.student, "mixed_bfloat16")
        self.assertAllEqual(low(x), same(x))
        self.assertNotAllEqual(low(x), distiller(x))

    @parameterized.parameters("float8", "int8", "float64", None, 16)
    def test_unknown_dtypes(self, dtype):
        with self.assertRaisesRegex(
            ValueError, "bfloat16, float16, mixed_bfloat16.*float32. Received"
        ):
            precision.low_precision(reference.mlp(1), dtype)

    @parameterized.parameters(keras.DTypePolicy("mixed_bfloat16"), tf.bfloat16)
    def test_dtypes_as_objects(self, dtype):
        low = precision.low_precision(reference.mlp(1), dtype)
        self.assertEqual(low.layers[1].compute_dtype, "bfloat16")

    def test_what_cannot_be_converted(self):
        path = self.get_temp_dir()
        reference.mlp(1).export(path, verbose=False)
        model = reference.mlp(1)
        for teacher, name in (
            (lambda x: model(x), "function"),
            (kd_keras.load_teacher(path), "SavedModelTeacher"),
            (keras.layers.TFSMLayer(path), "TFSMLayer"),
            ([model, lambda x: model(x)], "function"),
        ):
            with self.assertRaisesRegex(
                TypeError, f"keras.Model, a list.*low\\(prepare.*{name}$"
            ):
                precision.low_precision(teacher, "bfloat16")
        with self.assertRaisesRegex(TypeError, "A teacher is a keras.Model"):
            precision.low_precision("teacher", "bfloat16")
        with self.assertRaisesRegex(ValueError, "has no weights yet"):
            precision.low_precision(Mixing(), "bfloat16")

    @parameterized.parameters(
        (lambda: NotCopied(lambda: keras.layers.Dense(4)), "NotCopied"),
        (Mixing, "dtype|type float32"),
    )
    def test_what_cannot_be_copied(self, make, message):
        teacher = make()
        teacher(inputs())
        with self.assertRaisesRegex(
            ValueError, f"(?s)cannot be copied.*get_config.*dtype=.*{message}"
        ):
            precision.low_precision(teacher, "bfloat16")

    def test_the_distiller_converts_its_teacher(self):
        x, y, _ = reference.data()
        teacher, student = reference.mlp(1), reference.mlp(2)
        distiller = reference.compiled(
            student,
            teacher,
            keras.optimizers.SGD(0.0),
            teacher_dtype="bfloat16",
        )
        low = precision.low_precision(teacher, "bfloat16")
        self.assertAllEqual(distiller.teacher(x), low(x))
        self.assertNotAllEqual(distiller.teacher(x), teacher(x))
        expected = 16 * reference.kl(low(x), student(x), 4.0).mean()
        logs = distiller.fit(x, y, batch_size=20, verbose=0).history
        self.assertAllClose(logs["soft_loss"], [expected], 1e-5)
        distiller.teacher = reference.mlp(3)
        self.assertEqual(distiller.teacher.layers[-2].compute_dtype, "bfloat16")
        with self.assertRaisesRegex(ValueError, "must be one of"):
            kd_keras.Distiller(student=student, teacher_dtype="int8")


if __name__ == "__main__":
    tf.test.main()
