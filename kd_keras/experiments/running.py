"""Runs the arms and seeds of an experiment that are not done yet."""

import dataclasses
import os
import platform
import time

import keras

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
        arms: Names of the arms to run. Defaults to None: all.
        seeds: The seeds to run. Defaults to None: the first so many as the
            experiment wants; in a quick run the first.
        models_dir: Directory for teachers and stored soft targets, which all
            experiments share.

    Returns:
        `findings.Findings` of all units that are done.

    Raises:
        FileNotFoundError: If a full run has no MNIST.
        ValueError: If there is no such arm, or the directory holds results of
            another configuration.
    """
    known = experiment.arms(settings)
    unknown = [arm for arm in arms or () if arm not in known]
    if unknown:
        raise ValueError(
            f"There is no arm {', '.join(unknown)}. Accepted: some of "
            f"{', '.join(known)}."
        )
    name = experiment.__name__.rpartition(".")[2]
    plan = dataclasses.asdict(experiment.plan(settings))
    lab = laboratory.Laboratory(settings, models_dir, [name, plan])
    if seeds is None:
        seeds = range(1 if settings.quick else experiment.NUM_SEEDS)
    units = units_lib.Units(
        folder,
        {
            "experiment": name,
            "dataset": [lab.train.name, lab.train.version, lab.train.split],
            "counted_on": lab.test.source.split,
            "plan": plan,
        },
    )
    with units.begin():
        for seed in seeds:
            for arm in known:
                if (not arms or arm in arms) and not units.result(arm, seed):
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
    found = experiment.find(units.results(), settings)
    if settings.quick:
        # The others are of the full form.
        certain = tuple(check for check in found.checks if check.is_certain)
        found = dataclasses.replace(found, checks=certain)
    return found


def _made_with():
    return {
        "versions": provenance.versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
    }
