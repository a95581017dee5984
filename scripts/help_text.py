"""What `--help` prints: two screens at most, defaults beside the names."""

import pathlib
import sys
import textwrap

from absl import flags

_WIDTH = 80
_COLUMN = 27
# Names of the modules of the programs in this process: one, but in tests.
programs = []


def is_asked_for(argv):
    """Whether a command line asks for help."""
    before = argv[1 : argv.index("--")] if "--" in argv else argv[1:]
    return any(argument in ("--help", "-help", "-h") for argument in before)


def name():
    """What the program that runs is called."""
    module = programs[-1]
    if module == "__main__":
        return pathlib.Path(sys.argv[0]).stem
    return module.rpartition(".")[2]


def text():
    """The help of the program that runs: what it does, and its flags."""
    program = programs[-1]
    doc = sys.modules[program].__doc__.strip()
    lines = [doc, "", "Flags, with their defaults:", ""]
    # absl knows the main module by the name of its file.
    module = sys.argv[0] if program == "__main__" else program
    found = flags.FLAGS.get_key_flags_for_module(module)
    found = {flag.name: flag for flag in found}
    for key, flag in sorted(found.items()):
        lines += _flag(key, flag)
    return "\n".join(lines)


def _flag(name, flag):
    """A flag as lines: its name and default, and what it says."""
    is_bool = flag.flag_type() == "bool"
    default = flag.default
    if isinstance(default, list):
        default = ",".join(default) or None
    left = f"  --[no]{name}" if is_bool else f"  --{name}"
    if not is_bool and default is not None:
        left += f"={default}"
    # absl adds to what repeated flags say.
    says = flag.help.partition(";\n")[0]
    if not flag.allow_override and flag.default is None and flag.validators:
        says += " Required."
    lines = textwrap.wrap(says, _WIDTH - _COLUMN)
    if len(left) < _COLUMN:
        lines[0] = left.ljust(_COLUMN) + lines[0]
        rest = lines[1:]
        return [lines[0], *(" " * _COLUMN + line for line in rest)]
    return [left, *(" " * _COLUMN + line for line in lines)]
