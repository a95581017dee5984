"""Steps that several replicas take together.

With more than one replica the steps of Keras 3.15 fail in three cases: several
steps in one execution, a first batch that does not divide by the replicas, and
several workers. So a Distiller brings its own.
"""

import functools

import keras
import tensorflow as tf


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


def summed_as_one(optimizer, gradients):
    """Prepares gradients so that their sum is treated as one device's is.

    Keras looks at those of each replica before they are summed: whether they
    overflow, and whether they are to be clipped.

    Args:
        optimizer: The optimizer.
        gradients: A list of tensors and None: those of this replica.

    Returns:
        A list like it, for `apply_gradients`.
    """
    return _clip_together(optimizer, _overflow_together(optimizer, gradients))


def _overflow_together(optimizer, gradients):
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


def _clip_together(optimizer, gradients):
    """Clips the gradients of all replicas, not of each by itself.

    Keras clips before gradients are summed over the replicas, so that what is
    clipped would depend on their number. Here they are summed and clipped
    first, and divided again: a replica's part is then too small for Keras to
    clip, and the parts sum up to what was clipped.

    Args:
        optimizer: The optimizer.
        gradients: A list of tensors and None: those of this replica.

    Returns:
        The same where nothing is clipped or there is one replica.
    """
    context = tf.distribute.get_replica_context()
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    limits = inner.clipnorm, inner.global_clipnorm, inner.clipvalue
    if context is None or context.num_replicas_in_sync == 1 or not any(limits):
        return gradients
    found = [i for i, g in enumerate(gradients) if g is not None]
    summed = [
        context.all_reduce(
            tf.distribute.ReduceOp.SUM, tf.convert_to_tensor(gradients[i])
        )
        for i in found
    ]
    # A LossScaleOptimizer has not taken its scale out yet.
    scale = getattr(optimizer, "dynamic_scale", None)
    scale = 1.0 if scale is None else tf.convert_to_tensor(scale)
    norm, global_norm, value = (limit and limit * scale for limit in limits)
    if inner.clipnorm:
        summed = [tf.clip_by_norm(g, norm) for g in summed]
    elif inner.global_clipnorm:
        summed, _ = tf.clip_by_global_norm(summed, global_norm)
    else:
        summed = [tf.clip_by_value(g, -value, value) for g in summed]
    clipped = list(gradients)
    for i, gradient in zip(found, summed, strict=True):
        clipped[i] = gradient / context.num_replicas_in_sync
    return clipped


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
