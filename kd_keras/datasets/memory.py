"""A data set read into arrays, where TensorFlow uses them as they are."""

import keras
import numpy as np
import tensorflow as tf

# How many examples are copied at once.
_CHUNK = 1024


def read_into_memory(dataset, num_examples):
    """All elements of a data set, stacked, as tensors on the host.

    Args:
        dataset: unbatched `tf.data.Dataset` of a structure of tensors.
        num_examples: int, its length.

    Returns:
        The same structure of tensors, shape `[num_examples, ...]`.

    Example:

    >>> print(read_into_memory(tf.data.Dataset.range(3), 3).numpy())
    [0 1 2]
    """
    arrays = None
    start = 0
    for chunk in dataset.batch(_CHUNK).as_numpy_iterator():
        parts = keras.tree.flatten(chunk)
        if arrays is None:
            arrays = [
                _aligned([num_examples, *part.shape[1:]], part.dtype)
                for part in parts
            ]
        for array, part in zip(arrays, parts, strict=True):
            array[start : start + len(part)] = part
        start += len(parts[0])
    # Filled in place and handed over as they are: stacking them, or
    # tf.constant, would need two or three times the room.
    return keras.tree.pack_sequence_as(
        dataset.element_spec,
        [
            tf.experimental.dlpack.from_dlpack(array.__dlpack__())
            for array in arrays
        ],
    )


def num_bytes(dataset, num_examples):
    """Bytes that `read_into_memory` takes; infinite if it is not known.

    Example:

    >>> num_bytes(tf.data.Dataset.range(3), 3)
    24
    """
    total = 0
    for spec in keras.tree.flatten(dataset.element_spec):
        size = spec.shape.num_elements()
        if size is None:
            return float("inf")
        total += size * spec.dtype.size * num_examples
    return total


def _aligned(shape, dtype):
    """An empty array where TensorFlow wants it: at a multiple of 64 bytes."""
    size = int(np.prod(shape)) * dtype.itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)
