"""What the job that trains specialists does with files that are not there."""

from unittest import mock

import keras
import tensorflow as tf

from kd_keras import training
from kd_keras.training import curves
from kd_keras.training import specialist_results
from tests import digits_runs


class ResumeTest(digits_runs.DigitsTestCase):
    def test_files_that_are_cut_off_or_lost(self):
        """The first is said, with what to do; then that one is trained."""
        layers = keras.layers
        # Of a dropout without a seed, which each process would draw anew.
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Flatten(),
                layers.Dropout(0.5),
                layers.Dense(10),
            ]
        ).save(self.folder / "generalist.keras")
        config = training.SpecialistsConfig(
            data_dir=self.data_dir,
            train_split="train[:300]",
            generalist=str(self.folder / "generalist.keras"),
            num_sets=2,
            set_size=3,
            head_epochs=0,
            epochs=1,
        )
        path = self.folder / "run"
        with (
            mock.patch.object(
                specialist_results, "write", side_effect=KeyboardInterrupt
            ),
            self.assertRaises(KeyboardInterrupt),
        ):
            training.run_specialists(config, path)
        partial = self.folder / "run.partial"
        (partial / "combined.keras").unlink()
        lost = partial / "specialists/specialist-0.keras"
        whole = keras.saving.load_model(lost)
        lost.write_bytes(lost.read_bytes()[:1000])
        with self.assertRaisesRegex(
            ValueError, "specialist-0.keras cannot be read. Remove it"
        ):
            training.run_specialists(config, path)
        lost.unlink()
        for state in (partial / "work").glob("specialist-0*.npz"):
            state.unlink()
        trained = []
        on_epoch_end = curves.Curve.on_epoch_end

        def counts(callback, epoch, logs=None):
            trained.append(epoch)
            on_epoch_end(callback, epoch, logs)

        with mock.patch.object(curves.Curve, "on_epoch_end", counts):
            training.run_specialists(config, path)
        self.assertLen(trained, 1)
        again = keras.saving.load_model(path / "specialists/specialist-0.keras")
        for one, other in zip(again.weights, whole.weights, strict=True):
            self.assertAllEqual(one, other)


if __name__ == "__main__":
    tf.test.main()
