r"""Measures a saved student, and its teacher, on a split.

Errors and accuracy with its interval, calibration, likelihood, how like the
teacher it is, latency, and size on disk. Example:

  python -m scripts.evaluate --model=runs/digits/student.keras
"""

from absl import app
from absl import flags

from scripts import data_flags
from scripts import output_flags
from scripts import program
from scripts import settings

settings.adopt(__name__, program, output_flags, data_flags)

# Each has the name of its field in `training.EvaluationConfig`.
_SETTINGS = (
    flags.DEFINE_string(
        "model",
        None,
        "The student: a .keras, .tflite or .onnx file, or a SavedModel.",
        required=True,
    ),
    flags.DEFINE_string(
        "teacher", None, "Its teacher, the same. Default: none."
    ),
    data_flags.define_dataset_of_model(),
    data_flags.DATA_DIR,
    flags.DEFINE_string("split", "test", "Split, in TFDS' notation."),
    flags.DEFINE_integer("batch_size", 256, "Images for a model at once."),
    flags.DEFINE_integer("num_bins", 15, "Bins of the calibration error."),
    flags.DEFINE_integer(
        "latency_rounds", 50, "Batches of each size that are timed."
    ),
)
_UNITS = (
    flags.DEFINE_list(
        "latency_batch_sizes",
        ["1", "32", "256"],
        "Sizes of the batches whose latency is measured.",
    ),
    data_flags.IMAGE_SIZE,
)
_OUTPUT_DIR = output_flags.define_output_dir(
    "Directory to make, with evaluation.json and report.md. Default: none, "
    "only to print.",
    required=False,
)


def main(argv):
    """Evaluates and prints the table."""
    program.run("evaluate", argv, _evaluate)


def _evaluate():
    from kd_keras import training

    config = training.EvaluationConfig(
        **settings.values(_SETTINGS),
        **{flag.name: settings.numbers(flag) for flag in _UNITS},
    )
    _, text = training.run_evaluation(
        config, _OUTPUT_DIR.value, overwrite=output_flags.OVERWRITE.value
    )
    print(text)
    if _OUTPUT_DIR.value:
        print(f"Written: {_OUTPUT_DIR.value}")


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
