"""The report of a distillation: a page, and the plots beside it."""

import json
import pathlib

import numpy as np
from scipy import special

from kd_keras import training
from kd_keras.reports import plots
from kd_keras.reports import style
from kd_keras.training import arms as arms_lib

# More classes than this do not fit into a plot.
_MAX_CLASSES = 30
_NUM_SOFT_TARGETS = 8
_NUM_DISAGREEMENTS = 10


def write_distillation_report(folder, class_names):
    """Writes `report.md` and its plots into a distillation's directory.

    Args:
        folder: Directory with what `training.run_distillation` wrote.
        class_names: Names of the classes.
    """
    page = _Page(pathlib.Path(folder), class_names)
    for add in (
        page.add_tables,
        page.add_curves,
        page.add_temperatures,
        page.add_reliability,
        page.add_soft_targets,
        page.add_disagreements,
        page.add_class_errors,
        page.add_provenance,
    ):
        add()
    page.write()


class _Page:
    """A page in the making."""

    def __init__(self, folder, class_names):
        self._folder = folder
        self._class_names = list(class_names)
        self._config = json.loads((folder / "config.json").read_text())
        self._rows = _read_lines(folder / "metrics.jsonl")
        self._sizes = json.loads((folder / "sizes.json").read_text())
        self._chosen = arms_lib.chosen(self._rows)
        with np.load(folder / "predictions.npz") as predictions:
            self._predictions = dict(predictions)
        self._labels = self._predictions.pop("labels")
        self._images = self._predictions.pop("images")
        self._lines = [f"# Distillation on {self._config['dataset']}", ""]

    def add_tables(self):
        """What came of it."""
        self._lines += [training.summarise(self._rows, self._sizes), ""]

    def add_curves(self):
        """How the arms learnt."""
        curves = {}
        for line in _read_lines(self._folder / "curves.jsonl"):
            arm = arms_lib.of_row(line)
            if arm.name != arms_lib.DISTILLED or arm == self._chosen:
                of_seeds = curves.setdefault(arm.name, {})
                of_seeds.setdefault(line["seed"], []).append(line)
        if curves:
            self._add(
                "Learning curves",
                "learning_curves",
                plots.learning_curves(
                    {name: list(c.values()) for name, c in curves.items()}
                ),
                "Mean over the seeds; the bands reach from the least to the "
                "most. Training accuracy is that of the labels that the arm "
                "has, with dropout as it trains.",
            )

    def add_temperatures(self):
        """Errors over temperature, if there are several."""
        key = "validation_errors"
        cells = {}
        for row in self._rows:
            if row["arm"] == arms_lib.DISTILLED and row[key] is not None:
                pair = row["temperature"], row["soft_weight"]
                cells.setdefault(pair, []).append(row[key])
        if len(cells) > 1:
            chosen = self._chosen.temperature, self._chosen.soft_weight
            self._add(
                "Temperature and weight",
                "temperature",
                plots.temperatures(cells, chosen, "held-out examples"),
                "Mean and standard deviation over the seeds. The test split "
                "had no part in the choice.",
            )

    def add_reliability(self):
        """Whether confidence is worth what it says."""
        self._add(
            "Reliability",
            "reliability",
            plots.reliability(self._labels, self._predictions),
            f"Seed {self._config['first_seed']}. On the dashed line a model is "
            "right as often as it says. Pale bars hold fewer than 10 examples.",
        )

    def add_soft_targets(self):
        """What the student is told beyond the label."""
        temperature = self._chosen.temperature
        logits = np.float64(self._predictions[arms_lib.TEACHER])
        probs = special.softmax(logits[: len(self._images)] / temperature, -1)
        entropy = special.entr(probs).sum(axis=-1)
        some = np.argsort(-entropy, kind="stable")[:_NUM_SOFT_TARGETS]
        self._add(
            "What the teacher says beside the label",
            "soft_targets",
            plots.soft_targets(
                self._images[some],
                self._labels[some],
                probs[some],
                self._class_names,
                temperature,
            ),
            "The test images whose soft targets have the highest entropy, of "
            f"the first {len(self._images)}. Seed "
            f"{self._config['first_seed']}.",
        )

    def add_disagreements(self):
        """Where student and teacher say different things."""
        teacher = self._predictions[arms_lib.TEACHER].argmax(axis=-1)
        student = self._predictions[arms_lib.DISTILLED].argmax(axis=-1)
        differ = teacher != student
        teacher_wrong = teacher != self._labels
        caption = (
            f"{differ.sum()} of {len(differ)} test examples. Of the "
            f"{teacher_wrong.sum()} that the teacher gets wrong, the student "
            f"gets {(student == self._labels)[teacher_wrong].sum()} right."
        )
        shown = np.flatnonzero(differ[: len(self._images)])[:_NUM_DISAGREEMENTS]
        if not len(shown):
            self._lines += ["## Where they disagree", "", caption, ""]
            return
        names = self._class_names
        self._add(
            "Where they disagree",
            "disagreements",
            plots.disagreements(
                self._images[shown],
                [
                    f"label {names[self._labels[i]]}\n"
                    f"teacher {names[teacher[i]]}\n"
                    f"student {names[student[i]]}"
                    for i in shown
                ],
            ),
            caption,
        )

    def add_class_errors(self):
        """Which classes are hard."""
        num_classes = len(self._class_names)
        errors = {
            name: np.bincount(
                self._labels[logits.argmax(axis=-1) != self._labels],
                minlength=num_classes,
            )
            for name, logits in self._predictions.items()
        }
        # Those that the distilled student gets wrong most often.
        worst = np.argsort(-errors[arms_lib.DISTILLED], kind="stable")
        some = np.sort(worst[:_MAX_CLASSES])
        caption = f"Seed {self._config['first_seed']}."
        if num_classes > _MAX_CLASSES:
            caption += f" The worst {_MAX_CLASSES} of {num_classes} classes."
        self._add(
            "Errors by class",
            "class_errors",
            plots.class_errors(
                {name: counts[some] for name, counts in errors.items()},
                [self._class_names[number] for number in some],
            ),
            caption,
        )

    def add_provenance(self):
        """With what it was made."""
        versions = ", ".join(
            f"{name} {version}"
            for name, version in self._config["versions"].items()
        )
        self._lines += [
            "## How it was made",
            "",
            f"{self._config['dataset']} {self._config['dataset_version']}, "
            f"{self._config['num_train_examples']} training examples; "
            f"{versions}. All settings are in `config.json`: the same again is "
            "`python -m scripts.distill --config=config.json "
            "--output_dir=...`.",
        ]

    def write(self):
        """Writes the page."""
        text = "\n".join(self._lines) + "\n"
        (self._folder / "report.md").write_text(text, "utf-8")

    def _add(self, title, name, plot, caption):
        style.save(plot, self._folder / f"{name}.png")
        self._lines += [
            f"## {title}",
            "",
            f"![{title}]({name}.png)",
            "",
            caption,
            "",
        ]


def _read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
