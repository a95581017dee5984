"""Flags of how each specialist is trained."""

from absl import flags

# Each has the name of its field in `training.SpecialistsConfig`.
RECIPE = (
    flags.DEFINE_integer(
        "head_epochs", 5, "A specialist's passes that train its head alone."
    ),
    flags.DEFINE_integer(
        "epochs", 20, "A specialist's passes that train all of it."
    ),
    flags.DEFINE_float(
        "head_learning_rate",
        1e-3,
        "Of the former, at their start; it falls to 0.",
    ),
    flags.DEFINE_float(
        "specialist_learning_rate",
        1e-3,
        "Of the latter, at their start; it falls to 0.",
    ),
    flags.DEFINE_float(
        "sampled_share", 0.5, "Share of its classes in a specialist's data."
    ),
    flags.DEFINE_bool(
        "full_softmax",
        False,
        "Specialists tell all classes, with soft targets of the generalist "
        "for those that are not theirs.",
    ),
    flags.DEFINE_float("temperature", 2.0, "With --full_softmax, of these."),
    flags.DEFINE_float(
        "soft_weight", 0.5, "With --full_softmax, of these; above 0, below 1."
    ),
)
# What is called below makes flags of the program that calls it.
flags.disclaim_key_flags()
