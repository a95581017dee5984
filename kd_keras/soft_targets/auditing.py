"""Compares a store with the live teacher, and the live teacher with itself.

No two runs of a network need give the same bits: another batch size sums in
another order. So what is stored is held to what the teacher differs from
itself by, and to what the stored dtype rounds off, which is known exactly.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from kd_keras import teachers
from kd_keras.soft_targets import forward
from kd_keras.soft_targets import manifest as manifest_lib

# Stored and live logits may differ by so many times what the control does.
_FACTOR = 4.0
# What float32 sums may differ by in any case, relative to the largest logit.
_FLOOR = 2.0**-21
# A teacher that differs from itself by more, relative to its largest logit, is
# no measure of anything.
_MOST = 0.03


@dataclasses.dataclass(frozen=True)
class Audit:
    """What an audit found.

    Deviations are those of centred logits; of a store of the largest logits,
    those of `T` times the logarithms of their probabilities.

    Attributes:
        num_examples: How many examples were read and found to be those that
            the teacher was given.
        num_compared: How many of them were given to the teacher again.
        largest_logit: Largest centred logit of the live teacher.
        deviation: Largest difference of a stored and a live logit.
        rounding: What the stored dtype rounds off at most, of these logits.
        excess: Largest difference beyond rounding.
        control: Largest difference of live logits at two batch sizes.
        allowed: What `excess` may be.
        worst_id: Id of the example with the largest excess.
    """

    num_examples: int
    num_compared: int
    largest_logit: float
    deviation: float
    rounding: float
    excess: float
    control: float
    allowed: float
    worst_id: int

    @property
    def agrees_with_itself(self):
        """Whether the live teacher says the same at both batch sizes."""
        return self.control <= _MOST * self.largest_logit

    @property
    def passed(self):
        """Whether what is stored is what the teacher says."""
        return self.agrees_with_itself and self.excess <= self.allowed

    def __str__(self):
        if self.passed:
            verdict = "The stored logits are those of the teacher."
        elif self.agrees_with_itself:
            verdict = (
                "THE STORED LOGITS ARE NOT THOSE OF THE TEACHER: the example "
                f"with id {self.worst_id} differs most."
            )
        else:
            verdict = (
                "THE TEACHER DOES NOT AGREE WITH ITSELF: no more can be said. "
                "Is it random, or does it train in inference mode?"
            )
        return (
            f"{self.num_examples} examples read: each is the one that the "
            f"teacher was given. {self.num_compared} compared.\n"
            f"largest centred logit      {self.largest_logit:.3e}\n"
            f"stored against live        {self.deviation:.3e}\n"
            f"  of which rounding        {self.rounding:.3e} at most\n"
            f"  beyond rounding          {self.excess:.3e}\n"
            f"live at two batch sizes    {self.control:.3e}\n"
            f"allowed beyond rounding    {self.allowed:.3e}\n"
            f"{verdict}"
        )


def audit(
    store,
    teacher,
    source,
    *,
    num_examples=1000,
    augment=None,
    seed=0,
):
    """Compares what is stored with what the teacher says now.

    All examples are read, and so checked against their digests; a random part
    of them is given to the teacher, twice: in the batches of the store, and in
    batches of another size, as the control.

    Args:
        store: `SoftTargets`.
        teacher: The teacher whose logits are stored. It is not asked for its
            fingerprint: the audit finds another teacher by itself.
        source: As for `SoftTargets.examples`.
        num_examples: How many examples to compare. Defaults to 1000.
        augment: As for `SoftTargets.batches`. Defaults to None.
        seed: Seed of the choice. Defaults to 0.

    Returns:
        `Audit`.

    Raises:
        ValueError: If `num_examples` is not positive, or as
            `SoftTargets.batches`.
        tf.errors.InvalidArgumentError: If an example is not the one that the
            teacher was given.

    Example:

    >>> digits = kd_keras.datasets.load("digits", "train[:100]")
    >>> teacher = kd_keras.models.mlp((8, 8, 1), 10, (16,))
    >>> kd_keras.soft_targets.write("audited", teacher, digits)
    >>> store = kd_keras.soft_targets.open_store("audited")
    >>> kd_keras.soft_targets.audit(store, teacher, digits).passed
    True
    """
    if type(num_examples) is not int or num_examples < 1:
        raise ValueError(
            'Argument "num_examples" must be a positive int. Received: '
            f"{num_examples!r}."
        )
    manifest = store.manifest
    views = store.checked_views(augment, source)
    depends = teachers.depends_on_temperature(teachers.as_teacher(teacher))
    is_ensemble = manifest.members is not None or (
        manifest.temperature is not None and manifest.top_k is None
    )
    if manifest.top_k is None and depends != is_ensemble:
        raise ValueError(
            f"{store.path} holds the logits of "
            + ("an ensemble" if is_ensemble else "one teacher")
            + f". Received: teacher={teacher!r}."
        )
    teacher, keeps_members = forward.check_teacher(
        teacher, manifest.temperature, manifest.top_k
    )
    if keeps_members:
        manifest_lib.check_members(manifest, teacher, store.path)
    compute = forward.Forward(
        teacher, views, manifest.temperature, keeps_members
    )
    batch_size = manifest.batch_size
    other_size = batch_size // 2 + 1 if batch_size > 1 else 2
    tally = _Tally(manifest.codec)
    sample = _Sample(manifest.source.num_examples, num_examples, seed)
    # Larger than a batch of either size, so that both are full.
    size = batch_size * -(-1024 // batch_size)
    chosen = store.blocks(source).unbatch().enumerate().filter(sample.holds)
    for _, example in chosen.batch(size):
        images, ids = example["image"], example["id"]
        tally.add(
            ids.numpy(),
            example["rows"].numpy(),
            _in_batches(compute, images, ids, batch_size),
            _in_batches(compute, images, ids, other_size),
        )
    return tally.result(manifest.source.num_examples)


class _Sample:
    """Which positions are compared."""

    def __init__(self, total, count, seed):
        positions = np.random.default_rng(seed).permutation(total)[:count]
        mark = np.zeros(total, bool)
        mark[positions] = True
        self._mark = tf.constant(mark)

    def holds(self, position, _):
        return tf.gather(self._mark, position)


class _Tally:
    """The largest of everything so far."""

    def __init__(self, codec):
        self._codec = codec
        self._count = 0
        self._largest = dict.fromkeys(
            ("logit", "deviation", "rounding", "control"), 0.0
        )
        self._excess, self._worst = -np.inf, -1

    def add(self, ids, stored, live, control):
        """Adds some examples."""
        _, control = self._codec.compared(stored, control)
        stored, live = self._codec.compared(stored, live)
        rounding = self._codec.rounding(live)
        deviation = np.abs(stored - live)
        for name, values in (
            ("logit", np.abs(live)),
            ("deviation", deviation),
            ("rounding", rounding),
            ("control", np.abs(control - live)),
        ):
            # Not max(), which forgets a NaN.
            self._largest[name] = np.maximum(self._largest[name], values.max())
        excess = (deviation - rounding).reshape(len(ids), -1).max(axis=1)
        excess = np.where(np.isnan(excess), np.inf, excess)
        worst = int(excess.argmax())
        if excess[worst] > self._excess:
            self._excess, self._worst = float(excess[worst]), int(ids[worst])
        self._count += len(ids)

    def result(self, num_examples):
        """The `Audit`."""
        largest = {name: float(value) for name, value in self._largest.items()}
        return Audit(
            num_examples=num_examples,
            num_compared=self._count,
            largest_logit=largest["logit"],
            deviation=largest["deviation"],
            rounding=largest["rounding"],
            excess=max(self._excess, 0.0),
            control=largest["control"],
            allowed=max(
                _FACTOR * largest["control"], _FLOOR * largest["logit"]
            ),
            worst_id=self._worst,
        )


def _in_batches(compute, images, ids, size):
    return np.concatenate(
        [
            compute(images[start : start + size], ids[start : start + size])
            for start in range(0, len(ids), size)
        ]
    )
