"""How long a model takes to answer."""

import dataclasses
import time

import numpy as np


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long batches of one size took.

    Attributes:
        batch_size: Examples of a batch.
        rounds: How many batches were timed.
        median: Median of their times, milliseconds.
        low: 5th percentile, milliseconds.
        high: 95th percentile, milliseconds.
    """

    batch_size: int
    rounds: int
    median: float
    low: float
    high: float


def measure_latency(
    function, inputs, batch_sizes=(1, 32), *, num_rounds=50, num_warm_up=5
):
    """Times a function on batches of several sizes, in turn.

    Args:
        function: Called with a batch of inputs; it returns when it is done.
        inputs: Array or tensor, shape `[num_examples, ...]`, repeated where it
            has fewer examples than a batch.
        batch_sizes: Sizes of batches. Defaults to `(1, 32)`.
        num_rounds: Batches of each size that are timed. Defaults to 50.
        num_warm_up: Batches of each size before that. Defaults to 5.

    Returns:
        A list of `Latency`, one for each size.

    Raises:
        ValueError: If a number is not positive.

    Example:

    >>> measure_latency(np.sum, np.ones([3, 2]), [4], num_rounds=7)[0].rounds
    7
    """
    for number in (*batch_sizes, num_rounds):
        if number < 1:
            raise ValueError(
                "Batch sizes and numbers of rounds must be positive. "
                f"Received: {number}."
            )
    inputs = np.asarray(inputs)
    batches = [
        inputs[np.arange(batch_size) % len(inputs)]
        for batch_size in batch_sizes
    ]
    times = [[] for _ in batches]
    for round_number in range(-num_warm_up, num_rounds):
        # In turn, so that noise of the machine meets all sizes.
        for batch, taken in zip(batches, times, strict=True):
            begin = time.perf_counter()
            function(batch)
            if round_number >= 0:
                taken.append(1000 * (time.perf_counter() - begin))
    return [
        Latency(
            batch_size=batch_size,
            rounds=num_rounds,
            median=float(np.median(taken)),
            low=float(np.percentile(taken, 5)),
            high=float(np.percentile(taken, 95)),
        )
        for batch_size, taken in zip(batch_sizes, times, strict=True)
    ]
