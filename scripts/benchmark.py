r"""Times what things cost beside their alternatives, and prints the ratios.

In turn, medians of several rounds, all in one process but for memory, first
steps and imports, each of which takes its own. Ends with status 1 if a ratio
misses its limit. On an idle machine:

  python -m scripts.benchmark --dataset=mnist
"""

import os
import platform
import sys

from absl import app
from absl import flags

from scripts import data_flags
from scripts import program
from scripts import settings

settings.adopt(__name__, program, data_flags)

_DATASET = data_flags.define_dataset()
_COMPARE = flags.DEFINE_list(
    "compare",
    [],
    "What to compare. On the data set: writing, reading, mlp_step, "
    "convnet_step, default_epoch, mlp_ensemble, compiled_mlp_ensemble, "
    "convnet_ensemble. On random data: step_mlp, step_convnet, "
    "step_1000_classes, step_32000_classes, step_narrow, step_ensemble, "
    "several_students, loss_1000_classes, loss_of_1024_rows, "
    "loss_32000_classes, memory, first_step, import, loss_memory, "
    "growth_examples, growth_batch, growth_classes. Default: all but "
    "mlp_ensemble, which takes long and tells "
    "of XLA.",
)
_SPLIT = flags.DEFINE_string("split", "train", "Split, in TFDS' notation.")
_ENSEMBLE_SPLIT = flags.DEFINE_string(
    "ensemble_split", "train", "Split for distilling ensembles."
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 7, "Rounds of each comparison.", lower_bound=1
)
_EPOCHS = flags.DEFINE_integer(
    "epochs", 20, "Epochs for which an ensemble is distilled.", lower_bound=1
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "JSON file to write, with a plot of the same name beside it.",
)


def main(argv):
    """Runs the comparisons and prints their table."""
    program.run("benchmark", argv, _benchmark)


def _benchmark():
    import pathlib

    import keras
    import tensorflow as tf

    import kd_keras
    from kd_keras import benchmarks
    from kd_keras import datasets
    from kd_keras import json_files
    from kd_keras import reports
    from kd_keras.benchmarks import rounds

    names = _COMPARE.value or benchmarks.DEFAULT_NAMES
    benchmarks.check_names(names)

    def load(split):
        return datasets.load(
            _DATASET.value,
            split,
            data_dir=data_flags.DATA_DIR.value,
            image_size=settings.numbers(data_flags.IMAGE_SIZE),
        )

    ratios = []
    for ratio in benchmarks.run(
        names,
        lambda: (load(_SPLIT.value), load(_ENSEMBLE_SPLIT.value)),
        num_rounds=_ROUNDS.value,
        num_epochs=_EPOCHS.value,
    ):
        ratios.append(ratio)
        done = f"... {ratio.name}: {ratio.median:.3f}"
        print(done, file=sys.stderr, flush=True)
    print(rounds.table(ratios))
    made_with = {
        "data": f"{_DATASET.value} {_SPLIT.value}, ensembles on "
        f"{_ENSEMBLE_SPLIT.value}",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, "
        f"{len(tf.config.list_physical_devices('GPU'))} GPUs",
        "versions": f"kd_keras {kd_keras.__version__}, TensorFlow "
        f"{tf.__version__}, Keras {keras.__version__}",
        "rounds": _ROUNDS.value,
    }
    print("\n" + "; ".join(f"{k}: {v}" for k, v in made_with.items()))
    if _OUTPUT.value:
        found = [
            {
                **vars(ratio),
                "median": ratio.median,
                "interval": ratio.interval,
                "verdict": ratio.verdict,
            }
            for ratio in ratios
        ]
        output = pathlib.Path(_OUTPUT.value)
        json_files.write(output, {**made_with, "ratios": found})
        reports.write_ratios_plot(output.with_suffix(".png"), ratios)
    if any(ratio.verdict in ("NO", "unclear") for ratio in ratios):
        sys.exit(1)


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
