"""The order of examples, and their seeds, as functions of seed and epoch.

What is drawn here depends on its arguments alone: not on TensorFlow's global
seed, on what else was drawn, on how often a data set was iterated over, nor on
the process. So a run that begins at epoch 7 sees what the unbroken run saw in
its epoch 7.

Why not `tf.random.experimental.index_shuffle`, which needs no memory: in 3,000
epochs it gave no more than 256 different orders, of ten examples as of a
hundred, and uneven ones: for where each of ten goes, a mean chi-square of 109
with 9 degrees of freedom (here it is 8.7).
"""

import numbers

import tensorflow as tf

# What a pair of seed and epoch is used for. One stream for all would tie how
# an example is changed to where it comes in the epoch.
_BUFFER = 1
_AUGMENTATION = 2


def epoch_order(seed, epoch, count):
    """The order of all examples in one epoch: every order equally likely.

    Args:
        seed: int64 scalar, or an int.
        epoch: the same.
        count: int, the number of examples.

    Returns:
        int64 tensor, shape `[count]`: the position, in the data set, of the
        first example, of the second one, and so on.

    Example:

    >>> print(epoch_order(seed=0, epoch=0, count=6).numpy())
    [2 5 4 3 0 1]
    >>> print(epoch_order(seed=0, epoch=1, count=6).numpy())
    [3 1 2 5 4 0]
    """
    return tf.random.experimental.stateless_shuffle(
        tf.range(count, dtype=tf.int64), _pair(seed, epoch)
    )


def example_seeds(seed, epoch, positions):
    """Seeds for `tf.random.stateless_*`, one for each example of a batch.

    Args:
        seed: int64 scalar, or an int.
        epoch: the same.
        positions: int64 tensor, shape `[batch]`: where the examples are in
            the data set before shuffling, below 2**31.

    Returns:
        int32 tensor, shape `[batch, 2]`.

    Example:

    >>> seeds = example_seeds(seed=0, epoch=1, positions=[5, 3])
    >>> same = example_seeds(seed=0, epoch=1, positions=[3])
    >>> bool(tf.reduce_all(seeds[1] == same[0]))
    True
    """
    positions = tf.cast(positions, tf.int32)
    # As tf.random.fold_in does it, for all positions at once.
    key = tf.random.stateless_uniform(
        [], _stream(seed, epoch, _AUGMENTATION), None, None, tf.int32
    )
    return tf.stack([tf.fill(tf.shape(positions), key), positions], axis=1)


def ordered_positions(count, *, seed, epoch):
    """All examples of an epoch, by their positions in the data set.

    Args:
        count: int, the number of examples.
        seed: int, or None for the order of the data set.
        epoch: int64 scalar, or a `tf.Variable` that is read once whenever the
            result is iterated over.

    Returns:
        `tf.data.Dataset` of `(epoch, position)`, int64 scalars.

    Example:

    >>> for epoch, position in ordered_positions(3, seed=0, epoch=4):
    ...     print(epoch.numpy(), position.numpy())
    4 2
    4 1
    4 0
    """

    # One element for the whole epoch, then taken apart: a data set made for
    # each epoch (flat_map) costs 20 ms every time it is iterated over.
    def one_epoch(_):
        number = _read(epoch)
        if seed is None:
            order = tf.range(count, dtype=tf.int64)
        else:
            order = epoch_order(seed, number, count)
        return tf.fill([count], number), order

    return _declare(tf.data.Dataset.range(1).map(one_epoch).unbatch(), count)


def buffered_order(dataset, buffer_size, *, seed, epoch, count):
    """Shuffles through a buffer, for what does not fit in memory.

    The next example is drawn from a buffer of `buffer_size`, which the data
    set refills in its order. So an example comes at most `buffer_size - 1`
    places early, but may come arbitrarily late.

    Args:
        dataset: `tf.data.Dataset` of examples, in a fixed order.
        buffer_size: int.
        seed: int, or None for the order of the data set.
        epoch: as for `ordered_positions`.
        count: int, the number of examples.

    Returns:
        `tf.data.Dataset` of `(epoch, position, example)`.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices([5, 6, 7])
    >>> for epoch, position, example in buffered_order(
    ...     examples, 2, seed=0, epoch=4, count=3
    ... ):
    ...     print(epoch.numpy(), position.numpy(), example.numpy())
    4 0 5
    4 1 6
    4 2 7
    """
    dataset = dataset.enumerate()

    def one_epoch(epoch):
        # The seed of the graph takes part. This sets the one of the function
        # that is being traced, which had the global one, and not that.
        tf.compat.v1.set_random_seed(1)
        shuffled = dataset
        if seed is not None:
            shuffled = dataset.shuffle(
                buffer_size,
                seed=tf.cast(_stream(seed, epoch, _BUFFER)[0], tf.int64),
                reshuffle_each_iteration=False,
            )
        return shuffled.map(
            lambda position, example: (epoch, position, example)
        )

    # Read here and nowhere else: an epoch counted on in mid-epoch changes
    # nothing of the iteration under way.
    numbers_read = tf.data.Dataset.range(1).map(lambda _: _read(epoch))
    return _declare(numbers_read.flat_map(one_epoch), count)


def checked_epoch(epoch):
    """An epoch as `batches` takes it: an int, or an integer `tf.Variable`.

    Args:
        epoch: what was given.

    Returns:
        The variable, or an int64 scalar tensor.

    Raises:
        TypeError: If it is neither.
        ValueError: If an int is negative, or a variable is no scalar or lives
            on several replicas.

    Example:

    >>> print(checked_epoch(3).numpy())
    3
    """
    if isinstance(epoch, tf.distribute.DistributedValues):
        raise ValueError(
            'Argument "epoch" must be a plain tf.Variable. Received one that '
            "lives on several replicas. Make it outside strategy.scope(): the "
            "data is read on the host."
        )
    if isinstance(epoch, tf.Variable):
        if not epoch.dtype.is_integer or epoch.shape.rank != 0:
            raise ValueError(
                'Argument "epoch" must be an integer scalar. Received a '
                f"tf.Variable of shape {epoch.shape} and dtype "
                f"{epoch.dtype.name}."
            )
        return epoch
    if isinstance(epoch, bool) or not isinstance(epoch, numbers.Integral):
        hint = (
            " Pass its variable: counter.value."
            if isinstance(getattr(epoch, "value", None), tf.Variable)
            else ""
        )
        raise TypeError(
            'Argument "epoch" must be an int, the same order in every '
            "iteration, or a tf.Variable that is set before each. Received: "
            f"epoch={epoch!r}.{hint}"
        )
    if epoch < 0:
        raise ValueError(
            f'Argument "epoch" must not be negative. Received: epoch={epoch}.'
        )
    with tf.device("CPU:0"):
        return tf.constant(epoch, tf.int64)


def _read(epoch):
    return tf.cast(tf.convert_to_tensor(epoch), tf.int64)


def _declare(dataset, length):
    return dataset.apply(tf.data.experimental.assert_cardinality(length))


def _pair(seed, epoch):
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])


def _stream(seed, epoch, purpose):
    return tf.random.fold_in(_pair(seed, epoch), purpose)
