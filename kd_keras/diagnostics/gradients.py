"""How noisy the gradient of a loss is from one example to the next.

Hinton et al. (2015), section 1, expect targets of high entropy to give less
variance in the gradient between training cases. Against what is a question of
its own: the variance alone changes with the scale of the loss, its ratio to the
squared mean gradient does not.
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """Variance and mean of the gradients of single examples.

    Attributes:
        variance: Trace of their covariance over all trainable weights, an
            unbiased estimate; squared units of the gradient.
        squared_mean: Squared norm of their mean, an unbiased estimate, in the
            same unit. Where the noise covers the mean it may be below 0.
        num_examples: Examples that were seen.
        batch_size: Examples of one batch.
    """

    variance: float
    squared_mean: float
    num_examples: int
    batch_size: int

    @property
    def ratio(self):
        """`variance / squared_mean`, which no scale of the loss changes.

        At batches of this many examples the noise of their gradient is as
        large as the mean (McCandlish et al., 2018: the simple noise scale).
        Infinite if the estimate of the squared mean is not above 0: then there
        were too few examples to see it.
        """
        if self.squared_mean <= 0:
            return math.inf
        return self.variance / self.squared_mean


def gradient_noise(model, batches, loss, *, training=False):
    """Measures how the gradients of single examples spread about their mean.

    No gradient of a single example is computed. With `g[k]` the gradient of
    the mean loss of batch `k`, of `K` batches of `b` examples each, and
    `m = mean(g)`,

        variance = b * sum(norm(g - m) ** 2) / (K - 1)
        squared_mean = norm(m) ** 2 - variance / (K * b)

    Both are unbiased if the examples are drawn independently; `b = 1` is the
    plain sample variance. The order of the examples must be random: of a data
    set sorted by class, batches differ by more than their examples tell.

    Args:
        model: `keras.Model`, a Distiller too, whose trainable weights are
            meant. Losses that it adds by itself (regularisers) are left out:
            they add no noise.
        batches: Iterable of `(inputs, targets)` with as many examples in each.
            Read once, and one at a time.
        loss: Function of `(targets, logits)`, with targets as they come in
            the batches, that gives one value for each example or their mean.
            A `keras.losses.Loss` is one.
        training: How the model is called. Defaults to False, so that dropout
            adds no noise of its own.

    Returns:
        `GradientNoise`, summed up in float64.

    Raises:
        ValueError: If there are fewer than two batches, their sizes differ, a
            gradient is NaN or infinite, the model has no trainable weights, or
            the loss sums over the examples.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.set_weights([np.zeros([1, 1]), np.zeros([1])])
    >>> batches = [(np.ones([1, 1]), np.array([[y]])) for y in (1.0, 3.0)]
    >>> noise = gradient_noise(model, batches, keras.losses.MeanSquaredError())
    >>> noise.variance, noise.squared_mean, round(noise.ratio, 4)
    (16.0, 24.0, 0.6667)
    """
    if not model.trainable_variables:
        raise ValueError(
            f"Model {model.name!r} has no trainable weights, or it has not "
            "been built: call it on a batch first."
        )
    if not callable(loss):
        raise TypeError(
            "The loss is a function of (targets, logits), such as a "
            f"keras.losses.Loss. Received: {loss!r}."
        )
    if getattr(loss, "reduction", None) == "sum":
        raise ValueError(
            "The loss must give one value for each example, or their mean. "
            "Received one with reduction='sum'."
        )

    @tf.function(reduce_retracing=True)
    def gradient(inputs, targets):
        with tf.GradientTape() as tape:
            values = loss(targets, model(inputs, training=training))
            value = tf.reduce_mean(values)
        gradients = tape.gradient(
            value,
            model.trainable_variables,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        # Those of an embedding come as slices.
        gradients = [tf.convert_to_tensor(part) for part in gradients]
        return tf.concat(
            [tf.reshape(tf.cast(part, tf.float64), [-1]) for part in gradients],
            axis=0,
        )

    # Welford's update: one mean and one number are kept, whatever K is.
    mean, scatter, count, batch_size = 0.0, 0.0, 0, None
    for batch in batches:
        if not isinstance(batch, (list, tuple)) or len(batch) != 2:
            raise ValueError(
                "Batches are tuples of inputs and targets; weights are not "
                f"taken. Received: {type(batch).__name__} of {len(batch)}."
            )
        inputs, targets = batch
        size = int(np.shape(keras.tree.flatten(inputs)[0])[0])
        batch_size = batch_size or size
        if size != batch_size:
            raise ValueError(
                "All batches must have as many examples: drop a smaller last "
                f"one. Received: batches of {batch_size} and of {size}."
            )
        found = gradient(inputs, targets).numpy()
        if not np.isfinite(found).all():
            raise ValueError(
                f"The gradient of batch {count} is NaN or infinite: training "
                "diverged, or the loss overflows."
            )
        count += 1
        deviation = found - mean
        mean = mean + deviation / count
        scatter += float(deviation @ (found - mean))
    if count < 2:
        raise ValueError(
            "A variance needs at least two batches, best a hundred. Received: "
            f"{count}."
        )
    between = scatter / (count - 1)
    return GradientNoise(
        variance=batch_size * between,
        squared_mean=float(mean @ mean) - between / count,
        num_examples=count * batch_size,
        batch_size=batch_size,
    )


def label_noise_covariance(probs):
    """What drawing labels adds to the covariance of logit gradients.

    With `p` the distribution of the label of an example and `q` the
    student's, the gradient of the cross-entropy with respect to the logits is
    `q - y` for a drawn label `y`, one-hot, and `q - p` for the distribution
    itself. Over examples and draws, by the law of total covariance,

        cov(q - y) - cov(q - p) = mean(diag(p) - outer(p, p))

    whatever `q` is: never negative, and 0 only where `p` is one-hot (Menon et
    al., 2021, compare the risks in the same way). Here is its right side.

    Args:
        probs: Float array, shape `[num_examples, num_classes]`, rows that sum
            to 1.

    Returns:
        float64 array, shape `[num_classes, num_classes]`. Its trace is
        `mean(1 - sum(p ** 2))`.

    Raises:
        ValueError: If the rows are no distributions.

    Example:

    >>> label_noise_covariance([[0.5, 0.5], [1.0, 0.0]])
    array([[ 0.125, -0.125],
           [-0.125,  0.125]])
    """
    probs = np.asarray(probs, np.float64)
    if (
        probs.ndim != 2
        or not len(probs)
        or not (probs >= 0).all()
        or not np.allclose(probs.sum(axis=1), 1.0, rtol=0, atol=1e-5)
    ):
        raise ValueError(
            "`probs` must be of shape [num_examples, num_classes], not "
            "negative, and sum to 1 in each row. Received: an array of shape "
            f"{probs.shape}."
        )
    return np.diag(probs.mean(axis=0)) - probs.T @ probs / len(probs)
