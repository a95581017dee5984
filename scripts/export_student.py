r"""Exports a student for serving, with its preprocessing and a model card.

Every file is loaded back and compared with the student on real images before
the directory appears. Example, after scripts.distill:

  python -m scripts.export_student --model=runs/digits/student.keras \
      --output_dir=served

LiteRT and ONNX need pip install "kd_keras[litert]" and "kd_keras[onnx]".
"""

from absl import app
from absl import flags

from scripts import data_flags
from scripts import output_flags
from scripts import program
from scripts import settings

settings.adopt(__name__, program, output_flags, data_flags)

# Each has the name of its field in `training.ExportConfig`.
_SETTINGS = (
    flags.DEFINE_string(
        "model", None, "The student: a .keras file.", required=True
    ),
    data_flags.define_dataset_of_model(),
    data_flags.DATA_DIR,
    flags.DEFINE_string(
        "split",
        None,
        "Split of the images to compare on. Default: that on which the model "
        "was tested.",
    ),
    flags.DEFINE_integer(
        "num_examples", 1000, "How many of them are compared, at most."
    ),
    flags.DEFINE_bool(
        "any_size",
        False,
        "Let the SavedModel take images of any size, and resize them.",
    ),
)
_FORMAT = flags.DEFINE_list(
    "format",
    ["saved_model"],
    "saved_model, litert, onnx, or several with commas between them.",
)
_OUTPUT_DIR = output_flags.define_output_dir(
    "Directory to make: saved_model/, model.tflite, model.onnx, "
    "class_names.txt, card.md and card.json."
)


def main(argv):
    """Exports and prints what was written."""
    program.run("export_student", argv, _export)


def _export():
    from kd_keras import training

    config = training.ExportConfig(
        **settings.values(_SETTINGS),
        image_size=settings.numbers(data_flags.IMAGE_SIZE),
        format=tuple(_FORMAT.value),
    )
    card = training.run_export(
        config, _OUTPUT_DIR.value, overwrite=output_flags.OVERWRITE.value
    )
    for file in card["files"]:
        print(
            f"{file['file']}: {file['bytes'] / 1000:,.0f} kB, compared on "
            f"{file['examples']:,} images: logits within "
            f"{file['deviation']:.1e} of the largest, "
            f"{file['changed_decisions']} decisions differ"
        )
    print(f"Written: {_OUTPUT_DIR.value}")


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
