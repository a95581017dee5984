"""From a data set of examples to the batches that `fit` takes."""

import numbers

import tensorflow as tf

from kd_keras.datasets.examples import check_examples
from kd_keras.datasets.examples import count_examples

# Sets of at most this many bytes of pixels are kept in memory by default. MNIST
# takes 47 MB and CIFAR-100 154 MB, ImageNet at 224 x 224 some 193 GB.
MAX_CACHE_BYTES = 2**30


def to_float(image):
    """Scales uint8 pixels to float32 in [0, 1]: `image / 255`.

    Args:
        image: uint8 tensor or array of any shape.

    Returns:
        float32 tensor of the same shape.

    Raises:
        TypeError: If `image` is not uint8. Pixels that were scaled before
            would silently shrink by another factor of 255.

    Example:

    >>> print(to_float(tf.constant([0, 51, 255], tf.uint8)).numpy())
    [0.  0.2 1. ]
    """
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8:
        raise TypeError(
            'Argument "image" must be uint8, with values 0 to 255. Received: '
            f"dtype {image.dtype.name}. Scale the pixels once only."
        )
    return tf.cast(image, tf.float32) / 255.0


def batches(
    dataset,
    batch_size,
    *,
    shuffle_seed=None,
    shuffle_buffer_size=None,
    drop_remainder=False,
    cache=None,
):
    """Batches of `(image, label)` in the form `fit` and `evaluate` take.

    Without `shuffle_seed` the order is that of `dataset`, for evaluation. With
    it, every iteration over the result gives another order: the first, second,
    ... iterations give the same orders whenever the pipeline is built anew with
    that seed. As everywhere in TensorFlow, a global seed
    (`keras.utils.set_random_seed`), where one is set, takes part too.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image`, uint8 of
            shape `[height, width, channels]`, and `label`, an integer scalar.
        batch_size: positive int, examples in a batch over all replicas.
        shuffle_seed: int, or None for no shuffling. Defaults to None.
        shuffle_buffer_size: positive int, examples among which the next is
            drawn. Defaults to None: all, so that every order is equally
            likely. Give a number for a set that does not fit in memory.
        drop_remainder: whether a last, smaller batch is left out. Defaults to
            False: no example is.
        cache: whether the examples are kept in memory after the first
            iteration. Defaults to None: if their pixels take 1 GiB at most.

    Returns:
        `tf.data.Dataset` of `(image, label)`: float32 in [0, 1] of shape
        `[batch, height, width, channels]`, and int64 of shape `[batch]`. A
        label of -1 (see `hide_labels`) is passed on.

    Raises:
        TypeError: If the elements are not such dicts, or images not uint8.
        ValueError: If a number is out of range, or no batch would be left.

    Example:

    >>> examples = tf.data.Dataset.from_tensor_slices({
    ...     "image": tf.zeros([5, 8, 8, 1], tf.uint8),
    ...     "label": tf.range(5, dtype=tf.int64),
    ... })
    >>> for image, label in batches(examples, 2):
    ...     print(image.shape, label.numpy())
    (2, 8, 8, 1) [0 1]
    (2, 8, 8, 1) [2 3]
    (1, 8, 8, 1) [4]
    """
    check_examples(dataset)
    _check_positive("batch_size", batch_size)
    if dataset.element_spec["image"].dtype != tf.uint8:
        raise TypeError(
            "batches() scales uint8 images itself. Received images of dtype "
            f"{dataset.element_spec['image'].dtype.name}. Pass them unscaled, "
            "and map what follows scaling over the result."
        )
    num_examples = count_examples(dataset)
    if drop_remainder and num_examples < batch_size:
        raise ValueError(
            f"No batch is left: drop_remainder=True with {num_examples} "
            f"examples and batch_size={batch_size}. Use a batch_size of at "
            f"most {num_examples}, or drop_remainder=False."
        )
    if int(dataset.cardinality()) != num_examples:
        # Keras shows progress and repeats correctly only if it is told.
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(num_examples)
        )
    dataset = dataset.map(_to_pair)  # Nothing else is cached or shuffled.
    if cache is None:
        cache = _num_bytes(dataset, num_examples) <= MAX_CACHE_BYTES

    if shuffle_seed is None:
        dataset = dataset.batch(batch_size, drop_remainder)
        # Whole batches are cheaper to keep than examples; as uint8 they take
        # a quarter of the room.
        dataset = dataset.cache() if cache else dataset
    else:
        if shuffle_buffer_size is None:
            shuffle_buffer_size = num_examples
        _check_positive("shuffle_buffer_size", shuffle_buffer_size)
        dataset = dataset.cache() if cache else dataset
        dataset = dataset.shuffle(
            shuffle_buffer_size,
            seed=_check_seed(shuffle_seed),
            reshuffle_each_iteration=True,
        ).batch(batch_size, drop_remainder)
    return dataset.map(
        lambda image, label: (to_float(image), label),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def _to_pair(example):
    return example["image"], tf.cast(example["label"], tf.int64)


def _num_bytes(dataset, num_examples):
    """Bytes of all images; infinite if their shape is not known."""
    size = dataset.element_spec[0].shape.num_elements()
    return float("inf") if size is None else size * num_examples


def _check_positive(name, value):
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or value < 1
    ):
        raise ValueError(
            f'Argument "{name}" must be a positive int. Received: '
            f"{name}={value!r}."
        )


def _check_seed(seed):
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(
            'Argument "shuffle_seed" must be an int, or None for no shuffling. '
            f"Received: shuffle_seed={seed!r}."
        )
    return int(seed)
