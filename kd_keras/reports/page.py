"""A page of Markdown with its plots beside it."""

import json
import pathlib

import numpy as np

from kd_keras.reports import plots
from kd_keras.reports import style

# More classes than this do not fit into a plot.
_MAX_CLASSES = 30


class Page:
    """A page in the making, of what a program that trains has written.

    Attributes:
        config: Content of `config.json`.
        rows: Lines of `metrics.jsonl`.
        labels: Labels of the test split.
        images: The first of its images.
        predictions: Dict of names of models to their logits.

    Args:
        folder: Directory with these files.
        class_names: Names of the classes.
        title: Heading of the page.
    """

    def __init__(self, folder, class_names, title):
        self.folder = pathlib.Path(folder)
        self.class_names = list(class_names)
        self.config = json.loads((self.folder / "config.json").read_text())
        self.rows = self.read_lines("metrics.jsonl")
        with np.load(self.folder / "predictions.npz") as predictions:
            self.predictions = dict(predictions)
        self.labels = self.predictions.pop("labels")
        self.images = self.predictions.pop("images")
        self._lines = [f"# {title} on {self.config['dataset']}", ""]

    def read_lines(self, name):
        """The lines of a file of JSON lines, a list."""
        text = (self.folder / name).read_text()
        return [json.loads(line) for line in text.splitlines()]

    def add_text(self, *lines):
        """Adds lines, and an empty one."""
        self._lines += [*lines, ""]

    def add_plot(self, title, name, plot, caption):
        """Adds a heading, a plot that is written, and what it shows."""
        style.save(plot, self.folder / f"{name}.png")
        self.add_text(f"## {title}", "", f"![{title}]({name}.png)", "", caption)

    def add_curves(self, curves, caption):
        """Adds how models learnt.

        Args:
            curves: As `plots.learning_curves` takes them.
            caption: What is to be said of them.
        """
        if curves:
            self.add_plot(
                "Learning curves",
                "learning_curves",
                plots.learning_curves(curves),
                caption,
            )

    def add_reliability(self, seed):
        """Adds whether confidence is worth what it says."""
        self.add_plot(
            "Reliability",
            "reliability",
            plots.reliability(self.labels, self.predictions),
            f"Seed {seed}. On the dashed line a model is right as often as it "
            "says. Pale bars hold fewer than 10 examples.",
        )

    def add_class_errors(self, seed, of):
        """Adds which classes are hard.

        Args:
            seed: Seed of the models.
            of: Name of the model whose worst classes are shown.
        """
        num_classes = len(self.class_names)
        errors = {
            name: np.bincount(
                self.labels[logits.argmax(axis=-1) != self.labels],
                minlength=num_classes,
            )
            for name, logits in self.predictions.items()
        }
        worst = np.argsort(-errors[of], kind="stable")
        some = np.sort(worst[:_MAX_CLASSES])
        caption = f"Seed {seed}."
        if num_classes > _MAX_CLASSES:
            caption += f" The worst {_MAX_CLASSES} of {num_classes} classes."
        self.add_plot(
            "Errors by class",
            "class_errors",
            plots.class_errors(
                {name: counts[some] for name, counts in errors.items()},
                [self.class_names[number] for number in some],
            ),
            caption,
        )

    def add_provenance(self, program):
        """Adds with what it was made."""
        versions = ", ".join(
            f"{name} {version}"
            for name, version in self.config["versions"].items()
        )
        self._lines += [
            "## How it was made",
            "",
            f"{self.config['dataset']} {self.config['dataset_version']}, "
            f"{self.config['num_train_examples']} training examples, shown "
            f"{self.config['views'] or 'as they are'}; {versions}. All "
            "settings are in `config.json`: the same again is "
            f"`python -m scripts.{program} --config=config.json "
            "--output_dir=...`.",
        ]

    def write(self):
        """Writes the page."""
        text = "\n".join(self._lines) + "\n"
        (self.folder / "report.md").write_text(text, "utf-8")
