"""Several students in one training, which share each pass of their teacher."""

import contextlib

import keras

from kd_keras import batches
from kd_keras import replication
from kd_keras import teachers
from kd_keras import together_checks
from kd_keras import worker_callbacks


def fit_together(distillers, x=None, y=None, **kwargs):
    """Trains several Distillers on the same batches, as each `fit` would.

    In every step the data is read once and the teacher runs once, whatever the
    number of students: a sweep over temperatures, weights or sizes costs one
    teacher. Each student ends as it would by a `fit` of its own: it has its own
    optimizer, loss, metrics and random numbers. Distillers stay what they are,
    to be evaluated, saved, exported or trained on one by one. The common step
    is traced in each call, which takes as long as tracing those of all.

    Args:
        distillers: Dict of names to compiled `Distiller` objects, whose
            students share no variables. Those that have a teacher have the
            same object: where it is an ensemble, make one `EnsembleTeacher`.
            Each has an optimizer and metrics of its own; `jit_compile`,
            `steps_per_execution` and `run_eagerly` are alike.
        x: Data, as for `Distiller.fit`, like all other arguments.
        y: Labels, or stored targets.
        **kwargs: The further arguments of `Distiller.fit`. Logs bear the name
            of their Distiller: `val_loss` of the one called "warm" is
            `val_warm_loss`. `EarlyStopping("val_warm_loss", mode="min")` ends
            the training of all; Keras does not tell from such a name which
            way is better. Callbacks find no optimizer in their model: to
            change learning rates give schedules.

    Returns:
        Dict of names to `keras.callbacks.History`, in each the names of logs
        as a `fit` of its own gives them.

    Raises:
        TypeError: If `distillers` is no dict of Distillers by name.
        ValueError: If one is not compiled, two share variables, an optimizer
            or metrics, or would give two logs one name, teachers or the
            outputs of students differ, they were compiled to run in different
            ways, one has a step of its own, a callback needs an optimizer, a
            log called `loss` or a model to save, or the data does not fit.

    Example:

    >>> def net(units):
    ...     return keras.Sequential(
    ...         [keras.Input((2,)), keras.layers.Dense(units)])
    >>> teacher = net(3)
    >>> distillers = {}
    >>> for name, temperature in (("cool", 2.0), ("warm", 20.0)):
    ...     distillers[name] = kd_keras.Distiller(
    ...         student=net(3), teacher=teacher, temperature=temperature,
    ...         soft_weight=1.0)
    ...     distillers[name].compile("sgd")
    >>> histories = kd_keras.fit_together(
    ...     distillers, np.eye(2), epochs=2, verbose=0)
    >>> [len(histories[name].history["loss"]) for name in ("cool", "warm")]
    [2, 2]
    """
    together_checks.check_distillers(distillers)
    first = next(iter(distillers.values()))
    with first.distribute_strategy.scope():
        together = _Together(distillers)
        together.compile(
            optimizer=None,
            run_eagerly=first.run_eagerly,
            steps_per_execution=first.steps_per_execution,
            jit_compile=first.jit_compile,
        )
    found = together.fit(x, y, **kwargs)
    histories = {}
    for name, distiller in distillers.items():
        history = keras.callbacks.History()
        history.set_model(distiller)
        history.epoch = list(found.epoch)
        history.history = together.own_logs(found.history, name)
        histories[name] = distiller.history = history
    return histories


class _Together(replication.ReplicatedSteps, keras.Model):
    """The loop of several Distillers, each of which takes its own steps."""

    def __init__(self, distillers):
        super().__init__(name="together", autocast=False)
        # Tracked: what they learn is part of the state of a training.
        self.distillers = dict(distillers)
        self._log_names = _LogNames()
        self.built = True

    @property
    def metrics(self):
        """The metrics of all, which begin anew in each epoch."""
        return [
            metric
            for distiller in self.distillers.values()
            for metric in distiller.metrics
        ]

    def get_metrics_result(self):
        """Returns the logs of all, each with the name of its Distiller."""
        return self._named(lambda distiller: distiller.get_metrics_result())

    def own_logs(self, logs, name):
        """The logs of one Distiller, as its own `fit` names them.

        Args:
            logs: Dict of the logs of all, as callbacks get them.
            name: Its name.

        Returns:
            A dict like `logs`.
        """
        return self._log_names.own(logs, name)

    def train_step(self, data):
        """One step of each on the same batch."""
        batch, forward = batches.unpack(data), _forward_once()
        return self._named(lambda one: one._train_on(batch, forward))

    def test_step(self, data):
        """One step of evaluation of each on the same batch."""
        batch, forward = batches.unpack(data), _forward_once()
        return self._named(lambda one: one._test_on(batch, forward))

    def fit(
        self,
        x=None,
        y=None,
        callbacks=None,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        **kwargs,
    ):
        """Trains them, as `Distiller.fit` does one."""
        callbacks = keras.tree.flatten(
            getattr(callbacks, "callbacks", callbacks) or []
        )
        together_checks.check_callbacks(callbacks)
        callbacks = [_Finish(), *callbacks]
        with contextlib.ExitStack() as stack:
            for name, one in self.distillers.items():
                with _named_in_errors(name):
                    x, validation_data, callbacks = one._prepare_fit(
                        x,
                        validation_data,
                        callbacks,
                        shuffle,
                        class_weight,
                        sample_weight,
                        kwargs.get("steps_per_epoch"),
                    )
                callbacks = stack.enter_context(one._fitting(callbacks))
            stack.enter_context(
                worker_callbacks.only_chief_writes(
                    self.distribute_strategy, callbacks
                )
            )
            return super().fit(
                x,
                y,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=shuffle,
                sample_weight=batches.weights_like_targets(y, sample_weight),
                **kwargs,
            )

    def evaluate(self, *args, **kwargs):
        """Evaluates them: the validation of `fit`."""
        with contextlib.ExitStack() as stack:
            for one in self.distillers.values():
                one._loop.checks["training"].raise_if_bad()
                stack.enter_context(one._checked("evaluation"))
            return super().evaluate(*args, **kwargs)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        for one in self.distillers.values():
            one._maybe_symbolic_build(iterator, data_batch)

    def _named(self, call):
        logs = {}
        for name, one in self.distillers.items():
            with _named_in_errors(name):
                own = call(one)
            for log, value in own.items():
                logs[self._log_names.add(name, log)] = value
        return logs


class _Finish(keras.callbacks.Callback):
    """Ends the training of each as `fit` ends one: averages become weights."""

    def on_train_end(self, logs=None):
        for one in self.model.distillers.values():
            one.optimizer.finalize_variable_values(one.trainable_weights)


def _forward_once():
    """A `teachers.forward` that runs a teacher once, for all who ask."""
    found = []

    def forward(teacher, x, like=None):
        if not found:
            logits = teachers.forward(teacher, x, like)
            found.append(keras.tree.map_structure(_at_once, logits))
        return found[0]

    return forward


def _at_once(logits_at):
    """The same, computed once for each temperature."""
    computed = {}

    def compute(temperature):
        if temperature not in computed:
            computed[temperature] = logits_at(temperature)
        return computed[temperature]

    return teachers.LogitsAt(logits_at.shape, compute)


@contextlib.contextmanager
def _named_in_errors(name):
    """Says of which Distiller an error is."""
    try:
        yield
    except (TypeError, ValueError) as error:
        error.add_note(f"This is of the Distiller {name!r}.")
        raise


class _LogNames:
    """Which log of all is which of one Distiller.

    Example:

    >>> names = _LogNames()
    >>> names.add("a", "loss"), names.add("a_b", "loss")
    ('a_loss', 'a_b_loss')
    >>> names.own(
    ...     {"a_loss": 1, "val_a_loss": 2, "a_b_loss": 3, "time": 4}, "a")
    {'loss': 1, 'val_loss': 2}
    """

    def __init__(self):
        self._owners = {}

    def add(self, name, log):
        """Names a log of one for all; returns that name."""
        common = f"{name}_{log}"
        other, _ = self._owners.setdefault(common, (name, log))
        if other != name:
            raise ValueError(
                f"Distillers {other!r} and {name!r} would both have a log "
                f"called {common!r}. Give one of them another name."
            )
        return common

    def own(self, logs, name):
        """The logs of one, as its own `fit` names them, of those of all."""
        own = {}
        for common, values in logs.items():
            # No Distiller is called "val_...".
            phase = "val_" if common.startswith("val_") else ""
            # A callback may have added what is of none.
            owner, log = self._owners.get(
                common.removeprefix(phase), (None, common)
            )
            if owner == name:
                own[phase + log] = values
        return own
