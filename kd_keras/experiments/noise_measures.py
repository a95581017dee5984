"""What the experiment on gradient noise trains, and what it measures there."""

import math

import keras
import numpy as np
import tensorflow as tf

from kd_keras import losses
from kd_keras import progress
from kd_keras.diagnostics import gradients
from kd_keras.distiller import Distiller

# The probe is drawn alike for all seeds, and unlike the order of any.
_PROBE_SEED = 2_000_000


def temperature_of(target):
    """Temperature of a target named "soft-T"; None for "hard"."""
    return None if target == "hard" else float(target.removeprefix("soft-"))


def loss_of(target):
    """The objective of a target, as the Distiller minimises it.

    Args:
        target: "hard", for cross-entropy with the label, or "soft-T", for
            `T**2` times the KL divergence from the teacher at T.

    Returns:
        Function of `(targets, logits)`, of batches that bring labels and the
        teacher's logits, that gives the mean over the examples.
    """
    temperature = temperature_of(target)
    if temperature is None:
        hard = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return lambda targets, logits: hard(targets["label"], logits)
    soft = losses.SoftTargetKLDivergence(temperature)
    return lambda targets, logits: soft(targets["teacher_logits"], logits)


def probe_of(lab, store, batch_size, num_batches):
    """Training examples on which noise is measured, the same for all.

    Args:
        lab: `laboratory.Laboratory`.
        store: `soft_targets.SoftTargets` of its training examples.
        batch_size: Examples of a batch.
        num_batches: Batches.

    Returns:
        A list of batches of `(images, {"label": ..., "teacher_logits": ...})`,
        drawn at random, without replacement.
    """
    batches = store.batches(
        lab.train,
        batch_size,
        shuffle_seed=_PROBE_SEED,
        epoch=0,
        drop_remainder=True,
    )
    return list(batches.take(num_batches))


def entropy(logits, temperature):
    """Mean entropy of tempered distributions, nats.

    Args:
        logits: float array, shape `[num_examples, num_classes]`.
        temperature: Positive float.

    Returns:
        float.
    """
    log_probs = tf.nn.log_softmax(np.float64(logits) / temperature).numpy()
    return float(-(np.exp(log_probs) * log_probs).sum(axis=1).mean())


def entropy_of(target, logits):
    """Mean entropy of a target, nats: 0 of labels.

    Args:
        target: As of `loss_of`.
        logits: float array of the teacher.
    """
    temperature = temperature_of(target)
    return 0.0 if temperature is None else entropy(logits, temperature)


def noise_of(model, probe, target):
    """Noise of the gradients of a target, as JSON takes it.

    Args:
        model: `keras.Model`.
        probe: As `probe_of` gives it.
        target: As of `loss_of`.

    Returns:
        A dict of `variance` and `squared_mean`, the fields of
        `gradients.GradientNoise`.
    """
    found = gradients.gradient_noise(model, probe, loss_of(target))
    return {"variance": found.variance, "squared_mean": found.squared_mean}


def ratio(noise):
    """Noise to signal of what `noise_of` gave."""
    return gradients.GradientNoise(**noise, num_examples=0, batch_size=0).ratio


class Course:
    """A student on its way, trained by one target.

    Attributes:
        student: `keras.Model`.

    Args:
        lab: `laboratory.Laboratory`.
        student: `keras.Model`, not trained yet.
        target: As of `loss_of`.
        store: `soft_targets.SoftTargets` that the data brings.
        batch_size: Examples per step.
        seed: int, of the order of the data.
        optimizer: `keras.optimizers.Optimizer`.
        check_every: Steps after which callbacks see the student.
    """

    def __init__(
        self,
        lab,
        student,
        target,
        store,
        batch_size,
        seed,
        optimizer,
        check_every,
    ):
        self._lab, self.student = lab, student
        self._initial = student.get_weights()
        temperature = temperature_of(target)
        soft = {"soft_weight": 0.0}
        if temperature is not None:
            soft = {"soft_weight": 1.0, "temperature": temperature}
        self._distiller = Distiller(student=student, teacher=store, **soft)
        self._distiller.compile(
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=check_every,
        )
        # Labels come along with the soft targets, in the same order for all.
        self._batches = store.batches(
            lab.train, batch_size, shuffle_seed=seed, epoch=lab.epoch.value
        )
        # Traced once, as errors are counted often.
        self._forward = tf.function(
            lambda images: student(images, training=False)
        )

    def error_share(self):
        """Share of the test split that gets another class than its label."""
        test = self._lab.test
        logits = [self._forward(images) for images, _ in test.batches]
        return test.errors(np.concatenate(logits)) / len(test.labels)

    def run(self, epochs, says, *watchers):
        """Trains on from the initial weights.

        Args:
            epochs: Passes over the data.
            says: What the line of progress says.
            *watchers: Keras callbacks.
        """
        self.student.set_weights(self._initial)
        with progress.Report(epochs * len(self._batches)) as report:
            report.start(says)
            self._distiller.fit(
                self._batches,
                epochs=epochs,
                verbose=0,
                # The batches come shuffled.
                shuffle=False,
                callbacks=[self._lab.epoch, report.callback(), *watchers],
            )

    def run_at(self, rate, epochs, says, *watchers):
        """The same with another learning rate, of plain SGD."""
        self._distiller.optimizer.learning_rate = rate
        self.run(epochs, says, keras.callbacks.TerminateOnNaN(), *watchers)


def mean_loss(model, probe, target):
    """Mean loss over a probe, float; NaN or infinite after divergence."""
    loss = loss_of(target)
    values = [
        float(loss(targets, model(images, training=False)))
        for images, targets in probe
    ]
    return math.fsum(values) / len(values)
