"""How the programs take up settings: from flags and from a file."""

import re
import sys

from absl import flags

from scripts import config_file
from scripts import help_text

# What is called below makes flags of the program that calls it.
flags.disclaim_key_flags()


def adopt(name, *modules, takes_config=True):
    """Makes the flags of these modules, and --config, a program's own.

    Args:
        name: `__name__` of the program.
        *modules: Modules that define flags.
        takes_config: Whether the program takes --config. Defaults to True.
    """
    help_text.programs.append(name)
    for module in (*modules, *([config_file] if takes_config else [])):
        flags.adopt_module_key_flags(module)


def parse(argv):
    """Parses a command line for `app.run`, with a configuration if any.

    Args:
        argv: The command line.

    Returns:
        The name of the program and what is no flag.
    """
    prepare(argv)
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(f"{help_text.name()}: {in_words(error)}")


def in_words(error):
    """What a wrong command line is told, one line."""
    text = " ".join(str(error).split())
    missing = re.fullmatch(r"flag (--\w+)=None: .* other than None\.", text)
    if missing:
        text = f"{missing[1]} is missing."
    if not text.endswith((".", "?")):
        text += "."
    return f"{text} See --help."


def prepare(argv):
    """Answers `--help`, or takes up `--config`, before flags are parsed."""
    if help_text.is_asked_for(argv):
        print(help_text.text())
        sys.exit(0)
    config_file.take_up(argv)


def values(holders):
    """The values of flags by name; an empty text is None.

    Args:
        holders: Holders of flags.

    Returns:
        A dict.
    """
    return {
        flag.name: None if flag.value == "" else flag.value for flag in holders
    }


def check_used(names, needed):
    """Raises if one of these flags is given, as nothing would come of it.

    What a file gives by --config does not count: it holds all settings.

    Args:
        names: Names of the flags.
        needed: What they are for, and what to give for that.

    Raises:
        ValueError: If one is on the command line.
    """
    given = [f"--{name}" for name in names if flags.FLAGS[name].present]
    if given:
        raise ValueError(f"nothing would come of {', '.join(given)}: {needed}")


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
