"""The objective of a specialist that tells all classes.

Section 6.1 of Hinton et al. (2015) proposes it and does not try it: a
specialist whose softmax has all classes, trained with hard targets and, for its
non-special classes, with soft targets of the generalist.

Read by example (labels for the examples of special classes, the generalist's
whole distribution for the others) the soft targets would give special classes
some mass on examples that are none of theirs, which no shift takes back. Here
it is read by class. The softmax of all classes is two statements,

    which special class it is, or none of them;
    which other class it is, given that it is none of them

and each has targets of its own: the label the first, as for a specialist with a
dustbin class; the generalist, at any temperature, the second, on all examples.
Neither takes part in the other: whatever the weight of the two terms and the
temperature, both are minimal where the first is the posterior of the data and
the second the generalist's. So `dustbin_shift`, added to the logits of all
other classes, corrects the sampling as exactly as that of a dustbin.
"""

import keras
import numpy as np
import tensorflow as tf

from kd_keras import losses


@keras.saving.register_keras_serializable("kd_keras")
class SpecialClassesCrossentropy(keras.losses.Loss):
    """Cross-entropy of which special class it is, or none of them.

    Computes `-log(q[label])` for a label among the special classes, and
    `-log(sum of q over all other classes)` for any other.

    Args:
        classes: List of int, the special classes.
        num_classes: int, number of all classes.
        name: Name of the loss. Defaults to `"special_classes_crossentropy"`.
        reduction: As in every Keras loss. Defaults to
            `"sum_over_batch_size"`.

    Call arguments:
        y_true: Labels of all classes, shape `[batch]` or `[batch, 1]`.
        y_pred: Logits, shape `[batch, num_classes]`.

    Example:

    >>> loss = SpecialClassesCrossentropy([0, 1], 4)
    >>> q = np.array([[0.5, 0.1, 0.3, 0.1]])
    >>> round(float(loss([2], np.log(q))), 4), round(float(-np.log(0.4)), 4)
    (0.9163, 0.9163)
    """

    def __init__(
        self,
        classes,
        num_classes,
        name="special_classes_crossentropy",
        reduction="sum_over_batch_size",
    ):
        super().__init__(name, reduction)
        self.classes = [int(one) for one in classes]
        self.num_classes = int(num_classes)
        self._others = other_classes(classes, num_classes)

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape `[batch]`."""
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int64)
        is_other = tf.gather(
            tf.constant(np.isin(range(self.num_classes), self._others)), labels
        )
        others = tf.gather(y_pred, self._others, axis=-1)
        said = tf.where(
            is_other,
            tf.reduce_logsumexp(others, axis=-1),
            tf.gather(y_pred, labels, axis=-1, batch_dims=1),
        )
        return tf.reduce_logsumexp(y_pred, axis=-1) - said

    def get_config(self):
        """What the loss is made of."""
        return {
            "classes": self.classes,
            "num_classes": self.num_classes,
            "name": self.name,
            "reduction": self.reduction,
        }


@keras.saving.register_keras_serializable("kd_keras")
class OtherClassesKLDivergence(keras.losses.Loss):
    """`SoftTargetKLDivergence` of which other class it is.

    Special classes take no part on either side.

    Attributes:
        temperature: Temperature of both distributions.

    Args:
        classes: List of int, the special classes.
        num_classes: int, number of all classes.
        temperature: Positive float. Defaults to 1.
        name: Name of the loss. Defaults to `"other_classes_kl_divergence"`.
        reduction: As in every Keras loss. Defaults to
            `"sum_over_batch_size"`.

    Call arguments:
        y_true: Logits of the generalist, shape `[batch, num_classes]`.
        y_pred: Logits of the specialist, of the same shape.

    Example:

    >>> loss = OtherClassesKLDivergence([0], 3)
    >>> float(loss([[9.0, 2.0, 1.0]], [[0.0, 5.0, 4.0]]))
    0.0
    """

    def __init__(
        self,
        classes,
        num_classes,
        temperature=1.0,
        name="other_classes_kl_divergence",
        reduction="sum_over_batch_size",
    ):
        super().__init__(name, reduction)
        self.classes = [int(one) for one in classes]
        self.num_classes = int(num_classes)
        self._others = other_classes(classes, num_classes)
        self._among = losses.SoftTargetKLDivergence(temperature)

    @property
    def temperature(self):
        """Temperature of both distributions."""
        return self._among.temperature

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape `[batch]`."""
        return self._among.call(
            tf.gather(y_true, self._others, axis=-1),
            tf.gather(y_pred, self._others, axis=-1),
        )

    def get_config(self):
        """What the loss is made of."""
        return {
            "classes": self.classes,
            "num_classes": self.num_classes,
            "temperature": self.temperature,
            "name": self.name,
            "reduction": self.reduction,
        }


def other_classes(classes, num_classes):
    """The classes that are not special, an int array.

    Example:

    >>> other_classes([0, 2], 4)
    array([1, 3])
    """
    return np.setdiff1d(np.arange(num_classes), list(classes))
