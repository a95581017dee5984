"""What things cost, each beside its alternative in one process."""

from kd_keras.benchmarks import growth
from kd_keras.benchmarks import loss_alone
from kd_keras.benchmarks import processes
from kd_keras.benchmarks import several_students
from kd_keras.benchmarks import steps
from kd_keras.benchmarks import stored_targets

# By the names of comparisons, what makes them of random data.
_ON_RANDOM_DATA = {
    **dict.fromkeys(steps.NAMES, steps.run),
    several_students.NAME: several_students.run,
    **dict.fromkeys(loss_alone.NAMES, loss_alone.run),
    **dict.fromkeys(processes.NAMES, processes.run),
    **dict.fromkeys(growth.NAMES, growth.run),
}
NAMES = (*stored_targets.NAMES, *_ON_RANDOM_DATA)
DEFAULT_NAMES = (*stored_targets.DEFAULT_NAMES, *_ON_RANDOM_DATA)


def check_names(names):
    """Raises a ValueError if there is no comparison of a name."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ValueError(
            f"There is no comparison {', '.join(unknown)}. Accepted: some of "
            f"{', '.join(NAMES)}."
        )


def run(names, load, *, num_rounds=7, num_epochs=20):
    """Runs comparisons, one after the other.

    Args:
        names: Which, of `NAMES`.
        load: Function without arguments that gives the `ImageDataset` of the
            comparisons on a data set, and the one on which ensembles are
            distilled. It is called if there are such.
        num_rounds: Rounds that count. Defaults to 7.
        num_epochs: Epochs for which an ensemble is distilled. Defaults to 20.

    Yields:
        The name of a comparison and its list of `rounds.Ratio`, each when it
        is there.

    Raises:
        ValueError: If there is no comparison of a name.
    """
    check_names(names)
    if any(name in stored_targets.NAMES for name in names):
        sources = load()
    for name in names:
        if name in _ON_RANDOM_DATA:
            ratios = _ON_RANDOM_DATA[name](name, num_rounds=num_rounds)
        else:
            ratios = stored_targets.run(
                name, *sources, num_rounds=num_rounds, num_epochs=num_epochs
            )
        yield name, ratios
