"""Writes the logits of a teacher over a data set: one pass, range by range."""

from kd_keras import progress
from kd_keras.soft_targets import jobs


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
            settings, teacher, augmentation or data, may be replaced. Defaults
            to False.
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
    job = jobs.Job(
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
        job: A `jobs.Job`.
        path: As for `write`, and so are the others.
        overwrite: As for `write`.
        stream: As for `write`.
    """
    run = job.run(path, overwrite)
    with run.begin(), job.leaving_nothing(run):
        job.start(run, overwrite)
        with progress.Report(job.source.num_examples, stream) as report:
            report.start("writing soft targets")
            job.write_ranges(run, report)
        job.finish(run)
