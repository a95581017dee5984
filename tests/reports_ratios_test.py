"""The plot of a benchmark."""

import pathlib

import tensorflow as tf
from matplotlib.backends import backend_agg

from kd_keras import reports
from kd_keras.benchmarks import rounds
from kd_keras.reports import style


def ratio(name, values, limit):
    return rounds.Ratio(name, values, (1.0, 1.0), limit)


class RatiosPlotTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.path = pathlib.Path(self.get_temp_dir()) / "ratios.png"

    def test_multiples_of_the_limit(self):
        figure = reports.write_ratios_plot(
            self.path,
            [
                ratio("net: live", [1.26], "<= 1.05"),
                ratio("net: without limit", [3.0], ""),
                ratio("net: evaluation", [2.0, 3.0, 2.5], ">= 2"),
                ratio("loss: alone", [0.5], "<= 0.5"),
                ratio("memory", [1.1, 0.9, 1.05], "<= 1"),
            ],
        )
        self.assertGreater(self.path.stat().st_size, 1000)
        (axes,) = figure.axes
        self.assertEqual(
            [label.get_text() for label in axes.get_yticklabels()],
            [
                # What two have in common is said once, and of one with it.
                "net",
                "live  <= 1.05",
                "evaluation  >= 2",
                "loss: alone  <= 0.5",
                "memory  <= 1",
            ],
        )
        shown = {}
        for line in axes.lines:
            if len(line.get_ydata()) == 1:
                shown[line.get_ydata()[0]] = line.get_xdata()[0]
        self.assertAllClose(shown, {1: 1.2, 2: 0.8, 3: 1.0, 4: 1.05})
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        self.assertEqual(
            texts,
            [
                "within the limit: 2",
                "beyond, not all of it: 1",
                "beyond the limit: 1",
            ],
        )

    def test_no_limit_no_plot(self):
        found = reports.write_ratios_plot(self.path, [ratio("x", [1.0], "")])
        self.assertIsNone(found)
        self.assertFalse(self.path.exists())


class LegendTest(tf.test.TestCase):
    def test_many_long_names_stay_on_the_page(self):
        plot = style.new_figure()
        axes = plot.subplots()
        for number in range(6):
            axes.plot([0, 1], label=f"what the arm of number {number} says")
        style.legend(axes)
        canvas = backend_agg.FigureCanvasAgg(plot)
        canvas.draw()
        (legend,) = plot.legends
        box = legend.get_window_extent()
        self.assertGreaterEqual(box.x0, 0)
        self.assertLessEqual(box.x1, plot.bbox.width)
        self.assertLess(
            axes.get_window_extent().y1, box.y0 + 1, "It hides the axes."
        )


if __name__ == "__main__":
    tf.test.main()
