"""How the programs train a model: one way for all of them."""

import keras
import tensorflow as tf

from kd_keras import callbacks
from kd_keras import together
from kd_keras.distiller import Distiller
from kd_keras.training import curves

# Points of a learning curve at which held-out examples are looked at.
_VALIDATIONS = 20

# Layers whose steps XLA makes faster on a CPU. A step of convolutions it makes
# twice as slow, one in bfloat16 four times.
_GAINING = (
    keras.layers.InputLayer,
    keras.layers.Rescaling,
    keras.layers.Flatten,
    keras.layers.Dense,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.Dropout,
)


# Classes over which XLA sums more slowly than it saves elsewhere.
_MANY_CLASSES = 10_000
# Weights of a perceptron whose steps XLA makes no faster any more: what it
# saves is the dispatching of operations.
_MANY_WEIGHTS = 500_000
# Steps after which XLA has given back what it takes to compile a small one: it
# takes 1.2 seconds for 100-100 and saves 0.16 ms of a step of 0.8 ms.
_MANY_STEPS = 8_000


def compiling_pays(model, strategy, num_steps):
    """Whether XLA makes whole steps faster where Keras would not ask it.

    Args:
        model: `keras.Model` to be trained.
        strategy: `tf.distribute.Strategy` under which it trains.
        num_steps: Steps of the whole training.

    Returns:
        Whether it is a small multi-layer perceptron in float32, trained for
        long, of not too many classes, alone, on a machine without
        accelerators: for these Keras decides by itself.
    """
    return (
        sharing_pays(model, strategy)
        and _is_left_to_cpu()
        and num_steps >= _MANY_STEPS
        and _is_perceptron(model)
        and model.output_shape[-1] < _MANY_CLASSES
        and all(layer.compute_dtype == "float32" for layer in model.layers)
    )


def steps_per_execution(model, strategy):
    """How many steps run from one look of Python at the training to the next.

    The start of a run costs as much as several steps of a small perceptron.
    For one of 100-100 and batches of 64, an epoch on stored targets takes 0.86
    of the time with 100 steps instead of 20.

    Args:
        model: `keras.Model` to be trained.
        strategy: `tf.distribute.Strategy` under which it trains.

    Returns:
        int: 100 for a small perceptron that trains alone; 20 for all others,
        whose training is to say where it is before many of their steps.
    """
    is_short = _is_perceptron(model) and sharing_pays(model, strategy)
    return 100 if is_short else 20


def _is_left_to_cpu():
    """Whether there are only CPUs, for which Keras compiles nothing."""
    devices = tf.config.list_physical_devices()
    return all(device.device_type == "CPU" for device in devices)


def _is_perceptron(model):
    return all(type(layer) in _GAINING for layer in model.layers)


def sharing_pays(model, strategy):
    """Whether students like a model train faster together.

    What they share is the reading and the dispatching of steps.

    Args:
        model: `keras.Model` to be trained.
        strategy: `tf.distribute.Strategy` under which it trains.

    Returns:
        Whether it is small, and trains alone on a device.
    """
    return (
        strategy.num_replicas_in_sync == 1
        and model.count_params() < _MANY_WEIGHTS
    )


class Fitter:
    """Trains models on the data of a job.

    Args:
        data: What holds `epoch` and `validation`, as `data.JobData` does.
        strategy: `tf.distribute.Strategy` under which all models train.
        report: `progress.Report` that counts the steps.
        make_optimizer: Function that makes an optimizer.
    """

    def __init__(self, data, strategy, report, make_optimizer):
        self._data, self._strategy = data, strategy
        self._report, self._make_optimizer = report, make_optimizer

    def fit(self, build, batches, epochs, *, state, curve, **objective):
        """Trains one model.

        Args:
            build: Function that builds it, the same each time it is called.
            batches: `tf.data.Dataset` of batches.
            epochs: Passes over these.
            state: File to go on from, should training be broken off.
            curve: File of the learning curve.
            **objective: `loss` of the labels, by default cross-entropy, and
                `teacher`, `temperature` and `soft_weight`, as of a Distiller:
                without these, labels alone.

        Returns:
            The trained model, without a strategy.
        """
        num_steps = epochs * int(batches.cardinality())
        distiller = self._compiled(build, num_steps, **objective)
        distiller.fit(batches, **self._loop(epochs, state, curves.Curve(curve)))
        # What one worker does alone must not need the others.
        weights = distiller.student.get_weights()
        copy = build()
        copy.set_weights(weights)
        return copy

    def fit_together(self, build, batches, epochs, *, state, of_each, left):
        """Trains several students on one read of the same batches.

        Args:
            build: Function that builds a student.
            batches: As above, like `epochs` and `state`.
            epochs: Passes over these.
            state: File to go on from.
            of_each: Dict of names to `curve` and `objective` of each, a tuple.
            left: How many of them `report` expects, the others being done.

        Returns:
            Dict of names to the weights of the trained students.
        """
        distillers = {
            # Compiling all of them takes as much longer.
            name: self._compiled(build, 0, **objective)
            for name, (_, objective) in of_each.items()
        }
        curve = curves.CurveOfEach(
            {name: path for name, (path, _) in of_each.items()}
        )
        together.fit_together(
            distillers, batches, **self._loop(epochs, state, curve, left)
        )
        return {n: one.student.get_weights() for n, one in distillers.items()}

    def _compiled(self, build, num_steps, loss=None, **soft):
        with self._strategy.scope():
            student = build()
            distiller = Distiller(
                student=student,
                name="distiller",
                **{"soft_weight": 0.0, **soft},
            )
            distiller.compile(
                self._make_optimizer(),
                loss
                or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy"],
                steps_per_execution=steps_per_execution(
                    student, self._strategy
                ),
                jit_compile=compiling_pays(student, self._strategy, num_steps)
                or "auto",
            )
        return distiller

    def _loop(self, epochs, state, curve, num_models=1):
        """Arguments of a `fit`."""
        validation = self._data.validation
        return {
            "epochs": epochs,
            "verbose": 0,
            # The batches come shuffled.
            "shuffle": False,
            "validation_data": validation and validation.batches,
            "validation_freq": max(epochs // _VALIDATIONS, 1),
            "callbacks": [
                self._data.epoch,
                curve,
                callbacks.TrainingState(state),
                self._report.callback(num_models),
            ],
        }
