"""What Keras' optimizers and callbacks do, they do for the student."""

import functools
import itertools
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

import kd_keras
from tests import reference

callbacks = keras.callbacks
optimizers = keras.optimizers
schedules = optimizers.schedules

TEMPERATURE = 3.0


def excluding_biases(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


# Makers, as an optimizer belongs to one model.
OPTIMIZERS = {
    "accumulation": lambda: optimizers.Adam(
        0.05, gradient_accumulation_steps=2
    ),
    "ema": lambda: optimizers.SGD(0.5, use_ema=True, ema_momentum=0.8),
    "ema_overwritten": lambda: optimizers.Adam(
        0.05, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
    "clipnorm": lambda: optimizers.SGD(0.5, clipnorm=0.01),
    "global_clipnorm": lambda: optimizers.SGD(0.5, global_clipnorm=0.01),
    "clipvalue": lambda: optimizers.Adam(0.05, clipvalue=0.002),
    "adamw": lambda: excluding_biases(optimizers.AdamW(0.05, 0.5)),
    "weight_decay": lambda: optimizers.SGD(0.5, weight_decay=0.1),
    "schedule": lambda: optimizers.SGD(
        schedules.ExponentialDecay(0.5, decay_steps=1, decay_rate=0.6)
    ),
    "warmup": lambda: optimizers.Adam(
        schedules.CosineDecay(
            0.0, decay_steps=4, warmup_target=0.1, warmup_steps=2
        )
    ),
}
# What does not do the same in every step.
BRANCHING = ("accumulation", "ema_overwritten")
# The same without any option.
BARE = {
    "SGD": lambda: optimizers.SGD(0.5),
    "Adam": lambda: optimizers.Adam(0.05),
    "AdamW": lambda: optimizers.Adam(0.05),
}


class Notes(callbacks.Callback):
    """Notes the learning rate and the weights at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.rates = []
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))
        self.weights.append(flat(self.model))


def case(task):
    """What a Distiller and a plain model are compiled and fitted with.

    Args:
        task: `"labels"`, at `soft_weight=0`, or `"soft targets"`, at
            `soft_weight=1` without labels.

    Returns:
        Arguments of the Distiller, its loss and its data; loss and data of
        the plain model.
    """
    x, y, _ = reference.data(18)
    if task == "labels":
        loss = reference.from_logits()
        return {"soft_weight": 0}, loss, (x, y), loss, (x, y)
    soft = kd_keras.losses.SoftTargetKLDivergence(TEMPERATURE)
    teacher_logits = reference.mlp(1)(x).numpy()
    stored = (x, {"teacher_logits": teacher_logits})
    arguments = {"soft_weight": 1, "temperature": TEMPERATURE}
    return arguments, None, stored, soft, (x, teacher_logits)


def pair(task, make_optimizer, run_eagerly=False):
    """A Distiller and a plain model that start alike, with their data."""
    arguments, loss, data, plain_loss, plain_data = case(task)
    distiller = reference.compiled(
        reference.mlp(2),
        None,
        make_optimizer(),
        loss=loss,
        run_eagerly=run_eagerly,
        **arguments,
    )
    plain = reference.mlp(2)
    plain.compile(make_optimizer(), plain_loss, run_eagerly=run_eagerly)
    return (distiller, data), (plain, plain_data)


def fit(model, data, epochs=2, validation=False, found=()):
    x, y = data
    if validation:
        # Other examples than those of training, so that it goes up in time.
        cut = 6
        held_out = (x[:cut], keras.tree.map_structure(lambda t: t[:cut], y))
        x, y = x[cut:], keras.tree.map_structure(lambda t: t[cut:], y)
    return model.fit(
        x,
        y,
        8,
        epochs,
        shuffle=False,
        verbose=0,
        validation_data=held_out if validation else None,
        callbacks=list(found),
    ).history


def flat(model):
    return np.concatenate([np.ravel(w) for w in model.get_weights()])


@functools.cache
def moved_without(task, kind, epochs):
    """How the student's weights move without any option."""
    (distiller, data), _ = pair(task, BARE[kind], run_eagerly=True)
    start = flat(distiller)
    fit(distiller, data, epochs)
    return flat(distiller) - start


class OptimizerTest(tf.test.TestCase, parameterized.TestCase):
    """Options of optimizers."""

    # An optimizer does not know what is minimised.
    @parameterized.parameters(
        *zip(itertools.cycle(("labels", "soft targets")), OPTIMIZERS)
    )
    def test_is_that_of_a_plain_model(self, task, option):
        # To trace a step takes longer than to run these few.
        eagerly = option not in BRANCHING
        (distiller, data), (plain, plain_data) = pair(
            task, OPTIMIZERS[option], eagerly
        )
        start = flat(plain)
        epochs = 1 if eagerly else 2
        losses = fit(distiller, data, epochs)["loss"]
        plain_losses = fit(plain, plain_data, epochs)["loss"]
        tolerance = 1e-7 if task == "labels" else 1e-6
        moved = flat(distiller) - start
        self.assertAllClose(moved, flat(plain) - start, tolerance, tolerance)
        self.assertAllClose(losses, plain_losses, tolerance * 10)
        # The option was at work.
        without = moved_without(task, type(plain.optimizer).__name__, epochs)
        self.assertGreater(
            np.abs(moved - without).max(), 0.02 * np.abs(without).max()
        )

    def test_ema_is_the_average_of_the_steps(self):
        (distiller, data), _ = pair("soft targets", BARE["SGD"], True)
        steps = [flat(distiller)]
        for start in (0, 8, 16, 0, 8, 16):
            batch = keras.tree.map_structure(
                lambda t, start=start: t[start : start + 8], data
            )
            distiller.train_on_batch(*batch)
            steps.append(flat(distiller))
        average = steps[1]
        for step in steps[2:]:
            average = 0.8 * average + 0.2 * step
        (distiller, data), _ = pair("soft targets", OPTIMIZERS["ema"], True)
        fit(distiller, data)
        self.assertAllClose(flat(distiller), average, 1e-5, 1e-6)


class CallbackTest(tf.test.TestCase):
    """Callbacks that change weights or learning rates, or keep weights."""

    def check(self, task, make_optimizer, make_callback, epochs):
        """Fits both; returns the two models, logs and notes of the first."""
        logs, models, notes = [], [], []
        for model, data in pair(task, make_optimizer):
            models.append(model)
            notes.append(Notes())
            found = (make_callback(), notes[-1])
            logs.append(fit(model, data, epochs, True, found))
        tolerance = 1e-7 if task == "labels" else 1e-6
        self.assertAllClose(*map(flat, models), tolerance, tolerance)
        self.assertAllClose(notes[0].rates, notes[1].rates)
        for name in ("loss", "val_loss"):
            self.assertAllClose(logs[0][name], logs[1][name], 1e-5)
        return models, logs[0], notes[0]

    def test_learning_rate_scheduler(self):
        _, _, notes = self.check(
            "labels",
            lambda: optimizers.SGD(0.5),
            lambda: callbacks.LearningRateScheduler(
                lambda epoch, rate: rate * 0.5
            ),
            epochs=3,
        )
        self.assertAllClose(notes.rates, [0.25, 0.125, 0.0625])

    @pytest.mark.slow
    def test_reduce_learning_rate_on_plateau(self):
        # A gain that is asked for and never made: half each epoch.
        _, _, notes = self.check(
            "soft targets",
            lambda: optimizers.Adam(0.1),
            lambda: callbacks.ReduceLROnPlateau(
                factor=0.5, patience=1, min_delta=100.0
            ),
            epochs=4,
        )
        self.assertAllClose(notes.rates, [0.1, 0.05, 0.025, 0.0125])

    def test_early_stopping_restores_the_best_weights(self):
        models, logs, notes = self.check(
            "soft targets",
            lambda: optimizers.Adam(0.5),
            lambda: callbacks.EarlyStopping(
                patience=2, restore_best_weights=True
            ),
            epochs=30,
        )
        best = int(np.argmin(logs["val_loss"]))
        self.assertLen(logs["val_loss"], best + 3)
        self.assertAllEqual(flat(models[0]), notes.weights[best])
        self.assertNotAllClose(flat(models[0]), notes.weights[-1], 1e-3, 1e-3)

    @pytest.mark.slow
    def test_swap_ema_weights(self):
        _, logs, _ = self.check(
            "labels",
            lambda: optimizers.Adam(0.5, use_ema=True, ema_momentum=0.9),
            lambda: callbacks.SwapEMAWeights(swap_on_epoch=True),
            epochs=3,
        )
        # The epochs are evaluated with the averages, not with the weights.
        (distiller, data), _ = pair("labels", lambda: optimizers.Adam(0.5))
        without = fit(distiller, data, 3, True)
        self.assertGreater(
            abs(logs["val_loss"][0] - without["val_loss"][0]), 1e-3
        )

    def test_model_checkpoint_keeps_the_best_weights(self):
        paths = iter(
            os.path.join(self.get_temp_dir(), f"{i}.weights.h5")
            for i in range(2)
        )
        written = []

        def make_callback():
            written.append(next(paths))
            return callbacks.ModelCheckpoint(
                written[-1],
                monitor="val_loss",
                save_best_only=True,
                save_weights_only=True,
            )

        models, logs, notes = self.check(
            "soft targets", lambda: optimizers.Adam(0.5), make_callback, 9
        )
        best = int(np.argmin(logs["val_loss"]))
        self.assertNotAllClose(flat(models[0]), notes.weights[best], 1e-3, 1e-3)
        for model, path in zip(models, written, strict=True):
            model.load_weights(path)
        self.assertAllEqual(flat(models[0]), notes.weights[best])
        self.assertAllClose(*map(flat, models), 1e-6, 1e-6)


if __name__ == "__main__":
    tf.test.main()
