"""What a saved student is worth, measured on a split."""

import dataclasses
import pathlib

import keras
import numpy as np

from kd_keras import comparison
from kd_keras import datasets
from kd_keras import diagnostics
from kd_keras import json_files
from kd_keras import runs
from kd_keras.training import cards
from kd_keras.training import classifiers
from kd_keras.training import provenance
from kd_keras.training.config import check_counts
from kd_keras.training.config import take_path


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """What to evaluate.

    Attributes:
        model: Path of the student: what `classifiers.open_classifier` takes.
        teacher: Path of its teacher, or None.
        dataset: Name of a TFDS image-classification set; None for the one that
            the model was trained on, as it says beside it, or `"digits"`.
        data_dir: Where TFDS keeps its data sets; None for its own default.
        split: Split in TFDS' notation.
        image_size: Height and width to resize images to; None for as they are.
        batch_size: Images that a model is given at once.
        num_bins: Bins of the calibration error.
        latency_batch_sizes: Batch sizes whose latency is measured.
        latency_rounds: Batches of each that are timed.
    """

    model: str
    teacher: str | None = None
    dataset: str | None = None
    data_dir: str | None = None
    split: str = "test"
    image_size: tuple[int, int] | None = None
    batch_size: int = 256
    num_bins: int = 15
    latency_batch_sizes: tuple[int, ...] = (1, 32, 256)
    latency_rounds: int = 50

    def __post_init__(self):
        take_path(self, "model", "teacher")
        check_counts(self, "batch_size", "num_bins", "latency_rounds")
        if any(size < 1 for size in self.latency_batch_sizes):
            raise ValueError(
                "`latency_batch_sizes` must be positive whole numbers. "
                f"Received: {self.latency_batch_sizes!r}"
            )


def evaluate(config):
    """Measures a student, and its teacher if there is one.

    Args:
        config: An `EvaluationConfig`.

    Returns:
        A dict of JSON: `config`, `dataset` with name, version and split,
        `versions`, and for `student` and `teacher`, which may be None, a dict
        of `quality` and `latency` as in `kd_keras.diagnostics`, `parameters`
        and `bytes`; `fidelity` or None.

    Raises:
        FileNotFoundError: If there is no such model or data set.
        ValueError: If a model does not fit the data.
    """
    source = datasets.load(split=config.split, **cards.data_of(config))
    paths = {"student": config.model, "teacher": config.teacher}
    models = {
        name: classifiers.open_classifier(path)
        for name, path in paths.items()
        if path
    }
    _check_models(config, models.values(), source)
    images, labels, logits = None, [], {name: [] for name in models}
    batches = source.dataset.batch(config.batch_size)
    for batch in batches.as_numpy_iterator():
        if images is None:
            images = batch["image"]
        labels.append(batch["label"])
        for name, model in models.items():
            logits[name].append(_predict(model, batch["image"], source))
    labels = np.concatenate(labels)
    logits = {name: np.concatenate(parts) for name, parts in logits.items()}
    found = {"student": None, "teacher": None, "fidelity": None}
    for name, model in models.items():
        latencies = diagnostics.measure_latency(
            model.predict,
            images,
            config.latency_batch_sizes,
            num_rounds=config.latency_rounds,
        )
        quality = diagnostics.quality(
            labels, logits[name], num_bins=config.num_bins
        )
        found[name] = {
            "quality": dataclasses.asdict(quality),
            "latency": [dataclasses.asdict(latency) for latency in latencies],
            "parameters": model.num_parameters,
            "bytes": model.num_bytes,
        }
    if config.teacher:
        found["fidelity"] = dataclasses.asdict(
            diagnostics.fidelity(labels, logits["teacher"], logits["student"])
        )
    return {
        "config": dataclasses.asdict(config),
        "dataset": {
            "name": source.name,
            "version": source.version,
            "split": source.split,
        },
        "versions": provenance.versions(),
        **found,
    }


def run_evaluation(config, output_dir=None, overwrite=False):
    """Evaluates, and writes what was found.

    Args:
        config: An `EvaluationConfig`.
        output_dir: Directory to make, with `config.json`, `evaluation.json`
            and `report.md`. Defaults to None: nothing is written.
        overwrite: Whether something at `output_dir` may be replaced. Defaults
            to `False`.

    Returns:
        A tuple of what `evaluate` gives, and of the same as text.

    Raises:
        FileExistsError: If there is something at `output_dir`.
        Errors of `evaluate`.
    """
    if output_dir is None:
        result = evaluate(config)
        return result, describe(result)
    identity = {"program": "evaluate", **dataclasses.asdict(config)}
    inputs = [config.model, *filter(None, [config.teacher])]
    run = runs.Run(output_dir, identity, overwrite=overwrite, inputs=inputs)
    with run.begin():
        result = evaluate(config)
        text = describe(result)
        json_files.write(run.path / "evaluation.json", result)
        (run.path / "report.md").write_text(text + "\n", "utf-8")
        run.publish()
    return result, text


def describe(result):
    """What `evaluate` found, as Markdown that reads well as text.

    Args:
        result: As `evaluate` gives it.

    Returns:
        A string of lines.
    """
    dataset = result["dataset"]
    names = [name for name in ("student", "teacher") if result[name]]
    first = result[names[0]]["quality"]
    rows = [
        [label, *(cell(result[name]) for name in names)]
        for label, cell in _ROWS.items()
    ]
    rows += [
        [
            f"latency of a batch of {latency['batch_size']}, ms",
            *(_latency(result[name]["latency"][number]) for name in names),
        ]
        for number, latency in enumerate(result[names[0]]["latency"])
    ]
    lines = [
        f"# {pathlib.Path(result['config']['model']).name} on "
        f"{dataset['name']} {dataset['version']}, {dataset['split']}",
        "",
        comparison.format_table(["", *names], rows),
        "",
        f"{first['examples']} examples. Interval: 95%, binomial, of the draw "
        "of the examples. Calibration error: "
        f"{first['num_bins']} bins of equal width. Latency: from pixels to "
        "logits, median (5th to 95th percentile) of "
        f"{result['config']['latency_rounds']} batches, on this machine.",
    ]
    if result["fidelity"]:
        lines += ["", _fidelity(result["fidelity"])]
    return "\n".join(lines)


def _interval(found):
    low, high = found["quality"]["accuracy_interval"]
    accuracy = found["quality"]["accuracy"]
    return f"{100 * accuracy:.2f} ({100 * low:.2f} to {100 * high:.2f})"


_ROWS = {
    "errors": lambda found: f"{found['quality']['errors']:,}",
    "accuracy, %": _interval,
    "negative log-likelihood, nats": lambda found: (
        f"{found['quality']['negative_log_likelihood']:.4f}"
    ),
    "calibration error": lambda found: (
        f"{found['quality']['calibration_error']:.4f}"
    ),
    "parameters": lambda found: (
        "-" if found["parameters"] is None else f"{found['parameters']:,}"
    ),
    "size on disk, kB": lambda found: f"{found['bytes'] / 1000:,.0f}",
}


def _latency(latency):
    return (
        f"{latency['median']:.2f} ({latency['low']:.2f} to "
        f"{latency['high']:.2f})"
    )


def _fidelity(found):
    text = (
        f"Student and teacher agree on {100 * found['agreement']:.2f}% of the "
        f"examples; predictive KL {found['predictive_kl']:.4f} nats."
    )
    share = found["accuracy_where_teacher_wrong"]
    if share is not None:
        text += (
            f" Of the {found['teacher_errors']} examples that the teacher gets "
            f"wrong the student gets {100 * share:.1f}% right."
        )
    return text


def _check_models(config, models, source):
    for model in models:
        classifiers.check_fits(model.path, model.model, source)
        if not isinstance(model.model, keras.Model) or config.dataset:
            continue
        record = cards.find_record(model.path)
        if record is not None:
            cards.check_record(record, model.model, model.path)


def _predict(model, images, source):
    try:
        logits = model.predict(images)
    except ValueError as error:
        raise ValueError(
            f"{model.path} does not take the images of {source.name}, shape "
            f"{tuple(images.shape[1:])}: "
            f"{' '.join(str(error).split())[:200]}"
        ) from error
    if logits.shape[1:] != (source.num_classes,):
        raise ValueError(
            f"{model.path} gives logits of shape {logits.shape[1:]} for each "
            f"image, and {source.name} has {source.num_classes} classes."
        )
    return logits
