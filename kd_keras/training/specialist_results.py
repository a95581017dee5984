"""What a generalist and its specialists are worth, and files that say it."""

import dataclasses
import pathlib

import numpy as np

from kd_keras import comparison
from kd_keras import json_files
from kd_keras import specialists
from kd_keras.training import cards
from kd_keras.training import classifiers
from kd_keras.training import curves
from kd_keras.training import outputs

PROGRAM = "train_specialists"
GENERALIST, COMBINED = "generalist", "combined"


def write(run, config, data, models, class_sets, each):
    """Measures both, and writes all files but those of models.

    Args:
        run: `runs.Run`.
        config: `SpecialistsConfig`.
        data: `data.JobData`.
        models: Dict of the names of the generalist and of the combined model,
            in this order, to these.
        class_sets: List of lists of int, the classes of each specialist.
        each: What is known of each, a list of dicts.

    Returns:
        The content of `specialists.json`, with the lines of `metrics.jsonl` as
        `rows`, a dict.
    """
    test, folder = data.test, run.path
    logits = {name: test.logits(model) for name, model in models.items()}
    rows = [
        {
            "seed": config.seed,
            "arm": name,
            "parameters": classifiers.num_parameters(model),
            **test.quality(logits[name]),
            "conditional_accuracy": _conditional(
                test.labels, logits[name], class_sets
            ),
        }
        for name, model in models.items()
    ]
    right = [test.labels == of.argmax(axis=1) for of in logits.values()]
    found = {
        # Sets that turned out equal are one.
        "num_sets_wanted": config.num_sets,
        "specialists": each,
        "coverage": [
            dataclasses.asdict(line)
            for line in specialists.coverage(
                test.labels, *logits.values(), class_sets
            )
        ],
        "mcnemar_p": comparison.mcnemar(*right),
    }
    json_files.write(folder / "specialists.json", found)
    outputs.write_lines(folder / "metrics.jsonl", rows)
    outputs.write_predictions(folder, test, logits)
    outputs.write_curves(
        folder,
        [
            (path.stem, {"model": path.stem}, curves.read(path))
            for path in sorted(run.work.glob("*.curve"))
        ],
    )
    for (name, model), row in zip(models.items(), rows, strict=True):
        file = folder / f"{name}.keras"
        if name == GENERALIST and config.generalist is not None:
            # Trained elsewhere: what is known of it stays so.
            record = cards.find_record(pathlib.Path(config.generalist))
            if record:
                json_files.write(file.with_suffix(".json"), record)
            continue
        cards.write_record(
            file,
            model,
            data.train,
            config,
            program=PROGRAM,
            seed=config.seed,
            metrics=row,
            views=data.describe_views(),
        )
    return {**found, "rows": rows}


def _conditional(labels, logits, class_sets):
    """`conditional_accuracy`; None if no test example is of a special class."""
    if not np.isin(labels, np.concatenate(class_sets)).any():
        return None
    return specialists.conditional_accuracy(labels, logits, class_sets)
