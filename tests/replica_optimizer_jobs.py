"""Trainings by optimizers that look at gradients before they use them."""

import keras
import numpy as np

from tests import reference

_CLIPPED = {
    "clipnorm": {"clipnorm": 0.05},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.01},
    "not reached": {"clipnorm": 1e6},
    "scaled": {"global_clipnorm": 0.1},
}


def clipped(strategy):
    """Weights after training with gradients that are clipped by norms."""
    return _train(strategy, "clipnorm", "global_clipnorm")


def clipped_otherwise(strategy):
    """The same by value, not at all, and with a scaled loss."""
    return _train(strategy, "clipvalue", "not reached", "scaled")


def _train(strategy, *names):
    x, y, weights = reference.data(26)
    told = {}
    for name in names:
        with strategy.scope():
            student = reference.mlp(0)
            optimizer = keras.optimizers.SGD(
                0.1, momentum=0.9, **_CLIPPED[name]
            )
            if name == "scaled":
                optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
            distiller = reference.compiled(
                student, reference.mlp(1), optimizer, soft_weight=0.5
            )
        before = student.get_weights()
        # Batches of 5, and a last one that leaves a replica idle.
        distiller.fit(
            x,
            y,
            sample_weight=weights,
            batch_size=5,
            epochs=2,
            shuffle=False,
            verbose=0,
        )
        told[name] = np.concatenate(
            [
                (after - w).ravel()
                for w, after in zip(before, student.get_weights(), strict=True)
            ]
        ).tolist()
    return told
