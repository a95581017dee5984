"""Flags of the programs that load teachers."""

from absl import flags

TEACHERS = flags.DEFINE_multi_string(
    "teacher",
    None,
    "A .keras file or the directory of a SavedModel; repeated, an ensemble.",
    required=True,
)
MEAN = flags.DEFINE_enum(
    "mean",
    "arithmetic",
    ["arithmetic", "geometric"],
    "Mean of several teachers: of distributions, or of logits.",
)
MAX_SHIFT = flags.DEFINE_integer(
    "max_shift", 2, "Pixels by which views are shifted at most."
)
