"""Students that train together end as each would by itself."""

import os
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference
from tests import students_together


def _ensemble():
    return kd_keras.EnsembleTeacher([reference.mlp(20), reference.mlp(21)])


class TogetherTest(parameterized.TestCase, tf.test.TestCase):
    def compare(self, teacher, data, fit=(), **kwargs):
        """Trains in both ways, and compares all that comes of it."""
        x, y, weights = data
        fit = {
            "sample_weight": weights,
            "batch_size": 8,
            "epochs": 3,
            "shuffle": False,
            "verbose": 0,
            **dict(fit),
        }
        alone = students_together.distillers(teacher, **kwargs)
        expected = {
            name: one.fit(x, y, **fit).history for name, one in alone.items()
        }
        together = students_together.distillers(teacher, **kwargs)
        before = {
            name: one.student.get_weights() for name, one in together.items()
        }
        got = kd_keras.fit_together(together, x, y, **fit)
        self.assertEqual(list(got), list(together))
        for name, one in together.items():
            self.assertEqual(got[name].history.keys(), expected[name].keys())
            self.assertAllClose(
                got[name].history, expected[name], rtol=1e-6, atol=1e-6
            )
            self.assertEqual(one.history, got[name])
            self.assertAllClose(
                one.student.get_weights(),
                alone[name].student.get_weights(),
                rtol=0,
                atol=1e-6,
            )
            self.assertNotAllClose(
                one.student.get_weights()[0], before[name][0], atol=1e-3
            )
        return together

    def test_live(self):
        together = self.compare(
            reference.mlp(20),
            students_together.data(),
            {"validation_data": reference.data(12, seed=3)},
            names=students_together.ALL,
        )
        # Nothing is left of having been together.
        x, y, _ = students_together.data()
        one = together["warm"]
        self.assertLen(one.evaluate(x, y, verbose=0, return_dict=True), 2)
        one.fit(x, y, verbose=0)

    @pytest.mark.slow
    def test_ensemble(self):
        # A mean of distributions at each temperature.
        self.compare(_ensemble(), students_together.data(), run_eagerly=True)

    def test_stored(self):
        self.compare(
            None, students_together.data(reference.mlp(20)), run_eagerly=True
        )

    @parameterized.parameters({"steps_per_execution": 3}, {"run_eagerly": True})
    @pytest.mark.slow
    def test_ways_to_run(self, **compile_args):
        self.compare(
            reference.mlp(20), students_together.data(), **compile_args
        )

    @pytest.mark.slow
    def test_compiled(self):
        self.compare(
            reference.mlp(20), students_together.data(), jit_compile=True
        )

    @pytest.mark.slow
    def test_class_weight(self):
        x, y, _ = students_together.data()
        weighted = {"sample_weight": None, "class_weight": {0: 3.0, 2: 0.0}}
        together = self.compare(
            reference.mlp(20), (x, y, None), weighted, run_eagerly=True
        )
        plain = students_together.distillers(
            reference.mlp(20), ["cool"], run_eagerly=True
        )
        plain["cool"].fit(x, y, 8, epochs=3, shuffle=False, verbose=0)
        self.assertNotAllClose(
            plain["cool"].student.get_weights()[0],
            together["cool"].student.get_weights()[0],
            atol=1e-4,
        )

    def test_the_teacher_runs_once_a_step(self):
        model, calls = reference.mlp(20), tf.Variable(0)

        def teacher(x):
            calls.assign_add(1)
            return model(x)

        x, y, _ = students_together.data()
        together = students_together.distillers(
            teacher,
            students_together.ALL,
            fidelity_metrics=[],
            run_eagerly=True,
        )
        kd_keras.fit_together(together, x, y, batch_size=8, epochs=3, verbose=0)
        self.assertEqual(int(calls), 3 * 4)
        # Validation asks for it where there are fidelity metrics, also once.
        del together["labels"]
        for one in together.values():
            one.fidelity_metrics.append(kd_keras.metrics.TeacherAgreement())
        calls.assign(0)
        histories = kd_keras.fit_together(
            together,
            x,
            y,
            batch_size=8,
            validation_data=(x[:8], y[:8]),
            verbose=0,
        )
        self.assertEqual(int(calls), 4 + 1)
        self.assertIn("val_teacher_agreement", histories["cool"].history)

    def test_ended_early(self):
        x, y, _ = students_together.data()
        stop = keras.callbacks.EarlyStopping(
            "val_cool_2_loss", patience=0, mode="max", baseline=1e9
        )
        histories = kd_keras.fit_together(
            students_together.distillers(reference.mlp(20), run_eagerly=True),
            x,
            y,
            epochs=9,
            validation_data=(x[1:5], y[1:5]),
            callbacks=[stop],
            verbose=0,
        )
        self.assertEqual(histories["cool"].epoch, [0, 1])

    @pytest.mark.slow
    def test_broken_off_and_taken_up(self):
        x, y, _ = students_together.data()

        class Break(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    raise InterruptedError

        def train(epochs, path, *callbacks):
            keras.backend.clear_session()
            together = students_together.distillers(
                reference.mlp(20), run_eagerly=True
            )
            state = kd_keras.callbacks.TrainingState(path)
            kd_keras.fit_together(
                together,
                x,
                y,
                epochs=epochs,
                shuffle=False,
                callbacks=[state, *callbacks],
                verbose=0,
            )
            return together

        folder = self.enterContext(tempfile.TemporaryDirectory())
        unbroken = train(4, os.path.join(folder, "unbroken.npz"))
        path = os.path.join(folder, "broken.npz")
        with self.assertRaises(InterruptedError):
            train(4, path, Break())
        taken_up = train(4, path)
        for name, one in unbroken.items():
            self.assertAllEqual(
                np.concatenate([w.ravel() for w in one.student.get_weights()]),
                np.concatenate(
                    [w.ravel() for w in taken_up[name].student.get_weights()]
                ),
            )

    def test_bad_values_are_named(self):
        x, y, _ = students_together.data()
        y[3] = 4
        with self.assertRaisesRegex(ValueError, "label at or above"):
            kd_keras.fit_together(
                students_together.distillers(reference.mlp(20), ["cool"]),
                x,
                y,
                verbose=0,
            )
        x, y, _ = students_together.data()
        with self.assertRaisesRegex(ValueError, "NaN or infinite"):
            kd_keras.fit_together(
                students_together.distillers(
                    lambda x: x[:, :1] * [np.nan, 1.0, 2.0, 3.0], ["cool"]
                ),
                x,
                y,
                verbose=0,
            )


if __name__ == "__main__":
    tf.test.main()
