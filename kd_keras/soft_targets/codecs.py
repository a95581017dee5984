"""How the logits of an example become numbers of a store, and back.

`Dense` keeps all classes. `TopK` keeps those with the largest logits, and what
the others have together: one exact bucket, at one temperature.
"""

import dataclasses

import numpy as np
import tensorflow as tf

# Below what any kept probability comes to; float16 ends at 65504.
_LOWEST = -60000.0


@dataclasses.dataclass(frozen=True)
class Dense:
    """All logits of an example.

    float16 has some three digits near any number, so logits are centred: what
    is added to all logits of an example changes no distribution. float32 keeps
    every bit.

    Attributes:
        dtype: `"float16"` or `"float32"`.
        lead: Shape of what comes before the classes: views, members.
        num_classes: Number of classes.

    Example:

    >>> codec = Dense("float16", (), 3)
    >>> codec.to_stored(np.float32([[70001, 70002, 70003]]))
    array([[-1.,  0.,  1.]], dtype=float16)
    """

    dtype: str
    lead: tuple[int, ...]
    num_classes: int

    @property
    def stored_dtype(self):
        """Type of the numbers of a row."""
        return self.dtype

    @property
    def stored_shape(self):
        """Shape of a row."""
        return (*self.lead, self.num_classes)

    def to_stored(self, logits):
        """Logits as rows; infinite where float16 ends.

        Args:
            logits: float32 array, shape `[batch, *lead, num_classes]`.

        Returns:
            Array of the dtype, shape `[batch, *stored_shape]`.
        """
        if self.dtype == "float32":
            return np.asarray(logits, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            return centred(logits).astype(np.float16)

    def from_stored(self, rows):
        """Rows as logits, a float32 tensor."""
        return tf.cast(rows, tf.float32)

    def is_finite(self, rows):
        """Which numbers of rows can be used, a boolean array."""
        return np.isfinite(rows)

    def compared(self, rows, logits):
        """Stored numbers beside what they would be without rounding.

        Args:
            rows: Rows.
            logits: Logits of the same examples.

        Returns:
            Two float64 arrays of one shape.
        """
        return centred(rows), centred(logits)

    def rounding(self, values):
        """What rounding takes off the second of `compared` at most."""
        if self.dtype == "float32":
            return np.zeros_like(values)
        half = _half_spacing(values)
        # Centring what was rounded takes off the mean of all roundings.
        return half + half.mean(axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class TopK:
    """The largest logits of an example, and one bucket for the others.

    What is kept of a class are `T` times the logarithm of its probability at
    temperature `T`, and its number; of the others, the same of what they have
    together. The mass of the bucket depends on T, so that T is part of it.

    Attributes:
        dtype: `"float16"` or `"float32"`.
        lead: Shape of what comes before the classes: views.
        num_classes: Number of classes.
        k: How many classes are kept, from 1 to `num_classes - 1`.
        temperature: Positive float.

    Example:

    >>> codec = TopK("float32", (), 4, 2, temperature=1.0)
    >>> rows = codec.to_stored(np.log([[0.5, 0.3, 0.1, 0.1]]))
    >>> np.exp(codec.from_stored(rows))
    array([[0.5, 0.3, 0. , 0. ]], dtype=float32)
    """

    dtype: str
    lead: tuple[int, ...]
    num_classes: int
    k: int
    temperature: float

    @property
    def stored_dtype(self):
        """Type of the numbers of a row: words of 16 bits."""
        return "uint16"

    @property
    def stored_shape(self):
        """Shape of a row: `k + 1` values, then `k` class numbers."""
        words = (self.k + 1) * self._value_words + self.k * self._index_words
        return (*self.lead, words)

    @property
    def _value_words(self):
        return np.dtype(self.dtype).itemsize // 2

    @property
    def _index_words(self):
        return 1 if self.num_classes <= 2**16 else 2

    def to_stored(self, logits):
        """Logits as rows, as for `Dense`."""
        log_probs = log_softmax(np.float64(logits) / self.temperature)
        # Of equal logits the first class comes first.
        indices = tf.math.top_k(log_probs, self.k).indices.numpy()
        values = self._without_rounding(log_probs, indices)
        with np.errstate(invalid="ignore"):
            values = values.astype(self.dtype)
        index_dtype = np.uint16 if self._index_words == 1 else np.uint32
        return np.concatenate(
            [_words(values), _words(indices.astype(index_dtype))], axis=-1
        )

    def from_stored(self, rows):
        """Rows as `T` times log-probabilities, minus infinity where dropped.

        Args:
            rows: uint16 tensor, shape `[batch, *stored_shape]`.

        Returns:
            float32 tensor, shape `[batch, *lead, num_classes]`. The
            probabilities at T of those that are kept do not sum to 1: what
            lacks is the bucket.
        """
        values, indices = self._taken_apart(tf.convert_to_tensor(rows))
        # Rounded, they do not sum to 1 any more.
        values = self.temperature * tf.nn.log_softmax(values / self.temperature)
        flat_values = tf.reshape(values[..., :-1], [-1, self.k])
        flat_indices = tf.reshape(indices, [-1, self.k])
        count = tf.shape(flat_values)[0]
        places = tf.stack(
            [
                tf.repeat(tf.range(count), self.k),
                tf.reshape(flat_indices, [-1]),
            ],
            axis=1,
        )
        logits = tf.tensor_scatter_nd_update(
            tf.fill([count, self.num_classes], -np.inf),
            places,
            tf.reshape(flat_values, [-1]),
        )
        return tf.reshape(logits, [-1, *self.lead, self.num_classes])

    def is_finite(self, rows):
        """Which numbers of rows can be used, a boolean array."""
        return np.isfinite(self._values(rows))

    def compared(self, rows, logits):
        """Stored numbers beside what they would be without rounding."""
        indices = self._taken_apart(tf.constant(rows))[1].numpy()
        log_probs = log_softmax(np.float64(logits) / self.temperature)
        return (
            np.float64(self._values(rows)),
            self._without_rounding(log_probs, indices),
        )

    def rounding(self, values):
        """What rounding takes off the second of `compared` at most."""
        if self.dtype == "float32":
            return np.spacing(np.abs(values).astype(np.float32)).astype(float)
        return _half_spacing(values)

    def _without_rounding(self, log_probs, indices):
        """`T` times the logarithms of what is kept, the bucket last."""
        values = np.take_along_axis(log_probs, indices, axis=-1)
        others = log_probs.copy()
        np.put_along_axis(others, indices, -np.inf, axis=-1)
        kept = np.concatenate([values, _log_sum_exp(others)], axis=-1)
        return np.maximum(self.temperature * kept, _LOWEST)

    def _values(self, rows):
        """The values of rows, an array."""
        cut = (self.k + 1) * self._value_words
        words = np.ascontiguousarray(rows[..., :cut]).astype("<u2")
        return words.view(np.dtype(self.dtype).newbyteorder("<"))

    def _taken_apart(self, rows):
        """Values as float32, class numbers as int32."""
        cut = (self.k + 1) * self._value_words
        values = _from_words(rows[..., :cut], self.dtype)
        index_dtype = "uint16" if self._index_words == 1 else "uint32"
        indices = _from_words(rows[..., cut:], index_dtype)
        return tf.cast(values, tf.float32), tf.cast(indices, tf.int32)


def centred(logits):
    """Logits less their mean over the classes, in float64."""
    logits = np.float64(logits)
    return logits - logits.mean(axis=-1, keepdims=True)


def _half_spacing(values):
    """Half of the distance of the next float16."""
    return np.spacing(np.abs(values).astype(np.float16)).astype(float) / 2


def log_softmax(logits):
    """Log-softmax over the last axis, in the precision of the logits."""
    return logits - _log_sum_exp(logits)


def _log_sum_exp(logits):
    largest = logits.max(axis=-1, keepdims=True)
    # Of nothing at all, or of infinities, which are reported as they are.
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        total = np.exp(logits - largest).sum(axis=-1, keepdims=True)
        return np.log(total) + largest


def _words(array):
    """The last axis as little-endian words of 16 bits."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(little).view("<u2").astype(np.uint16)


def _from_words(words, dtype):
    """The same, back: a tensor."""
    dtype = tf.as_dtype(dtype)
    if dtype.size == 2:
        return tf.bitcast(words, dtype)
    shape = tf.shape(words)
    pairs = tf.reshape(
        words, tf.concat([shape[:-1], [shape[-1] // 2, 2]], axis=0)
    )
    return tf.bitcast(pairs, dtype)
