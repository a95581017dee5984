"""Sets by name: what is given, what is refused, and real MNIST, CIFAR-100.

The last two are read from the directory in the environment variable
TFDS_DATA_DIR, which may be read-only; without it their tests are skipped.
"""

import os
import shutil
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import parameterized
from sklearn.datasets import load_digits

from kd_keras.datasets import batches
from kd_keras.datasets import load
from kd_keras.datasets.digits import Digits


def _photo(index):
    """A photo of its own size: 2 x 2 blocks of random colours."""
    blocks = np.random.RandomState(index).randint(0, 256, (3, 2 + index, 3))
    return np.repeat(np.repeat(blocks, 2, 0), 2, 1).astype(np.uint8)


class KdTestPhotos(tfds.core.GeneratorBasedBuilder):
    """Image classification, but every image of its own size."""

    VERSION = tfds.core.Version("2.1.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), dtype=np.uint8),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(4):
            yield (
                index,
                {
                    "image": _photo(index),
                    "label": index % 2,
                    "file_name": f"{index}.png",
                },
            )


class KdTestIcons(tfds.core.GeneratorBasedBuilder):
    """One image of columns that are white, black, black, white, and so on."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(4, 16, 1)),
                    "label": tfds.features.ClassLabel(num_classes=3),
                    "file_name": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        columns = np.tile(np.array([255, 0, 0, 255], np.uint8), 4)
        image = np.tile(columns[None, :, None], [4, 1, 1])
        yield "0", {"image": image, "label": 2, "file_name": "0.png"}


class KdTestNumbers(tfds.core.GeneratorBasedBuilder):
    """No image classification: the label is a number."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(2, 2, 1)),
                    "label": tfds.features.Scalar(dtype=np.float32),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield "0", {"image": np.zeros((2, 2, 1), np.uint8), "label": 0.5}


class LoadTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data_dir = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.data_dir)
        tfds.disable_progress_bar()
        for builder in (KdTestPhotos, KdTestIcons, KdTestNumbers):
            builder(data_dir=cls.data_dir).download_and_prepare()

    def _load(self, *args, **kwargs):
        return load(*args, data_dir=self.data_dir, **kwargs)

    @parameterized.parameters(
        ("train[:80%]", slice(0, 1038)),
        ("train[10:20]", slice(10, 20)),
        ("test[-7:]", slice(1790, 1797)),
        ("train+test", slice(0, 1797)),
    )
    def test_slices(self, split, part):
        images = self._load("digits", split)
        labels = [int(example["label"]) for example in images.dataset]
        self.assertAllEqual(labels, load_digits().target[part])
        self.assertLen(images.dataset, images.num_examples)
        self.assertEqual(images.num_examples, part.stop - part.start)
        self.assertEqual(images.split, split)

    def test_elements(self):
        photos = self._load("kd_test_photos", image_size=(5, 6))
        self.assertEqual(
            photos.dataset.element_spec,
            {
                "image": tf.TensorSpec([5, 6, 3], tf.uint8),
                "label": tf.TensorSpec([], tf.int64),
            },
        )
        self.assertEqual(photos.image_shape, (5, 6, 3))
        self.assertEqual(photos.name, "kd_test_photos")
        self.assertEqual(photos.version, "2.1.0")
        self.assertEqual(photos.class_names, ("cat", "dog"))

    def test_image_size_enlarges_bilinearly(self):
        # Photo 0 has 6 x 4 pixels. Enlarged twice, pixel i lies at i/2 - 1/4
        # of the original, and beyond the outermost centres nothing changes.
        photos = self._load("kd_test_photos", "train[:1]", image_size=(12, 8))
        expected = _photo(0).astype(np.float64)
        for axis, size in ((0, 6), (1, 4)):
            place = np.clip(np.arange(2 * size) / 2 - 0.25, 0, size - 1)
            low = np.floor(place).astype(int)
            high = np.minimum(low + 1, size - 1)
            share = np.expand_dims(place - low, [1, 2] if axis == 0 else [0, 2])
            expected = (1 - share) * np.take(
                expected, low, axis
            ) + share * np.take(expected, high, axis)
        image = next(iter(photos.dataset))["image"].numpy().astype(np.float64)
        self.assertAllClose(image, expected, rtol=0, atol=0.5 + 1e-3)

    def test_image_size_averages_when_it_shrinks(self):
        # The two pixels nearest to a new one's centre are black, the four
        # that it covers are half white.
        icons = self._load("kd_test_icons", image_size=(4, 4))
        image = next(iter(icons.dataset))["image"]
        self.assertAllInRange(image[:, 1:3], 110, 150)

    def test_strings_are_left_out(self):
        # They cannot be copied to a GPU, and tf.distribute would try.
        icons = self._load("kd_test_icons")
        self.assertEqual(set(icons.dataset.element_spec), {"image", "label"})
        self.assertEqual(icons.class_names, ("0", "1", "2"))

    def test_without_image_size_nothing_changes(self):
        plain = next(iter(self._load("digits").dataset))["image"]
        same = self._load("digits", image_size=(8, 8))
        self.assertAllEqual(next(iter(same.dataset))["image"], plain)

    @parameterized.parameters(1, 3)
    def test_parts(self, num_files):
        data_dir = self.enterContext(tempfile.TemporaryDirectory())
        builder = Digits(data_dir=data_dir)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                num_shards=num_files, try_download_gcs=False
            )
        )
        self.assertEqual(builder.info.splits["train"].num_shards, num_files)
        # Backwards, and one example twice.
        split = "train[700:1200]+test[-20:]+train[:500]+test[:499]"
        digits = load("digits", split, data_dir=data_dir)
        pixels = load_digits().images * 255 / 16
        order = np.r_[700:1200, 1777:1797, 0:500, 1297:1796]
        expected = np.rint(pixels[order]).astype(np.uint8)
        self.assertEqual(sum(digits.file_lengths), len(order))
        self.assertGreater(len(digits.file_lengths), 3 * (num_files > 1))

        def images(dataset):
            return np.stack(
                [e["image"][..., 0] for e in dataset.as_numpy_iterator()]
            )

        # File after file: the place in the split is the position.
        self.assertAllEqual(images(digits.dataset), expected)
        for start, stop in ((0, 1), (490, 530), (3, 1500), (1518, 1519)):
            self.assertAllEqual(
                images(digits.part(start, stop)), expected[start:stop]
            )

    def test_no_thread_that_the_end_would_wait_for(self):
        digits = load("digits")
        own = tf.data.Dataset.from_tensor_slices(
            {"image": tf.zeros([3, 2, 2, 1], tf.uint8), "label": [0, 1, 2]}
        )
        for dataset in (
            digits.dataset,
            digits.part(3, 5),
            batches(digits.dataset, 5),
            batches(own, 2),
            batches(own, 2, shuffle_seed=0, epoch=0),
        ):
            self.assertFalse(dataset.options().autotune.enabled)

    def test_parts_are_resized_too(self):
        digits = load("digits", image_size=(5, 7))
        self.assertTrue(digits.resized)
        part = digits.part(30, 32).as_numpy_iterator()
        whole = digits.dataset.skip(30).take(2).as_numpy_iterator()
        for one, other in zip(part, whole, strict=True):
            self.assertAllEqual(one["image"], other["image"])
            self.assertEqual(one["image"].shape, (5, 7, 1))

    def test_unknown_name_gives_near_ones(self):
        with self.assertRaisesRegex(
            ValueError, 'named "mnits"; near names: .*mnist'
        ):
            self._load("mnits")
        with self.assertRaisesRegex(ValueError, "near names: digits"):
            self._load("digit")

    def test_not_prepared_gives_the_line_that_prepares(self):
        with self.assertRaisesRegex(
            FileNotFoundError,
            f"not prepared in {self.data_dir}.* tfds build fashion_mnist "
            f"--data_dir={self.data_dir} ",
        ):
            self._load("fashion_mnist")

    def test_not_prepared_names_other_versions(self):
        data_dir = self.get_temp_dir()
        os.makedirs(os.path.join(data_dir, "mnist", "1.0.0"))
        with self.assertRaisesRegex(FileNotFoundError, r"holds: 1\.0\.0"):
            load("mnist", data_dir=data_dir)

    def test_download_prepares_on_request(self):
        data_dir = self.get_temp_dir()
        with self.assertRaises(FileNotFoundError):
            load("kd_test_photos", data_dir=data_dir, image_size=(4, 4))
        photos = load(
            "kd_test_photos",
            data_dir=data_dir,
            image_size=(4, 4),
            download=True,
        )
        self.assertLen(list(photos.dataset), 4)

    @parameterized.parameters("digits:7.0.0", "mnist/nothing")
    def test_unknown_version_or_configuration(self, name):
        with self.assertRaisesRegex(ValueError, f'cannot open "{name}"'):
            self._load(name)

    def test_unknown_split(self):
        for split in ("validation", "train[:x]"):
            with self.assertRaisesRegex(ValueError, "splits: test, train"):
                self._load("digits", split)

    def test_empty_split(self):
        with self.assertRaisesRegex(ValueError, "holds no example"):
            self._load("digits", "train[:0]")

    def test_not_image_classification(self):
        with self.assertRaisesRegex(
            ValueError, "not an image classification set"
        ):
            self._load("kd_test_numbers")

    def test_images_of_varying_size(self):
        with self.assertRaisesRegex(ValueError, r"image_size=\(224, 224\)"):
            self._load("kd_test_photos")

    @parameterized.parameters(((8,),), ((0, 8),), (8,), (("8", 8),))
    def test_bad_image_size(self, image_size):
        with self.assertRaisesRegex(ValueError, "two positive ints"):
            self._load("digits", image_size=image_size)

    def test_bad_types(self):
        with self.assertRaisesRegex(TypeError, '"name" must be a str'):
            self._load(None)
        with self.assertRaisesRegex(TypeError, '"split" must be a str'):
            self._load("digits", None)

    def test_workers_share_by_elements(self):
        options = self._load("digits").dataset.options()
        self.assertEqual(
            options.experimental_distribute.auto_shard_policy,
            tf.data.experimental.AutoShardPolicy.DATA,
        )

    def test_reading_is_quiet(self):
        with self.assertNoLogs("absl", "WARNING"):
            next(iter(self._load("digits").dataset))


class RealSetsTest(tf.test.TestCase):
    """The genuine sets, read in place."""

    def _load(self, name, split):
        data_dir = os.environ.get("TFDS_DATA_DIR")
        if not data_dir:
            self.skipTest("TFDS_DATA_DIR is not set")
        if not os.path.isdir(os.path.join(data_dir, name)):
            self.skipTest(f"{name} is not in TFDS_DATA_DIR={data_dir}")
        with mock.patch.object(
            tfds.core.DatasetBuilder, "download_and_prepare"
        ) as prepare:
            images = load(name, split)
        prepare.assert_not_called()
        return images

    def test_mnist(self):
        test = self._load("mnist", "test")
        self.assertEqual((test.num_examples, test.num_classes), (10000, 10))
        self.assertEqual(test.image_shape, (28, 28, 1))
        labels = [int(example["label"]) for example in test.dataset]
        # Counts by class of the MNIST test set; 1010 threes as in the paper.
        self.assertAllEqual(
            np.bincount(labels),
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        )
        self.assertEqual(self._load("mnist", "train").num_examples, 60000)

    def test_cifar100_has_fine_labels_and_no_ids(self):
        test = self._load("cifar100", "test")
        self.assertEqual((test.num_examples, test.num_classes), (10000, 100))
        self.assertEqual(test.image_shape, (32, 32, 3))
        self.assertEqual(test.class_names[:2], ("apple", "aquarium_fish"))
        self.assertEqual(set(test.dataset.element_spec), {"image", "label"})
        labels = [int(example["label"]) for example in test.dataset]
        self.assertAllEqual(np.bincount(labels), [100] * 100)


if __name__ == "__main__":
    tf.test.main()
