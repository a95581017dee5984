"""What is trained in benchmarks: models and data of several sizes."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kd_keras import models
from kd_keras import teachers
from kd_keras.datasets.tuning import untuned

TEMPERATURE = 4.0
STEPS_PER_EXECUTION = 20


@dataclasses.dataclass(frozen=True)
class Workload:
    """A teacher, a student and random data for them.

    Attributes:
        title: What it is.
        input_shape: Shape of one input.
        num_classes: Number of classes.
        batch_size: Examples per step.
        num_steps: Steps per epoch.
        make_student: Function of a seed that gives a `keras.Model`.
        make_teacher: The same for a teacher, which may be an ensemble.
        builds_per_round: How many times all models are built for each round,
            where those of a kind differ by as much as is looked for. Defaults
            to 0, once for all rounds: many that are large take more memory
            than most machines have.
    """

    title: str
    input_shape: tuple[int, ...]
    num_classes: int
    batch_size: int
    num_steps: int
    make_student: Callable
    make_teacher: Callable
    builds_per_round: int = 0

    def arrays(self):
        """Random inputs and labels of one epoch."""
        rng = np.random.default_rng(0)
        size = self.batch_size * self.num_steps
        x = rng.random((size, *self.input_shape), np.float32)
        return x, rng.integers(0, self.num_classes, size)


def dashed(units):
    """Hidden layers as text, as `800-800`."""
    return "-".join(map(str, units))


def mlps(units, input_shape, num_classes):
    """A function of a seed that makes a multi-layer perceptron."""
    return lambda seed: models.mlp(input_shape, num_classes, units, seed=seed)


def _convnets(filters, dense_units):
    return lambda seed: models.convnet(
        (32, 32, 3), 100, filters, dense_units=dense_units, seed=seed
    )


def _ensemble(seed):
    make = mlps((800, 800), (28, 28, 1), 10)
    return teachers.EnsembleTeacher([make(seed + i) for i in range(10)])


WORKLOADS = {
    "mlp": Workload(
        "MLP of 1200-1200 to 800-800, 10 classes",
        (28, 28, 1),
        10,
        128,
        60,
        mlps((800, 800), (28, 28, 1), 10),
        mlps((1200, 1200), (28, 28, 1), 10),
    ),
    "convnet": Workload(
        "convnets on 32 x 32 x 3, 100 classes",
        (32, 32, 3),
        100,
        64,
        # Of 20 short steps the start of `fit` would be a part that shows.
        60,
        _convnets((24, 48), (64,)),
        _convnets((96, 192), (256,)),
        builds_per_round=2,
    ),
    "1000_classes": Workload(
        "MLP of 2048-2048 to 1024-1024, 1,000 classes",
        (1024,),
        1000,
        256,
        10,
        mlps((1024, 1024), (1024,), 1000),
        mlps((2048, 2048), (1024,), 1000),
    ),
    "32000_classes": Workload(
        "MLP of 2048-2048 to 1024-1024, 32,000 classes",
        (512,),
        32000,
        64,
        5,
        mlps((1024, 1024), (512,), 32000),
        mlps((2048, 2048), (512,), 32000),
    ),
    "narrow": Workload(
        "MLP of 256 to 64, 32,000 classes",
        (64,),
        32000,
        64,
        20,
        mlps((64,), (64,), 32000),
        mlps((256,), (64,), 32000),
    ),
    "ensemble": Workload(
        "ten MLPs of 800-800 to one, 10 classes",
        (28, 28, 1),
        10,
        128,
        40,
        mlps((800, 800), (28, 28, 1), 10),
        _ensemble,
    ),
}


def batched(workload, *arrays):
    """A data set of batches, in the form that `fit` takes.

    Args:
        workload: `Workload`.
        *arrays: Inputs and targets: arrays, or dicts of arrays.

    Returns:
        `tf.data.Dataset`.
    """
    return untuned(
        tf.data.Dataset.from_tensor_slices(arrays)
        .batch(workload.batch_size, drop_remainder=True)
        .cache()
        .prefetch(tf.data.AUTOTUNE)
    )


def compiled(model, steps_per_execution=1, jit_compile="auto"):
    """A model, or Distiller of any kind, compiled as all are compared."""
    model.compile(
        optimizer=keras.optimizers.Adam(),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
        jit_compile=jit_compile,
    )
    return model


def bare_forward(teacher, batches):
    """The least that a live teacher costs: its forward pass, nothing else.

    Args:
        teacher: Any teacher.
        batches: `tf.data.Dataset` of inputs and targets.

    Returns:
        Function without arguments that runs it over all of them.
    """
    inputs = [x for x, _ in batches]

    # The sum, because what is not used would be left out of the graph.
    @tf.function
    def forward(x):
        return tf.reduce_sum(logits_of(teacher, x))

    def run():
        for x in inputs:
            total = forward(x)
        return float(total)

    return run


def logits_of(teacher, x):
    """The logits of any teacher, of an ensemble at `TEMPERATURE`."""
    if isinstance(teacher, teachers.EnsembleTeacher):
        return teacher(x, TEMPERATURE)
    return teachers.call(teacher, x)


def all_logits(teacher, data):
    """Logits of a teacher for all batches of inputs and targets, an array."""
    logits = [logits_of(teacher, x).numpy() for x, _ in data]
    return np.concatenate(logits)
