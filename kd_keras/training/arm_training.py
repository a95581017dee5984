"""The units of the main job: each arm of each seed is one."""

import io
import pathlib

import keras
import numpy as np

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
from kd_keras.training import fitting
from kd_keras.training.label_smoothing import SmoothedCrossentropy

# Each has an optimizer of its own in memory.
_MOST_TOGETHER = 8


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
        # Whether small students train together, known once one is built, and
        # the weights of those that did, by unit.
        self._shares_reads = False
        self._trained = {}
        self.arms = arms_lib.arms_of(config)
        steps = sum(self._steps(arm) for arm in self.arms)
        # One worker tells of all.
        stream = None if self._is_chief else io.StringIO()
        self.report = progress.Report(config.seeds * steps, stream)
        self._fitter = fitting.Fitter(
            data,
            strategy,
            self.report,
            lambda: keras.optimizers.Adam(config.learning_rate),
        )

    def file(self, seed, arm, suffix):
        """Where something of an arm is kept while the run lasts."""
        return self._run.work / f"{self._unit(seed, arm)}.{suffix}"

    def check_models(self):
        """Raises what building a model raises, before anything is trained."""
        seed = self._config.first_seed
        built = [self._build_student(seed)]
        self._shares_reads = fitting.sharing_pays(built[0], self._strategy)
        if not self._config.teacher:
            built.append(self._build_teacher(seed))
        for model in built:
            Distiller(student=model, soft_weight=0.0)

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
                self._config.teacher, self._config.mean, self._data.train
            )
        else:
            model = self._train(seed, arm)
        logits = self._data.test.logits(model)
        if arm.name == arms_lib.TEACHER:
            self._store(seed, model)
        row = self._measure(seed, arm, model, logits)
        if self._is_chief:
            np.save(self.file(seed, arm, "npy"), logits)
            if seed == self._config.first_seed and isinstance(
                model, keras.Model
            ):
                model.save(self.file(seed, arm, "keras"))
        return row

    def _train(self, seed, arm):
        config, data = self._config, self._data
        files = {"state": self.file(seed, arm, "npz")}
        files["curve"] = self.file(seed, arm, "curve")
        if arm.name == arms_lib.TEACHER:
            return self._fitter.fit(
                lambda: self._build_teacher(seed),
                data.batches(seed),
                config.teacher_epochs,
                **files,
            )
        objective = {}
        if arm.name == arms_lib.SMOOTHED:
            objective["loss"] = SmoothedCrossentropy(config.label_smoothing)
        if arm.name == arms_lib.DISTILLED:
            if len(group := self._group(seed, arm)) > 1:
                return self._train_together(seed, arm, group)
            store = self._open_store(seed, arm.temperature)
            objective = _soft_objective(arm, store)
        return self._fitter.fit(
            lambda: self._build_student(seed),
            data.batches(
                seed, config.labelled_fraction, objective.get("teacher")
            ),
            config.student_epochs,
            **files,
            **objective,
        )

    def _group(self, seed, arm):
        """The arms that train on one read of the soft targets with an arm."""
        if not self._shares_reads:
            return [arm]
        alike = [other for other in self.arms if other.name == arm.name]
        if manifest.read_manifest(self._store_path(seed)).members:
            # Their mean may depend on the temperature.
            alike = [
                other for other in alike if other.temperature == arm.temperature
            ]
        first = alike.index(arm) // _MOST_TOGETHER * _MOST_TOGETHER
        return alike[first : first + _MOST_TOGETHER]

    def _train_together(self, seed, arm, group):
        """Trains a group, done or not, or takes what came of it before.

        Those that are done count, too: all go on from one state.
        """
        units = {self._unit(seed, other): other for other in group}
        if not units.keys() <= self._trained.keys():
            config = self._config
            store = self._open_store(seed, arm.temperature)
            self.report.start(
                f"seed {seed}: {len(group)} students on one read of the soft "
                "targets"
            )
            self._trained = self._fitter.fit_together(
                lambda: self._build_student(seed),
                self._data.batches(seed, config.labelled_fraction, store),
                config.student_epochs,
                state=self.file(seed, group[0], "together.npz"),
                of_each={
                    unit: (
                        self.file(seed, other, "curve"),
                        _soft_objective(other, store),
                    )
                    for unit, other in units.items()
                },
                left=sum(self._run.done(unit) is None for unit in units),
            )
        student = self._build_student(seed)
        student.set_weights(self._trained[self._unit(seed, arm)])
        return student

    def _build_teacher(self, seed):
        config, train = self._config, self._data.train
        return architectures.build(
            config.teacher_model,
            train.image_shape,
            train.num_classes,
            dropout=architectures.teacher_dropout(
                config.teacher_model, config.teacher_dropout
            ),
            # Apart from those of students: they share no random numbers.
            seed=seed + 1_000_000,
        )

    def _build_student(self, seed):
        config, train = self._config, self._data.train
        return architectures.build(
            config.student_model,
            train.image_shape,
            train.num_classes,
            dropout=0.0,
            weights=config.student_weights,
            seed=seed,
        )

    def _store(self, seed, teacher):
        """Stores the teacher's soft targets, or checks those that are given."""
        temperatures = self._config.temperature
        if self._config.soft_targets is not None:
            # Now, and not after the arms without soft targets.
            for number, temperature in enumerate(temperatures):
                store = self._open_store(seed, temperature, number == 0)
                if number == 0:
                    store.check_teacher(teacher)
                    store.examples(self._data.train)
            return
        path = self._store_path(seed)
        if self._is_chief and not path.exists():
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

    def _open_store(self, seed, temperature, verify=False):
        path = self._store_path(seed)
        keeps_members = manifest.read_manifest(path).members
        store = soft_targets.open_store(
            path,
            temperature=temperature if keeps_members else None,
            verify=verify,
        )
        if store.temperature not in (None, temperature):
            raise ValueError(
                f"The soft targets in {path} are good for the temperature "
                f"{store.temperature:g} alone. Received: {temperature:g}."
            )
        return store

    def _measure(self, seed, arm, model, logits):
        """A line of `metrics.jsonl`."""
        test, validation = self._data.test, self._data.validation
        row = {
            # Of a teacher that was given there is one for all seeds.
            "seed": None if self._is_given(arm) else seed,
            "arm": arm.name,
            "temperature": arm.temperature,
            "soft_weight": arm.soft_weight,
            "parameters": classifiers.num_parameters(model),
            **test.quality(logits),
            "validation_errors": validation
            and validation.errors(validation.logits(model)),
            "teacher_agreement": None,
            "predictive_kl": None,
            "accuracy_where_teacher_wrong": None,
        }
        if arm.name != arms_lib.TEACHER:
            teacher_logits = np.load(self.file(seed, self.arms[0], "npy"))
            fidelity = diagnostics.fidelity(test.labels, teacher_logits, logits)
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

    def teacher_fingerprint(self, seed):
        """Fingerprint of the teacher whose soft targets were stored."""
        return manifest.read_manifest(self._store_path(seed)).teacher

    def _store_path(self, seed):
        if self._config.soft_targets is not None:
            return pathlib.Path(self._config.soft_targets)
        return self._run.work / f"{self._unit(seed, self.arms[0])}-targets"


def _soft_objective(arm, store):
    """What the Distiller of a distilled arm is told."""
    return {
        "teacher": store,
        "temperature": arm.temperature,
        "soft_weight": arm.soft_weight,
    }
