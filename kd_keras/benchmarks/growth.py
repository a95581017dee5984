"""How cost grows: with stored examples, with the batch, with the classes."""

import io
import itertools
import pathlib
import statistics
import tempfile

import numpy as np
import tensorflow as tf

from kd_keras import datasets
from kd_keras import soft_targets
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import workloads
from kd_keras.distiller import Distiller

NAMES = ("growth_examples", "growth_batch", "growth_classes")
_EXAMPLES = (1_000, 10_000, 100_000, 1_000_000)
_BATCHES = (64, 128, 256, 512)
_CLASSES = (1_000, 4_000, 16_000, 64_000)
_CLASSES_OF_STORE = 10


def run(name, *, num_rounds=7, sizes=None):
    """Times the same work on more and more.

    Args:
        name: One of `NAMES`.
        num_rounds: Rounds that count. Defaults to 7.
        sizes: Increasing sizes instead of the usual ones. Defaults to None.

    Returns:
        List of `rounds.Ratio`, of each size but the first: what one example,
        or one class of one example, takes there to what it takes at the size
        before; at last of the largest to the smallest.
    """
    with tempfile.TemporaryDirectory() as folder:
        what, arms = {
            "growth_examples": lambda: _of_examples(folder, sizes),
            "growth_batch": lambda: _of_batches(sizes or _BATCHES),
            "growth_classes": lambda: _of_classes(sizes or _CLASSES),
        }[name]()
        taken = rounds.time_in_turn(arms, num_rounds=num_rounds)
    each = {size: [seconds / size for seconds in taken[size]] for size in arms}
    pairs = list(itertools.pairwise(arms))
    if len(pairs) > 1:
        pairs.append((pairs[0][0], pairs[-1][1]))
    return [
        rounds.Ratio(
            f"{what}, {size:,} to {before:,}",
            [one / statistics.median(each[before]) for one in each[size]],
            (statistics.median(each[size]), statistics.median(each[before])),
            "<= 1.25",
        )
        for before, size in pairs
    ]


def _of_examples(folder, sizes):
    """Reading a store, shuffled, with everything that is proven on the way."""
    arms = {}
    for size in sizes or _EXAMPLES:
        source = _source(size)
        path = pathlib.Path(folder) / str(size)
        soft_targets.write(
            path,
            _teacher,
            source,
            teacher_fingerprint="synthetic",
            stream=io.StringIO(),
        )
        store = soft_targets.open_store(path)
        batches = store.batches(
            source, 256, shuffle_seed=0, shuffle_buffer_size=1000, cache=False
        )
        arms[size] = lambda batches=batches: batches.reduce(
            np.int64(0), lambda count, _: count + 1
        )
    return "time to read one stored example", arms


def _of_batches(sizes):
    """Steps on stored targets with more examples in each."""
    return "time of a step per example of its batch", {
        size: _stored_epoch((28, 28, 1), 10, size, 20, (800, 800))
        for size in sizes
    }


def _of_classes(sizes):
    """Steps on stored targets with more classes."""
    return "time of a step per class", {
        size: _stored_epoch((64,), size, 64, 5, (64,)) for size in sizes
    }


def _stored_epoch(input_shape, num_classes, batch_size, num_steps, units):
    workload = workloads.Workload(
        "",
        input_shape,
        num_classes,
        batch_size,
        num_steps,
        workloads.mlps(units, input_shape, num_classes),
        None,
    )
    x, y = workload.arrays()
    logits = np.random.default_rng(1).standard_normal(
        (len(x), num_classes), np.float32
    )
    data = workloads.batched(
        workload, x, {"label": y, "teacher_logits": logits}
    )
    distiller = workloads.compiled(Distiller(student=workload.make_student(1)))
    return lambda: distiller.fit(data, verbose=0, shuffle=False)


def _source(size):
    """So many small images that differ in each pixel's last digits."""

    def example(number):
        digits = number // tf.constant([1, 256, 65536], tf.int64) % 256
        image = tf.cast(tf.tile(digits, [21])[:63], tf.uint8)
        return {
            "image": tf.reshape(image, [7, 9, 1]),
            "label": number % _CLASSES_OF_STORE,
        }

    return datasets.ImageDataset(
        dataset=tf.data.Dataset.range(size).map(example),
        name="synthetic",
        version="1.0.0",
        split=f"train[:{size}]",
        num_examples=size,
        num_classes=_CLASSES_OF_STORE,
        class_names=tuple(map(str, range(_CLASSES_OF_STORE))),
        image_shape=(7, 9, 1),
    )


def _teacher(x):
    """Logits of a kind, at hardly any cost."""
    flat = tf.reshape(x, [-1, 63])
    return flat[:, :_CLASSES_OF_STORE] * 5.0
