"""The records of a store: blocks of consecutive examples, as raw numbers.

A block is, in little-endian order: the tag of its store, `int64`; the ids of
its `n` examples, `int64[n]`; their digests, `int64[n]`; their logits,
`dtype[n, *shape]`. How many examples it holds follows from its length. TFRecord
files have the checksums.
"""

import contextlib
import dataclasses
import math

import numpy as np
import tensorflow as tf

# The most examples of a block.
BLOCK = 256
# What a TFRecord takes besides its data: two lengths with their checksums.
FRAME = 16
# Bytes of the tag.
_TAG = 8


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the examples of a store are laid out.

    Attributes:
        dtype: Type of the numbers that are stored of an example.
        shape: Shape of these.
        tag: Number that tells records of one store from those of another.
    """

    dtype: str
    shape: tuple[int, ...]
    tag: int

    @classmethod
    def of(cls, codec, tag=0):
        """The layout of what a codec gives."""
        return cls(codec.stored_dtype, codec.stored_shape, tag)

    @property
    def bytes_per_example(self):
        """Size of an example in a block."""
        size = np.dtype(self.dtype).itemsize
        return 16 + size * math.prod(self.shape)

    def bytes_of_file(self, count, batch_size):
        """Size of a file with so many examples."""
        # Not by counting what a forged manifest may say.
        whole, rest = divmod(count, batch_size)
        num_blocks = whole * -(-batch_size // BLOCK) + -(-rest // BLOCK)
        return count * self.bytes_per_example + num_blocks * (FRAME + _TAG)

    def encode(self, ids, digests, rows):
        """A block as bytes.

        Args:
            ids: int64 array, shape `[n]`.
            digests: int64 array, shape `[n]`.
            rows: array of the dtype, shape `[n, *shape]`.
        """
        return b"".join(
            [
                np.int64(self.tag).astype("<i8").tobytes(),
                np.asarray(ids, "<i8").tobytes(),
                np.asarray(digests, "<i8").tobytes(),
                np.asarray(
                    rows, np.dtype(self.dtype).newbyteorder("<")
                ).tobytes(),
            ]
        )

    def decode(self, record):
        """The same, back from a string tensor.

        Returns:
            ids, digests and rows, tensors as `encode` takes them.

        Raises:
            tf.errors.InvalidArgumentError: If it has no length of a block, or
                is one of another store.
        """
        length = tf.strings.length(record) - _TAG
        count = length // self.bytes_per_example
        fits = tf.debugging.Assert(
            (count >= 0)
            & (count * self.bytes_per_example == length)
            & (count <= BLOCK),
            [
                "A record of soft targets is damaged. Bytes:",
                length,
                "of one example:",
                self.bytes_per_example,
            ],
        )
        with tf.control_dependencies([fits]):
            tag = tf.io.decode_raw(tf.strings.substr(record, 0, _TAG), tf.int64)
        own = tf.debugging.Assert(
            tag[0] == self.tag,
            [
                "A record of soft targets is of another store: was it written "
                "anew after it was opened? Open it again."
            ],
        )
        with tf.control_dependencies([own]):
            parts = [
                tf.strings.substr(record, _TAG, 8 * count),
                tf.strings.substr(record, _TAG + 8 * count, 8 * count),
                tf.strings.substr(record, _TAG + 16 * count, length),
            ]
        ids, digests = (tf.io.decode_raw(part, tf.int64) for part in parts[:2])
        rows = tf.io.decode_raw(parts[2], self.dtype)
        return ids, digests, tf.reshape(rows, [count, *self.shape])


@contextlib.contextmanager
def open_file(path, name):
    """Opens a TFRecord file to write it.

    Args:
        path: `pathlib.Path`.
        name: What to call it if the disk is full.

    Yields:
        Function that writes a record.

    Raises:
        OSError: If the disk cannot hold it.
    """
    writer = _to_disk(name, tf.io.TFRecordWriter, str(path))
    try:
        yield lambda record: _to_disk(name, writer.write, record)
    except BaseException:
        # What was in the way counts, not what closing says of it.
        with contextlib.suppress(tf.errors.OpError):
            writer.close()
        raise
    _to_disk(name, writer.close)


def _to_disk(name, function, *args):
    """Calls what writes; raises `OSError` if TensorFlow cannot."""
    try:
        return function(*args)
    except tf.errors.OpError as error:
        raise OSError(f"{name} was not written: {error}") from error


def block_sizes(count, batch_size):
    """How many examples are in the blocks of a range.

    The teacher is given batches, which are cut into blocks.

    Args:
        count: Examples of the range.
        batch_size: Examples that the teacher is given at once.

    Returns:
        A list of positive ints.

    Example:

    >>> block_sizes(700, batch_size=300)
    [256, 44, 256, 44, 100]
    """
    sizes = []
    for start in range(0, count, batch_size):
        batch = min(batch_size, count - start)
        sizes += [min(BLOCK, batch - cut) for cut in range(0, batch, BLOCK)]
    return sizes


def digests_of(images):
    """64-bit digests of the bytes of images (FarmHash64).

    Args:
        images: Tensor of a batch of images, any dtype of fixed size.

    Returns:
        int64 tensor, shape `[batch]`.

    Example:

    >>> digests_of(tf.zeros([1, 8, 8, 1], tf.uint8)).numpy()
    array([6865862164135619350])
    """
    return tf.bitcast(tf.fingerprint(images), tf.int64)
