"""Flags of the programs that write."""

from absl import flags

OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace an earlier output at --output_dir, or a broken run of other "
    "settings.",
)
# What is called below makes flags of the program that calls it.
flags.disclaim_key_flags()


def define_output_dir(text, *, required=True):
    """Defines `--output_dir`; returns its holder."""
    return flags.DEFINE_string("output_dir", None, text, required=required)
