"""An output directory that is complete or not there, and can be resumed.

A run works in a directory beside, `NAME.partial`, and takes its name when all
is done. It is made of units; what a unit came to is written when it is done, so
that a run which was broken off goes on from there.
"""

import contextlib
import json
import os
import pathlib
import shutil
import uuid

import tensorflow as tf

from kd_keras import distribution
from kd_keras import json_files
from kd_keras import locks

# Inside of the partial directory: what is not of the output.
_WORK = "work"


class Run:
    """One output directory in the making.

    Attributes:
        path: `pathlib.Path` of the partial directory, for what will be of the
            output.
        work: `pathlib.Path` in it for what will not.

    Args:
        output_dir: Directory to make.
        config: What the run depends on, anything of JSON. It is written as
            `config_file`.
        overwrite: Whether something at `output_dir`, or a broken run of
            another configuration, may be replaced. Defaults to `False`.
        strategy: A `tf.distribute.Strategy` whose workers all make this run:
            the chief writes, the others read the same directory. Defaults to
            the current one.
        config_file: Name of the file by which an output is known as one.
            Defaults to `"config.json"`.
        inputs: Paths of what the run reads, none of which may lie in
            `output_dir`. Defaults to none.

    Raises:
        FileExistsError: If there is something at `output_dir`, or another
            process works on it.
        ValueError: If there is a broken run of another configuration, or
            `output_dir` has no name.

    Example:

    >>> with kd_keras.runs.Run("squares", {"upto": 2}).begin() as run:
    ...     for number in (1, 2):
    ...         if run.done(f"{number}") is None:
    ...             run.finish(f"{number}", number**2)
    ...     run.publish()
    >>> os.listdir("squares")
    ['config.json']
    """

    def __init__(
        self,
        output_dir,
        config,
        *,
        overwrite=False,
        strategy=None,
        config_file="config.json",
        inputs=(),
    ):
        if "://" in os.fspath(output_dir):
            raise ValueError(
                "An output directory must be local, because it is published by "
                "a rename: write to one, then copy it. Received: "
                f"{os.fspath(output_dir)!r}"
            )
        # Of a link, what it leads to is made and renamed.
        self._output_dir = pathlib.Path(os.path.realpath(output_dir))
        if not self._output_dir.name:
            raise ValueError(
                "An output directory needs a name. Received: "
                f"{os.fspath(output_dir)!r}"
            )
        here = pathlib.Path.cwd()
        if self._output_dir in (here, *here.parents):
            raise ValueError(
                f"{self._output_dir} is the directory that you are in, or one "
                "that holds it, and cannot be replaced. Choose another output "
                "directory."
            )
        for path in inputs:
            if self._output_dir in pathlib.Path(path).resolve().parents:
                raise ValueError(
                    f"{path} is to be read, and lies in the output directory "
                    f"{self._output_dir}. Choose another output directory."
                )
        self._config = json.loads(json.dumps(config))
        self._overwrite = overwrite
        self._config_file = config_file
        self._strategy = strategy or tf.distribute.get_strategy()
        self._is_chief = distribution.is_chief(self._strategy)
        self.path = self._output_dir.with_name(
            self._output_dir.name + ".partial"
        )
        self.work = self.path / _WORK
        self._check()

    @contextlib.contextmanager
    def begin(self, provenance=None, wait=False):
        """Makes the partial directory, or takes it up, and holds its lock.

        Args:
            provenance: What else is worth knowing, a dict of JSON that is
                written into `config.json` and not compared.
            wait: Whether to wait until no other process holds the lock.
                Defaults to False.

        Raises:
            FileExistsError: If another process is at work on it.
        """
        with contextlib.ExitStack() as stack:
            if self._is_chief:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locks.hold(self.path, wait))
                self._check(is_held=True)
                self._take_up(provenance or {})
            # Before this the others might see what will be cleared.
            distribution.chiefs_value(self._strategy, 0)
            try:
                yield self
            except Exception:
                self._leave()
                raise

    @contextlib.contextmanager
    def begin_last(self):
        """Holds the lock for what one of several processes does in the end.

        Yields:
            Whether that is still to do; False where another one published.
        """
        with locks.hold(self.path, wait=True):
            yield self.is_there()

    def is_there(self):
        """Whether the partial directory is there, and is of this run."""
        return self._broken_config() == self._config

    def done(self, unit):
        """What a unit came to; None if it is still to do.

        Args:
            unit: Its name, which must do as the name of a file.

        Returns:
            What was given to `finish`.
        """
        path = self._unit(unit)
        # The chief's word counts: it may be ahead of what another sees.
        if not distribution.chiefs_value(self._strategy, int(path.is_file())):
            return None
        if not path.is_file():
            raise FileNotFoundError(
                f"The first worker has {path} and this one has not. The "
                "output directory must be the same one for all workers."
            )
        return json_files.load(path)

    def finish(self, unit, result):
        """Notes that a unit is done.

        Args:
            unit: Its name.
            result: What it came to, anything of JSON but None.
        """
        if self._is_chief:
            write_unit(self.work, unit, result)

    def forget(self, unit):
        """Takes back that a unit is done, if it is."""
        if self._is_chief:
            self._unit(unit).unlink(missing_ok=True)

    def begin_anew(self):
        """Forgets all units, and what was written for them."""
        if not self._is_chief or not self.work.is_dir():
            return
        kept = {self.work, self.path / self._config_file}
        kept.add(self.work / "config.json")
        for path in (*self.path.iterdir(), *self.work.iterdir()):
            if path in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def has_unit(self, unit):
        """Whether a unit is done, as far as this process sees."""
        return self._unit(unit).is_file()

    def publish(self):
        """Gives the directory its name; what was there before is removed."""
        if self._is_chief:
            self._publish()
        # Workers end together: one that is gone is an error to the others.
        distribution.chiefs_value(self._strategy, 0)

    def _check(self, is_held=False):
        """Raises if the run may not begin; `is_held` by this process."""
        if self._is_chief and _is_something(self._output_dir):
            self._check_finished()
            self._old()
        broken = self._broken_config()
        if broken is not None and not self._overwrite:
            difference = json_files.difference(broken, self._config)
            if difference and self._is_at_work(is_held):
                raise FileExistsError(
                    f"Another process is at work in {self.path}, with another "
                    f"configuration: {difference}. Give the same to work with "
                    "it, where a program can, or another output directory."
                )
            if difference:
                raise ValueError(
                    f"{self.path} holds a run that was broken off, of another "
                    f"configuration: {difference}. Give the same to go on "
                    "with it, another output directory, or overwrite it "
                    "(overwrite=True, --overwrite)."
                )

    def _check_finished(self):
        if not self._overwrite:
            difference = _difference_of_output(
                self._output_dir, self._config, self._config_file
            )
            raise FileExistsError(
                f"There is something at {self._output_dir} already"
                + (
                    f", a run of another configuration: {difference}. "
                    if difference
                    else ". "
                )
                + "Choose another output directory, or overwrite it "
                "(overwrite=True, --overwrite)."
            )
        if not (self._output_dir / self._config_file).is_file():
            raise FileExistsError(
                f"{self._output_dir} has no {self._config_file}, so it is no "
                "output of a run and is not overwritten. Choose another output "
                "directory."
            )
        found = json_files.read(self._output_dir / self._config_file)
        if found.get("program") != self._config.get("program"):
            raise FileExistsError(
                f"{self._output_dir} is an output of another program, "
                f"{found.get('program') or 'not known'}, and is not "
                "overwritten. Choose another output directory."
            )

    def _check_half_made(self):
        """Raises unless a directory without configuration can be a run's."""
        others = {path.name for path in self.path.iterdir()} - {
            _WORK,
            self._config_file,
            f"{self._config_file}.unfinished",
        }
        if others:
            raise FileExistsError(
                f"{self.path}, where this run would work, holds something "
                f"else: {', '.join(sorted(others)[:3])}. Choose another output "
                "directory, or move that away."
            )

    def _broken_config(self):
        """The configuration of a run that was broken off, or None."""
        return json_files.read(self.work / "config.json") or None

    def _take_up(self, provenance):
        broken = self._broken_config()
        if broken is not None and not json_files.difference(
            broken, self._config
        ):
            return
        if self.path.exists():
            if broken is None:
                self._check_half_made()
            if self._is_at_work(is_held=True):
                raise FileExistsError(
                    f"Another process is at work in {self.path}, with another "
                    "configuration. Wait for it, or choose another output "
                    "directory."
                )
            shutil.rmtree(self.path)
        self.work.mkdir(parents=True)
        json_files.write(
            self.path / self._config_file, {**self._config, **provenance}
        )
        # Last, as a sign that all of the directory is this run's.
        json_files.write(self.work / "config.json", self._config)

    def _is_at_work(self, is_held):
        """Whether another process is at work on it; `is_held` by this one."""
        # Of a run that several processes work on, each holds its unit.
        files = list(self.work.glob("*.lock"))
        if not is_held:
            files.append(self.path.with_name(self.path.name + ".lock"))
        return any(map(locks.is_held, files))

    def _leave(self):
        """Leaves nothing to go on with where nothing was done."""
        if not self._is_chief or not self.work.is_dir():
            return
        made = {
            file.name for file in (*self.path.iterdir(), *self.work.iterdir())
        }
        if made == {_WORK, self._config_file, "config.json"}:
            shutil.rmtree(self.path)

    def _old(self):
        """Where an old output is moved; raises if there is something else."""
        old = self._output_dir.with_name(self._output_dir.name + ".replaced")
        if old.exists() and not (old / self._config_file).is_file():
            raise FileExistsError(
                f"{old}, where the old output would be moved, is no output "
                "of a run. Move it away."
            )
        return old

    def _publish(self):
        old = self._old()
        if self._output_dir.is_dir() and not any(self._output_dir.iterdir()):
            os.rmdir(self._output_dir)
        if self._output_dir.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.rename(self._output_dir, old)
        os.rename(self.path, self._output_dir)
        shutil.rmtree(self._output_dir / _WORK)
        if (old / self._config_file).is_file():
            shutil.rmtree(old)

    def _unit(self, unit):
        return _unit_file(self.work, unit)


def is_published(output_dir, config, config_file="config.json"):
    """Whether a directory is the output of a run of a configuration.

    Args:
        output_dir: Directory, which need not be there.
        config: As of `Run`.
        config_file: As of `Run`. Defaults to `"config.json"`.

    Returns:
        bool.

    Example:

    >>> is_published("not_there", {"upto": 2})
    False
    """
    # As JSON has it, which knows no tuples.
    config = json.loads(json.dumps(config))
    return _difference_of_output(output_dir, config, config_file) == ""


def write_unit(work, unit, result):
    """Notes that a unit is done, for a process that has not begun the run.

    Args:
        work: `pathlib.Path`, the `work` of the run.
        unit: Its name.
        result: What it came to, anything of JSON but None.
    """
    # Another attempt may be at the same unit, and come to the same.
    aside = work / f"{unit}.{uuid.uuid4().hex}"
    json_files.write(aside, result)
    os.replace(aside, _unit_file(work, unit))


def _difference_of_output(output_dir, config, config_file):
    """How the run of an output differs, in words; None if it is of no run."""
    found = json_files.read(pathlib.Path(output_dir) / config_file)
    if not found:
        return None
    # What else it says, of the machine and the data, is not compared.
    known = {key: found.get(key) for key in config}
    return json_files.difference(known, config)


def _unit_file(work, unit):
    return work / f"{unit}.json"


def _is_something(path):
    return path.is_file() or (path.is_dir() and any(path.iterdir()))
