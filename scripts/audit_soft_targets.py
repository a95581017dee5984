r"""Compares stored soft targets with the teacher they are said to be of.

Reads all examples and their targets, which checks that they belong together,
and gives a random part of them to the teacher again: once in the batches of
the store, once in others, to see what the teacher differs from itself by. Ends
with status 1 if the stored logits differ by more. Example:

  python -m scripts.audit_soft_targets --store=soft_targets \
      --teacher=teacher.keras
"""

import sys

from absl import app
from absl import flags

from scripts import program
from scripts import settings
from scripts import teacher_flags
from scripts import view_flags

settings.adopt(__name__, program, teacher_flags, view_flags)

_TEACHERS = teacher_flags.define_teachers(required=True)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its data sets. Default: its own."
)
_STORE = flags.DEFINE_string(
    "store", None, "Directory of the stored soft targets.", required=True
)
_NUM_EXAMPLES = flags.DEFINE_integer(
    "num_examples", 1000, "How many examples to give to the teacher again."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of their choice.")


def main(argv):
    """Audits the store."""
    program.run("audit_soft_targets", argv, _audit)


def _audit():
    from kd_keras import training

    audit = training.audit_soft_targets(
        _STORE.value,
        _TEACHERS.value,
        mean=teacher_flags.MEAN.value,
        data_dir=_DATA_DIR.value,
        max_shift=view_flags.MAX_SHIFT.value,
        num_examples=_NUM_EXAMPLES.value,
        seed=_SEED.value,
    )
    print(audit)
    if not audit.passed:
        sys.exit(1)


def run():
    """Entry point of the installed command."""
    app.run(main, flags_parser=settings.parse)


if __name__ == "__main__":
    run()
