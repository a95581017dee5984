"""A teacher: one model, trained on labels."""

import dataclasses
import io
import shutil

import keras

from kd_keras import comparison
from kd_keras import diagnostics
from kd_keras import distribution
from kd_keras import progress
from kd_keras import runs
from kd_keras.training import architectures
from kd_keras.training import cards
from kd_keras.training import classifiers
from kd_keras.training import curves
from kd_keras.training import outputs
from kd_keras.training import provenance
from kd_keras.training.data import JobData
from kd_keras.training.fitting import Fitter

NAME = "teacher"


def run_teacher(config, output_dir, *, overwrite=False, finish=None):
    """Trains a teacher and writes it.

    As `run_distillation` it goes on where it was broken off.

    Args:
        config: A `TeacherConfig`.
        output_dir: Directory to make. It holds `teacher.keras`, and beside it
            `teacher.json`, what is known of it; the same as `saved_model/`;
            `config.json`; `metrics.jsonl`, one line; `curves.jsonl`, one for
            each epoch, and the same in `tensorboard/`; and `predictions.npz`
            (labels, images and the logits on the test split). Nothing is seen
            there before all is done.
        overwrite: As of `run_distillation`. Defaults to `False`.
        finish: As of `run_distillation`. Defaults to None.

    Returns:
        A dict, the line of `metrics.jsonl`; empty on workers that are not the
        chief.

    Raises:
        Errors of `run_distillation`.
    """
    strategy = distribution.make_strategy(
        config.strategy, num_virtual_devices=config.num_virtual_devices
    )
    files = provenance.contents([config.model, config.weights])
    identity = {
        "program": "train_teacher",
        **dataclasses.asdict(config),
        "replicas": strategy.num_replicas_in_sync,
        "content_of_files": files,
    }
    run = runs.Run(
        output_dir,
        identity,
        overwrite=overwrite,
        strategy=strategy,
        inputs=files,
    )
    data = JobData(
        config, {"max_shift": config.max_shift} if config.max_shift else None
    )
    with run.begin(outputs.made_with(data)):
        is_chief = distribution.is_chief(strategy)
        report = progress.Report(
            config.epochs * data.steps_per_epoch,
            # One worker tells of all.
            None if is_chief else io.StringIO(),
        )
        report.start("teacher")
        fitter = Fitter(
            data,
            strategy,
            report,
            lambda: keras.optimizers.Adam(config.learning_rate),
        )
        teacher = fitter.fit(
            lambda: _build(config, data.train),
            data.batches(config.seed),
            config.epochs,
            state=run.work / "teacher.npz",
            curve=run.work / "teacher.curve",
        )
        row = {}
        if is_chief:
            row = _write_results(config, data, run, teacher)
            if finish is not None:
                finish(run.path, data.train.class_names)
        run.publish()
        report.close()
    return row


def _build(config, train):
    return architectures.build(
        config.model,
        train.image_shape,
        train.num_classes,
        dropout=architectures.teacher_dropout(config.model, config.dropout),
        weights=config.weights,
        seed=config.seed,
    )


def _write_results(config, data, run, teacher):
    logits = data.test.logits(teacher)
    validation = data.validation
    row = {
        "seed": config.seed,
        "arm": NAME,
        "parameters": classifiers.num_parameters(teacher),
        **data.test.quality(logits),
        "validation_errors": validation
        and validation.errors(validation.logits(teacher)),
    }
    outputs.write_lines(run.path / "metrics.jsonl", [row])
    outputs.write_predictions(run.path, data.test, {NAME: logits})
    curve = curves.read(run.work / "teacher.curve")
    label = {"seed": config.seed, "arm": NAME}
    outputs.write_curves(run.path, [(NAME, label, curve)])
    # Written whole, then named: a run that is killed does this again.
    aside = run.work / "whole.keras"
    teacher.save(aside)
    shutil.move(aside, run.path / "teacher.keras")
    outputs.write_saved_model(run.path, run.path / "teacher.keras")
    cards.write_record(
        run.path / "teacher.keras",
        teacher,
        data.train,
        config,
        program="train_teacher",
        seed=config.seed,
        metrics=row,
        views=data.describe_views(),
    )
    return row


def summarise_teacher(row):
    """What came of a teacher, as Markdown that reads well as text.

    Args:
        row: What `run_teacher` returned.

    Returns:
        A string of lines.
    """
    examples, errors = row["test_examples"], row["test_errors"]
    low, high = diagnostics.accuracy_interval(examples - errors, examples)
    rows = [
        ["parameters", f"{row['parameters']:,}"],
        ["test errors", f"{errors:,} of {examples:,}"],
        [
            "accuracy %",
            f"{100 * row['test_accuracy']:.2f} ({100 * low:.2f} to "
            f"{100 * high:.2f})",
        ],
        [
            "negative log-likelihood, nats",
            f"{row['negative_log_likelihood']:.4f}",
        ],
        ["calibration error", f"{row['calibration_error']:.4f}"],
    ]
    if row["validation_errors"] is not None:
        rows.append(["validation errors", f"{row['validation_errors']:,}"])
    return (
        comparison.format_table(["", NAME], rows)
        + "\n\nInterval: 95%, binomial, of the draw of the test examples; "
        "another seed differs besides."
    )
