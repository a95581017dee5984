"""What is known of a saved model: how it was made, and what it is worth.

A program that trains leaves a record beside the model file, `student.json`
beside `student.keras`. An export takes it up into its model card.
"""

import dataclasses
import json
import pathlib

from kd_keras import comparison
from kd_keras import json_files
from kd_keras import saved_teachers
from kd_keras.soft_targets import fingerprints
from kd_keras.soft_targets import manifest
from kd_keras.training import classifiers
from kd_keras.training import provenance

CARD = "card.json"
# What every record has.
_ALWAYS = {"dataset", "fingerprint", "image_size", "metrics", "settings"}
# Files that a program writes beside others of the same model.
_SAVED_AS = ("saved_model", "model.tflite", "model.onnx")


def write_record(
    model_file,
    model,
    train,
    config,
    *,
    program,
    seed,
    metrics,
    views,
    over_seeds=None,
    **soft,
):
    """Writes what is known of a model beside its file.

    Args:
        model_file: `pathlib.Path` of the `.keras` file.
        model: The model that it holds.
        train: `datasets.ImageDataset` that it was trained on.
        config: Configuration of the program, a dataclass.
        program: Name of the program.
        seed: int.
        metrics: Its line of `metrics.jsonl`.
        views: What it was shown of the images, as text; None for the images
            as they are.
        over_seeds: Lines of the same arm for all seeds. Defaults to None: its
            own.
        **soft: Of a distilled student `teacher`, a dict, `temperature`,
            `soft_weight`, and `chosen`, how they were chosen, as text.
    """
    settings = dataclasses.asdict(config)
    if settings.get("teacher"):
        # What a teacher that was given has nothing to do with.
        for name in ("teacher_model", "teacher_dropout", "teacher_epochs"):
            del settings[name]
    record = new_record(model, train, settings["image_size"])
    record["dataset"] |= {
        "split": train.split,
        "test_split": settings["test_split"],
        "data_dir": settings["data_dir"],
    }
    record |= {
        "views": views,
        "distilled": soft or None,
        "seed": seed,
        "metrics": metrics,
        "over_seeds": [
            {key: row[key] for key in ("seed", "test_errors")}
            for row in over_seeds or [metrics]
        ],
        "program": program,
        "settings": settings,
        "versions": provenance.versions(),
    }
    json_files.write(model_file.with_suffix(".json"), record)


def new_record(model, source, image_size):
    """A record that says of a model what it shows, and nothing of its making.

    Args:
        model: The model.
        source: `datasets.ImageDataset` that it fits.
        image_size: To which the images of that were resized, or None.

    Returns:
        A dict.
    """
    unknown = ("views", "distilled", "seed", "metrics", "over_seeds")
    return {
        "fingerprint": fingerprints.fingerprint(model),
        "parameters": classifiers.num_parameters(model),
        "image_shape": source.image_shape,
        "image_size": image_size,
        "preprocessing": manifest.PREPROCESSING,
        "class_names": source.class_names,
        "dataset": {"name": source.name, "version": source.version},
        **dict.fromkeys((*unknown, "program", "settings", "versions")),
    }


def find_record(path):
    """The record of a model, if there is one beside it.

    Args:
        path: Of a `.keras` file, or of what a program wrote besides.

    Returns:
        A dict, or None. A file of that name that is something else, such as
        the architecture that Keras writes as JSON, is none.
    """
    path = pathlib.Path(path)
    places = [path.with_suffix(".json")]
    if path.name in _SAVED_AS:
        names = ("student.json", "teacher.json", CARD)
        places = [path.parent / name for name in names]
    for place in places:
        if place.is_file():
            try:
                record = json.loads(place.read_text("utf-8"))
            except ValueError:
                continue
            if isinstance(record, dict) and _ALWAYS <= record.keys():
                return record
    return None


def data_of(config):
    """The data set of a configuration, or else that of its model.

    Args:
        config: Configuration with `model`, the path of a model, and `dataset`,
            `data_dir` and `image_size`, each of which may be None.

    Returns:
        A dict of the arguments `name`, `data_dir` and `image_size` of
        `datasets.load`.
    """
    record = find_record(config.model)
    if config.dataset is not None or record is None:
        return {
            "name": config.dataset or "digits",
            "data_dir": config.data_dir,
            "image_size": config.image_size,
        }
    return {
        "name": record["dataset"]["name"],
        "data_dir": config.data_dir or record["dataset"].get("data_dir"),
        "image_size": config.image_size or record["image_size"],
    }


def trained_on(path, source):
    """The split on which a model was trained, if it shares examples.

    Args:
        path: Of the model.
        source: `datasets.ImageDataset` on which it is to be measured.

    Returns:
        The name of the split; None if it is not known, of another data set, or
        has no example in common.
    """
    record = find_record(path)
    if record is None:
        return None
    data = record["dataset"]
    if (data["name"], data["version"]) != (source.name, source.version):
        return None
    if "split" not in data or not source.parts:
        return None
    seen = source.other_split(data["split"])
    return data["split"] if seen.shares_examples(source) else None


def check_unseen(path, source):
    """Raises if a teacher is known to have learnt what it is measured on.

    Args:
        path: Of the teacher.
        source: `datasets.ImageDataset` of the test split.

    Raises:
        ValueError: If it has, or the record beside it is of another model.
    """
    check_record_of(path)
    seen = trained_on(path, source)
    if seen is not None:
        raise ValueError(
            f"{path} was trained on {seen!r}, as it says beside it, which "
            f"shares examples with the test split {source.split!r}. What its "
            "students learn of these would be counted there."
        )


def of_teacher(path):
    """What is worth knowing of a teacher, from its record; a dict or None."""
    record = find_record(path)
    if record is None or record.get("metrics") is None:
        return None
    settings = record["settings"]
    # It may have been a student before.
    is_student = record["distilled"] is not None
    return {
        "name": pathlib.Path(path).name,
        # A generalist with its specialists is none of the models by name.
        "model": settings.get(
            "student_model" if is_student else "model",
            "generalist and specialists",
        ),
        "parameters": record["parameters"],
        "trained_on": record["dataset"]["split"],
        "epochs": settings["student_epochs" if is_student else "epochs"],
        "test_errors": record["metrics"]["test_errors"],
    }


def check_record(record, model, path):
    """Raises unless a record is of this model.

    Args:
        record: As `find_record` gives it.
        model: The model that was loaded.
        path: Where it came from.

    Raises:
        ValueError: If it is of another one.
    """
    found = fingerprints.fingerprint(model)
    if found != record["fingerprint"]:
        raise ValueError(
            f"The record beside {path} is of another model: its fingerprint "
            f"is {record['fingerprint']}, and that of the file {found}. Move "
            "the record away, and the card will say nothing of its making."
        )


def check_record_of(path):
    """Raises if there is a record beside a `.keras` file, and of another model.

    Args:
        path: Of the file; of anything else nothing is checked.

    Raises:
        Errors of `kd_keras.load_teacher` and `check_record`.
    """
    record = find_record(path)
    if record is not None and pathlib.Path(path).suffix == ".keras":
        check_record(record, saved_teachers.load_teacher(path), path)


def describe(card):
    """A model card as Markdown.

    Args:
        card: The content of `card.json`.

    Returns:
        A string of lines.
    """
    lines = [f"# Model card: {card['name']}", "", _what_it_is(card), ""]
    lines += [
        "| fact | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in _facts(card)),
        "",
        "## Files",
        "",
        _files(card),
        "",
        "Deviation: the largest difference of logits between the file, loaded "
        "back, and the student in memory, relative to the largest logit, on "
        f"{card['checked_on']['examples']:,} images of "
        f"{card['checked_on']['name']} {card['checked_on']['version']}, "
        f"{card['checked_on']['split']}.",
        "",
        "## Classes",
        "",
        ", ".join(card["class_names"]) + ".",
    ]
    if card["settings"]:
        lines += [
            "",
            "## Settings",
            "",
            "```json",
            json.dumps(card["settings"], indent=2),
            "```",
        ]
    return "\n".join(lines) + "\n"


def _what_it_is(card):
    height, width, channels = card["image_shape"]
    resizes = " Images of any other size are resized to that by the SavedModel."
    return (
        f"Classifies images of {height} x {width} pixels, {channels} "
        f"channel{'s' * (channels > 1)}, into {len(card['class_names'])} "
        f"classes. It takes pixels as uint8 (`image`); what it was trained on "
        f"is {card['preprocessing']}, which the files do themselves."
        + (resizes if card["any_size"] else "")
    )


def _facts(card):
    """Names and values of what is known."""
    yield "parameters", f"{card['parameters']:,}"
    yield "fingerprint", card["fingerprint"]
    checked = card["checked_on"]
    low, high = (100 * bound for bound in checked["accuracy_interval"])
    yield (
        f"accuracy on the {checked['examples']:,} images of the comparison, "
        f"{checked['name']} {checked['split']}",
        f"{100 * checked['accuracy']:.2f}% ({low:.2f} to {high:.2f}, 95% "
        "binomial)",
    )
    if card["settings"] is None:
        yield "how it was made", "not known: there was no record beside it"
        return
    data = card["dataset"]
    yield "made by", f"kd_keras, {card['program']}, with the settings below"
    yield "trained on", f"{data['name']} {data['version']}, {data['split']}"
    if card["views"]:
        yield "shown", card["views"]
    share = card["settings"].get("labelled_fraction", 1.0)
    yield "labels that it was given", f"{100 * share:g}%"
    soft = card["distilled"]
    if soft:
        yield "teacher", soft["teacher"]["name"]
        yield "teacher's fingerprint", soft["teacher"]["fingerprint"]
        for known in soft["teacher"].get("records", ()):
            yield (
                f"of {known['name']}",
                f"{known['model']}, {known['parameters']:,} parameters, "
                f"{known['epochs']} epochs on {known['trained_on']}, "
                f"{known['test_errors']:,} test errors",
            )
        yield "temperature", f"{soft['temperature']:g}"
        yield (
            "weight of the soft term",
            f"{soft['soft_weight']:g}, of the labels "
            f"{1 - soft['soft_weight']:g}",
        )
        if soft.get("chosen"):
            yield "how these were chosen", soft["chosen"]
    metrics = card["metrics"]
    yield (
        f"errors on all of {data['test_split']}",
        f"{metrics['test_errors']:,} of {metrics['test_examples']:,}",
    )
    errors = [row["test_errors"] for row in card["over_seeds"]]
    seeds = [row["seed"] for row in card["over_seeds"]]
    if len(errors) > 1:
        mean, spread = comparison.mean_and_spread(errors)
        yield (
            f"the same, seeds {seeds[0]} to {seeds[-1]}",
            f"{mean:.1f} ± {spread:.1f} (mean ± standard deviation)",
        )
    yield "seed", f"{card['seed']}"
    yield (
        "calibration error, 15 bins of equal width",
        f"{metrics['calibration_error']:.4f}",
    )
    yield (
        "negative log-likelihood, nats",
        f"{metrics['negative_log_likelihood']:.4f}",
    )
    yield (
        "made with",
        ", ".join(f"{name} {v}" for name, v in card["versions"].items()),
    )


def _files(card):
    rows = [
        [
            file["file"],
            f"{file['bytes'] / 1000:,.0f}",
            f"{file['deviation']:.1e}",
            f"{file['changed_decisions']}",
        ]
        for file in card["files"]
    ]
    header = ["file", "kB", "deviation", "decisions that differ"]
    return comparison.format_table(header, rows)
