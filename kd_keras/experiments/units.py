"""Results on disk: one file for each arm and seed, written when it is done."""

import contextlib
import json
import pathlib
import re

from kd_keras import json_files
from kd_keras import locks

_CONFIG = "config.json"
_UNIT = re.compile(r"seed-(\d+)-(.+)\.json")


class Units:
    """The units of one experiment in its directory.

    Other runs of the same configuration add to them: more seeds, more arms.

    Attributes:
        folder: `pathlib.Path` of the directory.

    Args:
        folder: As above; it is made.
        config: What the results depend on, anything of JSON.

    Raises:
        ValueError: If the directory holds results of another configuration,
            naming what differs.
    """

    def __init__(self, folder, config):
        self.folder = pathlib.Path(folder)
        config = json.loads(json.dumps(config))
        if (self.folder / _CONFIG).exists():
            _check(self.folder, config)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} holds something else than results of an "
                f"experiment, or has lost its {_CONFIG}. Choose another output "
                "directory."
            )
        self._config = config

    @contextlib.contextmanager
    def begin(self):
        """Makes the directory and holds its lock.

        Raises:
            FileExistsError: If another process is at work on it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locks.hold(self.folder):
            json_files.write(self.folder / _CONFIG, self._config)
            yield self

    def result(self, arm, seed):
        """What came of a unit, a dict; None if it is not done."""
        path = self._path(arm, seed)
        return _loaded(path) if path.exists() else None

    def finish(self, arm, seed, result):
        """Writes what came of a unit."""
        json_files.write(self._path(arm, seed), result)

    def results(self):
        """All that is done, as `read` gives it."""
        return read(self.folder)

    def _path(self, arm, seed):
        return self.folder / f"seed-{seed}-{arm}.json"


def check_config(folder, config):
    """Raises a ValueError if a directory holds results of another kind.

    Args:
        folder: The directory of results.
        config: Some of what the results depend on, anything of JSON.
    """
    _check(pathlib.Path(folder), json.loads(json.dumps(config)))


def _check(folder, config):
    found = _loaded_config(folder)
    for name, value in config.items():
        if found.get(name) != value:
            raise ValueError(
                f"{folder} holds results of another configuration: `{name}` "
                f"is {json.dumps(found.get(name))} there, and "
                f"{json.dumps(value)} here. Choose another directory."
            )


def _loaded(path):
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}. Remove it, and what it holds is "
            "made again."
        ) from None


def _loaded_config(folder):
    path = pathlib.Path(folder) / _CONFIG
    if not path.exists():
        raise ValueError(
            f"{folder} holds results and no {_CONFIG}, which says of what. Put "
            "it back, or make the results again in another directory."
        )
    config = _loaded(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no configuration of results.")
    return config


def form_of(folder):
    """Which form results are of: "full", "quick" or "selection"."""
    return _loaded_config(folder)["form"]


def seconds(folder):
    """How long the units in a directory of results took, all together."""
    return sum(result.get("seconds", 0) for result in read(folder).values())


def describe_data(folder):
    """What a directory of results was trained and counted on, as text."""
    config = _loaded_config(folder)
    name, version, split = config["dataset"]
    return f"{name} {version}, {split}; counted on {config['counted_on']}"


def read(folder):
    """What is done in a directory of results.

    Args:
        folder: The directory.

    Returns:
        A dict of `(arm, seed)` to dicts, by seed.
    """
    found = {}
    for path in pathlib.Path(folder).glob("seed-*.json"):
        if match := _UNIT.fullmatch(path.name):
            key = match[2], int(match[1])
            found[key] = _loaded(path)
    return dict(sorted(found.items(), key=lambda item: item[0][::-1]))
