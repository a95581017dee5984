"""Settings from a file that an earlier run wrote."""

import itertools
import json
import pathlib
import sys

from absl import flags

from scripts import help_text

_CONFIG = flags.DEFINE_string(
    "config",
    None,
    "A config.json that this program wrote; flags that are given win over it.",
)
# What is called below makes flags of the program that calls it.
flags.disclaim_key_flags()

# What config.json holds besides settings.
_PROVENANCE = {
    "content_of_files",
    "dataset_version",
    "num_train_examples",
    "program",
    "replicas",
    "soft_targets_tag",
    "started",
    "versions",
    "views",
}


def take_up(argv):
    """Makes the settings of a file the defaults of the flags.

    Args:
        argv: The command line.
    """
    paths = []
    for argument, following in itertools.pairwise([*argv[1:], ""]):
        name, has_value, value = argument.lstrip("-").partition("=")
        if argument == "--":
            break
        if argument.startswith("-") and name == "config":
            paths.append(value if has_value else following)
    if not paths:
        return
    try:
        config = json.loads(pathlib.Path(paths[-1]).read_text("utf-8"))
        program = config.get("program", help_text.name())
        if program != help_text.name():
            raise ValueError(f"{program} wrote it")
        for name in config.keys() - _PROVENANCE:
            if name not in flags.FLAGS:
                raise ValueError(f"this program has no flag --{name}")
            flags.FLAGS.set_default(name, config[name])
    except (OSError, ValueError, AttributeError, flags.Error) as error:
        sys.exit(
            f"{help_text.name()}: --config={paths[-1]} is no config.json of "
            f"this program: {' '.join(str(error).split())[:200]}"
        )
