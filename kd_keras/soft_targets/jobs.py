"""One store in the making: what must be done, here or by many workers."""

import contextlib
import dataclasses
import itertools

import numpy as np
import tensorflow as tf

from kd_keras import json_files
from kd_keras import ops
from kd_keras import runs
from kd_keras import version
from kd_keras.soft_targets import canaries
from kd_keras.soft_targets import fingerprints
from kd_keras.soft_targets import forward
from kd_keras.soft_targets import manifest as manifest_lib
from kd_keras.soft_targets import range_writer
from kd_keras.soft_targets import records
from kd_keras.soft_targets import sources
from kd_keras.soft_targets import teacher_checks

# The unit of a run that holds what it began with.
_CANARIES = "canaries"


class Job:
    """One store to be written, its arguments checked.

    Attributes:
        source: `kd_keras.datasets.ImageDataset`.
        ranges: List of `range_writer.Range`.
        to_do: Those of them that were not done when the work was started.
        batch_size: Examples that the teacher is given at once.

    Args:
        teacher: As for `soft_targets.write`, and so are the others.
        source: As for `soft_targets.write`.
        temperature: As for `soft_targets.write`.
        dtype: As for `soft_targets.write`.
        top_k: As for `soft_targets.write`.
        views: Tuple of `augment`, `augment_seed` and `num_views`.
        num_ranges: As for `soft_targets.write`.
        batch_size: As for `soft_targets.write`.
        teacher_fingerprint: As for `soft_targets.write`.
        settings: What to keep as `config.json` in the store, to do the same
            again. Defaults to None: nothing.
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
        settings=None,
    ):
        sources.check_source(source)
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
        self._settings = settings
        self._views = forward.Views(
            *views, source.dataset.element_spec["image"]
        )
        self._teacher = teacher
        self._compute = forward.Forward(
            teacher, self._views, temperature, keeps_members
        )
        self.batch_size = batch_size
        self.ranges = range_writer.divide(
            source.num_examples,
            num_ranges,
            source.file_lengths if source.is_as_loaded else (),
        )
        members = None
        if keeps_members:
            members = manifest_lib.Members(tuple(teacher.weights))
        self._manifest = manifest_lib.Manifest(
            schema=manifest_lib.SCHEMA,
            kd_keras=version.__version__,
            source=sources.describe_source(source),
            preprocessing=manifest_lib.PREPROCESSING,
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
        # Known once the work is started.
        self.to_do = self._layout = self._noted = None

    @property
    def identity(self):
        """What the store depends on, as JSON."""
        return manifest_lib.identity(self._manifest)

    def run(self, path, overwrite):
        """The `runs.Run` of the store."""
        return runs.Run(
            path,
            self.identity,
            overwrite=overwrite,
            config_file=manifest_lib.FILE,
        )

    def start(self, run, overwrite=False):
        """Begins with the canaries, or compares those that it began with.

        Args:
            run: The `runs.Run`, begun.
            overwrite: Whether work that was begun otherwise may be replaced.
                Defaults to False.

        Returns:
            What workers of the same run give to `join`.

        Raises:
            ValueError: If the work was begun with another teacher, data set
                or augmentation, or one cannot be replayed.
        """
        noted = run.done(_CANARIES)
        self.to_do = self._unfinished(run)
        if noted is not None and len(self.to_do) < len(self.ranges):
            try:
                self.join(run.path, noted)
                self._check_done(run)
                return noted
            except ValueError:
                if not overwrite:
                    raise
        # There is nothing to go on with.
        run.begin_anew()
        self.to_do = list(self.ranges)
        noted = self._write_canaries(run)
        run.finish(_CANARIES, noted)
        self._take(noted)
        return noted

    def join(self, folder, noted):
        """Joins work that was begun, if it is the same.

        Args:
            folder: `pathlib.Path` of the partial store.
            noted: What `start` returned.

        Raises:
            ValueError: As `start`.
        """
        file = manifest_lib.File(**noted["file"])
        stored = canaries.read(
            folder / file.file,
            records.Layout.of(self._codec),
            file.count,
            self.source.image_shape,
        )
        ids, images, rows = self._computed_canaries()
        if not np.array_equal(ids, stored[0]) or not np.array_equal(
            images, stored[1]
        ):
            raise teacher_checks.begun_otherwise(folder, "source")
        if self._view_digests(ids, images) != noted["views"]:
            raise teacher_checks.begun_otherwise(folder, "augment")
        self._check_rows(folder, stored[2], rows)
        self._take(noted)

    def _check_rows(self, folder, stored, rows):
        """Raises if the teacher says something else than what is stored."""
        far = canaries.deviation(self._codec, stored, rows)
        if not far <= canaries.tolerance(self._manifest.dtype):
            raise teacher_checks.begun_otherwise(folder, "teacher")

    def _check_done(self, run):
        """Raises if the first examples of a range would now be others."""
        for part in self.ranges:
            if part in self.to_do:
                continue
            files = tf.data.TFRecordDataset(str(run.path / part.file))
            [block] = files.take(1).map(self._layout.decode)
            ids, digests, stored = (tensor.numpy() for tensor in block)
            first = dataclasses.replace(part, stop=part.start + len(ids))
            batch = next(
                iter(range_writer.batches(self.source, [first], len(ids)))
            )
            if not np.array_equal(batch["ids"], ids) or not np.array_equal(
                batch["digests"], digests
            ):
                raise teacher_checks.begun_otherwise(run.path, "source")
            rows = self._compute(batch["images"], batch["ids"])
            self._check_rows(run.path, stored, rows)

    def _take(self, noted):
        """Takes up what the records of the store bear."""
        file = manifest_lib.File(**noted["file"])
        tag = manifest_lib.tag(self._manifest, file)
        self._layout = records.Layout.of(self._codec, tag)
        self._noted = noted

    def _unfinished(self, run):
        """The ranges that are not done, or of which the file is not right."""
        unfinished = []
        for part in self.ranges:
            noted = run.done(part.name)
            if noted is None or not range_writer.is_whole(
                run.path, manifest_lib.File(**noted)
            ):
                run.forget(part.name)
                unfinished.append(part)
        return unfinished

    def write_ranges(self, run, report):
        """Writes what is to do, in as few passes as can be."""
        for part in self.ranges:
            if part not in self.to_do:
                report.skip(part.stop - part.start)
        # Neighbours are read together: a source that cannot be entered in the
        # middle is then gone through once.
        for _, group in itertools.groupby(
            enumerate(self.to_do), lambda pair: pair[1].number - pair[0]
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

    @contextlib.contextmanager
    def leaving_nothing(self, run):
        """Leaves nothing to go on with if no range was done."""
        try:
            yield
        except Exception:
            if not any(run.has_unit(part.name) for part in self.ranges):
                run.begin_anew()
            raise

    def writer(self, folder, work):
        """The `range_writer.RangeWriter` for these two folders."""
        return range_writer.RangeWriter(
            folder,
            work,
            self._compute,
            self._codec,
            self._layout,
            self.batch_size,
        )

    def finish(self, run):
        """Adds the manifest to the ranges, and publishes."""
        files = tuple(
            manifest_lib.File(**run.done(part.name)) for part in self.ranges
        )
        if self._manifest.source.has_ids:
            try:
                self._check_ids(run)
            except ValueError:
                # The data will be others.
                run.begin_anew()
                raise
        manifest = dataclasses.replace(
            self._manifest,
            ranges=files,
            canaries=manifest_lib.File(**self._noted["file"]),
            canary_views=tuple(map(tuple, self._noted["views"])),
        )
        json_files.write(
            run.path / manifest_lib.FILE, manifest_lib.to_json(manifest)
        )
        if self._settings is not None:
            json_files.write(run.path / "config.json", self._settings)
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

    def _computed_canaries(self):
        """Ids, images and rows of the first examples."""
        count = min(canaries.COUNT, self.source.num_examples)
        part = range_writer.Range(0, 1, 0, count)
        batch = next(iter(range_writer.batches(self.source, [part], count)))
        try:
            rows = self._compute(batch["images"], batch["ids"])
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            reason = teacher_checks.reason(error)
            raise ValueError(
                f"The teacher does not take the images of {self.source.name}, "
                f"shape {self.source.image_shape}: {reason}"
            ) from error
        return batch["ids"].numpy(), batch["images"].numpy(), rows

    def _view_digests(self, ids, images):
        return [
            list(digests)
            for digests in canaries.view_digests(self._views, ids, images)
        ]

    def _write_canaries(self, run):
        """Writes them; returns the `File` and the digests of their views."""
        ids, images, logits = self._computed_canaries()
        teacher_checks.check_logits(
            self._teacher,
            self._views,
            self._manifest.members is not None,
            (ids, images, logits),
        )
        digests = self._view_digests(ids, images)
        if digests != self._view_digests(ids, images):
            raise ValueError(
                "The augmentation cannot be replayed: it gives other pixels "
                "for the same seed. Take all that is random in it from its "
                "argument `seed`, by tf.random.stateless_uniform and its kin."
            )
        rows = range_writer.checked(self._codec, logits, ids)
        again = self._compute(tf.constant(images), tf.constant(ids))
        far = canaries.deviation(self._codec, rows, again)
        if not far <= canaries.tolerance(self._manifest.dtype):
            raise ValueError(
                "The teacher says something else of the same images the second "
                f"time: it is random (by {far:.2g} of its largest logit). A "
                "teacher is run in inference mode; look for what ignores that."
            )
        seen = None
        if self._views.augment is not None:
            seen = self._views.view(images, ids, 0).numpy()
        path = run.path / manifest_lib.CANARIES_FILE
        layout = records.Layout.of(self._codec)
        size = canaries.write(path, layout, ids, images, rows, seen)
        file = range_writer.described(path, path.name, len(ids), size)
        return {"file": file, "views": digests}
