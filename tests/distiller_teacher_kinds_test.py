"""Everything that may be a teacher."""

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
        distiller = reference.compiled(
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
        distiller = reference.compiled(self.model, None)
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
        distiller = reference.compiled(
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
        distiller = reference.compiled(student, teacher)
        logs = distiller.fit(self.x, self.y, verbose=0).history
        self.assertAllClose(
            logs["soft_loss"][0],
            16
            * reference.kl(teacher(self.x), reference.mlp(2)(self.x), 4).mean(),
            1e-4,
        )


if __name__ == "__main__":
    tf.test.main()
