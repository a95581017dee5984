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

_SETTINGS = {
    "cool": {"temperature": 1.5, "soft_weight": 0.3, "hidden": 5},
    "cool_2": {"temperature": 8.0, "soft_weight": 0.9, "hidden": 7},
    "warm": {"temperature": 8.0, "soft_weight": 1.0, "hidden": 5},
}
_ALL = (*_SETTINGS, "labels")


def _student(seed, hidden):
    """With all that draws random numbers or adds to the objective."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(hidden, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(4, kernel_regularizer="l2"),
        ]
    )


def _distillers(teacher, names=("cool", "cool_2"), **kwargs):
    """Distillers that differ in whatever may differ."""
    made = {}
    for seed, name in enumerate(names):
        if name == "labels":
            continue
        settings = dict(_SETTINGS[name])
        made[name] = reference.compiled(
            _student(seed, settings.pop("hidden")),
            teacher,
            keras.optimizers.Adam(
                0.01 * (seed + 1), use_ema=True, ema_momentum=0.9
            ),
            metrics=["accuracy"],
            **settings,
            **kwargs,
        )
    if "labels" in names:
        made["labels"] = reference.compiled(
            _student(9, 4),
            optimizer=keras.optimizers.SGD(0.1, clipnorm=0.5),
            soft_weight=0.0,
            **kwargs,
        )
    return made


def _data(teacher=None):
    """Arrays of which some have no label; with the teacher's logits."""
    x, y, weights = reference.data(26)
    y[::5] = -1
    if teacher is None:
        return x, y, weights
    return x, {"label": y, "teacher_logits": teacher(x).numpy()}, weights


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
        alone = _distillers(teacher, **kwargs)
        expected = {
            name: one.fit(x, y, **fit).history for name, one in alone.items()
        }
        together = _distillers(teacher, **kwargs)
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
            _data(),
            {"validation_data": reference.data(12, seed=3)},
            names=_ALL,
        )
        # Nothing is left of having been together.
        x, y, _ = _data()
        one = together["warm"]
        self.assertLen(one.evaluate(x, y, verbose=0, return_dict=True), 2)
        one.fit(x, y, verbose=0)

    @pytest.mark.slow
    def test_ensemble(self):
        # A mean of distributions at each temperature.
        self.compare(_ensemble(), _data(), run_eagerly=True)

    def test_stored(self):
        self.compare(None, _data(reference.mlp(20)), run_eagerly=True)

    @parameterized.parameters({"steps_per_execution": 3}, {"run_eagerly": True})
    @pytest.mark.slow
    def test_ways_to_run(self, **compile_args):
        self.compare(reference.mlp(20), _data(), **compile_args)

    @pytest.mark.slow
    def test_compiled(self):
        self.compare(reference.mlp(20), _data(), jit_compile=True)

    @pytest.mark.slow
    def test_class_weight(self):
        x, y, _ = _data()
        weighted = {"sample_weight": None, "class_weight": {0: 3.0, 2: 0.0}}
        together = self.compare(
            reference.mlp(20), (x, y, None), weighted, run_eagerly=True
        )
        plain = _distillers(reference.mlp(20), ["cool"], run_eagerly=True)
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

        x, y, _ = _data()
        together = _distillers(
            teacher, _ALL, fidelity_metrics=[], run_eagerly=True
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
        x, y, _ = _data()
        stop = keras.callbacks.EarlyStopping(
            "val_cool_2_loss", patience=0, mode="max", baseline=1e9
        )
        histories = kd_keras.fit_together(
            _distillers(reference.mlp(20), run_eagerly=True),
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
        x, y, _ = _data()

        class Break(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    raise InterruptedError

        def train(epochs, path, *callbacks):
            keras.backend.clear_session()
            together = _distillers(reference.mlp(20), run_eagerly=True)
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
        x, y, _ = _data()
        y[3] = 4
        with self.assertRaisesRegex(ValueError, "label at or above"):
            kd_keras.fit_together(
                _distillers(reference.mlp(20), ["cool"]), x, y, verbose=0
            )
        x, y, _ = _data()
        with self.assertRaisesRegex(ValueError, "NaN or infinite"):
            kd_keras.fit_together(
                _distillers(
                    lambda x: x[:, :1] * [np.nan, 1.0, 2.0, 3.0], ["cool"]
                ),
                x,
                y,
                verbose=0,
            )


class RefusalsTest(tf.test.TestCase):
    def refused(self, distillers, message, error=ValueError):
        x, y, _ = _data()
        with self.assertRaisesRegex(error, message):
            kd_keras.fit_together(distillers, x, y, verbose=0)

    def test_no_distillers(self):
        for given in ({}, [1], {"a": reference.mlp(0)}, {"": None}):
            self.refused(given, "dict of names to Distillers", TypeError)

    def test_not_compiled(self):
        one = kd_keras.Distiller(student=reference.mlp(0), soft_weight=0.0)
        self.refused({"one": one}, "'one' is not compiled")

    def test_two_teachers(self):
        together = _distillers(reference.mlp(20), ["cool", "warm"])
        # A list is another ensemble each time.
        together["warm"].teacher = [reference.mlp(20)]
        self.refused(together, "'cool' and 'warm' have two teachers")

    def test_shared_students_and_optimizers(self):
        student, teacher = reference.mlp(0), reference.mlp(1)
        together = {
            name: reference.compiled(student, teacher) for name in ("a", "b")
        }
        self.refused(together, "'a' and 'b' share variables")
        optimizer = keras.optimizers.SGD()
        together = {
            name: reference.compiled(reference.mlp(0), teacher, optimizer)
            for name in ("a", "b")
        }
        self.refused(together, "'a' and 'b' share variables, an optimizer")

    def test_a_student_that_is_not_built(self):
        class Late(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(4)

            def call(self, inputs):
                return self.dense(inputs)

        student, teacher = Late(), reference.mlp(1)
        together = {
            name: reference.compiled(student, teacher) for name in ("a", "b")
        }
        self.refused(together, "'a' and 'b' share variables")

    def test_shared_metrics(self):
        teacher = reference.mlp(1)

        def made(**settings):
            return {
                name: reference.compiled(reference.mlp(0), teacher, **settings)
                for name in ("a", "b")
            }

        agreement = kd_keras.metrics.TeacherAgreement()
        self.refused(
            made(fidelity_metrics=[agreement]),
            "or a metric.*Both have 'teacher_agreement'",
        )
        accuracy = keras.metrics.SparseCategoricalAccuracy("right")
        for kind in ("metrics", "weighted_metrics"):
            self.refused(made(**{kind: [accuracy]}), "Both have 'right'")

    def test_names_of_logs(self):
        teacher = reference.mlp(1)

        def made(*names):
            return {
                name: reference.compiled(reference.mlp(seed), teacher)
                for seed, name in enumerate(names)
            }

        self.refused(
            made("a", "a_hard"), "both have a log called 'a_hard_loss'"
        )
        self.refused(made("a", "val_a"), "do not begin with", TypeError)

    def test_callbacks_that_need_what_is_not_there(self):
        x, y, _ = _data()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        callbacks = keras.callbacks
        for callback, message in (
            (
                callbacks.ReduceLROnPlateau("a_loss", mode="min"),
                "ReduceLROnPlateau finds no optimizer.*schedule",
            ),
            (
                callbacks.LearningRateScheduler(lambda epoch: 0.1),
                "LearningRateScheduler finds no optimizer.*schedule",
            ),
            (
                callbacks.ModelCheckpoint(os.path.join(folder, "a.keras")),
                "ModelCheckpoint finds no model.*save_weights_only",
            ),
        ):
            with self.assertRaisesRegex(ValueError, message):
                kd_keras.fit_together(
                    _distillers(reference.mlp(20)),
                    x,
                    y,
                    callbacks=[callback],
                    verbose=0,
                )

    def test_whose_fault_it_is(self):
        x, y, _ = _data()
        together = _distillers(reference.mlp(20))
        together["cool_2"].teacher = None
        with self.assertRaises(ValueError) as raised:
            kd_keras.fit_together(together, x, y, verbose=0)
        self.assertEqual(
            raised.exception.__notes__, ["This is of the Distiller 'cool_2'."]
        )

    def test_other_ways_to_run(self):
        together = {
            name: reference.compiled(
                reference.mlp(0), reference.mlp(1), steps_per_execution=steps
            )
            for name, steps in (("a", 1), ("b", 2))
        }
        self.refused(together, "`steps_per_execution` differs: 1 and 2")


if __name__ == "__main__":
    tf.test.main()
