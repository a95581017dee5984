"""Image-classification data sets, and the transfer sets made from them.

`load` opens any TensorFlow Datasets image-classification set by name; the
default, `digits`, is inside scikit-learn and needs no network. `batches` makes
of it what `fit` takes. The transfer-set filters leave out classes, examples or
labels: the data on which Hinton et al. (2015) train a student need not be all
that its teacher saw.

TensorFlow Datasets and scikit-learn are imported when `load` is called, not
before.
"""

from kd_keras.datasets.augmentation import random_mask
from kd_keras.datasets.augmentation import random_shift
from kd_keras.datasets.batching import batches
from kd_keras.datasets.counts import with_label_counts
from kd_keras.datasets.dustbin import dustbin_set
from kd_keras.datasets.loading import ImageDataset
from kd_keras.datasets.loading import load
from kd_keras.datasets.transfer import NO_LABEL
from kd_keras.datasets.transfer import drop_classes
from kd_keras.datasets.transfer import hide_labels
from kd_keras.datasets.transfer import keep_classes
from kd_keras.datasets.transfer import take_fraction
from kd_keras.pixels import resize
from kd_keras.pixels import to_float

__all__ = [
    "NO_LABEL",
    "ImageDataset",
    "batches",
    "drop_classes",
    "dustbin_set",
    "hide_labels",
    "keep_classes",
    "load",
    "random_mask",
    "random_shift",
    "resize",
    "take_fraction",
    "to_float",
    "with_label_counts",
]
