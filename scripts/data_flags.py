"""Flags of the programs that open a data set."""

from absl import flags

DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its data sets. Default: its own."
)
IMAGE_SIZE = flags.DEFINE_list(
    "image_size", None, "Height and width to resize images to, as 224,224."
)
# What is called below makes flags of the program that calls it.
flags.disclaim_key_flags()


def define_dataset(default="digits", otherwise=""):
    """Defines `--dataset`; returns its holder.

    Args:
        default: Its default.
        otherwise: What else is to be said of that.
    """
    return flags.DEFINE_string(
        "dataset",
        default,
        "Name of a TFDS image-classification set." + otherwise,
    )


def define_dataset_of_model():
    """Defines `--dataset` of a program that takes a model."""
    return define_dataset(
        None,
        " Default: that of the model, which its maker noted beside it, or "
        "else digits.",
    )
