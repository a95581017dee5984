"""What each arm of the first table is trained on, and for how long."""

from unittest import mock

import numpy as np
import tensorflow as tf

from kd_keras import experiments
from kd_keras.experiments import digit_nets
from kd_keras.experiments import mnist_table


class ArmsTest(tf.test.TestCase):
    def trained(self, arm):
        """What the laboratory is asked to train for an arm."""
        lab = mock.MagicMock()
        lab.settings = experiments.Settings()
        lab.test.logits.return_value = np.eye(10)
        lab.test.labels = np.arange(10)
        lab.test.quality.return_value = {}
        with (
            mock.patch.object(digit_nets, "teacher_of", return_value="live"),
            mock.patch.object(
                digit_nets,
                "targets_of",
                side_effect=lambda *_, max_shift=0: f"stored {max_shift}",
            ),
        ):
            mnist_table.run(arm, 0, lab)
        (_, _, recipe, _), given = lab.fit.call_args
        return recipe, given

    def test_labels_alone(self):
        recipe, given = self.trained("hard")
        self.assertEqual(given, {})
        self.assertEqual(recipe, mnist_table.Plan().student)

    def test_stored(self):
        for arm, store in (
            ("soft-hard-20", "stored 0"),
            ("views-20", "stored 1"),
        ):
            recipe, given = self.trained(arm)
            self.assertEqual(
                given, {"store": store, "temperature": 20.0, "soft_weight": 0.9}
            )
            self.assertEqual(recipe, mnist_table.Plan().student)

    def test_images_that_both_see_changed(self):
        image = np.full((28, 28, 1), 255, np.uint8)
        for arm, is_soft, is_shifted in (
            ("hard-masked", False, False),
            ("hard-jittered", False, True),
            ("masked-20", True, False),
            ("jittered-20", True, True),
        ):
            recipe, given = self.trained(arm)
            self.assertEqual(recipe, mnist_table.Plan().changing)
            self.assertEqual(
                {key: given[key] for key in given if key != "augment"},
                {"teacher": "live", "temperature": 20.0, "soft_weight": 0.9}
                if is_soft
                else {},
            )
            seen = [given["augment"](image, [0, n]).numpy() for n in range(20)]
            self.assertEqual(
                seen[0].dtype, np.uint8 if is_shifted else np.float32
            )
            if is_shifted:
                # Up to two lines of zeros come in.
                lines = [int((one[:, 14, 0] == 0).sum()) for one in seen]
                self.assertEqual(max(lines), 2)
            else:
                share = mnist_table.Plan().mask
                taken = np.mean(np.array(seen) == 0)
                self.assertBetween(taken, share - 0.02, share + 0.02)


if __name__ == "__main__":
    tf.test.main()
