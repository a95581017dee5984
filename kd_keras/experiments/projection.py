"""A constraint that keeps weights near where they started."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kd_keras")
class NearStart(keras.constraints.Constraint):
    """Projects the incoming weights of each unit onto a ball.

    With `w` a column of the kernel and `w0` the same column at the start:

        w = w0 + (w - w0) * min(1, radius / norm(w - w0))

    Keras applies it after each step of an optimizer, which makes of `SGD` a
    projected gradient descent. The start is told by the initializer of the
    kernel, not by its values: a loaded model goes on around the same centre.

    Args:
        radius: Positive float, Euclidean distance that no column exceeds.
        start: `keras.initializers.Initializer` of the kernel, which gives the
            same numbers whenever it is called, as it does with an int seed.

    Raises:
        TypeError: If `start` is no initializer.
        ValueError: If `radius` is out of range, or `start` was given no seed.

    Example:

    >>> near = NearStart(1.0, keras.initializers.Zeros())
    >>> print(near(np.array([[3.0, 0.6], [4.0, 0.0]], "float32")).numpy())
    [[0.6 0.6]
     [0.8 0. ]]
    """

    def __init__(self, radius, start):
        start = keras.initializers.get(start)
        if not isinstance(start, keras.initializers.Initializer):
            raise TypeError(
                "`start` must be the keras.initializers.Initializer of the "
                f"kernel. Received: {start!r}"
            )
        if not 0 < radius < float("inf"):
            raise ValueError(
                "`radius` must be positive and finite; without a constraint "
                f"there is no limit. Received: radius={radius}"
            )
        # Without a number, each call or each copy draws another start.
        seed = start.get_config().get("seed", 0)
        if not isinstance(seed, int):
            raise ValueError(
                "`start` must be given an int as its seed, so that it says "
                f"where the weights started. Received: {start!r}, seed={seed}"
            )
        self.radius = float(radius)
        self.start = start
        self._centre = None

    def __call__(self, w):
        """Returns the kernel, `[inputs, units]`, projected."""
        if self._centre is None:
            # Drawn once, not in every step.
            with tf.init_scope():
                self._centre = keras.ops.convert_to_numpy(
                    self.start(tuple(w.shape), dtype=w.dtype)
                )
        moved = w - self._centre
        distance = keras.ops.norm(moved, axis=0, keepdims=True)
        # Inside of the ball it is 1, also at distance 0.
        share = self.radius / keras.ops.maximum(distance, self.radius)
        return self._centre + moved * share

    def get_config(self):
        """Returns the configuration: radius and initializer."""
        return {
            "radius": self.radius,
            "start": keras.saving.serialize_keras_object(self.start),
        }

    @classmethod
    def from_config(cls, config):
        """Makes the constraint of its configuration."""
        return cls(
            config["radius"],
            keras.saving.deserialize_keras_object(config["start"]),
        )
