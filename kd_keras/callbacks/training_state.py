"""A training that can be broken off at any moment and taken up again."""

import os
import re
import warnings

import keras
import tensorflow as tf

from kd_keras import distribution
from kd_keras import keras_hooks
from kd_keras.callbacks import configuration
from kd_keras.callbacks import state_file

# What a callback of Keras remembers from epoch to epoch. All of it is public,
# and all but the last is forgotten at the start of a `fit`.
_REMEMBERED = (
    (
        keras.callbacks.EarlyStopping,
        ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    ),
    (keras.callbacks.ReduceLROnPlateau, ("wait", "best", "cooldown_counter")),
    (keras.callbacks.ModelCheckpoint, ("best",)),
)


class TrainingState(keras.callbacks.Callback):
    """Saves all that training needs to go on, and takes it up again.

    After each epoch it saves every variable of the model and its optimizer
    (those of seed generators, which Keras' weight files leave out, loss scales,
    accumulated gradients and moving averages among them), the number of the
    epoch, the history, and what `EarlyStopping`, `ReduceLROnPlateau` and
    `ModelCheckpoint` remember. `fit`, called again in the same way, starts
    after the last epoch that was saved. So a run that was killed and started
    again by the same command ends where the unbroken one ends: on CPU bit for
    bit, if the order of its data is a function of the epoch, too (see
    `EpochCounter`). A run that has ended, early or not, does nothing more:
    remove the file to train again. With more `epochs` than it had, a run that
    has not stopped early goes on from where it ended: with `use_ema`, as in
    Keras, from the averages, which the end has put in place of the weights.

    The file is written beside and renamed, so that what is loaded is always
    whole. With several workers the first one writes and all read: the path must
    be the same file for all.

    What is not saved, because it is no variable: what a callback has set in the
    model, as `trainable` of a layer or `temperature` of a Distiller (set it
    from the number of the epoch). And because it is not the model's: random
    numbers drawn without a seed generator (`keras.random` functions with
    `seed=None` and `tf.random`), the order of arrays that `fit` shuffles
    itself (pass `kd_keras.datasets.batches`, or `shuffle=False`), batches
    within an epoch, and metrics, which begin anew in each epoch.

    `Distiller.fit` tells it of the other callbacks. In `fit` of another model
    call `watch` with all of them before, and put it in front of any that
    changes something at the start of an epoch, as `LearningRateScheduler`. A
    callback of your own takes part if it has `get_state()`, which returns
    numbers, strings, arrays, lists and dicts, and `set_state(state)`.

    Args:
        path: A file that ends in `.npz`, or a directory, in which it will be
            `training_state.npz`. Directories are made as needed.
        config: What the run depends on, such as hyperparameters: None or
            anything of JSON. A state that was saved with another one is
            refused. Defaults to None.

    Raises:
        TypeError: If `config` is nothing of JSON.
        ValueError: If `path` is empty. When training begins: if the model is
            not built, the file is damaged, or what it holds is of another
            configuration, other callbacks or other variables, naming the
            first that differs, or of more epochs than `fit` is to train.

    Example:

    >>> def run(epochs):
    ...     keras.utils.set_random_seed(0)
    ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    ...     model.compile("adam", "mse")
    ...     state = kd_keras.callbacks.TrainingState("run", {"seed": 0})
    ...     return model.fit(np.eye(2), np.ones([2, 3]), epochs=epochs,
    ...         shuffle=False, callbacks=[state], verbose=0)
    >>> run(epochs=2).epoch
    [0, 1]
    >>> len(run(epochs=3).history["loss"])
    3
    """

    def __init__(self, path, config=None):
        super().__init__()
        path = os.fspath(path)
        if not path:
            raise ValueError(
                "`path` must name a file or directory. Received: ''"
            )
        if not path.endswith(".npz"):
            path = os.path.join(path, "training_state.npz")
        self.path = path
        self._config = configuration.plain(config)
        self._watched = []
        self._saved = None
        self._next_epoch = None
        self._gather = None

    def watch(self, callbacks):
        """Tells which callbacks take part in `fit`.

        Args:
            callbacks: All of them: a callback, a list or a structure.

        Raises:
            ValueError: If one changes the weights between epochs, as
                `SwapEMAWeights(swap_on_epoch=True)`.
        """
        callbacks = keras.tree.flatten(callbacks or [])
        for callback in callbacks:
            if getattr(callback, "swap_on_epoch", False):
                raise ValueError(
                    "A TrainingState cannot tell weights from their averages "
                    "while SwapEMAWeights(swap_on_epoch=True) has swapped "
                    "them. Leave swap_on_epoch out."
                )
        self._watched = [
            callback
            for callback in callbacks
            if _attributes(callback) or _has_own_state(callback)
        ]

    def on_train_begin(self, logs=None):
        """Takes up what was saved, if anything was."""
        self._next_epoch = self._gather = None
        if not self.model.built:
            raise ValueError(
                "A TrainingState restores variables before the first step, and "
                f"{self.model.name!r} has none yet. Build it before `fit`: "
                "call it on a batch, or give its first layer a keras.Input."
            )
        if distribution.is_chief(self.model.distribute_strategy):
            # Now, rather than after an epoch.
            os.makedirs(
                os.path.dirname(os.path.abspath(self.path)), exist_ok=True
            )
            state_file.remove_temporary(self.path)
        self._saved = state_file.read(self.path)
        self._check_all_workers()
        if self._saved is None:
            return
        configuration.check_same("config", self._saved["config"], self._config)
        configuration.check_same(
            "callbacks",
            [state["class"] for state in self._saved["callbacks"]],
            [type(callback).__name__ for callback in self._watched],
        )
        self._check_scale()
        self._restore_variables()
        epoch = self._saved["epoch"]
        if self._saved["stopped"]:
            epoch = max(epoch, self.params.get("epochs", 0))
        keras_hooks.start_at_epoch(self.model, epoch)

    def on_epoch_begin(self, epoch, logs=None):
        """Saves the epoch before; after a restart, restores the callbacks."""
        if self._saved is not None:
            # Only now: on their own `on_train_begin` they forget everything.
            self._restore_callbacks()
        elif self._next_epoch is not None:
            # Only now: at the end of the epoch some had not seen it yet.
            self._save(finished=False)
        keras_hooks.start_at_epoch(self.model, None)

    def on_epoch_end(self, epoch, logs=None):
        """Notes that the epoch is complete."""
        self._next_epoch = epoch + 1

    def on_train_end(self, logs=None):
        """Saves the end, after which there is nothing more to do."""
        if self._next_epoch is not None:
            self._save(finished=True)
        elif self._saved is not None:
            # Not one epoch was left. At the end of training Keras has just put
            # averages in the place of weights that may be the best ones since;
            # and who puts the best ones back needs to remember them.
            self._restore_variables()
            self._restore_callbacks()
        keras_hooks.start_at_epoch(self.model, None)

    def _check_scale(self):
        """Raises if more was trained than is wanted; warns of other devices."""
        epoch, epochs = self._saved["epoch"], self.params.get("epochs")
        if epochs is not None and epoch > epochs:
            raise ValueError(
                f"{self.path} was saved after {epoch} epochs, and `fit` is to "
                f"train {epochs}. Give at least as many, or another path."
            )
        found = self._saved["replicas"]
        replicas = self.model.distribute_strategy.num_replicas_in_sync
        if found != replicas:
            warnings.warn(
                f"{self.path} was saved by {found} replicas, and is taken up "
                f"by {replicas}. Each draws random numbers of its own, so "
                "that dropout differs from a run that was not broken off."
            )

    def _check_all_workers(self):
        """Raises if another worker would start at another epoch."""
        epoch = self._saved["epoch"] if self._saved else 0
        strategy = self.model.distribute_strategy
        chiefs = distribution.chiefs_value(strategy, epoch)
        if chiefs != epoch:
            raise ValueError(
                f"The first worker takes up {self.path} at epoch {chiefs}, "
                f"and this one at epoch {epoch}. The path must be the same "
                "file for all workers."
            )

    def _variables(self):
        """All variables, each with a description."""
        named = [
            (variable, _described(variable, variable.path))
            for variable in self.model.variables
        ]
        # Several, where several models train together; of one another only
        # their names tell them.
        trained = getattr(self.model, "distillers", {"": self.model})
        for name, model in trained.items():
            optimizer = model.optimizer
            if optimizer is None:
                continue
            if not optimizer.built:
                with self.model.distribute_strategy.scope():
                    optimizer.build(model.trainable_variables)
            # Their paths depend on who builds them, and when.
            begins = f"{name}/" if name else ""
            named += [
                (variable, begins + _described(variable, f"optimizer/{n}"))
                for variable, n in ((v, v.name) for v in optimizer.variables)
            ]
        return named

    def _parts(self, variable):
        """The variables of the replicas of this process, or the only one."""
        strategy = self.model.distribute_strategy
        return strategy.experimental_local_results(variable.value)

    def _save(self, finished):
        gathered = self._gathered()
        variables = [
            {
                "variable": name,
                "values": gathered.get(id(variable)) or self._values(variable),
            }
            for variable, name in self._variables()
        ]
        if not distribution.is_chief(self.model.distribute_strategy):
            return
        history = self.model.history
        state_file.write(
            self.path,
            {
                "epoch": self._next_epoch,
                "replicas": self.model.distribute_strategy.num_replicas_in_sync,
                "finished": finished,
                "stopped": finished and bool(self.model.stop_training),
                "config": self._config,
                "history": {"history": history.history, "epoch": history.epoch},
                "callbacks": [_remembered(c) for c in self._watched],
                "variables": variables,
            },
        )

    def _values(self, variable):
        """Its value, or one for each replica if they differ."""
        return _differing([part.numpy() for part in self._parts(variable)])

    def _gathered(self):
        """By identity, values of variables that differ between workers.

        These are the model's that are not trained, as the statistics of batch
        normalisation. What is trained, and what the optimizer keeps, follows
        from gradients that are summed over all replicas.
        """
        strategy = self.model.distribute_strategy
        if not distribution.is_multi_worker(strategy):
            return {}
        variables = [v for v in self.model.variables if not v.trainable]
        if self._gather is None:
            # All at once, and traced once: each takes its time otherwise.
            self._gather = tf.function(
                lambda: [
                    strategy.gather(value, axis=0)
                    for value in strategy.run(
                        lambda: [
                            tf.convert_to_tensor(v)[None] for v in variables
                        ]
                    )
                ],
                autograph=False,
            )
        return {
            id(variable): _differing(list(values.numpy()))
            for variable, values in zip(variables, self._gather(), strict=True)
        }

    def _restore_variables(self):
        variables = self._variables()
        configuration.check_same(
            "variables",
            [saved["variable"] for saved in self._saved["variables"]],
            [name for _, name in variables],
        )
        strategy = self.model.distribute_strategy
        replicas = strategy.num_replicas_in_sync
        first = _first_replica(strategy)
        for (variable, name), saved in zip(
            variables, self._saved["variables"], strict=True
        ):
            parts, values = self._parts(variable), saved["values"]
            if len(values) == 1:
                values = values * replicas
            if len(values) != replicas:
                raise ValueError(
                    f"Each replica had a value of its own of {name}. Found: "
                    f"{len(values)} replicas. Expected: {replicas}. Train on "
                    "as many as before."
                )
            for part, value in zip(parts, values[first:], strict=False):
                part.assign(value)

    def _restore_callbacks(self):
        for callback, state in zip(
            self._watched, self._saved["callbacks"], strict=True
        ):
            for name, value in state["attributes"].items():
                setattr(callback, name, value)
            if _has_own_state(callback):
                callback.set_state(state["own"])
        history = self.model.history
        history.history = self._saved["history"]["history"]
        history.epoch = self._saved["history"]["epoch"]
        self._saved = None


def _differing(values):
    """One value for each replica, or a single one if they are the same."""
    same = all(_is_same(value, values[0]) for value in values[1:])
    return values[:1] if same else values


def _attributes(callback):
    """Names of what a callback of Keras remembers."""
    for kind, names in _REMEMBERED:
        if isinstance(callback, kind):
            return names
    return ()


def _has_own_state(callback):
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")


def _remembered(callback):
    """What is to be saved of a callback."""
    return {
        "class": type(callback).__name__,
        "attributes": {n: getattr(callback, n) for n in _attributes(callback)},
        "own": callback.get_state() if _has_own_state(callback) else None,
    }


def _described(variable, name):
    # Keras numbers the names of what is made in one process. A second run in
    # the same process has other numbers.
    name = re.sub(r"_\d+(?=[_/]|$)", "", name)
    return f"{name}: {variable.dtype} {[int(size) for size in variable.shape]}"


def _first_replica(strategy):
    """Number, among those of all workers, of this one's first replica."""
    if not distribution.is_multi_worker(strategy):
        return 0
    numbers = strategy.run(
        lambda: tf.convert_to_tensor(
            tf.distribute.get_replica_context().replica_id_in_sync_group
        )
    )
    return int(strategy.experimental_local_results(numbers)[0])


def _is_same(one, other):
    return one.tobytes() == other.tobytes()
