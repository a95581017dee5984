"""The file of a training's state: arrays, and JSON that says what they are.

It is an `.npz` file, which `numpy.load` opens without pickle: `metadata` holds
JSON as UTF-8 bytes, and every other entry an array. Types that NumPy does not
know itself, such as bfloat16, are stored as unsigned integers of their size.
"""

import errno
import json
import os

import numpy as np
import tensorflow as tf

FORMAT_VERSION = 1

_ARRAY = "__array__"
_NUMBER = "__number__"


def write(path, content):
    """Writes a state, so that the path holds the old or the new one, whole.

    It is written beside, brought to the disk, and renamed.

    Args:
        path: Where to write. What is there is replaced.
        content: Structure of dicts with string keys, lists, tuples (which come
            back as lists), numbers, strings, None, and arrays.

    Raises:
        TypeError: If there is anything else in it.

    Example:

    >>> from kd_keras.callbacks import state_file
    >>> state_file.write("state.npz", {"epoch": 3, "kernel": np.ones([2])})
    >>> state_file.read("state.npz")
    {'epoch': 3, 'kernel': array([1., 1.])}
    """
    arrays = []
    metadata = {
        "format_version": FORMAT_VERSION,
        "content": _pack(content, arrays, "content"),
    }
    entries = {f"array_{i}": array for i, array in enumerate(arrays)}
    encoded = json.dumps(metadata).encode()
    with open(_temporary(path), "wb") as file:
        np.savez(file, metadata=np.frombuffer(encoded, np.uint8), **entries)
        file.flush()
        os.fsync(file.fileno())
    os.replace(_temporary(path), path)
    # The new name survives a loss of power only once its folder is on disk.
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path):
    """Reads what `write` wrote.

    Args:
        path: The file.

    Returns:
        The content, or None if there is no such file.

    Raises:
        ValueError: If the file is damaged, or of a newer format.
    """
    if not os.path.exists(path):
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            metadata = json.loads(file["metadata"].tobytes())
            version = metadata["format_version"]
            if version > FORMAT_VERSION:
                raise _NewerFormatError(
                    f"The training state {path} has the wrong "
                    f"`format_version`. Found: {version}. Expected: at most "
                    f"{FORMAT_VERSION}. Use the kd_keras that wrote it, or a "
                    "newer one."
                )
            return _unpack(metadata["content"], file)
    except _NewerFormatError as error:
        raise ValueError(str(error)) from None
    except MemoryError:
        raise
    except Exception as error:
        # Damage shows as almost anything, also as a seek to nowhere.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise ValueError(
            f"The training state {path} is damaged or no training state: "
            f"{error!r}. A run that is killed leaves none such behind: it "
            "writes beside and renames. Remove the file to train from the "
            "start."
        ) from error


def remove_temporary(path):
    """Removes what a killed run left half-written beside the path.

    Args:
        path: What would have been written.
    """
    if os.path.exists(_temporary(path)):
        os.remove(_temporary(path))


class _NewerFormatError(Exception):
    pass


def _temporary(path):
    # One name for all runs, so that none piles up.
    return f"{path}.unfinished"


def _pack(value, arrays, where):
    """JSON of a structure; its arrays are appended to `arrays`."""
    if isinstance(value, tf.Tensor):
        value = value.numpy()
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {_NUMBER: [value.item(), value.dtype.name]}
    if isinstance(value, (np.generic, np.ndarray)):
        value = np.asarray(value)
        name = value.dtype.name
        if value.dtype.kind == "V":
            value = value.view(f"u{value.dtype.itemsize}")
        arrays.append(value)
        return {_ARRAY: [len(arrays) - 1, name]}
    if isinstance(value, (list, tuple)):
        return [
            _pack(item, arrays, f"{where}[{i}]") for i, item in enumerate(value)
        ]
    if isinstance(value, dict):
        return {
            key: _pack(item, arrays, f"{where}.{key}")
            for key, item in value.items()
        }
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        "A training state holds numbers, strings, None, arrays, and lists and "
        f"dicts of these. Received: {value!r} at {where}."
    )


def _unpack(value, file):
    if isinstance(value, list):
        return [_unpack(item, file) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_NUMBER}:
        number, name = value[_NUMBER]
        return np.dtype(name).type(number)
    if set(value) == {_ARRAY}:
        index, name = value[_ARRAY]
        array = file[f"array_{index}"]
        dtype = np.dtype(tf.as_dtype(name).as_numpy_dtype)
        return array if array.dtype == dtype else array.view(dtype)
    return {key: _unpack(item, file) for key, item in value.items()}
