"""Flags of the programs that load teachers."""

from absl import flags

MEAN = flags.DEFINE_enum(
    "mean",
    "arithmetic",
    ["arithmetic", "geometric"],
    "Mean of several teachers: of distributions, or of logits.",
)
# What is called below makes flags of the program that calls it.
flags.disclaim_key_flags()


def define_teachers(*, required):
    """Defines `--teacher`; returns its holder."""
    return flags.DEFINE_multi_string(
        "teacher",
        None if required else [],
        "A .keras file or the directory of a SavedModel; repeated, an ensemble."
        + ("" if required else " Default: train one for each seed."),
        required=required,
    )
