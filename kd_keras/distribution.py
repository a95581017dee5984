"""A `tf.distribute` strategy by name, and what its input needs.

Nothing here is needed to use a strategy of one's own: a Distiller trains under
whichever it was built in.
"""

import contextlib
import json
import os

import tensorflow as tf

NAMES = ("default", "one_device", "mirrored", "multi_worker", "tpu")

_TF_CONFIG_EXAMPLE = (
    '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def make_strategy(name="default", *, num_virtual_devices=None, tpu=None):
    """Makes a strategy; to be called before anything else of TensorFlow.

    Build teacher, student and Distiller in its scope:
    `with strategy.scope(): ...`. `fit` needs no scope. A batch size is that of
    the global batch, which the replicas share.

    Args:
        name: `"default"`: none, which is one GPU if there is any. Or
            `"one_device"`: explicitly one device. Or `"mirrored"`: all GPUs
            of this machine, or without any its CPU devices. Or
            `"multi_worker"`: all devices of several machines, described by
            the environment variable `TF_CONFIG`. Or `"tpu"`.
        num_virtual_devices: For `"mirrored"` without GPUs: into how many
            devices to divide the CPU, to try on it what will run on several
            GPUs. Defaults to `None`, one.
        tpu: Name or address of the TPU. Defaults to `None`: what the
            environment variable `TPU_NAME` holds, or the local TPU.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: If the name or a number is not one of these, or the
            environment does not describe the cluster.
        RuntimeError: If TensorFlow has run already, after which neither
            devices nor workers can be set up.

    Example:

    >>> strategy = kd_keras.distribution.make_strategy("one_device")
    >>> strategy.num_replicas_in_sync
    1
    """
    if name == "parameter_server":
        raise ValueError(
            "The strategy 'parameter_server' is not supported: `fit` of Keras "
            "3 cannot run under it, its workers would train on weights of "
            "different age, and no two runs would be equal. Use "
            "'multi_worker' for several machines."
        )
    if name not in NAMES:
        raise ValueError(
            f"`name` must be one of {', '.join(NAMES)}. Received: {name!r}"
        )
    if num_virtual_devices is not None:
        _divide_cpu(name, num_virtual_devices)
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "tpu":
        return _tpu(tpu)
    if name == "multi_worker":
        check_tf_config(os.environ.get("TF_CONFIG"))
        with _set_up_in_time("the workers are"):
            return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices(
        "GPU"
    ) or tf.config.list_logical_devices("CPU")
    devices = [device.name for device in devices]
    if name == "one_device":
        return tf.distribute.OneDeviceStrategy(devices[0])
    return tf.distribute.MirroredStrategy(devices)


def is_chief(strategy):
    """Whether this process is the one that writes.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Returns:
        True but for all workers except the first of several.

    Example:

    >>> kd_keras.distribution.is_chief(tf.distribute.get_strategy())
    True
    """
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    if resolver.task_type == "worker":
        # Without a chief, the first worker is it.
        has_chief = "chief" in resolver.cluster_spec().as_dict()
        return not has_chief and resolver.task_id == 0
    return resolver.task_type == "chief"


def chiefs_value(strategy, value):
    """The chief's value of something that workers may see differently.

    All workers must call it alike, and wait for each other in it.

    Args:
        strategy: A `tf.distribute.Strategy`.
        value: int of this process, from -2**31 to 2**31 - 1.

    Returns:
        int, the same on all.

    Example:

    >>> kd_keras.distribution.chiefs_value(tf.distribute.get_strategy(), 3)
    3
    """
    if not is_multi_worker(strategy):
        return value
    # The chief has the first replica.
    mine = value if is_chief(strategy) else 0

    def of_replica():
        context = tf.distribute.get_replica_context()
        is_first = context.replica_id_in_sync_group == 0
        return tf.where(is_first, tf.constant(mine, tf.int32), 0)

    return int(strategy.reduce("SUM", strategy.run(of_replica), axis=None))


def prepare_input(data, strategy):
    """Makes data ready to be shared out to the replicas of a strategy.

    Workers share a data set by examples, unless its options say how: each
    batch is divided, so that together they take what one would take alone.
    (By files, which TensorFlow tries first, workers get unequal shares and
    wait for each other for ever.)

    Args:
        data: What `fit` was given. What is no `tf.data.Dataset` is left as it
            is.
        strategy: A `tf.distribute.Strategy`.

    Returns:
        The same, or a data set of the same elements.

    Raises:
        ValueError: If the elements hold strings, which no replica takes, or,
            on a TPU, batches that may differ in size.

    Example:

    >>> dataset = tf.data.Dataset.range(6).batch(2)
    >>> strategy = tf.distribute.get_strategy()
    >>> kd_keras.distribution.prepare_input(dataset, strategy) is dataset
    True
    """
    if strategy.num_replicas_in_sync == 1 and not is_tpu(strategy):
        return data
    if not isinstance(data, tf.data.Dataset):
        return data
    for path, spec in _leaves(data.element_spec):
        if getattr(spec, "dtype", None) == tf.string:
            raise ValueError(
                f"The data holds strings at {path or 'its root'}, which "
                "cannot be shared out to replicas. Drop them before: "
                "dataset.map(lambda example: (example['image'], "
                "example['label']))."
            )
        shape = getattr(spec, "shape", None)
        if is_tpu(strategy) and not (shape and shape.is_fully_defined()):
            raise ValueError(
                f"A TPU needs batches of one known shape. Received: {spec} at "
                f"{path or 'the root'}. Batch with drop_remainder=True."
            )
    options = data.options()
    auto = tf.data.experimental.AutoShardPolicy.AUTO
    if options.experimental_distribute.auto_shard_policy != auto:
        return data
    return shard_by_elements(data)


def shard_by_elements(dataset):
    """Lets `tf.distribute` share a data set out by elements, never by files.

    By files is what it tries first. That fails for a set of fewer files than
    workers, as most small ones are, and it would pair the examples of a
    worker's files with marks made for the whole set. By elements, every worker
    takes its share of the finished data set.

    Args:
        dataset: `tf.data.Dataset`.

    Returns:
        `tf.data.Dataset` of the same elements. The option holds for everything
        made from it, until set otherwise.

    Example:

    >>> dataset = kd_keras.distribution.shard_by_elements(
    ...     tf.data.Dataset.range(3))
    >>> dataset.options().experimental_distribute.auto_shard_policy.name
    'DATA'
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    return dataset.with_options(options)


def is_multi_worker(strategy):
    """Whether a strategy runs in several processes.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Returns:
        True or False.
    """
    resolver = strategy.cluster_resolver
    if resolver is None or is_tpu(strategy):
        return False
    tasks = resolver.cluster_spec().as_dict()
    return sum(len(tasks.get(kind, ())) for kind in ("chief", "worker")) > 1


def is_tpu(strategy):
    """Whether a strategy runs on TPUs.

    Args:
        strategy: A `tf.distribute.Strategy`.

    Returns:
        True or False.
    """
    return isinstance(strategy, tf.distribute.TPUStrategy)


def check_tf_config(value):
    """Raises unless an environment describes the workers of a cluster.

    Args:
        value: Content of the environment variable `TF_CONFIG`, or None.

    Raises:
        ValueError: If it is missing, is no JSON, or names no workers or no
            task of theirs.

    Example:

    >>> kd_keras.distribution.check_tf_config(None)
    Traceback (most recent call last):
    ValueError: The strategy 'multi_worker' needs the environment variable...
    """
    example = f" For the first of two workers: {_TF_CONFIG_EXAMPLE}"
    if not value:
        raise ValueError(
            "The strategy 'multi_worker' needs the environment variable "
            f"TF_CONFIG, which is not set.{example}"
        )
    try:
        config = json.loads(value)
        cluster, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        addresses = cluster[kind]
        if not isinstance(addresses, list):
            raise TypeError(f"{kind!r} is no list of addresses")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"TF_CONFIG does not describe a worker of a cluster: {error!r}. "
            f"Received: {value}.{example}"
        ) from None
    if kind in ("ps", "evaluator"):
        raise ValueError(
            f"TF_CONFIG makes this task one of type {kind!r}, and Keras 3 has "
            "none: its `fit` does not run under ParameterServerStrategy. Name "
            f"workers only. Received: {value}.{example}"
        )
    if not 0 <= index < len(addresses):
        raise ValueError(
            f"TF_CONFIG gives this task the index {index}, and there are "
            f"{len(addresses)} of type {kind!r}, counted from 0. "
            f"Received: {value}.{example}"
        )
    for address in addresses:
        host, _, port = str(address).rpartition(":")
        is_one_host = ":" not in host or host.startswith("[")
        if not host or not port.isdigit() or not is_one_host:
            raise ValueError(
                f"TF_CONFIG must name each worker as HOST:PORT. Received: "
                f"{address!r} in {value}.{example}"
            )


def _divide_cpu(name, number):
    if name != "mirrored":
        raise ValueError(
            "`num_virtual_devices` divides the CPU for the strategy "
            f"'mirrored'. Received: {number} with {name!r}"
        )
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(
            "`num_virtual_devices` must be a positive whole number. "
            f"Received: {number!r}"
        )
    if tf.config.list_physical_devices("GPU"):
        raise ValueError(
            "`num_virtual_devices` divides the CPU, and there are GPUs, which "
            "'mirrored' uses as they are. Leave it out, or hide the GPUs: "
            "CUDA_VISIBLE_DEVICES=-1."
        )
    with _set_up_in_time("virtual devices are"):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * number,
        )


@contextlib.contextmanager
def _set_up_in_time(what):
    """Says what to do if TensorFlow refuses a set-up that comes too late."""
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"TensorFlow has run already, and {what} set up before that. Call "
            "kd_keras.distribution.make_strategy first of all, once in a "
            f"process. TensorFlow says: {error}"
        ) from error


def _tpu(name):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=name or os.environ.get("TPU_NAME") or "local"
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError, RuntimeError) as error:
        raise ValueError(
            "No TPU was found. Name it by `tpu` or the environment variable "
            f"TPU_NAME; without one, the local TPU is used. TensorFlow says: "
            f"{error}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _leaves(structure, path=""):
    """The leaves of a structure of specs, with their paths."""
    if isinstance(structure, dict):
        items = [(f"[{key!r}]", value) for key, value in structure.items()]
    elif isinstance(structure, (list, tuple)):
        items = [(f"[{i}]", value) for i, value in enumerate(structure)]
    else:
        return [(path, structure)]
    return [leaf for key, value in items for leaf in _leaves(value, path + key)]
