"""From a teacher to the logits that a store keeps of a batch of images."""

import keras
import numpy as np
import tensorflow as tf

from kd_keras import datasets
from kd_keras import stored_teachers
from kd_keras import teachers
from kd_keras.datasets import augmentation
from kd_keras.datasets import order


class Views:
    """The views of an example that a teacher sees, replayed at will.

    Attributes:
        augment: Function `(image, seed) -> image`, or None for one view, the
            image as it is.
        seed: The `augment_seed` of `kd_keras.datasets.batches`.
        count: How many views there are.

    Args:
        augment: As above.
        seed: As above.
        count: As above.
        image_spec: `tf.TensorSpec` of an image.

    Raises:
        TypeError: If the augmentation gives no image.
        ValueError: If it cannot be replayed, or some are given and not all.
    """

    def __init__(self, augment, seed, count, image_spec):
        given = [value is not None for value in (augment, seed, count)]
        if any(given) and not all(given):
            raise ValueError(
                "Views of images take all of augment, augment_seed and "
                f"num_views. Received: augment={augment!r}, "
                f"augment_seed={seed!r}, num_views={count!r}."
            )
        self.augment = augment
        self.seed = seed
        self.count = 1 if count is None else count
        if augment is not None:
            for name, number in (("augment_seed", seed), ("num_views", count)):
                if type(number) is not int:
                    raise TypeError(
                        f'Argument "{name}" must be an int. Received: '
                        f"{number!r}."
                    )
            if count < 1:
                raise ValueError(
                    'Argument "num_views" must be at least 1. Received: '
                    f"{count}."
                )
            self._spec = augmentation.check_augmentation(augment, image_spec)

    def view(self, images, ids, number):
        """One view of each image of a batch, before scaling.

        Args:
            images: uint8 tensor, shape `[batch, height, width, channels]`.
            ids: int64 tensor, shape `[batch]`.
            number: Which view, an int.

        Returns:
            Tensor of images, uint8, or float32 in [0, 1].
        """
        if self.augment is None:
            return images
        seeds = order.example_seeds(self.seed, number, ids)
        return augmentation.augmented(self.augment, images, seeds, self._spec)


class Forward:
    """What a store keeps of a batch: the teacher's logits of each view.

    Args:
        teacher: Any teacher.
        views: `Views`.
        temperature: Temperature at which an arithmetic ensemble is combined;
            None where the teacher depends on none, or members are kept.
        keeps_members: Whether the logits of each member are kept.

    Call arguments:
        images: uint8 tensor, shape `[batch, height, width, channels]`.
        ids: int64 tensor, shape `[batch]`.

    Returns:
        float32 array, shape `[batch, (views,) (members,) num_classes]`.
    """

    def __init__(self, teacher, views, temperature, keeps_members):
        self._teachers = teacher.members if keeps_members else [teacher]
        self._keeps_members = keeps_members
        self._temperature = 1.0 if temperature is None else temperature
        self._views = views
        self._step = None

    def __call__(self, images, ids):
        """Runs the teacher."""
        if self._step is None:
            # Traced once, for a batch of any size.
            self._step = tf.function(self._compute).get_concrete_function(
                tf.TensorSpec([None, *images.shape[1:]], images.dtype),
                tf.TensorSpec([None], tf.int64),
            )
        return self._step(images, ids).numpy()

    def _compute(self, images, ids):
        rows = [
            self._of_view(self._views.view(images, ids, number))
            for number in range(self._views.count)
        ]
        return rows[0] if self._views.augment is None else tf.stack(rows, 1)

    def _of_view(self, images):
        if not images.dtype.is_floating:
            images = datasets.to_float(images)
        logits = [self._of_teacher(t, images) for t in self._teachers]
        return tf.stack(logits, 1) if self._keeps_members else logits[0]

    def _of_teacher(self, teacher, images):
        logits = teachers.forward(teacher, images)
        if keras.tree.is_nested(logits):
            raise ValueError(
                "A store keeps the logits of one output. Received a teacher "
                f"with outputs of the structure {_sketch(logits)}. Give a "
                "callable that picks one: teacher=lambda x: model(x)[...]."
            )
        return tf.cast(logits(self._temperature), tf.float32)


def check_teacher(teacher, temperature, top_k=None):
    """A teacher as it can be stored, and whether its members are kept.

    Args:
        teacher: Anything that is a teacher.
        temperature: What binds the arithmetic mean of an ensemble, or the
            bucket of all but the largest logits; or None.
        top_k: How many of the largest logits are kept, or None for all.

    Returns:
        The teacher, and whether the logits of its members are to be kept.

    Raises:
        TypeError: If it is none.
        ValueError: If it is seen to give probabilities, or a temperature is
            given to a teacher that needs none, or an ensemble of ensembles
            needs one.
    """
    teacher = teachers.as_teacher(teacher)
    if isinstance(teacher, stored_teachers.StoredTeacher):
        raise TypeError("A store has no logits to give but those it holds.")
    teachers.check_gives_logits(teacher)
    depends = teachers.depends_on_temperature(teacher)
    if top_k is not None and temperature is None:
        raise ValueError(
            "What all but the largest logits have together depends on the "
            "temperature: top_k takes temperature=..., that of the Distiller. "
            f"Received: top_k={top_k!r}."
        )
    if temperature is not None and not depends and top_k is None:
        raise ValueError(
            "The logits of this teacher serve every temperature; only the "
            "arithmetic mean of an ensemble, or top_k, is bound to one. "
            "Received: "
            f"temperature={temperature!r}; leave it out."
        )
    keeps_members = depends and temperature is None
    if keeps_members and not can_keep_members(teacher):
        raise ValueError(
            "The members of this ensemble are ensembles themselves, whose "
            "members cannot be kept. Give temperature=..., for which alone the "
            "store will do, or one ensemble of all members with weights."
        )
    return teacher, keeps_members


def can_keep_members(teacher):
    """Whether a teacher is an arithmetic mean of teachers that are none."""
    return (
        teachers.depends_on_temperature(teacher)
        and isinstance(teacher, teachers.EnsembleTeacher)
        and teacher.mean == "arithmetic"
        and not any(teachers.depends_on_temperature(m) for m in teacher.members)
    )


def fault_of(rows, is_finite):
    """What is wrong with logits that are to be stored.

    Args:
        rows: float32 array, shape `[batch, ..., num_classes]`.
        is_finite: Boolean array, shape `[batch, ...]`: which of the numbers
            that would be stored can be used.

    Returns:
        None, or a tuple of the position in the batch of the first bad example
        and what is wrong with it.
    """
    finite = is_finite.reshape(len(rows), -1).all(axis=1)
    if finite.all():
        return None
    first = int(np.argmin(finite))
    row = rows[first]
    if np.isfinite(row).all():
        far = np.abs(row - row.mean(axis=-1, keepdims=True)).max()
        return first, (
            f"logits that differ from their mean by up to {far:.6g}, which "
            "float16 does not hold (it ends at 65504). Store them with "
            'dtype="float32"'
        )
    return first, "logits that are NaN or infinite"


def _sketch(structure):
    return keras.tree.map_structure(lambda leaf: "*", structure)
