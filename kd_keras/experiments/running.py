"""Runs the arms and seeds of an experiment that are not done yet."""

import dataclasses
import os
import platform
import statistics
import time

import keras

from kd_keras.experiments import findings
from kd_keras.experiments import laboratory
from kd_keras.experiments import units as units_lib
from kd_keras.training import provenance


def run_experiment(
    experiment, settings, folder, *, arms=None, seeds=None, models_dir
):
    """Runs what is not done yet of an experiment, and says what it found.

    Each arm of each seed is a unit, whose result is written when it is done;
    what is there already is kept.

    Args:
        experiment: Its module, one of `EXPERIMENTS`.
        settings: `laboratory.Settings`.
        folder: Directory of the results.
        arms: Names of the arms to run. Defaults to None: all but those of the
            experiment's `EXTRA_ARMS`, if it has any.
        seeds: The seeds to run. Defaults to None: the first so many as the
            experiment wants; in a quick run the first.
        models_dir: Directory for teachers and stored soft targets, which all
            experiments share.

    Returns:
        `findings.Findings` of all units that are done.

    Raises:
        FileNotFoundError: If a full run lacks its data.
        ValueError: If there is no such arm, or the directory holds results of
            another configuration.
    """
    known = experiment.arms(settings)
    unknown = [arm for arm in arms or () if arm not in known]
    if arms is not None and not arms:
        raise ValueError(f"No arm is named. Accepted: {', '.join(known)}.")
    if unknown:
        raise ValueError(
            f"There is no arm {', '.join(unknown)}. Accepted: some of "
            f"{', '.join(known)}."
        )
    if arms is None:
        arms = set(known) - set(getattr(experiment, "EXTRA_ARMS", ()))
    wanted = [arm for arm in known if arm in arms]
    if hasattr(experiment, "check"):
        experiment.check(wanted, settings)
    name = experiment.__name__.rpartition(".")[2]
    plan = dataclasses.asdict(experiment.plan(settings))
    lab = laboratory.Laboratory(
        settings,
        models_dir,
        [name, plan],
        # Most are about digits.
        getattr(experiment, "load", None),
    )
    if seeds is None:
        seeds = range(1 if settings.quick else experiment.NUM_SEEDS)
    units = units_lib.Units(
        folder,
        {
            "experiment": name,
            "form": _form(settings),
            "dataset": [lab.train.name, lab.train.version, lab.train.split],
            "counted_on": lab.test.source.split,
            "plan": plan,
            "fixed": _fixed(experiment),
        },
    )
    with units.begin():
        for seed in seeds:
            for arm in wanted:
                if units.result(arm, seed) is None:
                    begin = time.monotonic()
                    # Names of variables do not depend on what came before.
                    keras.backend.clear_session()
                    result = experiment.run(arm, seed, lab)
                    units.finish(
                        arm,
                        seed,
                        {
                            **result,
                            "seconds": round(time.monotonic() - begin, 1),
                            **_made_with(),
                        },
                    )
    return _find(experiment, units.results(), settings)


@dataclasses.dataclass(frozen=True)
class Done:
    """What there is of an experiment on disk.

    Attributes:
        found: `findings.Findings` of the full form.
        seconds: What its units took, teachers included that were not kept
            from another experiment.
        expected_seconds: What those of all seeds take, by the median over the
            seeds of each arm that has any.
        longest_seconds: What the longest of its units took.
        extra_arms: Arms that are there though a run leaves them out where
            they are not named.
        machine: On what, as text; several in order of their names.
        versions: Dict of packages to versions, of the first unit.
        seeds: How many seeds have a result.
        num_seeds: How many it takes in full.
    """

    found: findings.Findings
    seconds: float
    expected_seconds: float
    longest_seconds: float
    extra_arms: tuple[str, ...]
    machine: str
    versions: dict[str, str]
    seeds: int
    num_seeds: int


def read_done(experiment, folder):
    """Reads what a full run has done, without any data set.

    Args:
        experiment: Its module, one of `EXPERIMENTS`.
        folder: Directory of the results.

    Returns:
        `Done`, or None if nothing is.

    Raises:
        ValueError: If the results are of another plan than that of a full run.
    """
    results = units_lib.read(folder)
    if not results:
        return None
    settings = laboratory.Settings()
    units_lib.check_config(
        folder,
        {
            "form": _form(settings),
            "plan": dataclasses.asdict(experiment.plan(settings)),
            "fixed": _fixed(experiment),
        },
    )
    each = list(results.values())
    of_arms = {}
    for (arm, _), result in results.items():
        of_arms.setdefault(arm, []).append(result["seconds"])
    extra = getattr(experiment, "EXTRA_ARMS", ())
    return Done(
        _find(experiment, results, laboratory.Settings()),
        sum(result["seconds"] for result in each),
        experiment.NUM_SEEDS * sum(map(statistics.median, of_arms.values())),
        max(result["seconds"] for result in each),
        tuple(arm for arm in extra if arm in of_arms),
        ", ".join(sorted({result["machine"] for result in each})),
        each[0]["versions"],
        len({seed for _, seed in results}),
        experiment.NUM_SEEDS,
    )


def _fixed(experiment):
    """What results depend on besides the plan, a dict."""
    return getattr(experiment, "FIXED", {})


def _form(settings):
    """What kind of run it is, by which its page is headed."""
    if settings.quick:
        return "quick"
    return "selection" if settings.selection else "full"


def _find(experiment, results, settings):
    unknown = {arm for arm, _ in results} - set(experiment.arms(settings))
    if unknown:
        raise ValueError(
            f"There are results of {', '.join(sorted(unknown))}, which is no "
            f"arm. Known: {', '.join(experiment.arms(settings))}. Move their "
            "files away."
        )
    found = experiment.find(results, settings)
    if settings.quick:
        # The others are of the full form.
        certain = tuple(check for check in found.checks if check.is_certain)
        found = dataclasses.replace(found, checks=certain)
    return found


def _made_with():
    return {
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
    }
