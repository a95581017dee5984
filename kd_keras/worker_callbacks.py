"""Callbacks of Keras that write files, when several workers have them."""

import contextlib
import os
import tempfile

import keras

from kd_keras import distribution

# The attributes, all public, that say where they write.
_PATHS = (
    (keras.callbacks.ModelCheckpoint, "filepath"),
    (keras.callbacks.CSVLogger, "filename"),
    (keras.callbacks.TensorBoard, "log_dir"),
)


@contextlib.contextmanager
def only_chief_writes(strategy, callbacks):
    """Lets the callbacks of all workers but the first write elsewhere.

    Every worker has the same callbacks, with the same paths, and saving takes
    part in the training of all. What the others write goes to a directory that
    is removed.

    Args:
        strategy: The strategy.
        callbacks: A structure of callbacks.

    Raises:
        ValueError: If one is `keras.callbacks.BackupAndRestore`, which several
            workers cannot use.
    """
    if not distribution.is_multi_worker(strategy):
        yield
        return
    found = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks))
    for callback in found:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "BackupAndRestore of Keras writes, renames and removes its "
                "files on every worker. Use "
                "kd_keras.callbacks.TrainingState(path), of which the first "
                "worker writes and all read."
            )
    if distribution.is_chief(strategy):
        yield
        return
    with contextlib.ExitStack() as stack:
        for callback in found:
            for kind, name in _PATHS:
                if isinstance(callback, kind):
                    folder = stack.enter_context(tempfile.TemporaryDirectory())
                    path = os.fspath(getattr(callback, name))
                    stack.callback(setattr, callback, name, path)
                    aside = os.path.join(folder, os.path.basename(path))
                    setattr(callback, name, aside)
        yield
