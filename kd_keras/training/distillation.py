"""The main job: a teacher, and its student with and without soft targets."""

import dataclasses
import json
import shutil
import time

import keras
import numpy as np

from kd_keras import distribution
from kd_keras import export
from kd_keras import runs
from kd_keras.training import arms as arms_lib
from kd_keras.training import classifiers
from kd_keras.training import curves
from kd_keras.training import provenance
from kd_keras.training.arm_training import ArmTrainer
from kd_keras.training.data import JobData


def run_distillation(config, output_dir, *, overwrite=False, finish=None):
    """Runs the main job and writes what came of it.

    A run that was broken off, at whatever moment, goes on after the last epoch
    that it completed when it is called again in the same way, and ends, on
    CPU, bit for bit where the unbroken one ends. Until all is done its files
    are in `{output_dir}.partial`. With several workers all call this; the
    chief writes, in a directory that all must see.

    Args:
        config: A `DistillConfig`.
        output_dir: Directory to make. It holds `config.json`;
            `metrics.jsonl`, a line for each arm of each seed; `curves.jsonl`,
            one for each epoch of these, and the same in `tensorboard/`; and of
            the first seed `predictions.npz` (labels, images and the logits of
            each arm on the test split), `sizes.json` (bytes of each arm as a
            SavedModel), `student.keras` and `saved_model/`, the last three of
            the distilled student that was chosen. Nothing is seen there before
            all is done.
        overwrite: Whether something at `output_dir`, or a broken run of
            another configuration, may be replaced. Defaults to `False`.
        finish: Function that is called on the chief with the directory,
            before it takes its name, and the names of the classes, to add to
            it. Defaults to None.

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
    data = JobData(config)
    with run.begin(_provenance(data)):
        trainer = ArmTrainer(config, data, run, strategy)
        rows = [
            row
            for seed in range(
                config.first_seed, config.first_seed + config.seeds
            )
            for row in trainer.run_seed(seed)
        ]
        sizes = {}
        if distribution.is_chief(strategy):
            sizes = _write_results(config, data, run, trainer, rows)
            if finish is not None:
                finish(run.path, data.train.class_names)
        run.publish()
        trainer.report.close()
    return rows, sizes


def _write_results(config, data, run, trainer, rows):
    (run.path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    _write_curves(config, run, trainer)
    # Of the first seed, not of the best.
    seed = config.first_seed
    arms = [
        *(arm for arm in trainer.arms if arm.name != arms_lib.DISTILLED),
        arms_lib.chosen(rows),
    ]
    sizes = {}
    logits = {}
    for arm in arms:
        logits[arm.name] = np.load(trainer.file(seed, arm, "npy"))
        model_file = trainer.file(seed, arm, "keras")
        if model_file.exists():
            sizes[arm.name] = _size_as_saved_model(model_file, run)
    shutil.copy(trainer.file(seed, arm, "keras"), run.path / "student.keras")
    np.savez(
        run.path / "predictions.npz",
        labels=data.test.labels,
        images=_first_images(data.test, 1000),
        **logits,
    )
    runs.write_json(run.path / "sizes.json", sizes)
    return sizes


def _size_as_saved_model(model_file, run):
    """Writes `saved_model/`, of the last arm in the end; its bytes."""
    model = keras.saving.load_model(model_file, compile=False)
    path = run.path / "saved_model"
    export.export_student(model, path, overwrite=True)
    return classifiers.num_bytes(path)


def _write_curves(config, run, trainer):
    lines = []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for arm in trainer.arms:
            curve = curves.read(trainer.file(seed, arm, "curve"))
            label = dataclasses.asdict(arm)
            label["arm"] = label.pop("name")
            lines += [{"seed": seed, **label, **line} for line in curve]
            curves.write_for_tensorboard(
                run.path / "tensorboard" / f"{arm.unit}-seed-{seed}", curve
            )
    (run.path / "curves.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )


def _first_images(test, count):
    batches = test.source.dataset.take(count).batch(count)
    return next(batches.as_numpy_iterator())["image"]


def _provenance(data):
    return {
        "dataset_version": data.train.version,
        "num_train_examples": data.train.num_examples,
        "versions": provenance.versions(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
