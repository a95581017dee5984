"""Writes one range of a store: the unit of work, of resuming and of Beam."""

import dataclasses
import hashlib
import math
import os
import uuid

import numpy as np
import tensorflow as tf

from kd_keras.datasets import tuning
from kd_keras.soft_targets import forward
from kd_keras.soft_targets import manifest as manifest_lib
from kd_keras.soft_targets import records

# How many bytes of images are read ahead of the teacher.
_BYTES_AHEAD = 2**26


@dataclasses.dataclass(frozen=True)
class Range:
    """Consecutive examples that go into one file.

    Attributes:
        number: Which range.
        count: Of how many.
        start: Position of its first example.
        stop: Position after its last one.
    """

    number: int
    count: int
    start: int
    stop: int

    @property
    def name(self):
        """The name of its unit of work."""
        return f"range-{self.number:05d}"

    @property
    def file(self):
        """The name of its file."""
        return manifest_lib.range_file(self.number, self.count)


def divide(num_examples, num_ranges, file_lengths=()):
    """Divides examples into ranges.

    A range is a file of the source; where it has fewer files than asked, an
    equal slice of its examples.

    Args:
        num_examples: Number of all examples.
        num_ranges: How many ranges are wanted.
        file_lengths: Examples of each file of the source, if known.

    Returns:
        A list of `Range`: no more than there are examples.

    Example:

    >>> [(r.start, r.stop) for r in divide(10, 3)]
    [(0, 3), (3, 6), (6, 10)]
    """
    if len(file_lengths) >= num_ranges:
        ends = np.cumsum([length for length in file_lengths if length]).tolist()
    else:
        count = min(num_ranges, num_examples)
        ends = [num_examples * (i + 1) // count for i in range(count)]
    starts = [0, *ends[:-1]]
    return [
        Range(number, len(ends), start, stop)
        for number, (start, stop) in enumerate(zip(starts, ends, strict=True))
    ]


def batches(source, ranges, batch_size):
    """Reads consecutive ranges in one pass, in batches that end where they do.

    Args:
        source: `kd_keras.datasets.ImageDataset`.
        ranges: List of `Range`, each beginning where the last one ended.
        batch_size: Most examples of a batch.

    Returns:
        `tf.data.Dataset` of dicts: `ids`, `digests` and `images`.
    """
    sizes = []
    for part in ranges:
        count = part.stop - part.start
        sizes += [batch_size] * (count // batch_size)
        sizes += [count % batch_size] if count % batch_size else []
    start, stop = ranges[0].start, ranges[-1].stop
    dataset = only_needed(source.part(start, stop)).enumerate(start)
    dataset = dataset.batch(batch_size).rebatch(sizes)

    def with_digests(positions, examples):
        ids, images = ids_and_images(positions, examples)
        digests = records.digests_of(images)
        return {"ids": ids, "digests": digests, "images": images}

    dataset = dataset.map(with_digests, num_parallel_calls=tf.data.AUTOTUNE)
    # As many as fit, so that reading goes on while something else is done.
    bytes_of_batch = batch_size * math.prod(source.image_shape)
    num_ahead = min(max(_BYTES_AHEAD // bytes_of_batch, 1), 32)
    return tuning.untuned(dataset.prefetch(num_ahead))


def only_needed(dataset):
    """A data set of examples that can be batched, whatever they hold."""
    needed = {"id", "image", "label"}
    if needed.issuperset(dataset.element_spec):
        # For small images a step for each would cost half as much as reading.
        return dataset
    return dataset.map(
        lambda example: {
            name: example[name] for name in example if name in needed
        }
    )


def ids_and_images(positions, examples):
    """The ids and the images of examples, one or a batch."""
    ids = examples.get("id", positions)
    return tf.cast(ids, tf.int64), examples["image"]


class RangeWriter:
    """Writes ranges, one at a time.

    Args:
        folder: `pathlib.Path` for finished files.
        work: `pathlib.Path` on the same disk for unfinished ones.
        compute: `forward.Forward`.
        codec: How logits are stored, of `codecs`.
        layout: `records.Layout` of the store.
        batch_size: Examples that the teacher is given at once.
    """

    def __init__(self, folder, work, compute, codec, layout, batch_size):
        self._folder = folder
        self._work = work
        self._compute = compute
        self._codec = codec
        self._layout = layout
        self._batch_size = batch_size

    def write(self, part, batches, advance):
        """Writes one range; its file is there whole, or not at all.

        Args:
            part: `Range`.
            batches: Iterator at the first of its batches.
            advance: Called with the number of examples done.

        Returns:
            A dict: what `manifest.File` holds.

        Raises:
            ValueError: If the logits cannot be stored.
            OSError: If the disk cannot hold them.
        """
        # Another process may be at the same range, or have died at it.
        aside = self._work / f"{part.name}-{uuid.uuid4().hex}.tfrecord"
        count = part.stop - part.start
        try:
            with records.open_file(aside, part.file) as write_record:
                self._write_blocks(write_record, count, batches, advance)
            size = self._layout.bytes_of_file(count, self._batch_size)
            result = described(aside, part.file, count, size)
            os.replace(aside, self._folder / part.file)
        finally:
            aside.unlink(missing_ok=True)
        return result

    def _write_blocks(self, write_record, count, batches, advance):
        done = 0
        while done < count:
            batch = next(batches, None)
            if batch is None:
                raise ValueError(
                    f"The source ended {count - done} examples before the end "
                    "of a range. It has fewer than it says, or its order "
                    "changed."
                )
            images, ids = batch["images"], batch["ids"].numpy()
            rows = self._compute(images, batch["ids"])
            done += len(ids)
            stored = checked(self._codec, rows, ids)
            digests = batch["digests"].numpy()
            for start in range(0, len(ids), records.BLOCK):
                block = slice(start, start + records.BLOCK)
                write_record(
                    self._layout.encode(
                        ids[block], digests[block], stored[block]
                    )
                )
            advance(len(ids))


def checked(codec, rows, ids):
    """Logits as they are stored.

    Args:
        codec: How logits are stored, of `codecs`.
        rows: float32 array, shape `[batch, ..., num_classes]`.
        ids: int64 array, shape `[batch]`.

    Returns:
        An array.

    Raises:
        ValueError: If they cannot be stored.
    """
    wanted = (*codec.lead, codec.num_classes)
    if rows.shape[1:] != wanted:
        raise ValueError(
            f"The teacher gives logits of shape {rows.shape[1:]} for each "
            f"example, and the {wanted[-1]} classes of the data need {wanted}."
        )
    stored = codec.to_stored(rows)
    fault = forward.fault_of(rows, codec.is_finite(stored))
    if fault is not None:
        position, what = fault
        raise ValueError(
            f"The teacher gives, for the example with id {ids[position]}, "
            f"{what}. Nothing was published."
        )
    return stored


def is_whole(folder, file):
    """Whether a file is there and holds what was written.

    Args:
        folder: `pathlib.Path`.
        file: `manifest.File`.

    Returns:
        bool.
    """
    path = folder / file.file
    if not path.is_file() or path.stat().st_size != file.bytes:
        return False
    with open(path, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return digest == file.sha256


def described(path, name, count, size):
    """What a manifest says of a file, which is brought safely to the disk.

    Args:
        path: `pathlib.Path` of the file.
        name: The name that it will have.
        count: Examples in it.
        size: Bytes that it must have.

    Returns:
        A dict: what `manifest.File` holds.

    Raises:
        OSError: If the file is shorter: the disk is full.
    """
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = path.stat().st_size
    if found != size:
        raise OSError(
            f"{name} has {found} bytes of {size}: the disk may be full."
        )
    return {"file": name, "count": count, "bytes": size, "sha256": digest}
