"""What several students that train together may not share, and callbacks."""

import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

import kd_keras
from tests import reference
from tests import students_together


class RefusalsTest(tf.test.TestCase):
    def refused(self, distillers, message, error=ValueError):
        x, y, _ = students_together.data()
        with self.assertRaisesRegex(error, message):
            kd_keras.fit_together(distillers, x, y, verbose=0)

    def test_no_distillers(self):
        for given in ({}, [1], {"a": reference.mlp(0)}, {"": None}):
            self.refused(given, "dict of names to Distillers", TypeError)

    def test_not_compiled(self):
        one = kd_keras.Distiller(student=reference.mlp(0), soft_weight=0.0)
        self.refused({"one": one}, "'one' is not compiled")

    def test_two_teachers(self):
        together = students_together.distillers(
            reference.mlp(20), ["cool", "warm"]
        )
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

    def test_a_step_of_its_own(self):
        class Own(kd_keras.Distiller):
            def train_step(self, data):
                return super().train_step(data)

        one = Own(student=reference.mlp(0), teacher=reference.mlp(1))
        one.compile(
            "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        self.refused({"one": one}, "'one' is a Own, whose own train_step")

    def test_callbacks_that_need_what_is_not_there(self):
        x, y, _ = students_together.data()
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
                "ModelCheckpoint finds no model.*distiller.save",
            ),
            (
                callbacks.TerminateOnNaN(),
                "TerminateOnNaN finds no log called `loss`.*NAME_loss",
            ),
            (
                callbacks.SwapEMAWeights(),
                "SwapEMAWeights finds no optimizer.*Leave it out",
            ),
        ):
            with self.assertRaisesRegex(ValueError, message):
                kd_keras.fit_together(
                    students_together.distillers(reference.mlp(20)),
                    x,
                    y,
                    callbacks=keras.callbacks.CallbackList([callback]),
                    verbose=0,
                )

    def test_a_teacher_that_is_a_student(self):
        pupil = reference.mlp(0)
        together = {
            "a": reference.compiled(reference.mlp(1), pupil),
            "b": reference.compiled(pupil, soft_weight=0.0),
        }
        self.refused(together, "teacher of Distiller 'a'.*student of 'b'")

    def test_a_state_of_other_names(self):
        x, y, _ = students_together.data()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        state = kd_keras.callbacks.TrainingState(
            os.path.join(folder, "state.npz")
        )

        def train(*names):
            # As in a sweep they differ in their temperatures alone.
            kd_keras.fit_together(
                {
                    name: reference.compiled(
                        reference.mlp(0), temperature=1.0 + len(name)
                    )
                    for name in names
                },
                x,
                {"label": y, "teacher_logits": 5.0 * np.eye(4)[y]},
                epochs=2,
                callbacks=[state],
                verbose=0,
            )

        train("t_1", "t_2")
        for names in (("t_2", "t_1"), ("t_1", "t_3")):
            with self.assertRaisesRegex(ValueError, "variables.*t_"):
                train(*names)

    def test_logs_of_a_callback_are_of_none(self):
        class Clock(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                logs["time"] = 1.0

        x, y, _ = students_together.data()
        histories = kd_keras.fit_together(
            students_together.distillers(reference.mlp(20), ["cool"]),
            x,
            y,
            callbacks=[Clock()],
            verbose=0,
        )
        self.assertNotIn("time", histories["cool"].history)

    def test_whose_fault_it_is(self):
        x, y, _ = students_together.data()
        together = students_together.distillers(reference.mlp(20))
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
