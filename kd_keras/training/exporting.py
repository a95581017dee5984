"""From a saved student to what is served, with its card."""

import dataclasses
import pathlib
import time

import keras

from kd_keras import datasets
from kd_keras import diagnostics
from kd_keras import export
from kd_keras import json_files
from kd_keras import runs
from kd_keras import saved_teachers
from kd_keras import specialists
from kd_keras.training import cards
from kd_keras.training import classifiers
from kd_keras.training import provenance
from kd_keras.training.config import check_counts
from kd_keras.training.config import take_path

# Formats, and what each is called in the output directory.
FORMATS = {
    "saved_model": "saved_model",
    "litert": "model.tflite",
    "onnx": "model.onnx",
}
_CLASS_NAMES = "class_names.txt"
# Settings of the programs that may be paths.
_PATHS = {
    "model",
    "soft_targets",
    "student_model",
    "student_weights",
    "teacher",
    "teacher_model",
    "weights",
}


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """What to export.

    Attributes:
        model: Path of a `.keras` file.
        format: Some of `"saved_model"`, `"litert"` and `"onnx"`.
        dataset: Name of a TFDS image-classification set, which gives the names
            of the classes and the images to compare on; None for the one that
            the model was trained on, as it says beside it.
        data_dir: Where TFDS keeps its data sets; None for its own default.
        image_size: Height and width to resize images to; None for as they are.
        split: Split of these images, in TFDS' notation; None for the one that
            the model was tested on, or else `"test"`.
        num_examples: How many of them are compared, at most.
        any_size: Whether the SavedModel takes images of any size, and resizes
            them as `datasets.load` does.
    """

    model: str
    format: tuple[str, ...] = ("saved_model",)
    dataset: str | None = None
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    split: str | None = None
    num_examples: int = 1000
    any_size: bool = False

    def __post_init__(self):
        take_path(self, "model")
        if not self.format or not set(self.format) <= set(FORMATS):
            raise ValueError(
                f"`format` takes some of {', '.join(FORMATS)}. Received: "
                f"{','.join(self.format) or 'nothing'}"
            )
        check_counts(self, "num_examples")
        if self.any_size and set(self.format) != {"saved_model"}:
            raise ValueError(
                "Images of any size are taken by a SavedModel alone. Received: "
                f"any_size=True with format={','.join(self.format)}"
            )


def run_export(config, output_dir, *, overwrite=False):
    """Exports a student, compares every file on real images, writes its card.

    Args:
        config: An `ExportConfig`.
        output_dir: Directory to make, which appears when all is written and
            compared: `saved_model/`, `model.tflite` and `model.onnx`, as far
            as they are asked for, `class_names.txt`, the card as `card.json`
            and `card.md`, and `config.json`.
        overwrite: Whether something at `output_dir` may be replaced. Defaults
            to `False`.

    Returns:
        A dict, the content of `card.json`.

    Raises:
        FileExistsError: If there is something at `output_dir`.
        FileNotFoundError: If there is no such model or data set.
        ImportError: If the runtime of a format is not installed.
        RuntimeError: If a file does not answer as the student does.
        ValueError: If the model does not fit the data or a format, or is no
            `.keras` file, or the record beside it is of another model.
    """
    identity = {"program": "export_student", **dataclasses.asdict(config)}
    run = runs.Run(
        output_dir, identity, overwrite=overwrite, inputs=[config.model]
    )
    student = _load(config.model)
    _check_format(config, student)
    record = cards.find_record(config.model)
    if record is not None:
        cards.check_record(record, student, config.model)
    tested_on = record and record["dataset"].get("test_split")
    source = datasets.load(
        split=config.split or tested_on or "test", **cards.data_of(config)
    )
    _check_classes(record, student, source)
    with run.begin():
        try:
            card = _write_all(config, student, record, source, run.path)
        except Exception:
            # Nothing that took long, and nobody wants half of it.
            run.begin_anew()
            raise
        run.publish()
    return card


def _load(path):
    model = saved_teachers.load_teacher(path)
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"An export is made of a .keras file. Received: {path}, which was "
            "exported already."
        )
    return model


def _check_format(config, student):
    """Raises if a model takes what a format has not."""
    others = sorted(set(config.format) - {"saved_model"})
    if others and any(
        isinstance(layer, specialists.CombineSpecialists)
        for layer in student.layers
    ):
        raise ValueError(
            "A generalist with its specialists is exported as a SavedModel "
            "alone, because equation 5 is solved in float64 by a loop. Distil "
            "it into one net first: python -m scripts.distill "
            f"--teacher={config.model}. Received: format={','.join(others)}."
        )


def _check_classes(record, student, source):
    """Raises unless the classes of the data are those of the student."""
    if student.output_shape != (None, source.num_classes) or (
        student.input_shape != (None, *source.image_shape)
    ):
        raise ValueError(
            f"The student takes {student.input_shape} and gives "
            f"{student.output_shape}; {source.name} has images of shape "
            f"{source.image_shape} and {source.num_classes} classes. Give the "
            "data set that it is for: --dataset=NAME, and --image_size if it "
            "was resized."
        )
    if record and list(source.class_names) != record["class_names"]:
        raise ValueError(
            f"The classes of {source.name} are not those that the student was "
            "trained on, or not in their order: "
            f"{', '.join(source.class_names[:5])}, ... and "
            f"{', '.join(record['class_names'][:5])}, ..."
        )


def _write_all(config, student, record, source, folder):
    """Writes what is exported, and the card; its content."""
    examples = source.dataset.take(config.num_examples)
    examples = next(examples.batch(config.num_examples).as_numpy_iterator())
    files = [
        _write(config, student, source, examples["image"], folder, name)
        for name in dict.fromkeys(config.format)
    ]
    names = "".join(f"{name}\n" for name in source.class_names)
    (folder / _CLASS_NAMES).write_text(names, "utf-8")
    card = _card(config, student, record, source, examples, files)
    json_files.write(folder / cards.CARD, card)
    (folder / "card.md").write_text(cards.describe(card), "utf-8")
    return card


def _write(config, student, source, images, folder, name):
    """Writes and compares one format; a dict of the card."""
    path = folder / FORMATS[name]
    if name == "saved_model":
        found = export.export_for_serving(
            student,
            path,
            class_names=source.class_names,
            any_size=config.any_size,
            examples=images,
            overwrite=True,
        )
    else:
        write = {"litert": export.export_litert, "onnx": export.export_onnx}
        found = write[name](student, path, examples=images, overwrite=True)
    return {
        "file": path.name,
        "format": name,
        "bytes": classifiers.num_bytes(path),
        **dataclasses.asdict(found),
    }


def _card(config, student, record, source, examples, files):
    logits = student.predict(
        datasets.to_float(examples["image"]), batch_size=100, verbose=0
    )
    quality = diagnostics.quality(examples["label"], logits)
    if record is None:
        record = cards.new_record(student, source, config.image_size)
    # Where its maker kept things is nobody else's matter.
    dataset = {k: v for k, v in record["dataset"].items() if k != "data_dir"}
    settings = record["settings"] and {
        key: _names(value) if key in _PATHS else value
        for key, value in record["settings"].items()
        if key != "data_dir"
    }
    return {
        "name": pathlib.Path(config.model).stem,
        **record,
        "dataset": dataset,
        "settings": settings,
        "checked_on": {
            "name": source.name,
            "version": source.version,
            "split": source.split,
            **dataclasses.asdict(quality),
        },
        "any_size": config.any_size,
        "files": files,
        "exported": {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": provenance.versions(),
        },
    }


def _names(paths):
    """Paths without the folders that hold them."""
    if isinstance(paths, list):
        return [_names(path) for path in paths]
    return paths and pathlib.Path(paths).name
