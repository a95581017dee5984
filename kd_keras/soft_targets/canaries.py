"""Canaries: a few examples with inputs and logits, to know a teacher by.

A fingerprint says that a teacher is the same; the canaries say that it still
computes the same, here. They also show that an augmentation gives the pixels
that it gave when the store was written.
"""

import numpy as np
import tensorflow as tf

from kd_keras.soft_targets import records

COUNT = 32
# How far recomputed logits may be off, relative to the largest deviation of a
# logit from its mean: another device or batch size sums in another order, and
# float16 has rounded what is stored.
_TOLERANCES = {"float16": 2e-3, "float32": 1e-3}


def write(path, layout, ids, images, rows, seen=None):
    """Writes canaries as one record each of block, pixels and first views.

    Args:
        path: `pathlib.Path` of the file.
        layout: `records.Layout`.
        ids: int64 array, shape `[count]`.
        images: uint8 array, shape `[count, height, width, channels]`.
        rows: What is stored of them.
        seen: Their first view, uint8 or float32, if the teacher saw views.

    Returns:
        int, the bytes that the file must have.

    Raises:
        OSError: If the disk cannot hold them.
    """
    digests = records.digests_of(images).numpy()
    parts = [layout.encode(ids, digests, rows), images.tobytes()]
    if seen is not None:
        parts.append(seen.tobytes())
    with records.open_file(path, path.name) as write_record:
        for part in parts:
            write_record(part)
    return sum(len(part) + records.FRAME for part in parts)


def read(path, layout, count, image_shape):
    """Reads canaries back.

    Args:
        path: `pathlib.Path` of the file.
        layout: `records.Layout`.
        count: How many there are.
        image_shape: Shape of an image.

    Returns:
        ids, images and rows, as `write` takes them, and what the teacher saw:
        the images, or their first view.

    Raises:
        ValueError: If the file is damaged.
    """
    shape = (count, *image_shape)
    try:
        block, pixels, *others = (
            tf.data.TFRecordDataset(str(path)).take(4).as_numpy_iterator()
        )
        ids, digests, rows = layout.decode(tf.constant(block))
        images = np.frombuffer(pixels, np.uint8).reshape(shape)
        seen = images
        if others:
            [view] = others
            dtype = np.uint8 if len(view) == images.size else np.float32
            seen = np.frombuffer(view, dtype).reshape(shape)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if (records.digests_of(images) != digests).numpy().any():
        raise ValueError(f"{path} is damaged: images of other digests.")
    return ids.numpy(), images, rows.numpy(), seen


def view_digests(views, ids, images):
    """For each canary and view the digest of its pixels.

    Args:
        views: `forward.Views`.
        ids: int64 array, shape `[count]`.
        images: uint8 array of the canaries.

    Returns:
        A tuple for each canary of a tuple of hexadecimal strings.
    """
    digests = [
        records.digests_of(views.view(images, ids, number)).numpy()
        for number in range(views.count)
    ]
    return tuple(
        tuple(f"{int(d) & (2**64 - 1):016x}" for d in of_canary)
        for of_canary in np.stack(digests, axis=1)
    )


def deviation(codec, rows, logits):
    """How far logits are from what is stored, relative to the largest.

    Args:
        codec: How logits are stored, of `codecs`.
        rows: What is stored.
        logits: float array of the same examples.

    Returns:
        float: the largest difference, divided by the largest that is stored.
    """
    stored, found = codec.compared(rows, logits)
    scale = max(np.abs(stored).max(), np.finfo(np.float32).tiny)
    return float(np.abs(found - stored).max() / scale)


def tolerance(dtype):
    """How far they may be apart in a store of a dtype."""
    return _TOLERANCES[dtype]
