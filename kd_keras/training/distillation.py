"""The main job: a teacher, and its student with and without soft targets."""

import dataclasses
import pathlib
import shutil

import keras
import numpy as np

from kd_keras import distribution
from kd_keras import json_files
from kd_keras import runs
from kd_keras.training import arms as arms_lib
from kd_keras.training import cards
from kd_keras.training import curves
from kd_keras.training import outputs
from kd_keras.training import provenance
from kd_keras.training import storing
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
            SavedModel), `student.keras`, `student.json` (what is known of it)
            and `saved_model/`, the last three of the distilled student that
            was chosen. Nothing is seen there before
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
    files = (
        *config.teacher,
        config.student_model,
        config.student_weights,
        config.teacher_model,
    )
    identity = {
        "program": "distill",
        **dataclasses.asdict(config),
        "replicas": strategy.num_replicas_in_sync,
        "content_of_files": provenance.contents(files),
        "soft_targets_tag": storing.tag_of(config.soft_targets),
    }
    run = runs.Run(
        output_dir,
        identity,
        overwrite=overwrite,
        strategy=strategy,
        inputs=[
            *identity["content_of_files"],
            *filter(None, [config.soft_targets]),
        ],
    )
    data = JobData(config, storing.views_of(config.soft_targets))
    for path in config.teacher:
        cards.check_unseen(path, data.test.source)
    with run.begin(outputs.made_with(data)):
        trainer = ArmTrainer(config, data, run, strategy)
        trainer.check_models()
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
    outputs.write_lines(run.path / "metrics.jsonl", rows)
    outputs.write_curves(run.path, _labelled_curves(config, trainer))
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
            # What is there in the end is that of the last arm.
            sizes[arm.name] = outputs.write_saved_model(run.path, model_file)
    shutil.copy(model_file, run.path / "student.keras")
    _write_record(config, data, run, trainer, rows)
    outputs.write_predictions(run.path, data.test, logits)
    json_files.write(run.path / "sizes.json", sizes)
    return sizes


def _write_record(config, data, run, trainer, rows):
    arm = arms_lib.chosen(rows)
    of_arm = [
        row
        for row in rows
        if row["arm"] == arm.name and arms_lib.of_row(row) == arm
    ]
    cards.write_record(
        run.path / "student.keras",
        keras.saving.load_model(run.path / "student.keras", compile=False),
        data.train,
        config,
        program="distill",
        seed=config.first_seed,
        metrics=of_arm[0],
        over_seeds=of_arm,
        teacher={
            "name": _teacher_name(config),
            "fingerprint": trainer.teacher_fingerprint(config.first_seed),
            "records": [
                record
                for record in map(cards.of_teacher, config.teacher)
                if record
            ],
        },
        chosen=_how_chosen(config, data),
        views=data.describe_views(),
        temperature=arm.temperature,
        soft_weight=arm.soft_weight,
    )


def _how_chosen(config, data):
    """How temperature and weight were chosen; None if there was no choice."""
    count = len(config.temperature) * len(config.soft_weight)
    if count == 1:
        return None
    seen = [cards.trained_on(p, data.validation.source) for p in config.teacher]
    return f"of {count} pairs, by the fewest errors on {config.splits[1]}" + (
        ", on which a teacher had been trained, too" if any(seen) else ""
    )


def _teacher_name(config):
    if not config.teacher:
        return config.teacher_model
    # The names alone are often the same.
    names = ["/".join(pathlib.Path(p).parts[-2:]) for p in config.teacher]
    if len(names) == 1:
        return names[0]
    return f"ensemble ({config.mean} mean) of {', '.join(names)}"


def _labelled_curves(config, trainer):
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        for arm in trainer.arms:
            label = {"seed": seed, "arm": arm.name}
            label["temperature"] = arm.temperature
            label["soft_weight"] = arm.soft_weight
            curve = curves.read(trainer.file(seed, arm, "curve"))
            yield f"{arm.unit}-seed-{seed}", label, curve
