"""From a configuration to stored soft targets."""

import dataclasses
import functools
import json
import pathlib

from kd_keras import datasets
from kd_keras import soft_targets
from kd_keras.soft_targets import jobs
from kd_keras.soft_targets import manifest
from kd_keras.soft_targets import writing
from kd_keras.training import classifiers
from kd_keras.training.config import take_paths


@dataclasses.dataclass(frozen=True)
class StoreConfig:
    """What soft targets to store.

    Attributes:
        teacher: Paths of `.keras` files or SavedModels; several are an
            ensemble.
        dataset: Name of a TFDS image-classification set, or `"digits"`.
        data_dir: Where TFDS keeps its data sets; None for its own default.
        split: Split in TFDS' notation.
        image_size: Height and width to resize images to; None for as they are.
        mean: `"arithmetic"` or `"geometric"`, of several teachers.
        temperature: The only temperature of an arithmetic mean, or of
            `top_k`; None to keep all logits of all members.
        dtype: `"float16"` or `"float32"`.
        top_k: How many of the largest logits to keep; None for all.
        num_views: Views of each image; None for the images as they are.
        max_shift: Pixels by which the views are shifted at most.
        augment_seed: Seed of the views.
        num_ranges: How many files to divide the examples into, at least.
        batch_size: Examples that the teacher is given at once.
    """

    teacher: tuple[str, ...]
    dataset: str = "digits"
    data_dir: str | None = None
    split: str = "train"
    image_size: tuple[int, int] | None = None
    mean: str = "arithmetic"
    temperature: float | None = None
    dtype: str = "float16"
    top_k: int | None = None
    num_views: int | None = None
    max_shift: int = 2
    augment_seed: int = 0
    num_ranges: int = 8
    batch_size: int = 256

    def __post_init__(self):
        take_paths(self, "teacher")


def make_store_job(config):
    """Opens data and teachers.

    Args:
        config: A `StoreConfig`.

    Returns:
        `soft_targets.jobs.Job`.
    """
    source = _open_source(config)
    teacher = classifiers.load_teachers(config.teacher, config.mean, source)
    views = (None, None, None)
    if config.num_views is not None:
        shift = datasets.random_shift(config.max_shift)
        views = (shift, config.augment_seed, config.num_views)
    return jobs.Job(
        teacher,
        source,
        temperature=config.temperature,
        dtype=config.dtype,
        top_k=config.top_k,
        views=views,
        num_ranges=config.num_ranges,
        batch_size=config.batch_size,
        teacher_fingerprint=None,
        settings=dataclasses.asdict(config),
    )


def store_soft_targets(
    config, output_dir, *, overwrite=False, beam_options=None
):
    """Stores soft targets, here or by an Apache Beam pipeline.

    Args:
        config: A `StoreConfig`.
        output_dir: Directory to make: the store, and `config.json`.
        overwrite: Whether a store at `output_dir`, or a broken one of another
            configuration, may be replaced. Defaults to False.
        beam_options: List of str, Beam's options, one of which names the
            runner. Defaults to None: without Beam.

    Raises:
        Errors of `soft_targets.write`, and `ImportError` if Beam is missing.
    """
    if beam_options is None:
        writing.write_job(make_store_job(config), output_dir, overwrite)
    else:
        from kd_keras.soft_targets import pipeline

        pipeline.write(
            output_dir,
            functools.partial(make_store_job, config),
            beam_options,
            overwrite=overwrite,
        )


def views_of(path):
    """How to replay the views of a store that `store_soft_targets` wrote.

    Args:
        path: Directory of the store; None for none.

    Returns:
        A dict as `data.JobData` takes it, empty for the images as they are.

    Raises:
        ValueError: If there are views of another augmentation.
    """
    views = None if path is None else manifest.read_manifest(path).views
    if views is None:
        return {}
    try:
        config = json.loads((pathlib.Path(path) / "config.json").read_text())
        max_shift = config["max_shift"]
    except (OSError, KeyError, ValueError):
        raise ValueError(
            f"{path} holds views by {views.augmentation}, which was not "
            "written by the program cache_soft_targets: it cannot be replayed "
            "here. Train with kd_keras.Distiller and store.batches(..., "
            "augment=...)."
        ) from None
    return {
        "max_shift": max_shift,
        "augment_seed": views.seed,
        "num_views": views.count,
    }


def tag_of(path):
    """What tells a store from others, an int; None if there is none."""
    if path is None:
        return None
    found = manifest.read_manifest(path)
    return manifest.tag(found, found.canaries)


def plan_soft_targets(config):
    """Measures what ways of storing would cost and lose.

    Args:
        config: A `StoreConfig`. Its `temperature` is tried besides 1 and 4,
            its `top_k` instead of a row of them.

    Returns:
        `soft_targets.Plan`.
    """
    temperatures = {1.0, 4.0, config.temperature or 4.0}
    ks = [config.top_k] if config.top_k else [1, 2, 5, 10, 50, 100]
    source = _open_source(config)
    return soft_targets.plan(
        classifiers.load_teachers(config.teacher, config.mean, source),
        source,
        temperatures=sorted(temperatures),
        ks=ks,
        num_views=config.num_views or 1,
        batch_size=config.batch_size,
    )


def audit_soft_targets(
    path,
    teacher_paths,
    *,
    mean="arithmetic",
    data_dir=None,
    max_shift=2,
    **kwargs,
):
    """Audits a store that `store_soft_targets` wrote.

    Args:
        path: Directory of the store, which names its data set.
        teacher_paths: As `StoreConfig.teacher`.
        mean: As `StoreConfig.mean`. Defaults to `"arithmetic"`.
        data_dir: As `StoreConfig.data_dir`. Defaults to None.
        max_shift: As `StoreConfig.max_shift`. Defaults to 2.
        **kwargs: Other arguments of `soft_targets.audit`.

    Returns:
        `soft_targets.Audit`.

    Raises:
        Errors of `soft_targets.open_store` and `soft_targets.audit`.
    """
    keeps_members = manifest.read_manifest(pathlib.Path(path)).members
    # Members are compared one by one, whatever the temperature.
    store = soft_targets.open_store(
        path, temperature=1.0 if keeps_members else None
    )
    stored = store.manifest.source
    source = datasets.load(
        stored.name,
        stored.split,
        data_dir=data_dir,
        image_size=stored.image_shape[:2] if stored.resized else None,
    )
    augment = None
    if store.manifest.views is not None:
        augment = datasets.random_shift(max_shift)
    teacher = classifiers.load_teachers(teacher_paths, mean, source)
    return soft_targets.audit(store, teacher, source, augment=augment, **kwargs)


def _open_source(config):
    return datasets.load(
        config.dataset,
        config.split,
        data_dir=config.data_dir,
        image_size=config.image_size,
    )
