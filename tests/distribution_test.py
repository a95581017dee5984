"""Strategies by name, and what their input needs."""

import json
import os
from unittest import mock

import pytest
import tensorflow as tf
from absl.testing import parameterized

from kd_keras import distribution
from tests import processes

# The first thing a process does with TensorFlow.
_MIRRORED = """
import sys
import tensorflow as tf
from kd_keras import distribution
strategy = distribution.make_strategy("mirrored", num_virtual_devices=3)
print("replicas", strategy.num_replicas_in_sync)
print("chief", distribution.is_chief(strategy))
print("workers", distribution.is_multi_worker(strategy))
for name, args in (
    ("mirrored", {"num_virtual_devices": 2}),
    ("multi_worker", {}),
):
    try:
        distribution.make_strategy(name, **args)
    except RuntimeError as error:
        print(name, "late:", error)
"""


def resolver(task_type, task_id, **cluster):
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster), task_type=task_type, task_id=task_id
    )


class MakeStrategyTest(parameterized.TestCase, tf.test.TestCase):
    def test_default_is_none(self):
        strategy = distribution.make_strategy()
        self.assertIs(strategy, tf.distribute.get_strategy())
        self.assertTrue(distribution.is_chief(strategy))
        self.assertFalse(distribution.is_multi_worker(strategy))

    def test_one_device(self):
        strategy = distribution.make_strategy("one_device")
        self.assertIsInstance(strategy, tf.distribute.OneDeviceStrategy)
        self.assertEqual(strategy.num_replicas_in_sync, 1)
        with strategy.scope():
            variable = tf.Variable(1.0)
        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        self.assertIn(kind, variable.device)

    @pytest.mark.slow
    def test_mirrored_on_parts_of_the_cpu(self):
        process = processes.start(
            ["-c", _MIRRORED],
            {
                "TF_CONFIG": json.dumps(
                    {
                        "cluster": {"worker": ["localhost:1"]},
                        "task": {"type": "worker", "index": 0},
                    }
                )
            },
        )
        said = processes.finish(process)
        self.assertIn("replicas 3\n", said)
        self.assertIn("chief True\n", said)
        self.assertIn("workers False\n", said)
        for name in ("mirrored", "multi_worker"):
            self.assertIn(f"{name} late: TensorFlow has run already", said)

    @parameterized.parameters(
        ("parameter_server", "weights of different age"),
        ("horovod", "default, one_device, mirrored, multi_worker, tpu"),
    )
    def test_other_names_are_refused(self, name, text):
        with self.assertRaisesRegex(ValueError, text):
            distribution.make_strategy(name)

    @parameterized.parameters(
        ("default", 2, "for the strategy 'mirrored'"),
        ("multi_worker", 2, "for the strategy 'mirrored'"),
        ("mirrored", 0, "positive whole number"),
        ("mirrored", True, "positive whole number"),
        ("mirrored", 1.5, "positive whole number"),
    )
    def test_virtual_devices_are_checked(self, name, number, text):
        with self.assertRaisesRegex(ValueError, text):
            distribution.make_strategy(name, num_virtual_devices=number)

    def test_missing_tpu(self):
        if tf.config.list_physical_devices("TPU"):
            self.skipTest("TensorFlow sees a TPU")
        with self.assertRaisesRegex(ValueError, "TPU_NAME"):
            distribution.make_strategy("tpu")

    @parameterized.parameters(
        (None, "is not set"),
        ("", "is not set"),
        ("worker", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"cluster": {}}', "KeyError.*task"),
        (
            '{"cluster": {"worker": ["a:1"]},'
            ' "task": {"type": "chief", "index": 0}}',
            "KeyError.*chief",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]},'
            ' "task": {"type": "worker", "index": 2}}',
            "the index 2, and there are 2",
        ),
        (
            '{"cluster": {"worker": ["a:1", "localhost"]},'
            ' "task": {"type": "worker", "index": 0}}',
            "as HOST:PORT. Received: 'localhost'",
        ),
        (
            '{"cluster": {"worker": ["localhost:1:2"]},'
            ' "task": {"type": "worker", "index": 0}}',
            "as HOST:PORT. Received: 'localhost:1:2'",
        ),
        (
            '{"cluster": {"worker": "localhost:1"},'
            ' "task": {"type": "worker", "index": 0}}',
            "TypeError.*no list of addresses",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]},'
            ' "task": {"type": "ps", "index": 0}}',
            "ParameterServerStrategy",
        ),
    )
    def test_tf_config_is_checked(self, value, text):
        environment = {} if value is None else {"TF_CONFIG": value}
        with (
            mock.patch.dict(os.environ, environment),
            self.assertRaisesRegex(ValueError, text) as raised,
        ):
            if value is None:
                os.environ.pop("TF_CONFIG", None)
            distribution.make_strategy("multi_worker")
        self.assertIn("For the first of two workers", str(raised.exception))

    @parameterized.parameters(
        ("worker", 0, {"worker": ["a:1", "b:1"]}, True, True),
        ("worker", 1, {"worker": ["a:1", "b:1"]}, False, True),
        ("worker", 0, {"chief": ["a:1"], "worker": ["b:1"]}, False, True),
        ("chief", 0, {"chief": ["a:1"], "worker": ["b:1"]}, True, True),
        ("worker", 0, {"worker": ["a:1"]}, True, False),
        ("", None, {}, True, False),
    )
    def test_the_chief(self, kind, index, cluster, is_chief, is_several):
        strategy = mock.create_autospec(tf.distribute.Strategy, instance=True)
        strategy.cluster_resolver = resolver(kind, index, **cluster)
        self.assertEqual(distribution.is_chief(strategy), is_chief)
        self.assertEqual(distribution.is_multi_worker(strategy), is_several)


class PrepareInputTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.strategy = mock.create_autospec(
            tf.distribute.Strategy, instance=True
        )
        self.strategy.num_replicas_in_sync = 2
        self.dataset = tf.data.Dataset.from_tensor_slices(
            {"image": [1.0, 2.0, 3.0], "label": [0, 1, 0]}
        ).batch(2)

    def policy(self, dataset):
        return dataset.options().experimental_distribute.auto_shard_policy.name

    def test_is_shared_out_by_elements_unless_told(self):
        prepared = distribution.prepare_input(self.dataset, self.strategy)
        self.assertEqual(self.policy(self.dataset), "AUTO")
        self.assertEqual(self.policy(prepared), "DATA")
        for one, other in zip(self.dataset, prepared, strict=True):
            self.assertAllEqual(one["image"], other["image"])
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.OFF
        )
        told = self.dataset.with_options(options)
        prepared = distribution.prepare_input(told, self.strategy)
        self.assertEqual(self.policy(prepared), "OFF")

    def test_is_left_alone_on_one_replica(self):
        self.strategy.num_replicas_in_sync = 1
        prepared = distribution.prepare_input(self.dataset, self.strategy)
        self.assertIs(prepared, self.dataset)

    def test_what_is_no_dataset_is_left_alone(self):
        array = [1.0, 2.0]
        self.assertIs(distribution.prepare_input(array, self.strategy), array)

    def test_strings_are_refused_by_their_place(self):
        dataset = self.dataset.map(
            lambda example: (example, (example["label"], "name"))
        )
        with self.assertRaisesRegex(ValueError, r"strings at \[1\]\[1\]"):
            distribution.prepare_input(dataset, self.strategy)

    def test_a_tpu_needs_known_shapes(self):
        with mock.patch.object(distribution, "is_tpu", return_value=True):
            with self.assertRaisesRegex(ValueError, r"\['image'\].*remainder"):
                distribution.prepare_input(self.dataset, self.strategy)
            even = self.dataset.unbatch().batch(2, drop_remainder=True)
            prepared = distribution.prepare_input(even, self.strategy)
        self.assertEqual(self.policy(prepared), "DATA")


if __name__ == "__main__":
    tf.test.main()
