"""Runs one program in this process, again and again, with mistakes.

Standard input: JSON of the program's name and of lists of arguments; one that
begins with `errno:` makes each directory that is to be made fail so. Standard
output: JSON of what each ended with.
"""

import contextlib
import errno
import importlib
import json
import os
import sys
from unittest import mock

from absl import flags
from absl.testing import flagsaver


def attempt(program, name, arguments):
    """How a program ends, as text."""
    with contextlib.ExitStack() as stack:
        if arguments[0].startswith("errno:"):
            number = getattr(errno, arguments.pop(0).removeprefix("errno:"))
            error = OSError(number, os.strerror(number), "/disk")
            stack.enter_context(mock.patch("os.mkdir", side_effect=error))
        stack.enter_context(flagsaver.flagsaver())
        try:
            program.main(flags.FLAGS([name, *arguments]))
        except (SystemExit, flags.Error) as error:
            return str(error)
        return "ended well"


if __name__ == "__main__":
    program_name, cases = json.load(sys.stdin)
    module = importlib.import_module(f"scripts.{program_name}")
    said = [attempt(module, program_name, case) for case in cases]
    print("\n" + json.dumps(said))
