"""The benchmark runs, and tells what it measured."""

import json
import pathlib
import tempfile

import pytest
import tensorflow as tf

from kd_keras import benchmarks
from kd_keras import datasets
from kd_keras.benchmarks import growth
from kd_keras.benchmarks import processes as processes_lib
from kd_keras.benchmarks import rounds
from kd_keras.benchmarks import several_students
from kd_keras.benchmarks import steps
from kd_keras.benchmarks import stored_targets
from kd_keras.benchmarks import workloads
from tests import processes


class RoundsTest(tf.test.TestCase):
    def test_ratio(self):
        order = []
        clock = iter(range(1000))
        # Each call takes as many ticks as it is made to.

        def ticks(name, count):
            def call():
                order.append(name)
                for _ in range(count):
                    next(clock)

            return call

        original = rounds.time.perf_counter
        rounds.time.perf_counter = lambda: next(clock)
        try:
            ratio = rounds.compare(
                "a / b",
                ticks("a", 5),
                ticks("b", 2),
                limit="<= 2",
                num_rounds=3,
            )
        finally:
            rounds.time.perf_counter = original
        # One tick more each, for the clock itself; the first round is not
        # counted, and they take turns: the second one goes the same way.
        self.assertEqual(order, list("ababbaab"))
        self.assertEqual(ratio.ratios, [2.0] * 3)
        self.assertEqual(ratio.medians, (6, 3))
        self.assertEqual(ratio.verdict, "yes")
        self.assertNotIn("2.000 to 2.000", rounds.table([ratio]))

    def test_without_warming_up(self):
        calls = []
        ratio = rounds.compare(
            "once",
            lambda: calls.append("a"),
            lambda: calls.append("b"),
            limit=">= 0",
            num_rounds=1,
            warm_up=False,
        )
        self.assertEqual(calls, ["a", "b"])
        self.assertLen(ratio.ratios, 1)

    def test_limits(self):
        for limit, verdict in (
            ("<= 9.0", "yes"),
            ("<= 2.0", "in the median"),
            ("<= 1.9", "not in the median"),
            ("<= 0.9", "NO"),
            (">= 1", "yes"),
            (">= 2", "in the median"),
            (">= 2.1", "not in the median"),
            (">= 9.1", "NO"),
            ("", ""),
        ):
            ratio = rounds.Ratio("", [1.0, 2.0, 9.0], (1.0, 1.0), limit)
            self.assertEqual(ratio.median, 2.0)
            self.assertEqual(ratio.verdict, verdict)
            self.assertEqual(
                ratio.keeps, verdict in ("yes", "in the median", "")
            )

    def test_interval(self):
        ratio = rounds.Ratio("", [1.0, 2.0, 9.0], (1.0, 1.0), "")
        self.assertEqual(ratio.interval, (1.0, 9.0))
        # Two of 21 that are far away move no median.
        ratios = [0.1, *[1 + i / 100 for i in range(-9, 10)], 7.0]
        low, high = rounds.Ratio("", ratios, (1.0, 1.0), "").interval
        self.assertBetween(low, 0.94, 0.99)
        self.assertBetween(high, 1.01, 1.06)


class RandomDataTest(tf.test.TestCase):
    def workload(self):
        return workloads.Workload(
            "tiny",
            (3,),
            4,
            8,
            5,
            workloads.mlps((6,), (3,), 4),
            workloads.mlps((7,), (3,), 4),
        )

    def test_the_teacher_runs_on_every_batch(self):
        workload, calls = self.workload(), tf.Variable(0)
        model = workload.make_teacher(0)

        def teacher(x):
            calls.assign_add(1)
            return model(x)

        x, y = workload.arrays()
        data = workloads.batched(workload, x, y)
        run = workloads.bare_forward(teacher, data)
        last = float(tf.reduce_sum(model(x[-8:])))
        self.assertAllClose(run(), last, rtol=1e-5)
        self.assertEqual(int(calls), 5)

    def test_arms_are_made_again(self):
        made = []

        def make_arms():
            calls = []
            made.append(calls)
            return {
                "a": lambda: calls.append("a"),
                "b": lambda: calls.append("b"),
            }

        taken = rounds.time_instances(make_arms, num_instances=3, num_rounds=7)
        # Three rounds each, and one more that does not count; every other
        # time those that are last begin.
        self.assertEqual(
            ["".join(calls) for calls in made],
            ["ababbaab", "babaabba", "ababbaab"],
        )
        self.assertLen(taken["a"], 9)

    @pytest.mark.slow
    def test_all_ways_to_take_a_step(self):
        taken = rounds.time_in_turn(
            steps.arms(self.workload()), num_rounds=1, warm_up=False
        )
        self.assertContainsSubset(
            ["teacher", "plain", "live", "stored", "keras", "keras_evaluate"],
            taken,
        )
        self.assertLen(list(steps._ratios(self.workload(), taken)), 15)

    @pytest.mark.slow
    def test_eight_students(self):
        ratios = several_students.run(num_rounds=1)
        self.assertLen(ratios, 4)
        for ratio in ratios[:3]:
            self.assertGreater(ratio.median, 1)

    @pytest.mark.slow
    def test_in_processes_of_their_own(self):
        found = {
            name: processes_lib.run(name, num_rounds=1)
            for name in processes_lib.NAMES
        }
        for ratios in found.values():
            for ratio in ratios:
                self.assertGreater(min(ratio.ratios), 0)
        # Two arrays, of which one becomes the gradient.
        [ratio] = found["loss_memory"]
        self.assertEqual(ratio.medians[1], 4096 * 32000 * 4)
        self.assertBetween(ratio.median, 0.9, 1.1)
        # What training adds is less than all that it holds.
        for peak, added in zip(
            found["memory"][::2], found["memory"][1::2], strict=True
        ):
            self.assertLess(added.medians[0], peak.medians[0])
            self.assertLess(added.medians[1], peak.medians[1])

    @pytest.mark.slow
    def test_growth(self):
        ratios = growth.run("growth_examples", num_rounds=1, sizes=(300, 700))
        self.assertLen(ratios, 1)
        self.assertIn("700 to 300", ratios[0].name)
        ratios = growth.run("growth_batch", num_rounds=1, sizes=(2, 4, 8))
        self.assertEqual(
            [ratio.name.split("batch, ")[1] for ratio in ratios],
            ["4 to 2", "8 to 4", "8 to 2"],
        )
        # Per example, so that they grow less than the batch.
        self.assertLess(ratios[0].median, 1.5)


class BenchmarkScriptTest(tf.test.TestCase):
    def test_runs(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        output = pathlib.Path(folder) / "ratios.json"
        process = processes.start(
            [
                "-m",
                "scripts.benchmark",
                "--rounds=1",
                "--epochs=1",
                "--split=train[:200]",
                "--compare=loss_1000_classes,mlp_step,mlp_step",
                f"--output={output}",
            ],
            {},
        )
        said = processes.finish(process)
        self.assertIn("median ratio", said)
        self.assertNotIn("Traceback", said)
        written = json.loads(output.read_text())["comparisons"]
        self.assertTrue(output.with_suffix(".png").exists())
        self.assertEqual(set(written), {"loss_1000_classes", "mlp_step"})
        found = written["loss_1000_classes"]
        self.assertIn("CPU cores", found["machine"])
        self.assertLen(found["ratios"], 2)
        self.assertIn("loss of 256 x 1,000", found["ratios"][0]["name"])

    @pytest.mark.slow
    def test_all_comparisons(self):
        source = datasets.load("digits", "train[:100]")
        for name in stored_targets.NAMES:
            [ratio] = stored_targets.run(
                name, source, source, num_rounds=1, num_epochs=1
            )
            self.assertGreater(ratio.median, 0)
            # There are too few examples to ask for anything.
            self.assertEqual(ratio.limit, "")

    def test_unknown_comparison(self):
        with self.assertRaisesRegex(
            ValueError, "comparison flying.*growth_classes"
        ):
            next(benchmarks.run(["step_mlp", "flying"], None))


if __name__ == "__main__":
    tf.test.main()
