"""Trainings that the tests run in processes of their own, and compare.

Strategies of several replicas collide in one process, and workers are
processes anyway. `run` starts processes that do jobs one after the other, and
returns what came of each.
"""

import functools
import json
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

import kd_keras
from tests import processes
from tests import reference
from tests.replica_callback_jobs import written as written
from tests.replica_optimizer_jobs import clipped as clipped
from tests.replica_optimizer_jobs import clipped_otherwise as clipped_otherwise
from tests.replica_refusals import refusals as refusals

# A user's own strategy, made before kd_keras is imported.
MIRRORED = """
import sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
from tests import replica_jobs
replica_jobs.work(strategy, *sys.argv[1:])
"""
MULTI_WORKER = """
import sys
from kd_keras import distribution
strategy = distribution.make_strategy("multi_worker")
from tests import replica_jobs
replica_jobs.work(strategy, *sys.argv[1:])
"""


def build(learning_rate=0.1, steps_per_execution=1, **kwargs):
    """A compiled Distiller with all that may go wrong among replicas."""
    student = reference.mlp(0, kernel_regularizer="l2")
    return reference.compiled(
        student,
        reference.mlp(1),
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        fidelity_metrics=[kd_keras.metrics.TeacherAgreement()],
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
        soft_weight=0.5,
        temperature=2.0,
        **kwargs,
    )


def data(num_examples):
    """Inputs, labels of which some are hidden, and weights."""
    x, y, weights = reference.data(num_examples)
    return x, np.where(np.arange(num_examples) % 5 == 0, -1, y), weights


class Recorder(keras.callbacks.Callback):
    """Notes at which batches the callbacks were called, with which logs."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append([batch, float(logs["loss"])])


def fit(strategy, num_examples, batch_size, num_steps, learning_rate=0.1):
    """Trains for three epochs; tells what it came to."""
    recorder = Recorder()
    x, y, weights = data(num_examples)
    with strategy.scope():
        distiller = build(learning_rate, num_steps)
    history = distiller.fit(
        x,
        y,
        sample_weight=weights,
        batch_size=batch_size,
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=(x, y, weights),
        callbacks=[recorder],
    )
    return distiller, {
        "history": history.history,
        "weights": [w.tolist() for w in distiller.student.get_weights()],
        "batches": recorder.seen,
    }


def even_many_steps(strategy):
    return fit(strategy, 24, 6, 4)[1]


def uneven(strategy):
    # The first batch does not divide by 2, the last leaves a replica idle.
    distiller, told = fit(strategy, 26, 5, 2)
    x, y, weights = data(26)
    predicted = distiller.predict(x, batch_size=5, verbose=0)
    evaluated = distiller.evaluate(x, y, 5, 0, weights, return_dict=True)
    return told | {"predicted": predicted.tolist(), "evaluated": evaluated}


def uneven_at_rest(strategy):
    return fit(strategy, 23, 7, 1, learning_rate=0.0)[1]


def together(strategy):
    """Two students on one teacher; batches that do not divide by 2."""
    x, y, weights = data(26)
    with strategy.scope():
        distillers = {"one": build(0.1, 2), "two": build(0.05, 2)}
        distillers["two"].temperature = 5.0
        distillers["two"].teacher = distillers["one"].teacher
    histories = kd_keras.fit_together(
        distillers,
        x,
        y,
        sample_weight=weights,
        batch_size=5,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(x, y, weights),
    )
    return {
        "history": {name: h.history for name, h in histories.items()},
        "weights": [
            w.tolist()
            for one in distillers.values()
            for w in one.student.get_weights()
        ],
    }


def from_dataset(strategy):
    """Stored targets and unlabelled batches from a shuffled `tf.data`."""
    x, y, _ = data(24)
    teacher_logits = reference.mlp(1)(x).numpy()
    dataset = tf.data.Dataset.from_tensor_slices(
        (x, {"label": y, "teacher_logits": teacher_logits})
    )
    dataset = dataset.shuffle(24, seed=3).batch(6)
    with strategy.scope():
        student = reference.mlp(0)
        distiller = reference.compiled(
            student,
            optimizer=keras.optimizers.SGD(0.5),
            metrics=["accuracy"],
        )
    history = distiller.fit(dataset, epochs=2, verbose=0)
    unlabelled = tf.data.Dataset.from_tensor_slices((x,)).batch(6)
    distiller.teacher = reference.mlp(1)
    distiller.soft_weight = 1.0
    soft = distiller.fit(unlabelled, epochs=2, verbose=0)
    return {
        "history": history.history | soft.history,
        "weights": [w.tolist() for w in student.get_weights()],
    }


def shuffled(strategy):
    """Arrays that Keras shuffles: every example once, at rest."""
    x, y, weights = data(24)
    with strategy.scope():
        distiller = build(0.0)
    history = distiller.fit(x, y, 6, epochs=3, sample_weight=weights, verbose=0)
    return {"history": history.history, "weights": []}


def unseeded(strategy):
    """The same without a seed, which is refused among workers."""
    with strategy.scope():
        distiller = build(0.0)
    # As a process begins.
    tf.random.set_seed(None)
    x, y, _ = data(24)
    try:
        distiller.fit(x, y, verbose=0)
    except ValueError as error:
        return {"said": str(error)}
    return {"said": "nothing"}


def on_batches(strategy):
    x, y, weights = data(6)
    with strategy.scope():
        distiller = build()
    return {
        "logs": [
            distiller.train_on_batch(x, y, weights, return_dict=True),
            distiller.test_on_batch(x, y, weights, return_dict=True),
        ],
        "weights": [w.tolist() for w in distiller.student.get_weights()],
    }


def calibration(strategy):
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2.0, size=(64, 4)).astype("float32")
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Activation("linear")]
        )
        model.compile(
            loss=keras.losses.SparseCategoricalCrossentropy(True),
            metrics=[kd_keras.metrics.ExpectedCalibrationError()],
        )
    labels = rng.integers(0, 4, size=(64,))
    logs = model.evaluate(logits, labels, 16, 0, return_dict=True)
    return logs["calibration_error"]


def values(strategy):
    """What the value checks say of bad values in one replica's share."""
    x, y, _ = reference.data(12)
    said = []
    bad_labels = y.copy()
    # The second half of the second batch.
    bad_labels[11] = 4
    bad_teacher = reference.data(12)[0]
    bad_teacher[6] = np.nan
    with strategy.scope():
        distiller = build(steps_per_execution=2)
        epochs = Recorder()
    for inputs, labels in ((x, bad_labels), (bad_teacher, y)):
        try:
            distiller.fit(
                inputs,
                labels,
                batch_size=6,
                shuffle=False,
                verbose=0,
                callbacks=[epochs],
            )
            said.append("nothing")
        except ValueError as error:
            said.append(str(error))
    return {"said": said}


def normalised(strategy):
    """Batch normalisation where a replica is left without an example."""
    x, y, _ = reference.data(13)
    with strategy.scope():
        student = keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(4),
            ]
        )
        distiller = reference.compiled(student, soft_weight=0.0)
    try:
        distiller.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    except ValueError as error:
        return {"said": str(error)}
    return {"said": "nothing"}


def regularised(strategy):
    """An activity regulariser where a replica has no example."""
    x, y, _ = reference.data(13)
    with strategy.scope():
        student = reference.mlp(0, activity_regularizer="l2")
        distiller = reference.compiled(student, soft_weight=0.0)
    history = distiller.fit(
        x, y, batch_size=4, epochs=2, shuffle=False, verbose=0
    )
    return {
        "history": history.history,
        "evaluated": distiller.evaluate(x, y, batch_size=4, verbose=0),
    }


def half_precision(strategy):
    """mixed_float16: the loss is scaled and unscaled once, on all replicas."""
    x, y, weights = data(24)
    with strategy.scope():
        keras.config.set_dtype_policy("mixed_float16")
        student = reference.mlp(0)
        keras.config.set_dtype_policy("float32")
        distiller = reference.compiled(student, reference.mlp(1))
    before = student.get_weights()
    distiller.fit(x, y, batch_size=24, sample_weight=weights, verbose=0)
    moved = [
        (a - b).ravel().tolist()
        for a, b in zip(student.get_weights(), before, strict=True)
    ]
    return {
        "moved": sum(moved, []),
        "optimizer": type(distiller.optimizer).__name__,
    }


def overflow(strategy):
    """An overflow in the share of the last replica skips the step of all."""
    x, y, _ = data(6)
    with strategy.scope():
        student = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4, dtype="mixed_float16")]
        )
        distiller = reference.compiled(student, reference.mlp(1))
    distiller.fit(x, y, batch_size=6, verbose=0)
    scale = float(distiller.optimizer.dynamic_scale.numpy())
    before = student.get_weights()
    x[5] = 6e4
    distiller.fit(x, y, batch_size=6, shuffle=False, verbose=0)
    return {
        "scale": float(distiller.optimizer.dynamic_scale.numpy()) / scale,
        "moved": [
            float(abs(a - b).max())
            for a, b in zip(student.get_weights(), before, strict=True)
        ],
    }


def views(strategy):
    """Labels that a data set yields as views of one array."""
    x, _, _ = data(24)
    # Memory that TensorFlow takes over as it is: at a multiple of 64 bytes.
    room = np.zeros(32, "int64")
    start = (-room.ctypes.data % 64) // 8
    y = room[start : start + 24]
    y[:] = np.where(np.arange(24) % 3 == 0, -1, np.arange(24) % 4)

    class Views(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            share = slice(8 * index, 8 * index + 8)
            return x[share], y[share]

    with strategy.scope():
        distiller = build()
    distiller.fit(Views(), verbose=0, shuffle=False)
    distiller.evaluate(Views(), verbose=0)
    return {"labels": y.tolist()}


def work(strategy, output, *jobs):
    """Does jobs under a strategy and writes what they told."""
    results = {}
    for job in jobs:
        keras.utils.set_random_seed(7)
        results[job] = globals()[job](strategy)
    # Old versions of Keras tell scalar arrays and tensors.
    pathlib.Path(output).write_text(json.dumps(results, default=float))


@functools.cache
def run(program, jobs, num_workers=1):
    """Runs jobs in processes of their own.

    Args:
        program: What each process runs: one of the above.
        jobs: Names of functions of this module.
        num_workers: Number of processes that make one cluster.

    Returns:
        For each process a dict of what each job told, or RuntimeErrors: once
        is enough for many tests to fail.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [
            pathlib.Path(folder) / f"{index}.json"
            for index in range(num_workers)
        ]
        started = [
            processes.start(["-c", program, str(output), *jobs], environment)
            for output, environment in zip(
                outputs, processes.environments(num_workers), strict=True
            )
        ]
        said = [processes.finish(process) for process in started]
        for process, text in zip(started, said, strict=True):
            if process.returncode:
                failed = RuntimeError(f"{jobs} failed:\n{text[-5000:]}")
                return [failed] * num_workers
        return [json.loads(output.read_text()) for output in outputs]
