"""Learning curves: what training logs after each epoch, kept on disk."""

import json
import os
import pathlib

import keras
import tensorflow as tf

from kd_keras import distribution


class Curve(keras.callbacks.Callback):
    """Keeps the logs of each epoch in a file, one line of JSON each.

    Given before `TrainingState` in the list of callbacks, it holds every epoch
    exactly once also after a run that was broken off.

    Args:
        path: File to write. What it holds of epochs that are trained again is
            replaced.
    """

    def __init__(self, path):
        super().__init__()
        self._path = pathlib.Path(path)

    def on_epoch_end(self, epoch, logs=None):
        """Adds a line."""
        if distribution.is_chief(self.model.distribute_strategy):
            _add(self._path, epoch, logs or {})


class CurveOfEach(keras.callbacks.Callback):
    """Keeps the logs of each Distiller of a `fit_together` in a file.

    Args:
        paths: Dict of the names of Distillers to files, as of `Curve`.
    """

    def __init__(self, paths):
        super().__init__()
        self._paths = {name: pathlib.Path(path) for name, path in paths.items()}

    def on_epoch_end(self, epoch, logs=None):
        """Adds a line to each."""
        if distribution.is_chief(self.model.distribute_strategy):
            for name, path in self._paths.items():
                own = self.model.own_logs(logs or {}, name)
                _add(path, epoch, own)


def _add(path, epoch, logs):
    """Adds what was logged of an epoch, in place of what was there of it."""
    lines = [line for line in read(path) if line["epoch"] < epoch]
    lines.append({"epoch": epoch, **_numbers(logs)})
    aside = path.with_suffix(".partial")
    aside.write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.replace(aside, path)


def read(path):
    """The lines of a curve, a list of dicts; empty if there is none.

    Args:
        path: File that `Curve` wrote.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error


def write_for_tensorboard(folder, curve):
    """Writes a curve where TensorBoard finds it.

    Args:
        folder: Directory to make.
        curve: Dicts as `read` gives them.
    """
    # As tf.summary.scalar does, which needs TensorBoard to be installed.
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for line in curve:
            for name, value in line.items():
                if name != "epoch":
                    tf.summary.write(
                        f"epoch_{name}", value, line["epoch"], metadata
                    )
    writer.close()


def _numbers(logs):
    return {name: float(value) for name, value in logs.items()}
