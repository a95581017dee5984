import io
from unittest import mock

import numpy as np
import tensorflow as tf

from kd_keras import progress
from tests import reference


class Terminal(io.StringIO):
    def isatty(self):
        return True


class ProgressTest(tf.test.TestCase):
    def test_quiet_in_a_log(self):
        stream = io.StringIO()
        report = progress.Report(10, stream)
        report.start("first")
        for _ in range(5):
            report.advance(1)
        report.start("second")
        report.close()
        lines = stream.getvalue().splitlines()
        self.assertLen(lines, 3)
        self.assertEqual(lines[0], "  0%  first")
        self.assertRegex(lines[1], r"^ 50%  second  \(\d+ s left\)$")
        self.assertRegex(lines[2], r"^Done in \d+ s\.$")

    def test_a_line_each_minute_in_a_log(self):
        stream, clock = io.StringIO(), mock.Mock(return_value=1000.0)
        with mock.patch("time.monotonic", clock):
            report = progress.Report(100, stream)
            report.start("first")
            for _ in range(13):
                clock.return_value += 10.0
                report.advance(1)
        self.assertEqual(
            stream.getvalue().splitlines(),
            ["  0%  first", "  7%  first  (930 s left)"],
        )

    def test_one_line_on_a_terminal(self):
        stream = Terminal()
        report = progress.Report(10, stream)
        report.start("first")
        report.advance(5)
        self.assertIn(" 50%  first", stream.getvalue())
        self.assertNotIn("\n", stream.getvalue())

    def test_counts_the_steps_of_fit(self):
        """16 steps, of which 5 are one execution."""
        x, y = np.zeros((32, 3)), np.zeros(32)
        for steps_per_execution in (1, 5):
            stream = io.StringIO()
            report = progress.Report(2 * 16, stream)
            model = reference.mlp(0)
            model.compile(
                "sgd",
                reference.from_logits(),
                steps_per_execution=steps_per_execution,
            )
            model.fit(
                x, y, 2, epochs=2, verbose=0, callbacks=[report.callback()]
            )
            report.start("end")
            self.assertIn("100%  end", stream.getvalue())


if __name__ == "__main__":
    tf.test.main()
