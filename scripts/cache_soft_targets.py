r"""Stores what a teacher says of every example, for any number of students.

The output directory is opened by kd_keras.soft_targets.open_store. Broken off,
the work goes on after the last range that is complete when it is started by
the same command. Example:

  python -m scripts.cache_soft_targets --teacher=teacher.keras \
      --dataset=digits --output_dir=soft_targets

With --runner the ranges are the elements of an Apache Beam pipeline
(pip install "kd_keras[beam]"), whose own options may stand beside, as
--name=value:

  python -m scripts.cache_soft_targets --teacher=teacher.keras \
      --output_dir=soft_targets --runner=FnApiRunner --direct_num_workers=2 \
      --direct_running_mode=multi_processing
"""

from absl import app
from absl import flags

from scripts import beam_flags
from scripts import data_flags
from scripts import output_flags
from scripts import program
from scripts import settings
from scripts import teacher_flags
from scripts import view_flags

settings.adopt(
    __name__,
    program,
    output_flags,
    data_flags,
    beam_flags,
    teacher_flags,
    view_flags,
)

_TEACHERS = teacher_flags.define_teachers(required=True)
_SETTINGS = (
    data_flags.define_dataset(),
    data_flags.DATA_DIR,
    flags.DEFINE_string("split", "train", "Split, in TFDS' notation."),
    teacher_flags.MEAN,
    flags.DEFINE_float(
        "temperature",
        None,
        "Of an arithmetic mean, or with --top_k: the one temperature that the "
        "store will do for. Default: keep all logits, for every temperature.",
    ),
    flags.DEFINE_integer(
        "top_k",
        None,
        "Keep so many of the largest logits, and one bucket for the rest. "
        "Default: all.",
    ),
    flags.DEFINE_enum(
        "dtype", "float16", ["float16", "float32"], "Type of stored logits."
    ),
    flags.DEFINE_integer(
        "num_views",
        None,
        "Store so many views of each image, randomly shifted. Default: the "
        "images as they are.",
    ),
    view_flags.MAX_SHIFT,
    flags.DEFINE_integer("augment_seed", 0, "Seed of the views."),
    flags.DEFINE_integer(
        "num_ranges", 8, "Files to write, if the source has fewer."
    ),
    flags.DEFINE_integer("batch_size", 256, "Images for the teacher at once."),
)
_PLAN = flags.DEFINE_bool(
    "plan",
    False,
    "Store nothing: measure on a sample what each top_k and dtype would cost "
    "and lose, at T = 1, 4 and --temperature.",
)
_OUTPUT_DIR = output_flags.define_output_dir(
    "Directory to make; required but with --plan.",
    required=False,
)


def main(argv):
    """Stores the soft targets."""
    options = beam_flags.options(argv)
    # What is left is Beam's, if there is a runner.
    rest = argv if options is None else argv[:1]
    program.run("cache_soft_targets", rest, lambda: _store(options))


def _store(beam_options):
    from kd_keras import training

    if not flags.FLAGS.num_views:
        settings.check_used(
            ("max_shift", "augment_seed"),
            "these are for views. Give --num_views, too",
        )
    config = training.StoreConfig(
        teacher=tuple(filter(None, _TEACHERS.value)),
        image_size=settings.numbers(data_flags.IMAGE_SIZE),
        **settings.values(_SETTINGS),
    )
    if _PLAN.value:
        print(training.plan_soft_targets(config))
        return
    if _OUTPUT_DIR.value is None:
        raise ValueError("--output_dir=DIR is missing: where to write")
    training.store_soft_targets(
        config,
        _OUTPUT_DIR.value,
        overwrite=output_flags.OVERWRITE.value,
        beam_options=beam_options,
    )
    print(f"Written: {_OUTPUT_DIR.value}")


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=beam_flags.parse)


if __name__ == "__main__":
    run()
