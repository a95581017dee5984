"""From a data set of examples to the batches that `fit` takes."""

import numbers

import tensorflow as tf

from kd_keras import distribution
from kd_keras.datasets.augmentation import augmented
from kd_keras.datasets.augmentation import check_augmentation
from kd_keras.datasets.examples import check_examples
from kd_keras.datasets.examples import count_examples
from kd_keras.datasets.memory import num_bytes
from kd_keras.datasets.memory import read_into_memory
from kd_keras.datasets.order import buffered_order
from kd_keras.datasets.order import checked_epoch
from kd_keras.datasets.order import example_seeds
from kd_keras.datasets.order import ordered_positions
from kd_keras.datasets.tuning import untuned
from kd_keras.pixels import to_float

# Sets of at most this many bytes are kept in memory by default. MNIST
# takes 47 MB and CIFAR-100 154 MB, ImageNet at 224 x 224 some 193 GB.
MAX_CACHE_BYTES = 2**30
# What a store calls the soft targets of all views of an example, once it has
# checked that they are replayed: shape `[num_views, num_classes]`.
VIEW_LOGITS = "kd_keras_view_logits"


def batches(
    dataset,
    batch_size,
    *,
    shuffle_seed=None,
    epoch=None,
    augment=None,
    augment_seed=None,
    num_views=None,
    shuffle_buffer_size=None,
    drop_remainder=False,
    cache=None,
):
    """Batches of `(image, label)` in the form `fit` and `evaluate` take.

    Without `shuffle_seed` the order is that of `dataset`, for evaluation. With
    it and with `epoch`, the order is a function of the two, of the number of
    examples and of how they are kept (`cache`, `shuffle_buffer_size`): the same
    in every process, on every worker, whatever TensorFlow's global seed,
    however often the result was iterated over before. So a run that is taken up
    at epoch 7 sees what it would have seen. Give `epoch` as
    `kd_keras.callbacks.EpochCounter().value`, which `fit` sets. It is read when
    an iteration begins; do not `repeat()` the result, and leave out
    `steps_per_epoch`: one iteration would go on over many epochs.

    With `shuffle_seed` alone every iteration gives another order: the first,
    second, ... iterations give the same orders whenever the pipeline is built
    anew with that seed. As everywhere in TensorFlow, a global seed
    (`keras.utils.set_random_seed`), where one is set, takes part too.

    Args:
        dataset: unbatched `tf.data.Dataset` of dicts with `image`, uint8 of
            shape `[height, width, channels]`, and `label`, an integer scalar.
            With `epoch` it must have a fixed order. It may also hold `id`,
            an integer scalar that takes the place of the position, and
            `teacher_logits`, see `kd_keras.soft_targets`.
        batch_size: positive int, examples in a batch over all replicas.
        shuffle_seed: int, or None for no shuffling. Defaults to None.
        epoch: int, or an integer scalar `tf.Variable`. Defaults to None: the
            order follows from how often the result was iterated over.
        augment: function `(image, seed) -> image`, as `random_shift(2)` gives,
            which is applied to each image before scaling. `seed` is int32 of
            shape `[2]`, for `tf.random.stateless_*`, and follows from
            `augment_seed`, the view and the position of the example in
            `dataset`. It may give uint8, which is scaled, or float32 in
            [0, 1], which is not. Needs `epoch`. Defaults to None.
        augment_seed: int. Defaults to None: `shuffle_seed`.
        num_views: positive int, how many views there are of each example: the
            one of an epoch is `epoch % num_views`, so that a teacher can tell
            of each once and for all. Defaults to None: a new one in every
            epoch.
        shuffle_buffer_size: positive int, examples among which the next is
            drawn. Defaults to None: all, so that every order is equally
            likely. Give a number for a set that does not fit in memory; an
            example then comes at most that many places early.
        drop_remainder: whether a last, smaller batch is left out. Defaults to
            False: no example is.
        cache: whether the examples are kept in memory: after the first
            iteration, or, with `epoch`, read here and now. Defaults to None:
            if they take 1 GiB at most.

    Returns:
        `tf.data.Dataset` of `(image, label)`: float32 in [0, 1] of shape
        `[batch, height, width, channels]`, and int64 of shape `[batch]`. A
        label of -1 (see `hide_labels`) is passed on. Where the examples hold
        `teacher_logits`, `(image, {"label": ..., "teacher_logits": ...})`.

    Raises:
        TypeError: If the elements are not such dicts, images not uint8, or an
            argument has a wrong type.
        ValueError: If a number is out of range, no batch would be left, or
            arguments need others that are missing.

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
    >>> for _, label in batches(examples, 3, shuffle_seed=0, epoch=7):
    ...     print(label.numpy())
    [4 2 3]
    [1 0]
    """
    check_examples(dataset)
    _check_positive("batch_size", batch_size)
    if dataset.element_spec["image"].dtype != tf.uint8:
        raise TypeError(
            "batches() scales uint8 images itself. Received images of dtype "
            f"{dataset.element_spec['image'].dtype.name}. Pass them unscaled, "
            "and map what follows scaling over the result."
        )
    shuffle_seed = _checked_seed("shuffle_seed", shuffle_seed)
    augment_seed = _checked_seed("augment_seed", augment_seed)
    if epoch is not None:
        epoch = checked_epoch(epoch)
    augment_seed = _needed_seed(augment, augment_seed, shuffle_seed, epoch)
    if augment is not None:
        spec = check_augmentation(augment, dataset.element_spec["image"])
    num_views = _checked_views(num_views, augment, dataset.element_spec)
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
    # Nothing else is cached or shuffled.
    names = {"image", "teacher_logits", VIEW_LOGITS}
    names |= {"id"} if augment else set()
    dataset = dataset.map(lambda example: _only(example, names))
    if cache is None:
        cache = num_bytes(dataset, num_examples) <= MAX_CACHE_BYTES
    whole = shuffle_buffer_size is None
    if whole:
        shuffle_buffer_size = num_examples
    _check_positive("shuffle_buffer_size", shuffle_buffer_size)

    def finish(epochs, positions, examples):
        image, logits = examples["image"], examples.get("teacher_logits")
        if augment is not None:
            view = epochs[0] if num_views is None else epochs[0] % num_views
            seeds = example_seeds(
                augment_seed, view, examples.get("id", positions)
            )
            image = augmented(augment, image, seeds, spec)
            if VIEW_LOGITS in examples:
                logits = tf.gather(examples[VIEW_LOGITS], view, axis=1)
        return _finished(image, examples["label"], logits)

    if epoch is None:
        dataset = _iterated(
            dataset,
            batch_size,
            shuffle_seed,
            shuffle_buffer_size,
            drop_remainder,
            cache,
        )
    elif cache and whole:
        # Taking a batch out of one array is faster than batching examples, and
        # the array is as large as the pixels.
        arrays = read_into_memory(dataset, num_examples)
        dataset = ordered_positions(
            num_examples, seed=shuffle_seed, epoch=epoch
        ).batch(batch_size, drop_remainder)
        dataset = dataset.map(
            lambda epochs, positions: finish(
                epochs,
                positions,
                {
                    name: tf.gather(array, positions)
                    for name, array in arrays.items()
                },
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    else:
        dataset = buffered_order(
            dataset.cache() if cache else dataset,
            shuffle_buffer_size,
            seed=shuffle_seed,
            epoch=epoch,
            count=num_examples,
        ).batch(batch_size, drop_remainder)
        dataset = dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    if epoch is not None:
        # Every worker orders all examples and takes its share of the batches;
        # by files it would order those of its own files alone.
        dataset = distribution.shard_by_elements(dataset)
    return untuned(dataset.prefetch(tf.data.AUTOTUNE))


def _iterated(dataset, batch_size, seed, buffer_size, drop_remainder, cache):
    """Batches in another order each time, or in that of the data set."""
    if seed is None:
        # Whole batches are cheaper to keep than examples; as uint8 they take
        # a quarter of the room.
        dataset = dataset.batch(batch_size, drop_remainder)
        dataset = dataset.cache() if cache else dataset
    else:
        dataset = dataset.cache() if cache else dataset
        dataset = dataset.shuffle(
            buffer_size, seed=seed, reshuffle_each_iteration=True
        ).batch(batch_size, drop_remainder)
    return dataset.map(
        lambda examples: _finished(
            examples["image"], examples["label"], examples.get("teacher_logits")
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def _only(example, names):
    """These entries of an example, and its label."""
    kept = {name: example[name] for name in example if name in names}
    return {**kept, "label": tf.cast(example["label"], tf.int64)}


def _finished(image, label, teacher_logits):
    """A batch in the form that `fit` takes."""
    if not image.dtype.is_floating:
        image = to_float(image)
    if teacher_logits is None:
        return image, label
    return image, {"label": label, "teacher_logits": teacher_logits}


def _checked_views(num_views, augment, spec):
    """The number of views, if it goes with the other arguments."""
    if num_views is not None:
        if augment is None:
            raise ValueError(
                'Argument "num_views" is for augment=..., which is missing. '
                f"Received: num_views={num_views!r}."
            )
        _check_positive("num_views", num_views)
    if "teacher_logits" in spec and (
        augment is not None or spec["teacher_logits"].shape.rank == 2
    ):
        raise ValueError(
            "Stored soft targets hold for what the teacher saw: the images as "
            "they are, or views, which their store replays. Read them by "
            "store.batches(source, batch_size, augment=..., transform=...), "
            "which knows; transform may filter the examples. Or augment freely "
            "with the teacher itself instead of its store. Received: "
            f"num_views={num_views}, augment={augment!r}."
        )
    return num_views


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


def _checked_seed(name, seed):
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(
            f'Argument "{name}" must be an int, or None. Received: '
            f"{name}={seed!r}."
        )
    if not -(2**63) <= seed < 2**63:
        raise ValueError(
            f'Argument "{name}" must fit in 64 bits. Received: {name}={seed}.'
        )
    return int(seed)


def _needed_seed(augment, augment_seed, shuffle_seed, epoch):
    """The seed of the augmentation, once its arguments go together."""
    if augment is None:
        if augment_seed is not None:
            raise ValueError(
                'Argument "augment_seed" is for augment=..., which is missing. '
                f"Received: augment_seed={augment_seed}."
            )
        if epoch is not None and shuffle_seed is None:
            raise ValueError(
                'Argument "epoch" has nothing to decide without shuffle_seed '
                "or augment. Give one of them, or leave out epoch."
            )
        return None
    if epoch is None:
        raise ValueError(
            'Argument "augment" needs epoch, so that it can be replayed: give '
            "epoch=kd_keras.callbacks.EpochCounter().value for training, with "
            "the counter among the callbacks of fit, or an int."
        )
    if augment_seed is None and shuffle_seed is None:
        raise ValueError(
            'Argument "augment" needs a seed. Give augment_seed or '
            "shuffle_seed."
        )
    return shuffle_seed if augment_seed is None else augment_seed
