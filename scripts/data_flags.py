"""Flags of the programs that open a data set."""

from absl import flags

DATASET = flags.DEFINE_string(
    "dataset", "digits", "Name of a TFDS image-classification set."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its data sets. Default: its own."
)
IMAGE_SIZE = flags.DEFINE_list(
    "image_size", None, "Height and width to resize images to, as 224,224."
)
