"""The number of the epoch, where a data pipeline can read it."""

import keras
import tensorflow as tf


class EpochCounter(keras.callbacks.Callback):
    """Holds the number of the epoch that is being trained.

    Keras makes a new iterator over the data at the start of each epoch, after
    it called this callback. So data that reads `value` when an iteration
    begins, as `kd_keras.datasets.batches(epoch=...)` does, comes in the order
    of that epoch; also in a run that begins later than at epoch 0.

    With `steps_per_epoch` one iterator lives on over many epochs, and the next
    one is made before the epoch is counted on, so that the counter says nothing
    about the data: `Distiller.fit` refuses the two together. Any other Keras
    model does not see what its callbacks need: leave it out there yourself.

    Attributes:
        value: `tf.Variable`, an int64 scalar on the host, 0 before training.

    Raises:
        ValueError: If it is made in the scope of a strategy of several
            replicas, each of which would have a number of its own.

    Example:

    >>> counter = kd_keras.callbacks.EpochCounter()
    >>> examples = tf.data.Dataset.from_tensor_slices({
    ...     "image": tf.zeros([4, 8, 8, 1], tf.uint8), "label": tf.range(4)})
    >>> train = kd_keras.datasets.batches(
    ...     examples, 4, shuffle_seed=0, epoch=counter.value)
    >>> model = keras.Sequential(
    ...     [keras.layers.Flatten(), keras.layers.Dense(4)])
    >>> model.compile(
    ...     "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> history = model.fit(train, epochs=3, callbacks=[counter], verbose=0)
    >>> int(counter.value)
    2
    """

    def __init__(self):
        super().__init__()
        with tf.device("CPU:0"):
            self.value = tf.Variable(
                0, dtype=tf.int64, trainable=False, name="epoch"
            )
        if isinstance(self.value, tf.distribute.DistributedValues):
            raise ValueError(
                "An EpochCounter is read by the data, on the host. Make it "
                "outside strategy.scope(): there its variable would live on "
                "every replica."
            )

    def on_epoch_begin(self, epoch, logs=None):
        """Takes over the number of the epoch."""
        self.value.assign(epoch)

    def check_steps(self, steps_per_epoch):
        """Raises if `fit` was given a number of steps per epoch.

        Args:
            steps_per_epoch: What `fit` was given, or None.

        Raises:
            ValueError: If it is not None.
        """
        if steps_per_epoch is not None:
            raise ValueError(
                "With `steps_per_epoch` Keras reads on in one iterator over "
                "many epochs, so that an EpochCounter says nothing about the "
                f"data. Received: steps_per_epoch={steps_per_epoch}. "
                "Leave it out: data of known length, as kd_keras.datasets."
                "batches gives it, without repeat(), is read once an epoch."
            )
