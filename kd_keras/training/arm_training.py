"""The units of the main job: each arm of each seed is one."""

import io

import keras
import numpy as np
import tensorflow as tf

from kd_keras import callbacks
from kd_keras import diagnostics
from kd_keras import distribution
from kd_keras import progress
from kd_keras import soft_targets
from kd_keras import teachers
from kd_keras.distiller import Distiller
from kd_keras.soft_targets import manifest
from kd_keras.training import architectures
from kd_keras.training import arms as arms_lib
from kd_keras.training import classifiers
from kd_keras.training import curves
from kd_keras.training.label_smoothing import SmoothedCrossentropy

# Points of a learning curve at which held-out examples are looked at.
_VALIDATIONS = 20


class ArmTrainer:
    """Trains what is not done yet.

    Attributes:
        arms: List of `arms.Arm`, the teacher first.
        report: `progress.Report`.

    Args:
        config: A `DistillConfig`.
        data: `JobData`.
        run: `runs.Run`, begun.
        strategy: `tf.distribute.Strategy` under which all models train.
    """

    def __init__(self, config, data, run, strategy):
        self._config, self._data, self._run = config, data, run
        self._strategy = strategy
        self._is_chief = distribution.is_chief(strategy)
        self.arms = arms_lib.arms_of(config)
        steps = sum(self._steps(arm) for arm in self.arms)
        # One worker tells of all.
        stream = None if self._is_chief else io.StringIO()
        self.report = progress.Report(config.seeds * steps, stream)

    def file(self, seed, arm, suffix):
        """Where something of an arm is kept while the run lasts."""
        return self._run.work / f"{self._unit(seed, arm)}.{suffix}"

    def run_seed(self, seed):
        """Trains the arms of one seed, as far as that is not done.

        Returns:
            A list of the lines of `metrics.jsonl`.
        """
        rows = []
        for arm in self.arms:
            unit = self._unit(seed, arm)
            row = self._run.done(unit)
            if row is None:
                row = self._run_arm(seed, arm)
                self._run.finish(unit, row)
                if self._is_chief:
                    # Not before: a run that is killed goes on with it.
                    self.file(seed, arm, "npz").unlink(missing_ok=True)
            else:
                self.report.skip(self._steps(arm))
            if seed == self._config.first_seed or row["seed"] is not None:
                rows.append(row)
        return rows

    def _run_arm(self, seed, arm):
        self.report.start(f"seed {seed}: {arm.title}")
        # Names of variables, by which they are found again, do not depend on
        # what was made before.
        keras.backend.clear_session()
        if self._is_given(arm):
            model = classifiers.load_teachers(
                self._config.teacher, self._config.mean
            )
        else:
            model = self._train(seed, arm)
        logits = self._predict(model)
        if arm.name == arms_lib.TEACHER:
            self._store(seed, model)
        row = self._measure(seed, arm, model, logits)
        if self._is_chief:
            np.save(self.file(seed, arm, "npy"), logits["test"])
            if seed == self._config.first_seed and isinstance(
                model, keras.Model
            ):
                model.save(self.file(seed, arm, "keras"))
        return row

    def _train(self, seed, arm):
        """Trains one model; returns a copy without a strategy."""
        config, data = self._config, self._data
        is_teacher = arm.name == arms_lib.TEACHER
        store = None
        if arm.name == arms_lib.DISTILLED:
            store = self._open_store(seed, arm.temperature)
        with self._strategy.scope():
            distiller = Distiller(
                student=self._build(seed, is_teacher),
                teacher=store,
                temperature=arm.temperature or 1.0,
                soft_weight=arm.soft_weight or 0.0,
                name="distiller",
            )
            distiller.compile(
                keras.optimizers.Adam(config.learning_rate),
                SmoothedCrossentropy(config.label_smoothing)
                if arm.name == arms_lib.SMOOTHED
                else keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True
                ),
                metrics=["accuracy"],
                steps_per_execution=20,
            )
        epochs = config.teacher_epochs if is_teacher else config.student_epochs
        distiller.fit(
            data.batches(
                seed, 1.0 if is_teacher else config.labelled_fraction, store
            ),
            epochs=epochs,
            verbose=0,
            # The batches come shuffled.
            shuffle=False,
            validation_data=data.validation and data.validation.batches,
            validation_freq=max(epochs // _VALIDATIONS, 1),
            callbacks=[
                data.epoch,
                curves.Curve(self.file(seed, arm, "curve")),
                callbacks.TrainingState(self.file(seed, arm, "npz")),
                self.report.callback(),
            ],
        )
        # What one worker does alone must not need the others.
        weights = distiller.student.get_weights()
        copy = self._build(seed, is_teacher)
        copy.set_weights(weights)
        return copy

    def _build(self, seed, is_teacher):
        config, train = self._config, self._data.train
        if is_teacher:
            return architectures.build(
                config.teacher_model,
                train.image_shape,
                train.num_classes,
                dropout=config.teacher_dropout,
                # Apart from those of students: they share no random numbers.
                seed=seed + 1_000_000,
            )
        return architectures.build(
            config.student_model,
            train.image_shape,
            train.num_classes,
            weights=config.student_weights,
            seed=seed,
        )

    def _store(self, seed, teacher):
        """Stores the teacher's soft targets of the training split."""
        path = self._store_path(seed)
        if self._is_chief and not path.exists():
            temperatures = self._config.temperature
            is_bound = (
                teachers.depends_on_temperature(teacher)
                and len(temperatures) == 1
            )
            soft_targets.write(
                path,
                teacher,
                self._data.train,
                temperature=temperatures[0] if is_bound else None,
                stream=io.StringIO(),
            )
        distribution.chiefs_value(self._strategy, 0)

    def _open_store(self, seed, temperature):
        path = self._store_path(seed)
        keeps_members = manifest.read_manifest(path).members
        return soft_targets.open_store(
            path, temperature=temperature if keeps_members else None
        )

    def _predict(self, model):
        """Logits at T = 1 of what models are measured on."""

        @tf.function(reduce_retracing=True)
        def forward(images):
            return tf.cast(teachers.forward(model, images)(1.0), tf.float32)

        return {
            name: np.concatenate(
                [forward(images).numpy() for images, _ in examples.batches]
            )
            for name, examples in (
                ("test", self._data.test),
                ("validation", self._data.validation),
            )
            if examples
        }

    def _measure(self, seed, arm, model, logits):
        """A line of `metrics.jsonl`."""
        labels = self._data.test.labels
        quality = diagnostics.quality(labels, logits["test"])
        row = {
            # Of a teacher that was given there is one for all seeds.
            "seed": None if self._is_given(arm) else seed,
            "arm": arm.name,
            "temperature": arm.temperature,
            "soft_weight": arm.soft_weight,
            "parameters": _count_params(model),
            "test_examples": quality.examples,
            "test_errors": quality.errors,
            "test_accuracy": quality.accuracy,
            "negative_log_likelihood": quality.negative_log_likelihood,
            "calibration_error": quality.calibration_error,
            "validation_errors": None,
            "teacher_agreement": None,
            "predictive_kl": None,
            "accuracy_where_teacher_wrong": None,
        }
        if "validation" in logits:
            predicted = logits["validation"].argmax(axis=-1)
            wrong = predicted != self._data.validation.labels
            row["validation_errors"] = int(wrong.sum())
        if arm.name != arms_lib.TEACHER:
            teacher_logits = np.load(self.file(seed, self.arms[0], "npy"))
            fidelity = diagnostics.fidelity(
                labels, teacher_logits, logits["test"]
            )
            row["teacher_agreement"] = fidelity.agreement
            row["predictive_kl"] = fidelity.predictive_kl
            row["accuracy_where_teacher_wrong"] = (
                fidelity.accuracy_where_teacher_wrong
            )
        return row

    def _steps(self, arm):
        config = self._config
        if arm.name != arms_lib.TEACHER:
            return config.student_epochs * self._data.steps_per_epoch
        if config.teacher:
            return 0
        return config.teacher_epochs * self._data.steps_per_epoch

    def _unit(self, seed, arm):
        if self._is_given(arm):
            return arm.unit
        return f"seed-{seed}-{arm.unit}"

    def _is_given(self, arm):
        return bool(arm.name == arms_lib.TEACHER and self._config.teacher)

    def _store_path(self, seed):
        return self._run.work / f"{self._unit(seed, self.arms[0])}-targets"


def _count_params(teacher):
    models = teachers.models_of(teacher)
    return sum(model.count_params() for model in models) if models else None
