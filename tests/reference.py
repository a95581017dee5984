"""What the tests compare with: closed forms in float64, and small models."""

import keras
import numpy as np

import kd_keras


def log_softmax(logits, temperature=1.0):
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def softmax(logits, temperature=1.0):
    return np.exp(log_softmax(logits, temperature))


def kl(teacher_logits, student_logits, temperature=1.0):
    """KL divergence of each example, without T**2."""
    log_p = log_softmax(teacher_logits, temperature)
    log_q = log_softmax(student_logits, temperature)
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)


def crossentropy(labels, logits):
    """Cross-entropy of each example with class numbers; 0 if negative."""
    labels = np.asarray(labels)
    log_q = log_softmax(logits)
    picked = np.take_along_axis(
        log_q, np.maximum(labels, 0)[..., np.newaxis], axis=-1
    )[..., 0]
    return np.where(labels >= 0, -picked, 0.0)


def weighted_mean(values, weights=None):
    """Sum of the weighted values over the number of all of them."""
    weights = np.ones_like(values) if weights is None else weights
    return float((values * weights).sum() / values.size)


def mlp(seed, num_inputs=3, num_classes=4, hidden=5, **last):
    """A small model whose weights follow from the seed."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((num_inputs,)),
            keras.layers.Dense(hidden, activation="tanh"),
            keras.layers.Dense(
                num_classes, kernel_initializer="random_normal", **last
            ),
        ]
    )


def data(num_examples=20, num_inputs=3, num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_examples, num_inputs)).astype("float32")
    y = rng.integers(0, num_classes, num_examples)
    weights = rng.uniform(0, 2, num_examples).astype("float32")
    return x, y, weights


def from_logits(**kwargs):
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, **kwargs
    )


def compiled(student, teacher=None, optimizer="sgd", **kwargs):
    """A Distiller that is compiled, from the arguments of both."""
    names = (
        "loss_weights metrics weighted_metrics jit_compile run_eagerly "
        "steps_per_execution"
    ).split()
    compile_args = {name: kwargs.pop(name) for name in names if name in kwargs}
    loss = kwargs.pop("loss", from_logits())
    distiller = kd_keras.Distiller(student=student, teacher=teacher, **kwargs)
    distiller.compile(optimizer, loss, **compile_args)
    return distiller
