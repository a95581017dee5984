"""An opened store: a teacher that is read, and proves what it pairs."""

import tensorflow as tf

from kd_keras import datasets
from kd_keras import distribution
from kd_keras import ops
from kd_keras import stored_teachers
from kd_keras.datasets import batching
from kd_keras.soft_targets import canaries
from kd_keras.soft_targets import fingerprints
from kd_keras.soft_targets import forward
from kd_keras.soft_targets import manifest as manifest_lib
from kd_keras.soft_targets import range_writer
from kd_keras.soft_targets import records
from kd_keras.soft_targets import sources
from kd_keras.soft_targets import transforms


class SoftTargets(stored_teachers.StoredTeacher):
    """The soft targets of a store, made by `soft_targets.open_store`.

    It is what a Distiller takes as `teacher=`, and gives the data that brings
    the teacher's logits.

    Attributes:
        path: `pathlib.Path` of the store.
        manifest: `manifest.Manifest`, what the store says of itself.
        num_classes: Classes of the logits.
        temperature: The one temperature that the logits hold for; None for
            every one.
    """

    def __init__(self, path, manifest, temperature):
        super().__init__(
            manifest.num_classes,
            temperature,
            is_partial=manifest.top_k is not None,
        )
        self.path = path
        self.manifest = manifest
        self._layout = records.Layout.of(
            manifest.codec, manifest_lib.tag(manifest, manifest.canaries)
        )

    def examples(self, source):
        """The examples of a source, each with its soft targets.

        Every example is checked against what the teacher was given: its id,
        and a digest of its pixels. What is done to the result afterwards
        (shuffling, sharding, filtering, batching) moves image, label and soft
        targets together.

        Args:
            source: `kd_keras.datasets.ImageDataset`: the data set from which
                the store was written, read anew.

        Returns:
            `tf.data.Dataset`, unbatched, in the order of the source, of its
            dicts (without what has no fixed shape) with `id`, int64 scalar,
            and `teacher_logits`, float32, shape `[num_classes]`
            (`[num_views, num_classes]` of a store of views, whose images are
            those of the source) besides. Iterating raises
            `tf.errors.InvalidArgumentError` at the first example that is not
            the one the teacher was given.

        Raises:
            TypeError: If `source` is no `ImageDataset`.
            ValueError: If it is another one than the store was written from,
                naming what differs.

        Example:

        >>> digits = kd_keras.datasets.load("digits", "train[:100]")
        >>> teacher = kd_keras.models.mlp((8, 8, 1), 10, (16,))
        >>> kd_keras.soft_targets.write("stored", teacher, digits)
        >>> store = kd_keras.soft_targets.open_store("stored")
        >>> example = next(iter(store.examples(digits)))
        >>> example["teacher_logits"].shape
        TensorShape([10])
        """
        dataset = self.blocks(source).map(
            self._finished, num_parallel_calls=tf.data.AUTOTUNE
        )
        count = self.manifest.source.num_examples
        return distribution.shard_by_elements(
            dataset.unbatch().apply(
                tf.data.experimental.assert_cardinality(count)
            )
        )

    def blocks(self, source):
        """The same in blocks, with all that is stored.

        Args:
            source: As for `examples`.

        Returns:
            `tf.data.Dataset` of dicts with `id`, shape `[block]`, `rows`,
            `[block, (num_views,) (members,) num_classes]` of the stored dtype,
            and what the source has. The last one is empty.

        Raises:
            TypeError: As `examples`.
            ValueError: As `examples`.
        """
        self._check_source(source)
        manifest = self.manifest
        sizes = [
            size
            for part in manifest.ranges
            for size in records.block_sizes(part.count, manifest.batch_size)
        ]
        images = _batchable(source.dataset).enumerate()
        images = images.batch(records.BLOCK).rebatch(sizes)
        images = images.map(_with_ids)
        files = [str(self.path / part.file) for part in manifest.ranges]
        blocks = tf.data.TFRecordDataset(files).map(self._layout.decode)
        # An empty block at either end: if one ends before the other, it meets
        # a block that is not empty, and the check fails.
        paired = tf.data.Dataset.zip(_with_end(images), _with_end(blocks))
        return paired.map(self._checked, num_parallel_calls=tf.data.AUTOTUNE)

    def batches(
        self, source, batch_size, *, augment=None, transform=None, **kwargs
    ):
        """Batches that bring the soft targets, in the form `fit` takes.

        Args:
            source: As for `examples`.
            batch_size: Examples in a batch over all replicas.
            augment: Of a store of views the function that made them. It is
                replayed, and epoch `e` shows view `e % num_views`. Defaults
                to None: there are none.
            transform: Function of the data set that `examples` gives to one
                of the same elements, to leave some out or to hide labels:
                `lambda d: d.filter(...)`. Their ids, images and soft targets
                must stay as they are. Defaults to None.
            **kwargs: The other arguments of `kd_keras.datasets.batches`; seed
                and number of the views come from the store.

        Returns:
            `tf.data.Dataset` of `(image, {"label": ..., "teacher_logits":
            ...})`.

        Raises:
            TypeError: As `examples`.
            ValueError: As `examples`, or if the store has views and `augment`
                is missing or gives other pixels, or the other way round; or
                if `transform` takes something from the elements. Iterating
                raises `tf.errors.InvalidArgumentError` if it changes an id, an
                image or soft targets.
        """
        views = self.manifest.views
        self.checked_views(augment, source)
        if views is not None:
            for name, value in (
                ("augment_seed", views.seed),
                ("num_views", views.count),
            ):
                if kwargs.setdefault(name, value) != value:
                    raise ValueError(
                        f"The store was written with {name}={value}. Received: "
                        f"{name}={kwargs[name]!r}; leave it out."
                    )
            kwargs["augment"] = augment
        examples = self.examples(source)
        if transform is not None:
            examples = transforms.transformed(examples, transform)
        if views is not None:
            examples = examples.map(_with_view_logits)
        return datasets.batches(examples, batch_size, **kwargs)

    def check_teacher(self, teacher, teacher_fingerprint=None):
        """Raises unless a teacher is the one whose logits are stored.

        Its fingerprint is compared, and it is run on the canaries.

        Args:
            teacher: Anything that is a teacher.
            teacher_fingerprint: As for `soft_targets.write`.

        Raises:
            ValueError: If it is another one.
        """
        manifest = self.manifest
        bound = manifest.temperature
        teacher, keeps_members = forward.check_teacher(
            teacher, bound, manifest.top_k
        )
        found = fingerprints.fingerprint(teacher, teacher_fingerprint)
        if found != manifest.teacher:
            raise ValueError(
                f"The soft targets in {self.path} are of another teacher: "
                f"its fingerprint is {found!r}, and that of the store "
                f"{manifest.teacher!r}. Of an ensemble the order of the "
                "members and their mean count, too."
            )
        if keeps_members:
            manifest_lib.check_members(manifest, teacher, self.path)
        ids, _, rows, seen = self.canaries()
        compute = forward.Forward(
            teacher,
            forward.Views(None, None, None, None),
            bound,
            keeps_members,
        )
        logits = compute(tf.constant(seen), tf.constant(ids))
        if manifest.views is not None:
            rows = rows[:, 0]
        far = canaries.deviation(manifest.codec, rows, logits)
        if not far <= canaries.tolerance(manifest.dtype):
            raise ValueError(
                f"The teacher, whose fingerprint is that of the store in "
                f"{self.path}, computes other logits here: {far:.2g} of the "
                f"largest, allowed are {canaries.tolerance(manifest.dtype):.2g}"
                ". Was it written with other versions, or on other hardware?"
            )

    def canaries(self):
        """The stored canaries, as `canaries.read` gives them."""
        return canaries.read(
            self.path / manifest_lib.CANARIES_FILE,
            records.Layout.of(self.manifest.codec),
            self.manifest.canaries.count,
            self.manifest.source.image_shape,
        )

    def combined(self, rows):
        """Stored rows of a batch as finished logits, a float32 tensor."""
        logits = self.manifest.codec.from_stored(rows)
        members = self.manifest.members
        if members is None:
            return logits
        return ops.logits_of_average(
            logits, self.temperature, members.weights, axis=-2
        )

    def checked_views(self, augment, source):
        """The views that the store is of, replayed by an augmentation.

        Args:
            augment: As for `batches`.
            source: As for `examples`.

        Returns:
            `forward.Views`.

        Raises:
            ValueError: As `batches`.
        """
        views = self.manifest.views
        if (augment is None) != (views is None):
            raise ValueError(
                f"The soft targets in {self.path} are of "
                + (
                    f"{views.count} views by {views.augmentation}. Give this "
                    "function as augment=..."
                    if views
                    else "the images as they are. Write a store of views "
                    "(write(..., augment=..., augment_seed=..., "
                    "num_views=...)), or augment freely with the teacher "
                    f"itself. Received: augment={augment!r}"
                )
            )
        if views is None:
            return forward.Views(None, None, None, None)
        replayed = forward.Views(
            augment,
            views.seed,
            views.count,
            source.dataset.element_spec["image"],
        )
        ids, images, _, _ = self.canaries()
        found = canaries.view_digests(replayed, ids, images)
        for number, digests in enumerate(
            zip(found, self.manifest.canary_views, strict=True)
        ):
            if digests[0] != digests[1]:
                raise ValueError(
                    f"The augmentation gives other pixels than the teacher of "
                    f"{self.path} saw, of the example with id {ids[number]}. "
                    f"The store's is {views.augmentation}. Received: "
                    f"augment={augment!r}."
                )
        return replayed

    def _checked(self, images, block):
        """A block of examples with its soft targets, if they are its own."""
        ids, digests, rows = block
        same = tf.shape(images["id"])[0] == tf.shape(ids)[0]
        with tf.control_dependencies(
            [
                tf.debugging.Assert(
                    same,
                    [
                        "The data set and its soft targets have not the same "
                        "number of examples: they part at the id",
                        images["id"][:1],
                        ids[:1],
                    ],
                )
            ]
        ):
            right = (images["id"] == ids) & (
                records.digests_of(images["image"]) == digests
            )
        # The end has no example to name.
        first = tf.argmin(tf.cast(tf.concat([right, [False]], 0), tf.int32))
        named = [tf.concat([i, [-1]], 0) for i in (images["id"], ids)]
        with tf.control_dependencies(
            [
                tf.debugging.Assert(
                    tf.reduce_all(right),
                    [
                        "Soft targets and data set do not belong together: "
                        "this example is not the one that the teacher was "
                        "given. Its id in the data set and in the store (if "
                        "they are the same, its pixels differ):",
                        *(tf.gather(numbers, first) for numbers in named),
                        "Was the data set prepared anew, reordered or "
                        f"filtered? Pair first: {self.path}",
                    ],
                )
            ]
        ):
            return {**images, "rows": tf.identity(rows)}

    def _finished(self, block):
        """A block with logits of the student's shape."""
        logits = self.combined(block.pop("rows"))
        return {**block, "teacher_logits": logits}

    def _check_source(self, source):
        sources.check_source(source)
        found = sources.describe_source(source)
        for name, value in vars(self.manifest.source).items():
            if getattr(found, name) != value:
                raise ValueError(
                    f"The soft targets in {self.path} are of another data set: "
                    f"its `{name}` is {getattr(found, name)!r}, and that of "
                    f"the store {value!r}."
                )


def _batchable(dataset):
    """A data set without what is not of the same shape in every example."""
    spec = dataset.element_spec
    kept = {
        name
        for name in spec
        if isinstance(spec[name], tf.TensorSpec)
        and spec[name].shape.is_fully_defined()
    }
    if kept.issuperset(spec):
        return dataset
    return dataset.map(
        lambda example: {
            name: example[name] for name in example if name in kept
        }
    )


def _with_ids(positions, examples):
    ids, _ = range_writer.ids_and_images(positions, examples)
    return {**examples, "id": ids}


def _with_view_logits(example):
    """An example of which the views are known to be replayed."""
    renamed = {"teacher_logits": batching.VIEW_LOGITS}
    return {renamed.get(name, name): value for name, value in example.items()}


def _with_end(dataset):
    """The data set of blocks with an empty one at the end."""

    def empty(spec):
        shape = [0 if size is None else size for size in spec.shape]
        return tf.zeros([0, *shape[1:]], spec.dtype)

    end = tf.nest.map_structure(empty, dataset.element_spec)
    return dataset.concatenate(tf.data.Dataset.from_tensors(end))
