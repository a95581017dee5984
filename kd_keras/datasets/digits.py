"""The 1,797 handwritten digits of scikit-learn as a TFDS data set.

Importing this module registers the builder, so that afterwards
`tfds.builder("digits")` finds it. TensorFlow Datasets has no set of this name.
"""

import numpy as np
import tensorflow_datasets as tfds

NUM_TRAIN = 1297
NUM_TEST = 500

_DESCRIPTION = """\
Handwritten digits, 8x8 pixels, 10 classes: the 1,797 images that scikit-learn
carries as `sklearn.datasets.load_digits()`, which are the test part of the UCI
"Optical Recognition of Handwritten Digits" set.

Splits: the first 1,297 images in scikit-learn's order are `train`, the last 500
are `test`; the order within each is kept. The labels of the set run through
nearly the same sequence of about 130 digits fourteen times, as one filled-in
form after another would give; the boundary lies ten images after the start of
the eleventh run, so that all but these ten come from other runs than the test
images do. Who wrote which image is not recorded (scikit-learn's description
counts 13 writers in all), so no claim is made that the writers differ.

Pixels: the original values are whole numbers from 0 to 16. They are stored as
`round(value * 255 / 16)`; `round(pixel * 16 / 255)` gives them back.
"""

_CITATION = """\
@article{alpaydin1998cascading,
  author  = {Ethem Alpaydin and Cenk Kaynak},
  title   = {Cascading Classifiers},
  journal = {Kybernetika},
  volume  = {34},
  number  = {4},
  pages   = {369--374},
  year    = {1998}
}
@misc{alpaydin1998optdigits,
  author       = {Ethem Alpaydin and Cenk Kaynak},
  title        = {Optical Recognition of Handwritten Digits},
  howpublished = {UCI Machine Learning Repository},
  year         = {1998},
  doi          = {10.24432/C50P49}
}
"""


class Digits(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of the `digits` set; it downloads nothing.

    Features: `image`, uint8 of shape `(8, 8, 1)`, and `label`, int64 with the
    class names "0" to "9". Splits: `train` (1,297) and `test` (500), both in
    scikit-learn's order.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as data_dir:
    ...     builder = Digits(data_dir=data_dir)
    >>> builder.info.features["image"].shape
    (8, 8, 1)
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release: last 500 images as test split."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            citation=_CITATION,
            homepage=(
                "https://archive.ics.uci.edu/dataset/80/"
                "optical+recognition+of+handwritten+digits"
            ),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(8, 8, 1), dtype=np.uint8
                    ),
                    "label": tfds.features.ClassLabel(
                        names=[str(digit) for digit in range(10)]
                    ),
                }
            ),
            supervised_keys=("image", "label"),
            # TFDS would order the records by a hash of their keys. Kept in
            # order, record i of a split is image i of scikit-learn's array.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # Nothing is downloaded.
        return {
            "train": self._generate_examples(0, NUM_TRAIN),
            "test": self._generate_examples(NUM_TRAIN, NUM_TRAIN + NUM_TEST),
        }

    def _generate_examples(self, start, stop):
        from sklearn.datasets import load_digits

        data = load_digits()
        if len(data.target) != NUM_TRAIN + NUM_TEST:
            raise ValueError(
                "sklearn.datasets.load_digits() must hold "
                f"{NUM_TRAIN + NUM_TEST} images, as it did in scikit-learn "
                f"1.9. Received: {len(data.target)} images. Install a "
                "scikit-learn that carries the original set."
            )
        pixels = np.rint(data.images * 255 / 16).astype(np.uint8)[..., None]
        for index in range(start, stop):
            yield (
                index,
                {
                    "image": pixels[index],
                    "label": int(data.target[index]),
                },
            )
