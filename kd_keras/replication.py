"""Steps that several replicas take together.

With more than one replica the steps of Keras 3.15 fail in three cases: several
steps in one execution, a first batch that does not divide by the replicas, and
several workers. So a Distiller brings its own.
"""

import functools

import keras
import tensorflow as tf

from kd_keras import distribution


class ReplicatedSteps:
    """Makes the steps of a `keras.Model` that runs on several replicas.

    On one replica Keras' own are used. Its batches, its `steps_per_execution`
    and its logs are meant as there: a batch is the global one, of which every
    replica takes its share; the logs are those of all replicas, the same on
    all workers, so that a callback that ends training on one ends it on all.
    """

    def make_train_function(self, force=False):
        """Makes what `fit` calls with an iterator."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = _execution(self, self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        """Makes what `evaluate` calls with an iterator."""
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = _execution(self, self.test_step)
        return self.test_function


def check_student(student):
    """Raises if a student was built in another scope than this one.

    Args:
        student: A `keras.Model`, whose variables, if it has any yet, must be
            of the current strategy.

    Raises:
        ValueError: If they are not.
    """
    strategy = tf.distribute.get_strategy()
    if not _are_of(strategy, student.variables):
        where = (
            f"inside the scope of {_name(strategy)}"
            if tf.distribute.has_strategy()
            else "outside of any strategy's scope"
        )
        raise ValueError(
            f"The Distiller is made {where}, and the student was not, so that "
            "they would not train together. Make both in the same one: with "
            "strategy.scope(): student = ...; distiller = Distiller(...)."
        )


def check_ready(model, data=None):
    """Raises if a model cannot run on the devices that it is asked to.

    Args:
        model: A `keras.Model` that is about to train, evaluate or predict.
        data: The data, if it may be that of a strategy.

    Raises:
        ValueError: If the model was built outside the scope in which it is
            used, the data is that of another strategy, or the step is to be
            compiled where Keras cannot.
    """
    strategy = model.distribute_strategy
    in_scope = tf.distribute.get_strategy()
    if tf.distribute.has_strategy() and not _are_of(in_scope, model.variables):
        raise ValueError(
            f"This is the scope of {_name(in_scope)}, and student and "
            "Distiller were built outside of it, so that they would train on "
            "one device. Build both inside: with strategy.scope(): student = "
            "...; distiller = Distiller(...)."
        )
    if isinstance(data, tf.distribute.DistributedDataset):
        is_default = strategy is in_scope and not tf.distribute.has_strategy()
        if is_default:
            raise ValueError(
                "The data was distributed by a strategy, and student and "
                "Distiller were built outside of its scope, so that they "
                "would train on one device. Build both inside: with "
                "strategy.scope(): student = ...; distiller = Distiller(...)."
            )
    if (
        model.jit_compile
        and strategy.num_replicas_in_sync > 1
        and not distribution.is_tpu(strategy)
    ):
        raise ValueError(
            "Keras cannot compile (jit_compile=True) a step of several "
            f"replicas on CPU or GPU. This is {_name(strategy)} with "
            f"{strategy.num_replicas_in_sync} replicas. Leave jit_compile at "
            '"auto", which does not compile there, or give False.'
        )


def check_optimizer(model):
    """Raises if an optimizer cannot work on several replicas.

    Args:
        model: A compiled `keras.Model` that is about to train.

    Raises:
        ValueError: If it is not of the scope, or does what Keras fails on
            there.
    """
    optimizer = model.optimizer
    if optimizer is None:
        return
    strategy = model.distribute_strategy
    if not _are_of(strategy, optimizer.variables):
        no_scope = not tf.distribute.has_strategy()
        if no_scope and strategy is tf.distribute.get_strategy():
            raise ValueError(
                "The optimizer was made in the scope of a strategy, and the "
                "Distiller outside of any, so that it would train on one "
                "device. Make student and Distiller in that scope, too."
            )
        raise ValueError(
            "The optimizer was made outside of the scope of "
            f"{_name(strategy)}, in which the Distiller was built. Make it "
            "and compile inside: with strategy.scope(): distiller.compile("
            "keras.optimizers.Adam(), ...)."
        )
    # That which a LossScaleOptimizer wraps.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    replicas = strategy.num_replicas_in_sync
    frequency = getattr(optimizer, "ema_overwrite_frequency", None)
    if optimizer.use_ema and frequency and replicas > 1:
        raise ValueError(
            "Keras cannot overwrite weights by their averages within an epoch "
            "on several replicas. Received: ema_overwrite_frequency="
            f"{frequency} with {replicas} replicas. Leave it out: then they "
            "are overwritten at the end of training."
        )
    if steps and replicas > 1:
        raise ValueError(
            "Keras cannot accumulate gradients on several replicas. Received: "
            f"gradient_accumulation_steps={steps} with {replicas} replicas. "
            "Leave it out and take a larger batch, or train on one device."
        )


def share_of_batch(size):
    """What a replica's mean counts in the mean over the whole batch.

    Gradients are summed over the replicas, and losses come divided by their
    number, so that the sum is a mean of the replicas' means. It is the mean
    over all examples only if every replica has as many of them.

    Args:
        size: Number of examples of this replica, an integer scalar.

    Returns:
        A float32 scalar, or 1.0 where there is one replica: the number of
        examples of this replica over their mean number.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return 1.0
    size = tf.cast(size, tf.float32)
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, size)
    return tf.math.divide_no_nan(size * context.num_replicas_in_sync, total)


def overflow_together(optimizer, gradients):
    """Makes an overflow on one replica one on all of them.

    A LossScaleOptimizer skips a step whose gradients are not finite, and
    lowers its scale; but it looks at those of one replica, before they are
    summed, so that the overflow of another would spoil the weights.

    Args:
        optimizer: The optimizer.
        gradients: A list of tensors and None: those of this replica.

    Returns:
        The same, or all infinite if those of any replica are not finite.
    """
    context = tf.distribute.get_replica_context()
    if (
        not isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        or context is None
        or context.num_replicas_in_sync == 1
    ):
        return gradients
    finite = [
        tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(gradient)))
        for gradient in gradients
        if gradient is not None
    ]
    overflows = context.all_reduce(
        tf.distribute.ReduceOp.SUM,
        tf.cast(~tf.reduce_all(finite), tf.float32),
    )
    return [
        gradient
        if gradient is None
        else tf.where(overflows > 0, float("inf"), gradient)
        for gradient in gradients
    ]


def _execution(model, step):
    """A function of an iterator that takes `steps_per_execution` steps."""
    strategy = model.distribute_strategy
    num_steps = model.steps_per_execution

    def take_step(data):
        return strategy.run(step, args=(_without_optionals(data),))

    def take_one_step(data):
        return _of_all_replicas(model, take_step(data))

    def take_steps(iterator):
        # Out of data, `get_next` raises, which is the end of the epoch.
        logs = take_step(iterator.get_next())
        if num_steps == 1:
            return _of_all_replicas(model, logs)

        # A loop whose body is the step itself: TensorFlow fails on a step
        # inside of a condition, which is how Keras ends the loop.
        def has_next(done, data, logs):
            return (done < num_steps) & data.has_value()

        def take_next(done, data, logs):
            logs = take_step(data.get_value())
            data = tf.cond(
                done + 1 < num_steps,
                iterator.get_next_as_optional,
                lambda: data,
            )
            return done + 1, data, logs

        _, _, logs = tf.while_loop(
            has_next, take_next, [1, iterator.get_next_as_optional(), logs]
        )
        return _of_all_replicas(model, logs)

    if not model.run_eagerly:
        compiled = functools.partial(
            tf.function, reduce_retracing=True, autograph=False
        )
        take_one_step, take_steps = (
            compiled(take_one_step),
            compiled(take_steps),
        )

    def execute(data):
        if isinstance(
            data, (tf.data.Iterator, tf.distribute.DistributedIterator)
        ):
            return take_steps(data)
        # From `train_on_batch`: one batch, which every replica takes whole.
        return take_one_step(next(data))

    return execute


def _of_all_replicas(model, logs):
    """The logs of a step over all replicas, from those of each."""
    measured = model.get_metrics_result()
    if set(measured) == set(logs):
        # Sums over the replicas, by which one that has fewer examples counts
        # less.
        return measured
    strategy = model.distribute_strategy
    return keras.tree.map_structure(
        lambda value: strategy.reduce("MEAN", value, axis=None), logs
    )


def _without_optionals(data):
    """The same, with None where a data set had none."""
    return keras.tree.map_structure(
        lambda leaf: (
            None if isinstance(leaf, tf.experimental.Optional) else leaf
        ),
        data,
    )


def _are_of(strategy, variables):
    return all(
        strategy.extended.variable_created_in_scope(variable.value)
        for variable in variables
    )


def _name(strategy):
    return type(strategy).__name__
