"""Trainings that are broken off and started again, for the tests to compare.

As a program it is one of them, in a process of its own, which may be killed.
"""

import hashlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from kd_keras import callbacks as callbacks_lib
from kd_keras import datasets
from tests import reference

EPOCHS = 6
STEPS = 5


def examples():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (28, 4, 4, 1), np.uint8)
    return tf.data.Dataset.from_tensor_slices(
        {"image": images, "label": images[:, 0, 0, 0] // 64}
    )


@keras.saving.register_keras_serializable(package="tests")
class Summing(keras.layers.Layer):
    """Sums up what passes; under a strategy each replica for itself."""

    def build(self, input_shape):
        self.total = keras.Variable(
            0.0,
            trainable=False,
            synchronization="on_read",
            aggregation="sum",
        )

    def call(self, inputs, training=False):
        if training:
            self.total.assign_add(tf.reduce_sum(inputs))
        return inputs


def students(seed):
    """A model with all that draws numbers or has a state."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            Summing(),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(4),
        ]
    )


def optimizer(kind):
    if kind == "loss_scale":
        # Grows and overflows again within a run.
        return keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.05),
            initial_scale=2.0**127,
            dynamic_growth_steps=4,
        )
    if kind == "accumulation":
        # Updates in mid-epoch, so that an epoch ends with half a sum.
        return keras.optimizers.Adam(
            0.05,
            gradient_accumulation_steps=2,
            use_ema=True,
            ema_momentum=0.9,
        )
    return keras.optimizers.Adam(0.05)


def build(kind="adam"):
    """A compiled Distiller."""
    return reference.compiled(
        students(1),
        students(2),
        optimizer(kind),
        metrics=["accuracy"],
        temperature=2.0,
        soft_weight=0.5,
    )


class Broken(Exception):
    """Breaks off a run."""


class Break(keras.callbacks.Callback):
    """Breaks off at a batch of an epoch; after all of them at its end."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)
        self.epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Broken

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, STEPS) == self.at:
            raise Broken


def train(
    path,
    kind="adam",
    *,
    state_first=True,
    more_callbacks=(),
    config=None,
    epochs=EPOCHS,
    strategy=None,
    restore_best_weights=True,
):
    """One run. Returns the Distiller and what came of it."""
    counter = callbacks_lib.EpochCounter()
    with (strategy or tf.distribute.get_strategy()).scope():
        distiller = build(kind)
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=100, restore_best_weights=restore_best_weights
    )
    plateau = keras.callbacks.ReduceLROnPlateau(
        "loss", factor=0.5, patience=1, min_delta=0.3, cooldown=1
    )
    state = callbacks_lib.TrainingState(path, config)
    callbacks = [counter, stopping, plateau, *more_callbacks]
    callbacks.insert(0 if state_first else len(callbacks), state)
    state.watch(callbacks)
    train_data = datasets.batches(
        examples(),
        6,
        shuffle_seed=3,
        epoch=counter.value,
        augment=datasets.random_shift(1),
    )
    validation = datasets.batches(examples(), 14)
    history = distiller.fit(
        train_data,
        validation_data=validation,
        epochs=epochs,
        callbacks=callbacks,
        verbose=0,
    )
    return distiller, {
        "history": history.history,
        "epochs": history.epoch,
        "stopping": [stopping.wait, stopping.best, stopping.best_epoch],
        "plateau": [plateau.wait, plateau.best, plateau.cooldown_counter],
    }


def values(distiller):
    """All that a run ends with, of every replica, as bytes."""
    strategy = distiller.distribute_strategy
    variables = [*distiller.variables, *distiller.optimizer.variables]
    return [
        [
            part.numpy().tobytes()
            for part in strategy.experimental_local_results(variable.value)
        ]
        for variable in variables
    ]


def digest(distiller, results):
    """One number for everything."""
    content = repr((values(distiller), sorted(results.items())))
    return hashlib.sha256(content.encode()).hexdigest()


class Slow(keras.callbacks.Callback):
    """Says at which batch it is, and takes its time."""

    def on_train_batch_end(self, batch, logs=None):
        print("batch", batch, flush=True)
        time.sleep(0.03)


def killed(path):
    """A run that is slow enough to be killed on its way."""
    # Another global seed makes no difference to the data.
    keras.utils.set_random_seed(123)
    print("digest", digest(*train(path, more_callbacks=[Slow()])), flush=True)


def mirrored(folder):
    """Broken and unbroken runs on two replicas, compared bit for bit."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    # With the best weights all replicas would end with the same sums.
    settings = {
        "strategy": strategy,
        "epochs": 3,
        "restore_best_weights": False,
    }
    unbroken = digest(*train(f"{folder}/unbroken", **settings))
    try:
        train(f"{folder}/broken", more_callbacks=[Break(1, 3)], **settings)
    except Broken:
        print("broken", flush=True)
    distiller, results = train(f"{folder}/broken", **settings)
    print("equal", digest(distiller, results) == unbroken, flush=True)
    differing = [len(set(parts)) for parts in values(distiller)]
    print("differing", sum(number > 1 for number in differing), flush=True)


if __name__ == "__main__":
    {"killed": killed, "mirrored": mirrored}[sys.argv[1]](sys.argv[2])
