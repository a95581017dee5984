"""The main job: a teacher, and its student with and without soft targets."""

import dataclasses
import functools
import io
import json
import pathlib
import shutil
import time

import keras
import numpy as np

from kd_keras import callbacks
from kd_keras import datasets
from kd_keras import distribution
from kd_keras import export
from kd_keras import metrics
from kd_keras import models
from kd_keras import progress
from kd_keras import runs
from kd_keras.distiller import Distiller
from kd_keras.training import provenance
from kd_keras.training.summary import ARMS


def run_distillation(config, output_dir, overwrite=False):
    """Runs the main job and writes what came of it.

    A run that was broken off, at whatever moment, goes on after the last epoch
    that it completed when it is called again in the same way, and ends, on
    CPU, bit for bit where the unbroken one ends. Until all is done its files
    are in `{output_dir}.partial`. With several workers all call this; the
    chief writes, in a directory that all must see.

    Args:
        config: A `DistillConfig`.
        output_dir: Directory to make. It holds `config.json`,
            `metrics.jsonl` (a line for each arm of each seed), and of the
            first seed `sizes.json` (bytes of each arm as a SavedModel),
            `student.keras` and `saved_model/`. Nothing is seen there before
            all is done.
        overwrite: Whether something at `output_dir`, or a broken run of
            another configuration, may be replaced. Defaults to `False`.

    Returns:
        A tuple of a list of dicts, the lines of `metrics.jsonl`, and a dict,
        the content of `sizes.json`, which is empty on workers that are not
        the chief.

    Raises:
        FileExistsError: If there is something at `output_dir`, or another
            process is at work on it.
        RuntimeError: If the strategy of the configuration comes too late.
        ValueError: If the configuration does not fit the data, or that of a
            broken run.
    """
    strategy = distribution.make_strategy(
        config.strategy, num_virtual_devices=config.num_virtual_devices
    )
    identity = {
        **dataclasses.asdict(config),
        "replicas": strategy.num_replicas_in_sync,
    }
    run = runs.Run(output_dir, identity, overwrite=overwrite, strategy=strategy)
    data = _Data(config)
    with run.begin(_provenance(data)):
        job = _Job(config, data, run, strategy)
        results = [
            result
            for seed in range(
                config.first_seed, config.first_seed + config.seeds
            )
            for result in job.run_seed(seed)
        ]
        rows = [result["row"] for result in results]
        sizes = {}
        if distribution.is_chief(strategy):
            # Of the first seed, not of the best.
            sizes = {
                result["row"]["arm"]: result["size"]
                for result in results
                if result["size"] is not None
            }
            (run.path / "metrics.jsonl").write_text(
                "".join(json.dumps(row) + "\n" for row in rows)
            )
            runs.write_json(run.path / "sizes.json", sizes)
        run.publish()
        job.report.close()
    return rows, sizes


class _Data:
    """The data of the job: built once, read in the order of each seed."""

    def __init__(self, config):
        load = functools.partial(
            datasets.load,
            data_dir=config.data_dir,
            image_size=config.image_size,
        )
        self.train = load(config.dataset, config.train_split)
        test = load(config.dataset, config.test_split)
        self.config = config
        self.epoch = callbacks.EpochCounter()
        self._last = None, None
        self.steps_per_epoch = -(-self.train.num_examples // config.batch_size)
        self.test_batches = datasets.batches(test.dataset, 500)
        self.test_labels = np.concatenate(
            [labels for _, labels in self.test_batches.as_numpy_iterator()]
        )

    def batches(self, seed, labelled_fraction=1.0):
        """The training split in the order of a seed and of the epoch."""
        # The last one is kept: two arms read the same.
        if self._last[0] != (seed, labelled_fraction):
            self._last = (
                (seed, labelled_fraction),
                self._make_batches(seed, labelled_fraction),
            )
        return self._last[1]

    def _make_batches(self, seed, labelled_fraction):
        dataset = self.train.dataset
        if labelled_fraction < 1.0:
            dataset = datasets.hide_labels(
                dataset, 1.0 - labelled_fraction, seed=seed
            )
        return datasets.batches(
            dataset,
            self.config.batch_size,
            shuffle_seed=seed,
            epoch=self.epoch.value,
        )


class _Job:
    """The units of a run: each arm of each seed is one."""

    def __init__(self, config, data, run, strategy):
        self._config, self._data, self._run = config, data, run
        self._strategy = strategy
        self.report = progress.Report(
            config.seeds
            * (config.teacher_epochs + 2 * config.student_epochs)
            * data.steps_per_epoch,
            # One worker tells of all.
            None if distribution.is_chief(strategy) else io.StringIO(),
        )

    def run_seed(self, seed):
        """Trains the arms of one seed, as far as it is not done.

        Returns:
            For each arm a dict: `row`, its line of `metrics.jsonl`, and
            `size`, its bytes as a SavedModel, or None.
        """
        config = self._config
        results = {arm: self._run.done(_unit(seed, arm)) for arm in ARMS}
        if all(results.values()):
            self.report.skip(
                (config.teacher_epochs + 2 * config.student_epochs)
                * self._data.steps_per_epoch
            )
            return list(results.values())
        teacher = teacher_logits = None
        for arm in ARMS:
            # A teacher that is done comes back as it was saved: its students
            # may not be done yet.
            if results[arm] is None or arm == "teacher":
                model, logits = self._train(seed, arm, teacher)
                if results[arm] is None:
                    results[arm] = self._measure(
                        seed, arm, model, logits, teacher_logits
                    )
                    self._run.finish(_unit(seed, arm), results[arm])
                if arm == "teacher":
                    teacher, teacher_logits = model, logits
            else:
                self.report.skip(
                    config.student_epochs * self._data.steps_per_epoch
                )
        self._forget_states(seed)
        return list(results.values())

    def _train(self, seed, arm, teacher):
        """Trains one model; returns it with its logits of the test split."""
        config, data = self._config, self._data
        self.report.start(f"seed {seed}: {arm}")
        is_teacher, is_distilled = arm == "teacher", arm == "distilled"
        # Names of variables, by which they are found again, do not depend on
        # what was made before.
        keras.backend.clear_session()
        with self._strategy.scope():
            student = models.mlp(
                data.train.image_shape,
                data.train.num_classes,
                config.teacher_units if is_teacher else config.student_units,
                dropout=config.teacher_dropout if is_teacher else 0.0,
                # Seeds of teachers are apart from those of students: they
                # share no random numbers.
                seed=seed + 1_000_000 if is_teacher else seed,
                name="teacher" if is_teacher else "student",
            )
            distiller = Distiller(
                student=student,
                teacher=teacher if is_distilled else None,
                temperature=config.temperature,
                soft_weight=config.soft_weight if is_distilled else 0.0,
                name="distiller",
            )
            distiller.compile(
                keras.optimizers.Adam(config.learning_rate),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                steps_per_execution=20,
            )
        distiller.fit(
            data.batches(seed, 1.0 if is_teacher else config.labelled_fraction),
            epochs=config.teacher_epochs
            if is_teacher
            else config.student_epochs,
            verbose=0,
            # The batches come shuffled.
            shuffle=False,
            callbacks=[
                data.epoch,
                callbacks.TrainingState(self._state(seed, arm)),
                self.report.callback(),
            ],
        )
        return student, distiller.predict(data.test_batches, verbose=0)

    def _measure(self, seed, arm, model, logits, teacher_logits):
        """What came of one trained model on the test split."""
        right = logits.argmax(axis=-1) == self._data.test_labels
        calibration = metrics.ExpectedCalibrationError()
        calibration.update_state(self._data.test_labels, logits)
        agreement = None
        if teacher_logits is not None:
            same = logits.argmax(axis=-1) == teacher_logits.argmax(axis=-1)
            agreement = float(same.mean())
        row = {
            "seed": seed,
            "arm": arm,
            "parameters": model.count_params(),
            "test_examples": len(right),
            "test_errors": int((~right).sum()),
            "test_accuracy": float(right.mean()),
            "teacher_agreement": agreement,
            "calibration_error": float(calibration.result()),
        }
        size = None
        if seed == self._config.first_seed:
            if distribution.is_chief(self._strategy):
                size = self._keep(arm, model)
        return {"row": row, "size": size}

    def _keep(self, arm, model):
        """Measures a model as a SavedModel; keeps the distilled student."""
        is_kept = arm == "distilled"
        folder = self._run.path if is_kept else self._run.work
        path = folder / "saved_model"
        export.export_student(model, path, overwrite=True)
        files = [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        if is_kept:
            model.save(folder / "student.keras")
        else:
            shutil.rmtree(path)
        return size

    def _state(self, seed, arm):
        return self._run.work / f"{_unit(seed, arm)}.npz"

    def _forget_states(self, seed):
        if distribution.is_chief(self._strategy):
            for arm in ARMS:
                pathlib.Path(self._state(seed, arm)).unlink(missing_ok=True)


def _unit(seed, arm):
    return f"seed-{seed}-{arm.replace(' ', '-')}"


def _provenance(data):
    return {
        "dataset_version": data.train.version,
        "num_train_examples": data.train.num_examples,
        "versions": provenance.versions(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
