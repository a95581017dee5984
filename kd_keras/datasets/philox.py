"""What `tf.random.stateless_uniform` draws, for many seeds at once.

TensorFlow takes one seed for a call, so that numbers of one seed for each
example are a loop of small calls. This is its generator, Philox4x32-10 (Salmon
et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), in operations on
arrays: the same bits for the same seeds, as a test shows.
"""

import tensorflow as tf

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
# By which the two halves of the key grow from round to round.
_GROWTH = (0x9E3779B9, 0xBB67AE85)
# TensorFlow takes key and counter from a seed by one block with this key.
_KEY_OF_SEEDS = (0x3EC8F720, 0x02461E29)
_WORD = 32
_LOW = 2**_WORD - 1


def integers_below(bound, seeds):
    """The first integers of seeds, each as likely as the others.

    Args:
        bound: int, above all of them.
        seeds: int32 tensor, shape `[batch, 2]`.

    Returns:
        int32 tensor, shape `[batch, 2]`. In each row is what
        `tf.random.stateless_uniform([2], seed, 0, bound, tf.int32)` gives.

    Example:

    >>> print(integers_below(10, tf.constant([[1, 2], [3, 4]])).numpy())
    [[0 9]
     [3 7]]
    >>> print(tf.random.stateless_uniform([2], [3, 4], 0, 10, tf.int32).numpy())
    [3 7]
    """
    even, odd = _block(*_of_seeds(seeds))
    first_two = tf.stack([even[0], odd[0]], axis=1)
    return tf.cast(first_two % _uint64(bound), tf.int32)


def _of_seeds(seeds):
    """The counters and keys that TensorFlow makes of seeds."""
    seeds = tf.transpose(tf.cast(tf.cast(seeds, tf.int64), tf.uint64))
    key = tf.zeros_like(seeds) + _column(_KEY_OF_SEEDS)
    even, odd = _block((_low(seeds), _high(seeds)), key)
    zeros = tf.zeros_like(even[0])
    counter = tf.stack([zeros, even[1]]), tf.stack([zeros, odd[1]])
    return counter, tf.stack([even[0], odd[0]])


def _block(counter, key):
    """Four words for each counter and key.

    Words are of 32 bits, in uint64, so that products have room.

    Args:
        counter: Words 0 and 2, and words 1 and 3, of each counter: a tuple of
            two tensors of shape `[2, batch]`.
        key: Tensor of the same shape.

    Returns:
        Words in the form of `counter`.
    """
    even, odd = counter
    for _ in range(_ROUNDS):
        product = even * _column(_MULTIPLIERS)
        high, low = (
            tf.reverse(half(product), axis=[0]) for half in (_high, _low)
        )
        even = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(high, odd), key)
        odd = low
        key = _low(key + _column(_GROWTH))
    return even, odd


def _low(words):
    return tf.bitwise.bitwise_and(words, _uint64(_LOW))


def _high(words):
    return tf.bitwise.right_shift(words, _uint64(_WORD))


def _column(words):
    return _uint64([[word] for word in words])


def _uint64(value):
    return tf.constant(value, tf.uint64)
