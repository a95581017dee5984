"""Opens a store, once its files are what was written."""

import hashlib
import pathlib

from kd_keras import ops
from kd_keras.soft_targets import manifest as manifest_lib
from kd_keras.soft_targets import records
from kd_keras.soft_targets.store import SoftTargets


def open_store(
    path,
    *,
    temperature=None,
    teacher=None,
    teacher_fingerprint=None,
    verify=True,
):
    """Opens stored soft targets, once their files are what was written.

    Args:
        path: Directory of the store.
        temperature: The temperature of the soft targets, which a store of the
            members of an arithmetic ensemble needs, to combine them. Any other
            store is good for every temperature, or for one alone. Defaults to
            None.
        teacher: The teacher, if it is to be compared. Defaults to None.
        teacher_fingerprint: As for `soft_targets.write`.
        verify: Whether all files are read once and their checksums compared.
            Defaults to True. Without, their sizes are compared, and damage is
            found when it is read.

    Returns:
        `SoftTargets`.

    Raises:
        FileNotFoundError: If there is no store, or a file is missing.
        ValueError: If a file is damaged (naming it), if the temperature is
            missing or is one that the store is not good for, or the teacher is
            another one.

    Example:

    >>> digits = kd_keras.datasets.load("digits", "train[:100]")
    >>> teacher = kd_keras.models.mlp((8, 8, 1), 10, (16,))
    >>> kd_keras.soft_targets.write("opened", teacher, digits)
    >>> store = kd_keras.soft_targets.open_store("opened", teacher=teacher)
    >>> distiller = kd_keras.Distiller(
    ...     student=kd_keras.models.mlp((8, 8, 1), 10, (8,)), teacher=store)
    >>> distiller.compile(
    ...     "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> history = distiller.fit(store.batches(digits, 20), verbose=0)
    """
    # It is read again and again, wherever the process has gone since.
    path = pathlib.Path(path).absolute()
    manifest = manifest_lib.read_manifest(path)
    if temperature is not None:
        temperature = ops.check_temperature(temperature)
    if manifest.members is not None and temperature is None:
        raise ValueError(
            f"{path} holds the logits of {len(manifest.members.weights)} "
            "members, which are combined at a temperature. Give "
            "open_store(path, temperature=...), that of the Distiller."
        )
    bound = manifest.temperature
    if bound is not None and temperature not in (None, bound):
        raise ValueError(
            f"The soft targets in {path} are good for one temperature: found "
            f"temperature={bound}, expected {temperature}. Store all members "
            "(write without temperature) to use several."
        )
    layout = records.Layout.of(manifest.codec)
    for file in manifest.ranges:
        size = layout.bytes_of_file(file.count, manifest.batch_size)
        _check_file(path, file, size, verify)
    _check_file(path, manifest.canaries, manifest.canaries.bytes, True)
    store = SoftTargets(
        path, manifest, bound if manifest.members is None else temperature
    )
    if teacher is not None:
        store.check_teacher(teacher, teacher_fingerprint)
    return store


def _check_file(folder, file, size, verify):
    """Raises unless a file is there and is what was written."""
    path = folder / file.file
    if not path.is_file():
        raise FileNotFoundError(
            f"The store {folder} is damaged: it lacks {file.file}."
        )
    found = path.stat().st_size
    if found != size or file.bytes != size:
        raise ValueError(f"{path} is damaged: it has {found} bytes of {size}.")
    if not verify:
        return
    with open(path, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != file.sha256:
        raise ValueError(
            f"{path} is damaged: its SHA-256 is {digest}, and was {file.sha256}"
        )
