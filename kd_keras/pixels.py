"""From pixels to what a student takes: in training, and in serving."""

import tensorflow as tf


def to_float(image):
    """Scales uint8 pixels to float32 in [0, 1]: `image / 255`.

    Args:
        image: uint8 tensor or array of any shape.

    Returns:
        float32 tensor of the same shape.

    Raises:
        TypeError: If `image` is not uint8. Pixels that were scaled before
            would silently shrink by another factor of 255.

    Example:

    >>> print(to_float(tf.constant([0, 51, 255], tf.uint8)).numpy())
    [0.  0.2 1. ]
    """
    image = tf.convert_to_tensor(image)
    if image.dtype != tf.uint8:
        raise TypeError(
            'Argument "image" must be uint8, with values 0 to 255. Received: '
            f"dtype {image.dtype.name}. Scale the pixels once only."
        )
    return tf.cast(image, tf.float32) / 255.0


def resize(image, size):
    """Resizes images as `load(image_size=...)` does.

    Args:
        image: uint8 tensor, shape `[height, width, channels]`, or a batch.
        size: `(height, width)`.

    Returns:
        uint8 tensor of this size: bilinear, averaged over the area where it
        shrinks, and rounded.

    Example:

    >>> image = tf.constant([[0, 100], [100, 101]], tf.uint8)
    >>> resize(image[..., tf.newaxis], (1, 1)).numpy().item()
    75
    """
    image = tf.image.resize(image, size, method="bilinear", antialias=True)
    return tf.saturate_cast(tf.round(image), tf.uint8)
