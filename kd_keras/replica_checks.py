"""Checks that a model can train on the devices that it is asked to."""

import keras
import tensorflow as tf

from kd_keras import distribution

_REFUSED = (
    tf.distribute.ParameterServerStrategy,
    tf.distribute.experimental.ParameterServerStrategy,
    tf.distribute.experimental.CentralStorageStrategy,
)


def check_student(student):
    """Raises if a student was built in another scope than this one.

    Args:
        student: A `keras.Model`, whose variables, if it has any yet, must be
            of the current strategy.

    Raises:
        ValueError: If they are not, or Keras cannot train under it.
    """
    strategy = tf.distribute.get_strategy()
    if isinstance(strategy, _REFUSED):
        raise ValueError(
            f"Keras 3 does not train under {_name(strategy)}: `fit` fails, or "
            "its logs are wrong. Use MirroredStrategy, or "
            "MultiWorkerMirroredStrategy for several machines."
        )
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
    merges = replicas > 1 or isinstance(
        strategy, tf.distribute.MirroredStrategy
    )
    if optimizer.use_ema and frequency and merges:
        raise ValueError(
            "Keras cannot overwrite weights by their averages within an epoch "
            f"under {_name(strategy)}. Received: ema_overwrite_frequency="
            f"{frequency} with {replicas} replicas. Leave it out: then they "
            "are overwritten at the end of training."
        )
    if steps and merges:
        raise ValueError(
            f"Keras cannot accumulate gradients under {_name(strategy)}. "
            f"Received: gradient_accumulation_steps={steps} with {replicas} "
            "replicas. "
            "Leave it out and take a larger batch, or train on one device."
        )


def check_reductions(strategy, losses):
    """Raises if a loss has a reduction that several replicas would change.

    Args:
        strategy: The strategy.
        losses: A structure of losses, names of losses and None.

    Raises:
        ValueError: If one of them is not divided by the number of examples.
    """
    if strategy.num_replicas_in_sync == 1:
        return
    for loss in keras.tree.flatten(losses):
        reduction = getattr(loss, "reduction", "sum_over_batch_size")
        if reduction not in ("sum_over_batch_size", "mean"):
            raise ValueError(
                "On several replicas a loss must be a mean over the examples, "
                "of which each replica has its share. Received: "
                f'{type(loss).__name__}(reduction={reduction!r}). Give "sum_'
                'over_batch_size" and, for a sum, that much learning rate.'
            )


def _are_of(strategy, variables):
    return all(
        strategy.extended.variable_created_in_scope(variable.value)
        for variable in variables
    )


def _name(strategy):
    return type(strategy).__name__
