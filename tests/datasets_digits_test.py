"""The embedded set: its pixels, its split, and where it is kept."""

import contextlib
import io
import os
import shutil
import stat
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import parameterized
from sklearn.datasets import load_digits

from kd_keras.datasets import embedded
from kd_keras.datasets import load
from kd_keras.datasets.digits import Digits


def _arrays(dataset):
    examples = list(dataset.as_numpy_iterator())
    return (
        np.stack([example["image"] for example in examples]),
        np.array([example["label"] for example in examples]),
    )


class DigitsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data_dir = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.data_dir)
        cls.train = load("digits", "train", data_dir=cls.data_dir)
        cls.test = load("digits", "test", data_dir=cls.data_dir)
        cls.source = load_digits()

    def test_splits_are_the_first_1297_and_the_last_500_in_order(self):
        for split, part in (
            (self.train, slice(0, 1297)),
            (self.test, slice(1297, 1797)),
        ):
            images, labels = _arrays(split.dataset)
            self.assertEqual(images.shape[0], split.num_examples)
            # The original values 0 to 16, from what was stored.
            values = np.rint(images[..., 0] * 16.0 / 255.0)
            self.assertAllEqual(values, self.source.images[part])
            self.assertAllEqual(labels, self.source.target[part])

    def test_pixels_span_the_whole_range_of_uint8(self):
        images, _ = _arrays(self.train.dataset)
        self.assertEqual(images.dtype, np.uint8)
        self.assertAllEqual(
            np.unique(images), np.rint(np.arange(17) * 255 / 16)
        )

    def test_class_counts(self):
        counts = [
            np.bincount(_arrays(split.dataset)[1])
            for split in (self.train, self.test)
        ]
        self.assertAllEqual(
            counts[0], [128, 131, 128, 132, 130, 131, 130, 129, 128, 130]
        )
        self.assertAllEqual(counts[1], [50, 51, 49, 51, 51, 51, 51, 50, 46, 50])

    def test_no_image_is_in_both_splits(self):
        train, test = (
            {image.tobytes() for image in _arrays(split.dataset)[0]}
            for split in (self.train, self.test)
        )
        self.assertLen(train, 1297)
        self.assertLen(test, 500)
        self.assertEmpty(train & test)

    def test_description_of_the_boundary_holds(self):
        # "ten images after the start of the eleventh run": a run begins 0 to 9,
        # 0 to 9, and the last one before ended with the same tail as others.
        labels = self.source.target
        self.assertAllEqual(labels[1287:1307], [*range(10), *range(10)])
        self.assertAllEqual(labels[1274:1287], labels[1144:1157])

    def test_what_load_tells(self):
        self.assertEqual(self.test.name, "digits")
        self.assertEqual(self.test.version, "1.0.0")
        self.assertEqual(self.test.split, "test")
        self.assertEqual(self.test.num_classes, 10)
        self.assertEqual(self.test.class_names, tuple("0123456789"))
        self.assertEqual(self.test.image_shape, (8, 8, 1))

    def test_tfds_finds_the_builder(self):
        builder = tfds.builder("digits", data_dir=self.data_dir)
        self.assertIsInstance(builder, Digits)
        self.assertEqual(builder.info.supervised_keys, ("image", "label"))
        self.assertIn("Cascading Classifiers", builder.info.citation)
        # The same by version, which TFDS reads from the files alone.
        self.assertEqual(
            load("digits:1.0.0", data_dir=self.data_dir).num_examples, 1297
        )

    def test_scikit_learn_with_other_data_is_refused(self):
        short = load_digits()
        short.target = short.target[:-1]
        with mock.patch("sklearn.datasets.load_digits", return_value=short):
            with self.assertRaisesRegex(ValueError, "1797 images.*1796"):
                load("digits", data_dir=self.get_temp_dir())


class PlaceTest(tf.test.TestCase, parameterized.TestCase):
    """Where `digits` goes, with home and cache in a temporary directory."""

    def setUp(self):
        super().setUp()
        self.home = self.get_temp_dir()
        self.cache = os.path.join(self.home, "cache")
        environment = {"HOME": self.home, "XDG_CACHE_HOME": self.cache}
        self.enter_context(mock.patch.dict(os.environ, environment))
        self.default = os.path.join(self.home, "default")
        # TFDS reads TFDS_DATA_DIR when it is imported, into this constant.
        self.enter_context(
            mock.patch.object(tfds.core.constants, "DATA_DIR", self.default)
        )
        embedded._temporary_directory.cache_clear()
        self.addCleanup(embedded._temporary_directory.cache_clear)

    def _make_read_only(self, path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, stat.S_IRUSR | stat.S_IXUSR)
        self.addCleanup(os.chmod, path, stat.S_IRWXU)

    def _root(self, data_dir=None):
        return str(embedded.digits_builder(data_dir).data_dir_root)

    def test_default_directory(self):
        self.assertEqual(self._root(), self.default)
        self.assertTrue(os.path.isdir(f"{self.default}/digits/1.0.0"))
        self.assertFalse(os.path.exists(self.cache))

    def test_read_only_default_falls_back_to_the_cache_and_stays_there(self):
        self._make_read_only(self.default)
        with self.assertLogs("absl", "WARNING") as logs:
            root = self._root()
        self.assertEqual(root, os.path.join(self.cache, "kd_keras/datasets"))
        self.assertIn(f"{self.default}: not writable", logs.output[0])
        self.assertEmpty(os.listdir(self.default))
        self.assertEqual(load("digits", "test").num_examples, 500)
        # Found at once the second time, and nothing said.
        with self.assertNoLogs("absl", "WARNING"):
            self.assertEqual(self._root(), root)

    def test_read_only_home_falls_back_to_a_temporary_directory(self):
        self._make_read_only(self.default)
        self._make_read_only(self.cache)
        root = self._root()
        self.assertStartsWith(root, tempfile.gettempdir())
        self.assertEqual(self._root(), root)
        self.assertEqual(load("digits", "test").num_examples, 500)

    def test_read_only_directory_that_holds_the_set_is_used(self):
        embedded.digits_builder(self.default)
        self._make_read_only(self.default)
        self.assertEqual(self._root(), self.default)

    def test_given_directory_has_no_second_place(self):
        given = os.path.join(self.home, "given")
        self._make_read_only(given)
        with self.assertRaisesRegex(
            FileNotFoundError, f"Tried: {given}: not writable.*data_dir"
        ):
            load("digits", data_dir=given)
        self.assertFalse(os.path.exists(self.cache))

    def test_full_disk_falls_back(self):
        calls = []

        def prepare(builder):
            calls.append(str(builder.data_dir_root))
            if len(calls) == 1:
                raise OSError(28, "No space left on device")

        with mock.patch.object(embedded, "_prepare", prepare):
            root = self._root()
        self.assertEqual(calls, [self.default, root])

    @parameterized.parameters(1, 2)
    def test_another_process_is_faster(self, others):
        generate = Digits._generate_examples
        waiting = [None] * others

        def while_another_finishes(builder, start, stop):
            if waiting:  # In the middle of the first, a second one runs whole.
                waiting.pop()
                self.assertEqual(self._root(self.default), self.default)
            yield from generate(builder, start, stop)

        with mock.patch.object(
            Digits, "_generate_examples", while_another_finishes
        ):
            split = load("digits", "test", data_dir=self.default)
        self.assertEmpty(waiting)
        _, labels = _arrays(split.dataset)
        self.assertAllEqual(labels, load_digits().target[1297:])
        self.assertEqual(os.listdir(f"{self.default}/digits"), ["1.0.0"])

    def test_preparing_is_silent(self):
        output = io.StringIO()
        with (
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
            self.assertNoLogs("absl", "WARNING"),
        ):
            load("digits", data_dir=self.default)
        self.assertEqual(output.getvalue(), "")


if __name__ == "__main__":
    tf.test.main()
