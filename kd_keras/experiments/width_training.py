"""How the nets of the width experiment are trained: from arrays in memory."""

import keras
import numpy as np
import tensorflow as tf

from kd_keras import progress
from kd_keras.datasets import order
from kd_keras.distiller import Distiller

_STEPS_PER_EXECUTION = 20
_PREDICTED_AT_ONCE = 2000


def distil(model, inputs, labels, recipe, seed, title, soft=None):
    """Trains a model on labels, or on soft targets through the Distiller.

    Args:
        model: `keras.Model` of a dict of logits, `[batch, 2]` each.
        inputs: float32 array, one row for each example.
        labels: int array, shape `[examples]`.
        recipe: `laboratory.Recipe`.
        seed: int, of the order of the examples.
        title: What the progress calls it.
        soft: A tuple of the teacher's logits, `[examples, 2]`, and the
            temperature. Defaults to None: labels alone.

    Returns:
        The model.
    """
    targets = {"label": labels}
    settings = {"soft_weight": 0.0}
    if soft is not None:
        targets["teacher_logits"], temperature = soft
        settings = {"soft_weight": 1.0, "temperature": temperature}
    distiller = Distiller(student=model, name="distiller", **settings)
    batches = _batches(
        inputs,
        targets,
        recipe,
        seed,
        lambda found: (
            {name: _for_all(model, value) for name, value in found.items()}
            if soft
            else _for_all(model, found["label"])
        ),
    )
    distiller.compile(
        recipe.optimizer(len(batches)),
        _for_all(
            model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ),
        steps_per_execution=_STEPS_PER_EXECUTION,
    )
    _fit(distiller, batches, title)
    return model


def fit_given(model, inputs, class_probs, recipe, seed, title):
    """Trains a model on given distributions, by the `fit` of Keras alone.

    Args:
        model: As of `distil`.
        inputs: The same.
        class_probs: float32 array, `[examples, 2]`: soft labels, or one-hot.
        recipe: What has `epochs`, `batch_size` and `optimizer`.
        seed: int, of the order of the examples.
        title: What the progress calls it.

    Returns:
        The model.
    """
    batches = _batches(
        inputs, class_probs, recipe, seed, lambda found: _for_all(model, found)
    )
    model.compile(
        recipe.optimizer(len(batches)),
        _for_all(model, keras.losses.CategoricalCrossentropy(from_logits=True)),
        steps_per_execution=_STEPS_PER_EXECUTION,
    )
    _fit(model, batches, title)
    return model


def predict(model, inputs):
    """Logits of a model.

    Args:
        model: As of `distil`.
        inputs: float32 array.

    Returns:
        A dict of float32 arrays `[examples, 2]`, by output.
    """
    # Without `predict`, which would be traced for each of many small models.
    found = [
        model(inputs[start : start + _PREDICTED_AT_ONCE], training=False)
        for start in range(0, len(inputs), _PREDICTED_AT_ONCE)
    ]
    return {
        name: np.concatenate([logits[name] for logits in found])
        for name in found[0]
    }


def errors(model, inputs, labels):
    """How many examples each output gives another class than their label.

    Args:
        model: As of `distil`.
        inputs: float32 array.
        labels: int array, shape `[examples]`.

    Returns:
        A dict of int, by output.
    """
    return {
        name: int((logits.argmax(axis=1) != labels).sum())
        for name, logits in predict(model, inputs).items()
    }


def one_hot(labels):
    """Labels 0 and 1 as distributions.

    Args:
        labels: int array, shape `[examples]`.

    Returns:
        float32 array, shape `[examples, 2]`.
    """
    return np.eye(2, dtype=np.float32)[labels]


def _fit(model, batches, title):
    with progress.Report(len(batches)) as report:
        report.start(title)
        # All passes as one epoch: there is nothing to do between them.
        model.fit(
            batches, verbose=0, shuffle=False, callbacks=[report.callback()]
        )


def _batches(inputs, targets, recipe, seed, form):
    """All batches of a training, in an order that the seed alone decides.

    What does not fill a batch is left out, another part in each epoch.
    """
    count = len(inputs)
    size = min(recipe.batch_size, count)
    steps = count // size
    with tf.device("CPU:0"):
        arrays = tf.nest.map_structure(tf.constant, (inputs, targets))

    def positions(epoch):
        found = order.epoch_order(seed, epoch, count)
        return tf.reshape(found[: steps * size], [steps, size])

    def batch(positions):
        x, found = tf.nest.map_structure(
            lambda array: tf.gather(array, positions), arrays
        )
        return x, form(found)

    return (
        tf.data.Dataset.range(recipe.epochs)
        .map(positions)
        .unbatch()
        .map(batch, num_parallel_calls=2)
        .prefetch(4)
        .apply(tf.data.experimental.assert_cardinality(recipe.epochs * steps))
    )


def _for_all(model, value):
    """One and the same for each output of a model."""
    return dict.fromkeys(model.output, value)
