"""Random problems for the tests of equation 5."""

import numpy as np
import tensorflow as tf


def distributions(random, count, num_classes, sharpness=2.0):
    logits = sharpness * random.randn(count, num_classes)
    return tf.nn.softmax(logits).numpy()


def problem(
    seed, count=5, num_classes=12, num_specialists=4, size=4, sharpness=2.0
):
    """A random problem in float64."""
    random = np.random.RandomState(seed)
    class_sets = [
        random.permutation(num_classes)[:size].tolist()
        for _ in range(num_specialists)
    ]
    return (
        distributions(random, count, num_classes, sharpness),
        [distributions(random, count, size + 1, sharpness) for _ in class_sets],
        class_sets,
    )


def all_active(generalist, specialist_probs):
    return np.ones((len(generalist), len(specialist_probs)), bool)
