"""Reports: numbers on the page are those of the data; plots show them."""

import json
import re
import struct

import numpy as np
import tensorflow as tf
from scipy import special

from kd_keras import reports
from kd_keras import training
from kd_keras.reports import plots
from tests import digits_runs


class PlotsTest(tf.test.TestCase):
    def test_reliability(self):
        rng = np.random.default_rng(0)
        logits = rng.normal(0, 2, (400, 4))
        labels = rng.integers(0, 4, 400)
        axes = plots.reliability(labels, {"a": logits}, num_bins=5).axes[0]
        confidence = special.softmax(logits, -1).max(-1)
        right = logits.argmax(-1) == labels
        drawn = {
            round(bar.get_x() + bar.get_width() / 2, 3): bar.get_height()
            for bar in axes.patches
        }
        for number in range(5):
            held = (confidence > number / 5) & (confidence <= (number + 1) / 5)
            centre = round((number + 0.5) / 5, 3)
            if held.any():
                self.assertAllClose(drawn[centre], right[held].mean())
            else:
                self.assertNotIn(centre, drawn)

    def test_temperatures(self):
        cells = {(1.0, 0.5): [4, 8], (8.0, 0.5): [2, 2], (1.0, 0.9): [5, 7]}
        axes = plots.temperatures(cells, (8.0, 0.5), "errors").axes[0]
        means = [
            container.lines[0].get_ydata().tolist()
            for container in axes.containers
        ]
        self.assertEqual(means, [[6.0, 2.0], [6.0]])
        (segments,) = axes.containers[0].lines[2]
        spread = segments.get_segments()[0][:, 1]
        self.assertAllClose(spread, [6 - np.sqrt(8), 6 + np.sqrt(8)])
        self.assertEqual(axes.get_xscale(), "log")

    def test_learning_curves(self):
        line = [{"epoch": e, "accuracy": a} for e, a in ((0, 0.5), (1, 1.0))]
        low = [{"epoch": e, "accuracy": a} for e, a in ((0, 0.3), (1, 0.8))]
        plot = plots.learning_curves({"x": [line, low]})
        (axes,) = plot.axes
        self.assertAllClose(axes.lines[0].get_xdata(), [1, 2])
        self.assertAllClose(axes.lines[0].get_ydata(), [40, 90])
        self.assertEqual(axes.get_ylabel(), "accuracy, %")
        line[1]["val_accuracy"] = 0.25
        held_out = plots.learning_curves({"x": [line]}).axes[1]
        self.assertAllClose(held_out.lines[0].get_ydata(), [25])

    def test_class_errors(self):
        axes = plots.class_errors(
            {"a": np.array([1, 2]), "b": np.array([3, 0])}, ["x", "y"]
        ).axes[0]
        heights = [bar.get_height() for bar in axes.patches]
        self.assertEqual(heights, [1, 2, 3, 0])


class ReportTest(digits_runs.DigitsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        config = training.DistillConfig(
            data_dir=cls.data_dir, temperature=(1.0, 4.0), **digits_runs.SMALL
        )
        cls.rows, cls.sizes = training.run_distillation(
            config,
            cls.folder / "run",
            finish=reports.write_distillation_report,
        )
        cls.page = (cls.folder / "run/report.md").read_text()

    def test_page(self):
        self.assertIn(training.summarise(self.rows, self.sizes), self.page)
        with np.load(self.folder / "run/predictions.npz") as found:
            labels = found["labels"]
            teacher, student = found["teacher"], found["distilled"]
        differ = (teacher.argmax(-1) != student.argmax(-1)).sum()
        self.assertIn(f"{differ} of 500 test examples", self.page)
        wrong = teacher.argmax(-1) != labels
        saved = (student.argmax(-1) == labels)[wrong].sum()
        self.assertIn(f"Of the {wrong.sum()} that the teacher", self.page)
        self.assertIn(f"gets {saved} right", self.page)

    def test_pictures(self):
        names = re.findall(r"!\[.*?\]\((.*?)\)", self.page)
        self.assertLen(names, 6)
        for name in names:
            data = (self.folder / "run" / name).read_bytes()
            width, height = struct.unpack(">II", data[16:24])
            self.assertEqual(width, 800)
            self.assertBetween(height, 200, 1000)

    def test_the_same_again(self):
        before = {
            file.name: file.read_bytes()
            for file in (self.folder / "run").glob("*.png")
        }
        names = [str(number) for number in range(10)]
        reports.write_distillation_report(self.folder / "run", names)
        for name, content in before.items():
            self.assertEqual(
                (self.folder / "run" / name).read_bytes(), content, name
            )

    def test_settings_go_back(self):
        config = json.loads((self.folder / "run/config.json").read_text())
        self.assertEqual(config["temperature"], [1.0, 4.0])
        self.assertIn("--config=config.json", self.page)


if __name__ == "__main__":
    tf.test.main()
