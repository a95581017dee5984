r"""Times what things cost beside their alternatives, and prints the ratios.

In turn, medians of several rounds, all in one process but for memory, first
steps and imports, each of which takes its own. Ends with status 1 if a median
misses its limit. Limits on a data set are for 10,000 examples or more. With
--output each comparison is kept when it is made, and the same command goes on.
On an idle machine, in one to two hours:

  python -m scripts.benchmark --dataset=mnist --output=speed.json
"""

import os
import platform
import sys

from absl import app
from absl import flags

from scripts import data_flags
from scripts import program
from scripts import settings

settings.adopt(__name__, program, data_flags, takes_config=False)

_DATASET = data_flags.define_dataset()
_COMPARE = flags.DEFINE_list(
    "compare",
    [],
    "What to compare. On the data set: writing, reading, "
    "reading_default, reading_shifted, mlp_step, convnet_step, default_epoch, "
    "paper_epoch, mlp_ensemble, compiled_mlp_ensemble, convnet_ensemble. On "
    "random data: step_mlp, "
    "step_convnet, step_1000_classes, step_32000_classes, step_narrow, "
    "step_ensemble, several_students, loss_1000_classes, loss_of_1024_rows, "
    "loss_32000_classes, memory, first_step, import, loss_memory, "
    "growth_examples, growth_batch, growth_classes. Default: all but "
    "mlp_ensemble, which takes long, and is there to show what XLA brings.",
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
    "JSON file of the results, with a plot of the same name beside it. What "
    "it holds is left as it is.",
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Make comparisons again that --output has."
)


def main(argv):
    """Runs the comparisons and prints their table."""
    program.run("benchmark", argv, _benchmark)


def _benchmark():
    import keras
    import tensorflow as tf

    import kd_keras
    from kd_keras import benchmarks
    from kd_keras import datasets
    from kd_keras import reports
    from kd_keras.benchmarks import measured as measured_lib
    from kd_keras.benchmarks import rounds
    from kd_keras.training import provenance

    asked = _COMPARE.value or benchmarks.DEFAULT_NAMES
    benchmarks.check_names(asked)
    names = [name for name in benchmarks.NAMES if name in asked]
    measured = measured_lib.Measured(_OUTPUT.value or None)
    left = [
        name for name in names if _OVERWRITE.value or not measured.has(name)
    ]
    if len(left) < len(names):
        print(
            f"{_OUTPUT.value} has {len(names) - len(left)} of {len(names)} "
            "comparisons, which are left as they are; --overwrite makes them "
            "again.",
            file=sys.stderr,
        )

    def load(split):
        return datasets.load(
            _DATASET.value,
            split,
            data_dir=data_flags.DATA_DIR.value,
            image_size=settings.numbers(data_flags.IMAGE_SIZE),
        )

    made_with = {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores, "
        f"{len(tf.config.list_physical_devices('GPU'))} GPUs",
        "versions": f"kd_keras {kd_keras.__version__}, TensorFlow "
        f"{tf.__version__}, Keras {keras.__version__}",
        "commit": provenance.commit() or "unknown",
    }
    for name, ratios in benchmarks.run(
        left,
        lambda: (load(_SPLIT.value), load(_ENSEMBLE_SPLIT.value)),
        num_rounds=_ROUNDS.value,
        num_epochs=_EPOCHS.value,
    ):
        measured.add(
            name,
            ratios,
            {
                "data": _data_of(name),
                **made_with,
                "rounds": len(ratios[0].ratios),
            },
        )
        for ratio in ratios:
            done = f"... {ratio.name}: {ratio.median:.3f}"
            print(done, file=sys.stderr, flush=True)
    ratios = measured.ratios(names)
    print(rounds.table(ratios), *measured.made_with(names), sep="\n")
    if _OUTPUT.value:
        reports.write_ratios_plot(
            measured.plot_path, measured.ratios(benchmarks.NAMES)
        )
    if not all(ratio.keeps for ratio in ratios):
        sys.exit(1)


def _data_of(name):
    """On what a comparison was made."""
    from kd_keras.benchmarks import stored_targets

    if name not in stored_targets.NAMES:
        return "random"
    split = _ENSEMBLE_SPLIT if name.endswith("_ensemble") else _SPLIT
    return f"{_DATASET.value} {split.value}"


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
