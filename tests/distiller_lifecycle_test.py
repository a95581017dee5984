"""Saving, loading, resuming, exporting."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference


def _compiled(student, teacher=None, optimizer="adam", **kwargs):
    distiller = kd_keras.Distiller(student=student, teacher=teacher, **kwargs)
    distiller.compile(optimizer, reference.from_logits(), metrics=["accuracy"])
    return distiller


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A student that is not built before its first call."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class SaveTest(tf.test.TestCase, parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.x, self.y, self.weights = reference.data()
        self.path = os.path.join(self.get_temp_dir(), "distiller.keras")

    def logs_of(self, distiller):
        return distiller.evaluate(self.x, self.y, verbose=0, return_dict=True)

    @parameterized.parameters(
        {"temperature": 7.0, "soft_weight": 0.4},
        {"soft_loss": kd_keras.losses.LogitMatching()},
    )
    def test_a_loaded_distiller_works_at_once(self, **settings):
        teacher = reference.mlp(1)
        distiller = _compiled(
            reference.mlp(2),
            teacher,
            fidelity_metrics=[kd_keras.metrics.TeacherAgreement()],
            **settings,
        )
        distiller.fit(self.x, self.y, verbose=0)
        distiller.save(self.path)
        loaded = keras.saving.load_model(self.path)
        self.assertIsInstance(loaded, kd_keras.Distiller)
        self.assertIsNone(loaded.teacher)
        self.assertAllEqual(
            loaded.predict(self.x, verbose=0),
            distiller.predict(self.x, verbose=0),
        )
        expected = self.logs_of(distiller)
        # These need the teacher.
        del expected["teacher_agreement"], expected["soft_loss"]
        self.assertEqual(self.logs_of(loaded), expected)
        config, before = loaded.get_config(), distiller.get_config()
        for key in ("temperature", "soft_weight", "soft_loss"):
            self.assertEqual(config[key], before[key])

        # Plain labels ask for the teacher, with the line that attaches it.
        with self.assertRaisesRegex(ValueError, "distiller.teacher = teacher"):
            loaded.fit(self.x, self.y, verbose=0)
        loaded.teacher = teacher
        for d in (loaded, distiller):
            d.fit(self.x, self.y, shuffle=False, verbose=0)
        for one, other in zip(loaded.weights, distiller.weights, strict=True):
            self.assertAllEqual(one, other)
        self.assertEqual(self.logs_of(loaded), self.logs_of(distiller))

    def test_a_loaded_distiller_fits_on_stored_targets(self):
        teacher = reference.mlp(1)
        distiller = _compiled(reference.mlp(2), teacher)
        distiller.save(self.path)
        loaded = keras.saving.load_model(self.path)
        distiller.fit(self.x, self.y, shuffle=False, verbose=0)
        stored = {"label": self.y, "teacher_logits": teacher(self.x).numpy()}
        loaded.fit(self.x, stored, shuffle=False, verbose=0)
        for one, other in zip(loaded.weights, distiller.weights, strict=True):
            self.assertAllClose(one, other, 1e-6, 1e-6)

    def test_unbuilt_student(self):
        distiller = _compiled(Subclassed(), reference.mlp(1))
        self.assertFalse(distiller.built)
        distiller.fit(self.x, self.y, verbose=0)
        self.assertTrue(distiller.built)
        distiller.save(self.path)
        loaded = keras.saving.load_model(self.path)
        self.assertEqual(self.logs_of(loaded), self.logs_of(distiller))
        self.assertEqual(loaded.count_params(), 16)

    def test_weights_only(self):
        distiller = _compiled(reference.mlp(2), reference.mlp(1))
        distiller.fit(self.x, self.y, verbose=0)
        path = os.path.join(self.get_temp_dir(), "d.weights.h5")
        distiller.save_weights(path)
        other = _compiled(reference.mlp(3))
        other.load_weights(path)
        self.assertEqual(self.logs_of(other), self.logs_of(distiller))

    def test_model_checkpoint(self):
        distiller = _compiled(reference.mlp(2), reference.mlp(1))
        distiller.fit(
            self.x,
            self.y,
            epochs=3,
            validation_data=(self.x, self.y),
            verbose=0,
            callbacks=[
                keras.callbacks.ModelCheckpoint(
                    self.path, monitor="val_loss", save_best_only=True
                )
            ],
        )
        loaded = keras.saving.load_model(self.path)
        self.assertEqual(self.logs_of(loaded), self.logs_of(distiller))

    def test_student_is_an_ordinary_model(self):
        student = reference.mlp(2)
        distiller = _compiled(student, reference.mlp(1))
        distiller.fit(self.x, self.y, verbose=0)
        self.assertIs(distiller.student, student)
        distiller.student.save(self.path)
        loaded = keras.saving.load_model(self.path)
        self.assertAllEqual(loaded(self.x), distiller(self.x))


class FloatxTest(tf.test.TestCase):
    def test_float64(self):
        x, y, _ = reference.data()
        for setting in (keras.config.set_floatx, keras.config.set_dtype_policy):
            setting("float64")
            self.addCleanup(setting, "float32")
        student, teacher = reference.mlp(2), reference.mlp(1)
        v, z = teacher(x).numpy(), student(x).numpy()
        self.assertEqual(z.dtype, np.float64)
        distiller = _compiled(
            student,
            teacher,
            keras.optimizers.SGD(0.0),
            soft_loss=kd_keras.losses.SoftTargetKLDivergence(
                4.0, dtype="float64"
            ),
        )
        logs = distiller.fit(x, y, 20, verbose=0).history
        hard = reference.crossentropy(y, z).mean()
        soft = 16 * reference.kl(v, z, 4.0).mean()
        self.assertAllClose(logs["loss"][0], 0.1 * hard + 0.9 * soft, 1e-12)


class ResumeTest(tf.test.TestCase):
    def test_backup_and_restore(self):
        """A run that breaks and starts again ends as the unbroken one."""
        x, y, _ = reference.data()
        teacher = reference.mlp(1)

        class Break(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 1:
                    raise KeyboardInterrupt

        def run(backup, broken=False):
            distiller = _compiled(reference.mlp(2), teacher)
            callbacks = [keras.callbacks.BackupAndRestore(backup)]
            callbacks += [Break()] if broken else []
            history = distiller.fit(x, y, 8, 5, 0, callbacks, shuffle=False)
            return distiller, history.epoch

        folder = self.get_temp_dir()
        unbroken, epochs = run(os.path.join(folder, "a"))
        self.assertEqual(epochs, [0, 1, 2, 3, 4])
        with self.assertRaises(KeyboardInterrupt):
            run(os.path.join(folder, "b"), broken=True)
        resumed, epochs = run(os.path.join(folder, "b"))
        self.assertEqual(epochs, [2, 3, 4])
        for one, other in zip(unbroken.weights, resumed.weights, strict=True):
            self.assertAllEqual(one, other)
        for one, other in zip(
            unbroken.optimizer.variables,
            resumed.optimizer.variables,
            strict=True,
        ):
            self.assertAllEqual(one, other)


class ExportTest(tf.test.TestCase):
    def test_the_student_and_nothing_of_the_teacher(self):
        x, y, _ = reference.data()
        student = reference.mlp(2)
        distiller = _compiled(student, reference.mlp(1, hidden=500))
        distiller.fit(x, y, verbose=0)
        path = os.path.join(self.get_temp_dir(), "exported")
        distiller.export(path)
        loaded = tf.saved_model.load(path)
        signature = loaded.signatures["serving_default"]
        _, inputs = signature.structured_input_signature
        self.assertEqual(list(inputs), ["inputs"])
        outputs = signature(inputs=tf.constant(x))
        self.assertEqual(list(outputs), ["logits"])
        self.assertAllClose(outputs["logits"], student(x), 1e-6, 1e-6)
        self.assertLen(
            {id(v) for v in signature.variables}, len(student.variables)
        )
        variables = tf.train.load_checkpoint(path + "/variables/variables")
        shapes = variables.get_variable_to_shape_map().values()
        largest = max(np.prod(v.shape) for v in student.variables)
        self.assertLessEqual(max(np.prod(shape) for shape in shapes), largest)

    def test_names_of_several_inputs(self):
        inputs = [keras.Input((3,), name=name) for name in ("a", "b")]
        hidden = keras.layers.Concatenate()(inputs)
        student = keras.Model(inputs, keras.layers.Dense(4)(hidden))
        x, y, _ = reference.data()
        teacher = reference.mlp(1)
        distiller = _compiled(student, lambda x: teacher(x[0]))
        distiller.fit([x, 2 * x], y, verbose=0)
        path = os.path.join(self.get_temp_dir(), "two_inputs")
        distiller.export(path)
        signature = tf.saved_model.load(path).signatures["serving_default"]
        self.assertAllClose(
            signature(a=tf.constant(x), b=tf.constant(2 * x))["logits"],
            student([x, 2 * x]),
            1e-6,
            1e-6,
        )

    def test_subclassed_student_remembers_its_inputs(self):
        x, y, _ = reference.data()
        distiller = _compiled(Subclassed(), reference.mlp(1))
        distiller.predict(x, verbose=0)
        path = os.path.join(self.get_temp_dir(), "subclassed")
        distiller.export(path)
        signature = tf.saved_model.load(path).signatures["serving_default"]
        self.assertAllClose(
            signature(inputs=tf.constant(x))["logits"],
            distiller.student(x),
            1e-6,
            1e-6,
        )


if __name__ == "__main__":
    tf.test.main()
