"""A generalist, its specialists, and both as one model.

Specialists have nothing to do with each other, so that any number of processes
train them, each started by the same command; see `tasks`.
"""

import contextlib
import dataclasses
import functools
import os
import zipfile

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from kd_keras import progress
from kd_keras import runs
from kd_keras import saved_teachers
from kd_keras import specialists
from kd_keras.datasets import transfer
from kd_keras.training import architectures
from kd_keras.training import cards
from kd_keras.training import classifiers
from kd_keras.training import fitting
from kd_keras.training import outputs
from kd_keras.training import provenance
from kd_keras.training import specialist_nets
from kd_keras.training import specialist_results
from kd_keras.training import specialist_training
from kd_keras.training import tasks
from kd_keras.training.data import Examples
from kd_keras.training.data import JobData
from kd_keras.training.specialist_results import COMBINED
from kd_keras.training.specialist_results import GENERALIST

# The unit that says which classes each specialist has.
_SETS = "class_sets"


def run_specialists(config, output_dir, *, overwrite=False, finish=None):
    """Trains specialists of a generalist, and writes both as one model.

    Any number of processes may be at it, here or on other machines that see
    the same directory: the first makes the generalist and the sets of classes,
    for which the others wait; then each takes one specialist after the other;
    and the last one to see that all are done makes one model of them. A
    process that dies leaves what it was at to the others, or to itself when it
    is started again.

    Args:
        config: A `SpecialistsConfig`.
        output_dir: Directory to make, as all of them are given it. It holds
            `combined.keras`, a teacher like any other, and beside it
            `combined.json`, what is known of it; `generalist.keras` with the
            same; `specialists/`, each by itself; `specialists.json`, of each
            its classes, the correction of its dustbin, and what it was trained
            on;
            `config.json`; `metrics.jsonl`, a line for the generalist and one
            for both together; `curves.jsonl` and `tensorboard/`; and
            `predictions.npz`. Nothing is seen there before all is done.
        overwrite: As of `run_distillation`. Defaults to `False`.
        finish: As of `run_distillation`. Defaults to None.

    Returns:
        The content of `specialists.json`, with the lines of `metrics.jsonl` as
        `rows`, a dict; None where nothing is left for this process: others are
        at the rest, or have written the output. If those die, start it again.

    Raises:
        Errors of `run_distillation`.
        ValueError: If the generalist does not end in a Dense layer or has
            weights that are not numbers, a class has no example to train on,
            or there are fewer than two to cluster.
    """
    given = [config.generalist, config.generalist_model]
    files = provenance.contents(given)
    identity = {
        "program": specialist_results.PROGRAM,
        **dataclasses.asdict(config),
        "content_of_files": files,
    }
    if not overwrite and runs.is_published(output_dir, identity):
        # Of several processes that were started the others have done all.
        return None
    run = runs.Run(output_dir, identity, overwrite=overwrite, inputs=files)
    data = JobData(
        config, {"max_shift": config.max_shift} if config.max_shift else None
    )
    job = _Job(config, data, run)
    with run.begin(outputs.made_with(data), wait=True):
        job.prepare()
    if not tasks.work_through(run, job.names, job.train):
        return None
    with run.begin_last() as is_left:
        if not is_left:
            return None
        found = job.combine()
        if finish is not None:
            finish(run.path, data.train.class_names)
        run.publish()
    return found


class _Job:
    """What the processes of one run do."""

    def __init__(self, config, data, run):
        self._config, self._data, self._run = config, data, run
        self._generalist = self._class_sets = None
        self._clustered = data.train
        if config.cluster_split is not None:
            self._clustered = data.train.other_split(config.cluster_split)
        self._check()

    def _check(self):
        """Raises, before anything is made, if data and settings do not fit."""
        config, data = self._config, self._data
        num_classes = data.train.num_classes
        for name, least, most in (
            # Specialists that know all classes are none.
            ("num_sets", 1 if config.set_size else 2, num_classes),
            ("set_size", 0, num_classes - 1),
            ("top_n", 1, num_classes),
        ):
            if not least <= getattr(config, name) <= most:
                raise ValueError(
                    f"`{name}` is a number from {least} to {most} for the "
                    f"{num_classes} classes of {data.train.name}. Received: "
                    f"{getattr(config, name)}."
                )
        if self._clustered.shares_examples(data.test.source):
            raise ValueError(
                "`cluster_split` and `test_split` share examples. Received: "
                f"{config.cluster_split!r} and {config.test_split!r}. Choose "
                "splits that do not overlap."
            )
        self._check_classes()

    def _check_classes(self):
        """Raises unless each class can be learnt, and clustered."""
        present = set(transfer.labels_of(self._data.train.dataset).tolist())
        absent = [
            name
            for number, name in enumerate(self._data.train.class_names)
            if number not in present
        ]
        if absent:
            raise ValueError(
                f"No training example is of class {', '.join(absent[:5])}"
                f"{' ...' if absent[5:] else ''}, so that no specialist can "
                f"learn it. Received: {self._config.train_split!r}. Give a "
                "larger split."
            )
        if self._clustered.num_examples < 2:
            raise ValueError(
                "`cluster_split` has at least two examples, on which "
                "predictions vary. Received: "
                f"{self._config.cluster_split!r}, which has "
                f"{self._clustered.num_examples}."
            )

    @property
    def names(self):
        """Names of the specialists."""
        return [f"specialist-{n}" for n in range(len(self._class_sets))]

    def prepare(self):
        """The generalist, and which classes each specialist has."""
        self._generalist = self._made(GENERALIST, self._make_generalist)
        found = self._run.done(_SETS)
        if found is None:
            found = self._make_sets()
            self._run.finish(_SETS, found)
        self._class_sets = found
        for name in self.names:
            # Whoever removes one wants it made anew.
            if self._run.has_unit(name) and not self._file(name).exists():
                self._run.forget(name)

    def train(self, name):
        """Trains a specialist; returns what is known of it."""
        # Names of variables do not depend on what came before.
        keras.backend.clear_session()
        number = self.names.index(name)
        classes, recipe = self._class_sets[number], self._config.recipe
        training = specialist_training.SpecialistTraining(
            classes, recipe, self._data.train.dataset, self._config.seed, name
        )
        batches = self._data.batches_of(training.dataset, self._config.seed)
        # Each model that is trained is another copy.
        copy = functools.partial(
            specialist_nets.seeded_copy,
            self._generalist,
            self._config.seed,
            number,
        )

        with self._fitting(
            name, (recipe.head_epochs + recipe.epochs) * len(batches)
        ) as fit:

            def fit_part(part, build, epochs, learning_rate, **objective):
                steps = epochs * len(batches)
                rate = keras.optimizers.schedules.CosineDecay(
                    learning_rate, steps
                )
                file = f"{name}-{part}"
                return fit(file, build, batches, epochs, rate, **objective)

            self._made(name, lambda: training.train(copy, fit_part))
        return {
            "classes": [self._data.train.class_names[one] for one in classes],
            "class_numbers": classes,
            "dustbin_shift": training.shift(self._config.dustbin_rule),
            "share_of_all": training.special_share,
            "share_when_trained": training.sampled_share,
            "examples": int(training.dataset.cardinality()),
        }

    def combine(self):
        """One model of all, what it is worth, and the files of the output."""
        each = [self._run.done(name) for name in self.names]
        combined = self._made(
            COMBINED,
            lambda: specialists.combined_model(
                self._generalist,
                [self._made(n, None) for n in self.names],
                self._class_sets,
                [one["dustbin_shift"] for one in each],
                top_n=self._config.top_n,
                full_softmax=self._config.full_softmax,
            ),
        )
        return specialist_results.write(
            self._run,
            self._config,
            self._data,
            {GENERALIST: self._generalist, COMBINED: combined},
            self._class_sets,
            each,
        )

    def _make_generalist(self):
        config, train = self._config, self._data.train
        if config.generalist is not None:
            cards.check_unseen(config.generalist, self._data.test.source)
            model = saved_teachers.load_teacher(config.generalist)
            specialist_nets.check_generalist(model)
            classifiers.check_fits(config.generalist, model, train)
            if not all(np.isfinite(one).all() for one in model.get_weights()):
                raise ValueError(
                    f"{config.generalist} has weights that are not numbers, "
                    "and says nothing of any image. Train it anew."
                )
            # Its own might be that of another part of the combined model.
            model.name = GENERALIST
            return model

        def build():
            name = config.generalist_model
            return architectures.build(
                name,
                train.image_shape,
                train.num_classes,
                dropout=architectures.teacher_dropout(
                    name, config.generalist_dropout
                ),
                seed=config.seed,
            )

        specialist_nets.check_generalist(build())
        batches = self._data.batches(config.seed)
        epochs, rate = config.generalist_epochs, config.learning_rate
        with self._fitting(GENERALIST, epochs * len(batches)) as fit:
            return fit(GENERALIST, build, batches, epochs, rate)

    def _make_sets(self):
        """Classes that the generalist confuses."""
        config = self._config
        logits = Examples(self._clustered).logits(self._generalist)
        logits = logits.astype(np.float64) / config.cluster_temperature
        return specialists.cluster_classes(
            special.softmax(logits, axis=1),
            config.num_sets,
            config.set_size or None,
            columns=config.columns,
            seed=config.seed,
        )

    @contextlib.contextmanager
    def _fitting(self, title, num_steps):
        """A function that trains a model, and tells how far it has come."""
        with progress.Report(num_steps) as report:
            report.start(title)

            def fit(name, build, batches, epochs, learning_rate, **objective):
                fitter = fitting.Fitter(
                    self._data,
                    tf.distribute.get_strategy(),
                    report,
                    lambda: keras.optimizers.Adam(learning_rate),
                )
                return fitter.fit(
                    build,
                    batches,
                    epochs,
                    state=self._run.work / f"{name}.npz",
                    curve=self._run.work / f"{name}.curve",
                    **objective,
                )

            yield fit

    def _made(self, name, make):
        """A model of the output, made if it is not there."""
        path = self._file(name)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            # Written whole, then named: a process may die at any time.
            aside = self._run.work / f"{name}.keras"
            make().save(aside)
            os.replace(aside, path)
        try:
            return keras.saving.load_model(path, compile=False)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} cannot be read. Remove it, and the same again makes "
                "it anew and goes on."
            ) from error

    def _file(self, name):
        folder = self._run.path
        if name not in (GENERALIST, COMBINED):
            folder = folder / "specialists"
        return folder / f"{name}.keras"
