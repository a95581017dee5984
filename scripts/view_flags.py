"""Flags of the programs that make views of images."""

from absl import flags

MAX_SHIFT = flags.DEFINE_integer(
    "max_shift", 2, "Pixels by which views are shifted at most."
)
