"""Changes of images that can be replayed: the same seed, the same pixels.

An augmentation is a function `(image, seed) -> image` of one image, shape
`[height, width, channels]`, and a seed for `tf.random.stateless_*`, int32 of
shape `[2]`. All that is random in it comes from that seed. `batches` makes the
seed of the seed of the data, the epoch and the position of the example in the
data set, so that no order, batch size or number of threads makes a difference.
One that can do a batch at once, to the same pixels, has that as its attribute
`of_batch`, a function `(images, seeds) -> images`; others are called for one
image after the other.
"""

import numbers

import tensorflow as tf

from kd_keras import keras_hooks
from kd_keras import pixels
from kd_keras.datasets import philox


def random_shift(max_pixels):
    """Shifts an image by up to some pixels, as Hinton et al. (2015) do MNIST.

    Both directions are drawn evenly from the whole numbers `-max_pixels` to
    `max_pixels`, independently. What comes in from outside is 0, what goes out
    is lost. Section 3 of the paper jitters by two pixels.

    Args:
        max_pixels: positive int.

    Returns:
        A function `(image, seed)` for `batches(augment=...)`. It gives an
        image of the same shape and dtype, any dtype.

    Raises:
        ValueError: If `max_pixels` is not a positive int.

    Example:

    >>> shift = random_shift(1)
    >>> image = tf.constant([[1, 2], [3, 4]], tf.uint8)[..., tf.newaxis]
    >>> print(shift(image, seed=[0, 1])[..., 0].numpy())
    [[0 0]
     [2 0]]
    """
    if (
        isinstance(max_pixels, bool)
        or not isinstance(max_pixels, numbers.Integral)
        or max_pixels < 1
    ):
        raise ValueError(
            'Argument "max_pixels" must be a positive int. Received: '
            f"max_pixels={max_pixels!r}. For no shift leave it out."
        )

    def shift(image, seed):
        image = tf.convert_to_tensor(image)
        # Of the padded image, whose corner is here?
        corner = tf.random.stateless_uniform(
            [2], seed, 0, 2 * max_pixels + 1, tf.int32
        )
        margin = [max_pixels, max_pixels]
        padded = tf.pad(image, [margin, margin, [0, 0]])
        shifted = tf.slice(padded, tf.pad(corner, [[0, 1]]), tf.shape(image))
        return tf.ensure_shape(shifted, image.shape)

    def shift_batch(images, seeds):
        corners = philox.integers_below(2 * max_pixels + 1, seeds)
        for axis in (0, 1):
            height = tf.shape(images)[1]
            margin = [max_pixels, max_pixels]
            padded = tf.pad(images, [[0, 0], margin, [0, 0], [0, 0]])
            rows = corners[:, axis, tf.newaxis] + tf.range(height)
            # The other axis becomes the one whose slices lie together.
            images = tf.transpose(
                tf.gather(padded, rows, batch_dims=1), [0, 2, 1, 3]
            )
        return images

    shift.of_batch = shift_batch
    return shift


def random_mask(share):
    """Takes values of an image away, as dropout on the input of a net does.

    Every value is 0 with probability `share`, independently, and the others
    are divided by `1 - share`. A teacher that was trained with dropout on its
    input knows such images. A student that sees them, and the teacher's soft
    targets of the same ones, is told of more than the transfer set holds,
    without any knowledge of what may be done to images: "consistent teaching"
    of Beyer et al. (2021, arXiv 2106.05237), whose views are other ones.

    Args:
        share: float between 0 and 1, without these.

    Returns:
        A function `(image, seed)` for `batches(augment=...)`, of uint8 images.
        It gives float32 of the same shape, pixels from 0 to `1 / (1 - share)`.

    Raises:
        ValueError: If `share` is no number between 0 and 1.

    Example:

    >>> mask = random_mask(0.5)
    >>> image = tf.constant([[51, 102, 255]], tf.uint8)[..., tf.newaxis]
    >>> print(mask(image, seed=[0, 2])[0, :, 0].numpy().round(3))
    [0.  0.8 2. ]
    """
    if (
        isinstance(share, bool)
        or not isinstance(share, numbers.Real)
        or not 0 < share < 1
    ):
        raise ValueError(
            'Argument "share" must be a number between 0 and 1. Received: '
            f"share={share!r}. For no mask leave it out."
        )

    def mask(image, seed):
        image = pixels.to_float(image)
        drawn = tf.random.stateless_uniform(tf.shape(image), seed)
        kept = tf.where(drawn < share, 0.0, image / (1.0 - share))
        return tf.ensure_shape(kept, image.shape)

    return mask


def check_augmentation(augment, image_spec):
    """What an augmentation makes of an image; raises if that is no image.

    Args:
        augment: function `(image, seed) -> image`.
        image_spec: `tf.TensorSpec` of the image that it is given.

    Returns:
        `tf.TensorSpec` of the image that it gives.

    Raises:
        TypeError: If `augment` is no function, or gives no single tensor of
            dtype uint8 or float32.
        ValueError: If what it gives has not three dimensions, or if it does
            not follow from image and seed alone.

    Example:

    >>> check_augmentation(random_shift(2), tf.TensorSpec([8, 8, 1], tf.uint8))
    TensorSpec(shape=(8, 8, 1), dtype=tf.uint8, name=None)
    """
    if not callable(augment):
        raise TypeError(
            'Argument "augment" must be a function (image, seed) -> image, '
            f"such as random_shift(2). Received: augment={augment!r}."
        )
    traced = tf.function(augment).get_concrete_function(
        image_spec, tf.TensorSpec([2], tf.int32)
    )
    kinds = list(keras_hooks.stateful_operations(traced))
    if hasattr(augment, "of_batch"):
        of_batch = tf.function(augment.of_batch).get_concrete_function(
            tf.TensorSpec(
                tf.TensorShape([None]).concatenate(image_spec.shape),
                image_spec.dtype,
            ),
            tf.TensorSpec([None, 2], tf.int32),
        )
        kinds += keras_hooks.stateful_operations(of_batch)
    if kinds:
        raise ValueError(
            'Argument "augment" must be replayable: what it gives may follow '
            "from image and seed alone. Received a function that has a state "
            f"or leaves TensorFlow, in: {', '.join(kinds)}. Draw by "
            "tf.random.stateless_uniform(..., seed) and tf.image.stateless_*; "
            "for what cannot be replayed map it over the batches, with the "
            "teacher itself instead of stored soft targets."
        )
    given = traced.structured_outputs
    if not isinstance(given, tf.Tensor) or given.dtype not in (
        tf.uint8,
        tf.float32,
    ):
        raise TypeError(
            'Argument "augment" must give one image: uint8 with values 0 to '
            "255, or float32 with values 0 to 1. Received from it: "
            f"{traced.structured_outputs}."
        )
    if given.shape.rank not in (3, None):
        raise ValueError(
            'Argument "augment" must give one image, [height, width, '
            f"channels]. Received from it: {given.shape}. It is called with "
            "one image at a time, not with a batch."
        )
    return tf.TensorSpec(given.shape, given.dtype)


def augmented(augment, images, seeds, spec):
    """Applies an augmentation to each image of a batch.

    Args:
        augment: function `(image, seed) -> image`. One that has an attribute
            `of_batch` does the same by that for all images at once, a function
            of images and seeds.
        images: tensor, shape `[batch, height, width, channels]`.
        seeds: int32 tensor, shape `[batch, 2]`.
        spec: what `check_augmentation` says that it gives.

    Returns:
        Tensor of the images that `augment` gives, stacked.

    Example:

    >>> halved = augmented(
    ...     lambda image, seed: image / 2,
    ...     tf.ones([2, 1, 1, 1]),
    ...     tf.zeros([2, 2], tf.int32),
    ...     tf.TensorSpec([1, 1, 1]),
    ... )
    >>> print(halved[:, 0, 0, 0].numpy())
    [0.5 0.5]
    """
    if hasattr(augment, "of_batch"):
        made = augment.of_batch(images, seeds)
        batch = tf.TensorShape(images.shape[:1])
        return tf.ensure_shape(made, batch.concatenate(spec.shape))
    # One after the other within a batch, as batches run side by side. Drawing
    # for a whole batch at once (tf.vectorized_map) takes twice as long.
    return tf.map_fn(
        lambda pair: augment(*pair), (images, seeds), fn_output_signature=spec
    )
