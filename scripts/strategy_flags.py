"""Flags of the programs that train under a strategy."""

from absl import flags

from scripts import training_flags

flags.adopt_module_key_flags(training_flags)

# Each has the name of its field in the configurations of `kd_keras.training`.
TRAINING = (
    *training_flags.TRAINING,
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
)
