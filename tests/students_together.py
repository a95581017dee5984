"""Distillers that differ in whatever may differ, and data for all of them."""

import keras

from tests import reference

SETTINGS = {
    "cool": {"temperature": 1.5, "soft_weight": 0.3, "hidden": 5},
    "cool_2": {"temperature": 8.0, "soft_weight": 0.9, "hidden": 7},
    "warm": {"temperature": 8.0, "soft_weight": 1.0, "hidden": 5},
}
ALL = (*SETTINGS, "labels")


def _student(seed, hidden):
    """With all that draws random numbers or adds to the objective."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(hidden, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(4, kernel_regularizer="l2"),
        ]
    )


def distillers(teacher, names=("cool", "cool_2"), **kwargs):
    """Distillers that differ in whatever may differ."""
    made = {}
    for seed, name in enumerate(names):
        if name == "labels":
            continue
        settings = dict(SETTINGS[name])
        made[name] = reference.compiled(
            _student(seed, settings.pop("hidden")),
            teacher,
            keras.optimizers.Adam(
                0.01 * (seed + 1), use_ema=True, ema_momentum=0.9
            ),
            metrics=["accuracy"],
            **settings,
            **kwargs,
        )
    if "labels" in names:
        made["labels"] = reference.compiled(
            _student(9, 4),
            optimizer=keras.optimizers.SGD(0.1, clipnorm=0.5),
            soft_weight=0.0,
            **kwargs,
        )
    return made


def data(teacher=None):
    """Arrays of which some have no label; with the teacher's logits."""
    x, y, weights = reference.data(26)
    y[::5] = -1
    if teacher is None:
        return x, y, weights
    return x, {"label": y, "teacher_logits": teacher(x).numpy()}, weights
