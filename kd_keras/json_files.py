"""JSON in files that are whole or not there."""

import json
import os


def write(path, value):
    """Writes JSON so that the path holds all of it or what it held.

    Args:
        path: `pathlib.Path` to write.
        value: Anything of JSON.

    Example:

    >>> import pathlib
    >>> kd_keras.json_files.write(pathlib.Path("two.json"), {"two": 2})
    >>> pathlib.Path("two.json").read_text()
    '{\\n  "two": 2\\n}\\n'
    """
    aside = path.with_name(path.name + ".unfinished")
    with open(aside, "w") as file:
        file.write(json.dumps(value, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def read(path):
    """What a file holds.

    Args:
        path: `pathlib.Path`.

    Returns:
        What was written; an empty dict if there is no such file, or no JSON in
        it.

    Example:

    >>> import pathlib
    >>> kd_keras.json_files.read(pathlib.Path("not_there.json"))
    {}
    """
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def load(path):
    """What a file holds that was made here and can be made anew.

    Args:
        path: `pathlib.Path`.

    Returns:
        What was written.

    Raises:
        ValueError: If there is no JSON in it.
    """
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is damaged. Remove it, and the same again makes it anew "
            "and goes on."
        ) from error


def difference(found, wanted):
    """The first field that differs, in words.

    Args:
        found: Dict of JSON.
        wanted: The same.

    Returns:
        str, empty if none differs.

    Example:

    >>> kd_keras.json_files.difference({"upto": 2}, {"upto": 3})
    '`upto` is 2 there, and 3 here'
    """
    for key in {**wanted, **found}:
        if found.get(key) != wanted.get(key):
            return (
                f"`{key}` is {json.dumps(found.get(key))} there, and "
                f"{json.dumps(wanted.get(key))} here"
            )
    return ""
