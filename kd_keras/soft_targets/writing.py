"""Writes the logits of a teacher over a data set: one pass, range by range."""

import contextlib
import dataclasses
import itertools
import json

import numpy as np
import tensorflow as tf

from kd_keras import datasets
from kd_keras import ops
from kd_keras import progress
from kd_keras import runs
from kd_keras import version
from kd_keras.datasets import examples
from kd_keras.soft_targets import canaries
from kd_keras.soft_targets import fingerprints
from kd_keras.soft_targets import forward
from kd_keras.soft_targets import manifest as manifest_lib
from kd_keras.soft_targets import range_writer
from kd_keras.soft_targets import records

PREPROCESSING = "uint8 / 255"


def write(
    path,
    teacher,
    source,
    *,
    temperature=None,
    dtype="float16",
    top_k=None,
    augment=None,
    augment_seed=None,
    num_views=None,
    num_ranges=8,
    batch_size=256,
    teacher_fingerprint=None,
    overwrite=False,
    stream=None,
):
    """Stores what a teacher says of every example: logits, before temperature.

    The teacher is given `datasets.to_float` of the images (or of their views),
    in the order of the source, as `datasets.batches` gives them to a student.
    Until all is done the files are in `{path}.partial`; broken off, the same
    call goes on after the last range that is complete.

    Args:
        path: Directory to make.
        teacher: Anything that is a teacher: a model, an ensemble, a list of
            models, a callable.
        source: `kd_keras.datasets.ImageDataset`, as `datasets.load` gives it.
            If its elements hold `id`, an integer scalar, these are the ids.
        temperature: For the arithmetic mean of an ensemble, and for `top_k`:
            the one temperature for which the store will do. Defaults to None:
            the logits of all members are kept, for every temperature.
        dtype: `"float16"` (centred, some three digits), or `"float32"` (every
            bit). Defaults to `"float16"`.
        top_k: How many of the largest logits to keep, with their classes, and
            one number for what the others have together; for one temperature,
            which must be given. Defaults to None: all logits. See
            `soft_targets.plan` for what that costs.
        augment: Function `(image, seed)` as of `datasets.batches`, if the
            teacher shall see views of the images. Defaults to None.
        augment_seed: int, with `augment`.
        num_views: int, with `augment`: how many views of each image.
        num_ranges: How many files to divide the examples into; the files of
            the source, if it has more. Defaults to 8.
        batch_size: Examples that the teacher is given at once. Defaults to
            256.
        teacher_fingerprint: What to know the teacher by if it is a callable
            that cannot be looked into.
        overwrite: Whether a store at `path`, or a broken one of other
            settings, may be replaced. Defaults to False.
        stream: Where to tell of progress. Defaults to standard error.

    Raises:
        FileExistsError: If there is something at `path`, or another process
            is at work on it.
        OSError: If the disk is full; what was done is not lost.
        TypeError: If `source` is no `ImageDataset`, `teacher` no teacher.
        ValueError: If the teacher's logits do not fit the data, are
            probabilities, NaN, infinite, or overflow; if an id comes twice; if
            the augmentation cannot be replayed; or there is a broken store of
            other settings.

    Example:

    >>> digits = kd_keras.datasets.load("digits", "train[:100]")
    >>> teacher = kd_keras.models.mlp((8, 8, 1), 10, (16,))
    >>> kd_keras.soft_targets.write("targets", teacher, digits)
    >>> kd_keras.soft_targets.open_store("targets").manifest.range_ends
    (12, 25, 37, 50, 62, 75, 87, 100)
    """
    job = Job(
        teacher,
        source,
        temperature=temperature,
        dtype=dtype,
        top_k=top_k,
        views=(augment, augment_seed, num_views),
        num_ranges=num_ranges,
        batch_size=batch_size,
        teacher_fingerprint=teacher_fingerprint,
    )
    write_job(job, path, overwrite, stream)


def write_job(job, path, overwrite=False, stream=None):
    """Writes a store; see `write`.

    Args:
        job: A `Job`.
        path: As for `write`, and so are the others.
        overwrite: As for `write`.
        stream: As for `write`.
    """
    run = job.run(path, overwrite)
    with run.begin():
        report = progress.Report(job.source.num_examples, stream)
        report.start("writing soft targets")
        with contextlib.closing(report):
            job.write_ranges(run, report)
        job.finish(run)


class Job:
    """One store to be written, its arguments checked.

    Attributes:
        source: `kd_keras.datasets.ImageDataset`.
        ranges: List of `range_writer.Range`.
        batch_size: Examples that the teacher is given at once.

    Args:
        teacher: As for `write`, and so are the others.
        source: As for `write`.
        temperature: As for `write`.
        dtype: As for `write`.
        top_k: As for `write`.
        views: Tuple of `augment`, `augment_seed` and `num_views`.
        num_ranges: As for `write`.
        batch_size: As for `write`.
        teacher_fingerprint: As for `write`.
    """

    def __init__(
        self,
        teacher,
        source,
        *,
        temperature,
        dtype,
        top_k,
        views,
        num_ranges,
        batch_size,
        teacher_fingerprint,
    ):
        check_source(source)
        if dtype not in ("float16", "float32"):
            raise ValueError(
                'Argument "dtype" must be "float16" or "float32". Received: '
                f"{dtype!r}."
            )
        for name, number in (
            ("num_ranges", num_ranges),
            ("batch_size", batch_size),
        ):
            if type(number) is not int or number < 1:
                raise ValueError(
                    f'Argument "{name}" must be a positive int. Received: '
                    f"{number!r}."
                )
        if top_k is not None and (
            type(top_k) is not int or not 0 < top_k < source.num_classes
        ):
            raise ValueError(
                'Argument "top_k" must be an int from 1 to one less than the '
                f"{source.num_classes} classes. Received: {top_k!r}."
            )
        if temperature is not None:
            temperature = ops.check_temperature(temperature)
        teacher, keeps_members = forward.check_teacher(
            teacher, temperature, top_k
        )
        self.source = source
        self._views = forward.Views(
            *views, source.dataset.element_spec["image"]
        )
        self._compute = forward.Forward(
            teacher, self._views, temperature, keeps_members
        )
        self.batch_size = batch_size
        self.ranges = range_writer.divide(
            source.num_examples, num_ranges, source.file_lengths
        )
        members = None
        if keeps_members:
            members = manifest_lib.Members(tuple(teacher.weights))
        self._manifest = manifest_lib.Manifest(
            schema=manifest_lib.SCHEMA,
            kd_keras=version.__version__,
            source=describe_source(source),
            preprocessing=PREPROCESSING,
            views=self._described_views(),
            teacher=fingerprints.fingerprint(teacher, teacher_fingerprint),
            num_classes=source.num_classes,
            members=members,
            temperature=temperature,
            dtype=dtype,
            top_k=top_k,
            batch_size=batch_size,
            range_ends=tuple(part.stop for part in self.ranges),
            ranges=(),
            canaries=None,
            canary_views=(),
        )
        self._codec = self._manifest.codec
        self._layout = records.Layout.of(self._codec)

    @property
    def identity(self):
        """What the store depends on, as JSON."""
        identity = json.loads(json.dumps(dataclasses.asdict(self._manifest)))
        for result in ("ranges", "canaries", "canary_views"):
            del identity[result]
        return identity

    def run(self, path, overwrite):
        """The `runs.Run` of the store."""
        return runs.Run(
            path,
            self.identity,
            overwrite=overwrite,
            config_file=manifest_lib.FILE,
        )

    def write_ranges(self, run, report):
        """Writes the ranges that are not done, in as few passes as can be."""
        to_do = []
        for part in self.ranges:
            if run.done(part.name) is None:
                to_do.append(part)
            else:
                report.skip(part.stop - part.start)
        # Neighbours are read together: a source that cannot be entered in the
        # middle is then gone through once.
        for _, group in itertools.groupby(
            enumerate(to_do), lambda pair: pair[1].number - pair[0]
        ):
            neighbours = [part for _, part in group]
            iterator = iter(
                range_writer.batches(self.source, neighbours, self.batch_size)
            )
            writer = self.writer(run.path, run.work)
            for part in neighbours:
                run.finish(
                    part.name, writer.write(part, iterator, report.advance)
                )

    def writer(self, folder, work):
        """The `range_writer.RangeWriter` for these two folders."""
        return range_writer.RangeWriter(
            folder, work, self._compute, self._codec, self.batch_size
        )

    def finish(self, run):
        """Adds the canaries and the manifest to the ranges, and publishes."""
        files = tuple(
            manifest_lib.File(**run.done(part.name)) for part in self.ranges
        )
        if self._manifest.source.has_ids:
            self._check_ids(run)
        file, digests = self._write_canaries(run)
        manifest = dataclasses.replace(
            self._manifest, ranges=files, canaries=file, canary_views=digests
        )
        runs.write_json(
            run.path / manifest_lib.FILE, manifest_lib.to_json(manifest)
        )
        run.publish()

    def _described_views(self):
        views = self._views
        if views.augment is None:
            return None
        name = getattr(views.augment, "__qualname__", None)
        return manifest_lib.Views(
            views.count, views.seed, name or repr(views.augment)
        )

    def _check_ids(self, run):
        """Raises if an id comes twice."""
        files = [str(run.path / part.file) for part in self.ranges]
        ids = tf.data.TFRecordDataset(files).map(
            lambda record: self._layout.decode(record)[0]
        )
        ids = np.concatenate(list(ids.as_numpy_iterator()))
        found, counts = np.unique(ids, return_counts=True)
        if (counts > 1).any():
            raise ValueError(
                f"The id {found[counts > 1][0]} comes {counts.max()} times, "
                "and each example must have one of its own. Nothing was "
                "published."
            )

    def _write_canaries(self, run):
        """Writes them; returns the `File` and the digests of their views."""
        count = min(canaries.COUNT, self.source.num_examples)
        part = range_writer.Range(0, 1, 0, count)
        batch = next(iter(range_writer.batches(self.source, [part], count)))
        ids, images = batch["ids"].numpy(), batch["images"].numpy()
        rows = self._codec.to_stored(
            self._compute(batch["images"], batch["ids"])
        )
        path = run.path / manifest_lib.CANARIES_FILE
        size = canaries.write(path, self._layout, ids, images, rows)
        described = range_writer.described(path, path.name, count, size)
        digests = canaries.view_digests(self._views, ids, images)
        return manifest_lib.File(**described), digests


def check_source(source):
    """Raises unless a source is a described data set of uint8 images."""
    if not isinstance(source, datasets.ImageDataset):
        raise TypeError(
            'Argument "source" must be a kd_keras.datasets.ImageDataset, as '
            "datasets.load() returns it, which says what the examples are. "
            f"Received: {type(source).__name__}."
        )
    examples.check_examples(source.dataset)
    spec = source.dataset.element_spec
    if spec["image"].dtype != tf.uint8:
        raise TypeError(
            "The images of a source must be uint8, unscaled. Received: "
            f"{spec['image']}."
        )
    count = int(source.dataset.cardinality())
    if count >= 0 and count != source.num_examples:
        raise ValueError(
            f"The source says that it has {source.num_examples} examples, and "
            f"its data set has {count}."
        )
    if "id" in spec and (
        not spec["id"].dtype.is_integer or spec["id"].shape.rank != 0
    ):
        raise TypeError(
            'The "id" of an example must be an integer scalar. Received: '
            f"{spec['id']}."
        )


def describe_source(source):
    """What a manifest says of a source, a `manifest.Source`."""
    return manifest_lib.Source(
        name=source.name,
        version=source.version,
        split=source.split,
        num_examples=source.num_examples,
        class_names=tuple(source.class_names),
        image_shape=tuple(source.image_shape),
        resized=source.resized,
        has_ids="id" in source.dataset.element_spec,
    )
