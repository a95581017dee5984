"""Files that the programs that train leave in their output directory."""

import json
import time

import keras
import numpy as np

from kd_keras import export
from kd_keras.training import classifiers
from kd_keras.training import curves
from kd_keras.training import provenance


def write_lines(path, lines):
    """Writes dicts, one line of JSON each."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_curves(folder, labelled):
    """Writes learning curves as `curves.jsonl` and in `tensorboard/`.

    Args:
        folder: `pathlib.Path` of the output directory.
        labelled: Tuples of the name of a run, a dict of what its lines begin
            with, and the curve, a list of dicts.
    """
    lines = []
    for name, label, curve in labelled:
        lines += [{**label, **line} for line in curve]
        curves.write_for_tensorboard(folder / "tensorboard" / name, curve)
    write_lines(folder / "curves.jsonl", lines)


def write_predictions(folder, test, logits):
    """Writes what models said of the test split as `predictions.npz`.

    Args:
        folder: `pathlib.Path` of the output directory.
        test: `data.Examples`.
        logits: Dict of names of models to arrays.
    """
    np.savez(
        folder / "predictions.npz",
        labels=test.labels,
        images=test.first_images,
        **logits,
    )


def write_saved_model(folder, model_file):
    """Writes a saved model as `saved_model/` too; returns its bytes."""
    model = keras.saving.load_model(model_file, compile=False)
    path = folder / "saved_model"
    export.export_student(model, path, overwrite=True)
    return classifiers.num_bytes(path)


def made_with(data):
    """What `config.json` holds besides settings.

    Args:
        data: `data.JobData`.
    """
    return {
        "dataset_version": data.train.version,
        "num_train_examples": data.train.num_examples,
        "views": data.describe_views(),
        "versions": provenance.versions(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
