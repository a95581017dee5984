"""absl flags and Apache Beam's own options on one command line."""

import difflib
import logging
import sys

from absl import flags

from scripts import settings

RUNNER = flags.DEFINE_string(
    "runner",
    None,
    "Apache Beam runner, as FnApiRunner or DataflowRunner. Its options may "
    "stand beside, as --name=value. Default: work in this process.",
)


def parse(argv):
    """Parses a command line for `app.run`, with Beam's options if any.

    Args:
        argv: The command line.

    Returns:
        The name of the program and what are Beam's options.
    """
    if not any(argument.startswith("--runner") for argument in argv):
        return settings.parse(argv)
    settings.prepare(argv)
    try:
        rest = flags.FLAGS(argv, known_only=True)
        _check(rest[1:])
    except flags.Error as error:
        sys.exit(f"cache_soft_targets: {settings.in_words(error)}")
    return rest


def options(argv):
    """Beam's options, the runner among them; None without a runner.

    Args:
        argv: What `parse` gave.
    """
    if RUNNER.value is None:
        return None
    return [f"--runner={RUNNER.value}", *argv[1:]]


def _check(arguments):
    """Raises what absl raises at flags that it does not know."""
    try:
        # It warns of a client of Google's that nobody asked for.
        logging.getLogger().addFilter(_is_worth_logging)
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        sys.exit(
            "--runner needs Apache Beam: pip install apache-beam, or "
            '"kd_keras[beam]".'
        )
    for argument in arguments:
        if not argument.startswith("--") or argument == "--":
            raise flags.Error(
                f"Unexpected argument {argument!r}. Write --name=value."
            )
    known = set(PipelineOptions([]).get_all_options())
    found = PipelineOptions(arguments).get_all_options(
        retain_unknown_options=True
    )
    for name in sorted(set(found) - known):
        near = difflib.get_close_matches(name, known | set(flags.FLAGS))
        raise flags.UnrecognizedFlagError(name, suggestions=near)


def _is_worth_logging(record):
    return "apitools" not in record.getMessage()
