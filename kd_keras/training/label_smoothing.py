"""Label smoothing, the control that spreads probability without a teacher."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kd_keras")
class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy with labels of which a share is spread over all classes.

    Computes, with `q = softmax(logits)`,

        -(1 - label_smoothing) * log(q[label])
            - label_smoothing * mean(log(q))

    (Szegedy et al. 2016, section 7), for labels as class numbers, which
    Keras' own loss takes only without smoothing.

    Args:
        label_smoothing: Share of the probability, in (0, 1).
        reduction: As of `keras.losses.Loss`.
        name: Name of the loss.

    Example:

    >>> loss = SmoothedCrossentropy(0.5)
    >>> round(float(loss([0], [[0.0, 0.0]])), 4)
    0.6931
    """

    def __init__(
        self,
        label_smoothing,
        reduction="sum_over_batch_size",
        name="smoothed_crossentropy",
    ):
        super().__init__(reduction=reduction, name=name)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """The loss of each example."""
        log_probs = tf.nn.log_softmax(tf.cast(y_pred, tf.float32))
        labels = tf.reshape(tf.cast(y_true, tf.int32), tf.shape(y_pred)[:-1])
        hard = tf.gather(log_probs, labels, batch_dims=labels.shape.rank)
        spread = tf.reduce_mean(log_probs, axis=-1)
        return -(
            (1 - self.label_smoothing) * hard + self.label_smoothing * spread
        )

    def get_config(self):
        """Its arguments."""
        return {
            **super().get_config(),
            "label_smoothing": self.label_smoothing,
        }
