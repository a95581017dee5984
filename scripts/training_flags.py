"""Flags of the programs that train."""

from absl import flags

# Each has the name of its field in the configurations of `kd_keras.training`.
TRAINING = (
    flags.DEFINE_string(
        "strategy",
        "default",
        "default, one_device, mirrored (all GPUs), tpu, or multi_worker "
        "(the same command on every machine, each with its TF_CONFIG).",
    ),
    flags.DEFINE_integer(
        "num_virtual_devices",
        None,
        "Divide the CPU into so many devices, to try --strategy=mirrored.",
    ),
    flags.DEFINE_integer("batch_size", 64, "Examples per step."),
    flags.DEFINE_float(
        "learning_rate", 1e-3, "Learning rate of Adam, in all arms."
    ),
)
