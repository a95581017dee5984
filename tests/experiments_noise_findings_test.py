"""What the experiment on gradient noise makes of its measures."""

import tensorflow as tf

from kd_keras import experiments
from kd_keras.experiments import gradient_noise
from tests import noise_points


class FindTest(tf.test.TestCase):
    def results(self):
        """Two seeds; at T = 20 half the noise, 30 times the variance."""
        results = {}
        for seed in range(2):
            results["identity", seed] = {
                "temperatures": [
                    {
                        "temperature": temperature,
                        "entropy": temperature / 10,
                        "exact": 0.5,
                        "measured": 0.5 + 0.01 * (1 + seed),
                        "standard_error": 0.01,
                        "soft": 0.2,
                        "drawn_variance": 40.0,
                        "soft_variance": 30.0,
                    }
                    for temperature in (1, 20)
                ]
            }
            for target in noise_points.TARGETS:
                mean = 600.0 if target == "soft-20" else 10.0
                mean += seed
                results[f"trajectory-{target}", seed] = {
                    "entropy": {
                        name: float(number)
                        for number, name in enumerate(gradient_noise._MEASURED)
                    },
                    "points": [
                        noise_points.point(
                            epoch,
                            0.05 - 0.005 * epoch,
                            hard=(500.0, 10.0 + seed),
                            **{
                                name: (15_000.0, mean)
                                if target == "soft-20"
                                else (500.0, mean)
                                for name in (target.replace("-", "_"), "soft_8")
                                if name != "hard"
                            },
                        )
                        for epoch in range(6)
                    ],
                }
                results[f"rates-{target}", seed] = {
                    "rates": [
                        {
                            "rate": rate,
                            "is_stable": rate < 1,
                            "error_share": 0.02,
                            "steps": None
                            if rate >= 1
                            else 200
                            if target == "hard"
                            else 100,
                        }
                        for rate in (0.25, 0.5, 1.0)
                    ]
                }
        return results

    def holds(self, results):
        found = gradient_noise.find(results, experiments.Settings())
        return [check.holds for check in found.checks]

    def test_all_of_it(self):
        results = self.results()
        found = gradient_noise.find(results, experiments.Settings())
        self.assertEqual([c.holds for c in found.checks], [True] * 7)
        measured = [check.measured for check in found.checks]
        low, _, high, *_ = measured[1].split()
        self.assertIn(f"is {low} to {high} of that of labels", found.summary)
        self.assertEqual(
            [check.is_certain for check in found.checks], [True] + [False] * 6
        )
        # The mean of both seeds, 0.015, and 0.01 / sqrt(2).
        self.assertIn("2.1 standard errors", found.checks[0].measured)
        self.assertIn("0.50 to 0.55 of", found.checks[1].measured)
        self.assertIn("30.0 to 30.0 times", found.checks[2].measured)
        self.assertLen(found.headlines, 3)
        self.assertStartsWith(found.headlines[0].ours, "0.524 (")
        identity, own, common, equal, rates = found.tables
        self.assertEqual(identity.rows[0][-1], "25%")
        self.assertEqual(own.rows[0][0], "hard, 0 epochs")
        self.assertLen(common.rows, 18)
        self.assertEqual([row[0] for row in equal.rows], ["3%", "2.5%"])
        self.assertEqual([row[1] for row in rates.rows], ["0.5 0.5"] * 3)
        names = [plot.name for plot in found.plots]
        self.assertLen(set(names), 6)
        lines = found.plots[names.index("noise")].lines
        self.assertAllClose(lines["hard"][2], [50.0, 500 / 11])
        self.assertAllClose(lines["soft-20"][2], [25.0, 15_000 / 601])
        lines = found.plots[names.index("entropy_variance")].lines
        self.assertAllEqual(
            lines["by soft-20, 3 epochs"], {0.0: [500] * 2, 5.0: [15_000] * 2}
            | {4.0: [15_000] * 2},
        )  # fmt: skip

    def test_what_does_not_hold(self):
        results = self.results()
        for of in results["identity", 0]["temperatures"]:
            of["measured"] = 0.54
        of_seed = results["trajectory-soft-20", 1]["points"][2]["noise"]
        of_seed["soft-20"] = {"variance": 499.0, "squared_mean": 14.0}
        for run in results["rates-soft-20", 1]["rates"]:
            run["is_stable"] = run["rate"] < 0.5
        self.assertEqual(
            self.holds(results),
            [False, False, False, True, False, True, True],
        )
        # Beyond the epochs of the claim it is not asked.
        results = self.results()
        results["trajectory-soft-20", 0]["points"][4]["noise"]["soft-20"] = {
            "variance": 1.0,
            "squared_mean": -1.0,
        }
        self.assertEqual(self.holds(results)[:3], [True] * 3)

    def test_some_of_it(self):
        """What is not done yet is left out."""
        results = self.results()
        one = {key: r for key, r in results.items() if key[1] == 0}
        self.assertEqual(
            self.holds(one), [True, True, True, None, True, True, None]
        )
        for arm in {arm for arm, _ in results}:
            alone = {key: r for key, r in results.items() if key[0] == arm}
            found = gradient_noise.find(alone, experiments.Settings())
            self.assertLen(found.checks, arm == "identity")
            self.assertNotEmpty(found.plots)
        self.assertEqual(self.holds({}), [])


if __name__ == "__main__":
    tf.test.main()
