"""Flags of the programs that train."""

from absl import flags

# Each has the name of its field in the configurations of `kd_keras.training`.
TRAINING = (
    flags.DEFINE_string(
        "train_split", "train", "Split to train on, in TFDS' notation."
    ),
    flags.DEFINE_string("test_split", "test", "Split to count errors on."),
    flags.DEFINE_integer("batch_size", 64, "Examples per step."),
    flags.DEFINE_float("learning_rate", 1e-3, "Learning rate of Adam."),
)
# What is called below makes flags of the program that calls it.
flags.disclaim_key_flags()


def define_model(name, default, otherwise="."):
    """Defines a flag that names a model; returns its holder.

    Args:
        name: Its name.
        default: Its default.
        otherwise: End of what is said of it.
    """
    return flags.DEFINE_string(
        name,
        default,
        "mlp:UNITS, convnet:FILTERS, a builder of keras.applications, or a "
        f".keras file to begin with{otherwise}",
    )


def define_weights(name):
    """Defines a flag for a file of weights; returns its holder."""
    return flags.DEFINE_string(name, None, "Weights that it begins with.")


def define_dropout(name):
    """Defines a flag for a teacher's dropout; returns its holder."""
    return flags.DEFINE_float(
        name,
        None,
        "Dropout rate of its hidden layers. Default: 0.5 in mlp and convnet.",
    )
