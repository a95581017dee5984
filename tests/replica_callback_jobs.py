"""Trainings with callbacks that write files."""

import hashlib
import os
import pathlib
import tempfile

import keras

from tests import reference


def written(strategy):
    """What callbacks of Keras wrote, given the same paths on all workers."""
    cluster = os.environ.get("TF_CONFIG", "").split('"task"')[0]
    name = f"{hashlib.sha256(cluster.encode()).hexdigest()[:16]}-{os.getppid()}"
    folder = pathlib.Path(tempfile.gettempdir(), f"kd_keras_{name}")
    folder.mkdir(exist_ok=True)
    x, y, _ = reference.data(24)
    with strategy.scope():
        student = reference.mlp(0)
        distiller = reference.compiled(student, reference.mlp(1))
    callbacks = [
        keras.callbacks.ModelCheckpoint(
            folder / "best.weights.h5",
            "loss",
            save_best_only=True,
            save_weights_only=True,
        ),
        keras.callbacks.ModelCheckpoint(folder / "{epoch}.keras"),
        keras.callbacks.CSVLogger(folder / "log.csv"),
    ]
    paths = [str(callbacks[0].filepath), str(callbacks[2].filename)]
    distiller.fit(
        x,
        y,
        batch_size=6,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
    )
    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    try:
        distiller.fit(x, y, verbose=0, shuffle=False, callbacks=[backup])
        said = "nothing"
    except ValueError as error:
        said = str(error)
    return {
        "files": sorted(p.name for p in folder.iterdir() if p.is_file()),
        "lines": len((folder / "log.csv").read_text().splitlines()),
        "paths kept": paths
        == [str(callbacks[0].filepath), str(callbacks[2].filename)],
        "said": said,
    }
