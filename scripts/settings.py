"""How the programs take up settings: from flags and from a file."""

import itertools
import json
import pathlib
import sys

from absl import app
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
    "dataset_version",
    "num_train_examples",
    "replicas",
    "started",
    "store",
    "versions",
}


def adopt(name, *modules):
    """Makes the flags of these modules, and of this, a program's own.

    Args:
        name: `__name__` of the program.
        *modules: Modules that define flags.
    """
    help_text.programs.append(name)
    for module in (sys.modules[__name__], *modules):
        flags.adopt_module_key_flags(module)


def parse(argv):
    """Parses a command line for `app.run`, with a configuration if any.

    Args:
        argv: The command line.

    Returns:
        The name of the program and what is no flag.
    """
    prepare(argv)
    return app.parse_flags_with_usage(argv)


def prepare(argv):
    """Answers `--help`, or takes up `--config`, before flags are parsed."""
    if help_text.is_asked_for(argv):
        print(help_text.text())
        sys.exit(0)
    _take_up_config(argv)


def _take_up_config(argv):
    """Makes the settings of a file the defaults of the flags."""
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
        for name in config.keys() - _PROVENANCE:
            if name not in flags.FLAGS:
                raise ValueError(f"this program has no flag --{name}")
            flags.FLAGS.set_default(name, config[name])
    except (OSError, ValueError, AttributeError, flags.Error) as error:
        sys.exit(
            f"--config={paths[-1]} is no config.json of this program: {error}"
        )


def numbers(flag, kind=int):
    """The value of a list flag as numbers.

    Args:
        flag: Holder of a list flag.
        kind: `int` or `float`. Defaults to `int`.

    Returns:
        A tuple of them, or None.

    Raises:
        ValueError: If it is something else.
    """
    if flag.value is None:
        return None
    try:
        return tuple(kind(number) for number in flag.value)
    except ValueError:
        raise ValueError(
            f"--{flag.name} takes numbers with commas between them. Received: "
            f"{','.join(map(str, flag.value))}"
        ) from None
