"""What each way of storing would cost, measured on a sample."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from kd_keras import comparison
from kd_keras import ops
from kd_keras import teachers
from kd_keras.soft_targets import codecs
from kd_keras.soft_targets import forward
from kd_keras.soft_targets import range_writer
from kd_keras.soft_targets import records
from kd_keras.soft_targets import sources

# A store of all logits of at most this many bytes is cheap.
CHEAP_BYTES = 2**32
# How much of the soft targets a cheaper store may lose, in nats.
MAX_LOSS = 1e-3


@dataclasses.dataclass(frozen=True)
class Option:
    """One way of storing, at one temperature.

    Attributes:
        top_k: How many logits are kept; None for all.
        dtype: `"float16"` or `"float32"`.
        temperature: The temperature in use.
        num_members: Members of which the logits are kept; 1 for one teacher,
            or for the mean of several at that temperature.
        bytes_per_example: Ids and digests included.
        retained_mass: Mean probability, at that temperature, of the classes
            that are kept by themselves.
        least_mass: The same of the example for which it is least.
        kl_lost: Mean KL divergence, in nats, of what is stored from what the
            teacher says, if nothing is known of the classes in the bucket.
    """

    top_k: int | None
    dtype: str
    temperature: float
    num_members: int
    bytes_per_example: int
    retained_mass: float
    least_mass: float
    kl_lost: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sample of the data says of each way of storing.

    Attributes:
        options: List of `Option`.
        recommended: One of them.
        num_examples: Examples of the whole source.
        num_sampled: Examples of the sample.
    """

    options: list
    recommended: Option
    num_examples: int
    num_sampled: int

    def __str__(self):
        header = [
            "k",
            "dtype",
            "T",
            "bytes/example",
            "total MB",
            "retained mass",
            "least",
            "KL lost (nats)",
        ]
        table = [
            [
                _kept(option),
                option.dtype,
                f"{option.temperature:g}",
                f"{option.bytes_per_example:,}",
                f"{self._total(option) / 1e6:,.1f}",
                f"{option.retained_mass:.4f}",
                f"{option.least_mass:.4f}",
                f"{option.kl_lost:.1e}",
            ]
            for option in self.options
        ]
        best = self.recommended
        kept = "all logits" if best.top_k is None else f"top_k={best.top_k}"
        if best.num_members > 1:
            kept = f"all logits of {best.num_members} members"
        needs_temperature = best.top_k is not None or (
            best.num_members == 1
            and any(option.num_members > 1 for option in self.options)
        )
        return (
            f"{comparison.format_table(header, table)}\n\n"
            f"Measured on {self.num_sampled} of {self.num_examples} examples. "
            "KL lost: of what is stored from what the teacher says, for who "
            "knows nothing of the classes that are left out.\n"
            f"Recommended: {kept}, {best.dtype} "
            f"({self._total(best) / 1e6:,.1f} MB)"
            + (
                f", for T = {best.temperature:g} alone."
                if needs_temperature
                else ", good for every temperature."
            )
        )

    def _total(self, option):
        return option.bytes_per_example * self.num_examples


def _kept(option):
    if option.top_k is not None:
        return str(option.top_k)
    if option.num_members > 1:
        return f"all of {option.num_members}"
    return "all"


def plan(
    teacher,
    source,
    *,
    temperatures=(1.0, 4.0),
    ks=(5, 10, 50, 100),
    dtypes=("float16", "float32"),
    num_views=1,
    num_examples=1000,
    batch_size=256,
):
    """Measures what each way of storing would cost and lose.

    All logits in float16 are recommended where they take 4 GiB at most; those
    of all members of an arithmetic ensemble, before those of its mean.
    Otherwise, what takes least of that which loses no more than 0.001 nats at
    the first of the temperatures.

    Args:
        teacher: Anything that is a teacher.
        source: `kd_keras.datasets.ImageDataset`.
        temperatures: The temperatures of interest. Defaults to 1 and 4.
        ks: Numbers of logits to keep; those of the number of classes and above
            are left out. Defaults to 5, 10, 50 and 100.
        dtypes: `"float16"`, `"float32"`. Defaults to both.
        num_views: How many views of each image would be stored, for the sizes.
            Defaults to 1.
        num_examples: How many examples to give to the teacher, evenly spread
            over the source. Defaults to 1000.
        batch_size: How many at once. Defaults to 256.

    Returns:
        `Plan`; its `str` is a table.

    Raises:
        TypeError: If `source` is no `ImageDataset`, `teacher` no teacher.
        ValueError: If a number is out of range, or the teacher gives NaN,
            infinite logits, or other classes than the source has.

    Example:

    >>> digits = kd_keras.datasets.load("digits", "train[:100]")
    >>> teacher = kd_keras.models.mlp((8, 8, 1), 10, (16,))
    >>> plan = kd_keras.soft_targets.plan(teacher, digits, ks=[5])
    >>> plan.recommended.top_k, plan.recommended.bytes_per_example
    (None, 36)
    """
    sources.check_source(source)
    temperatures = [ops.check_temperature(t) for t in temperatures]
    for dtype in dtypes:
        if dtype not in ("float16", "float32"):
            raise ValueError(
                'Argument "dtypes" takes "float16" and "float32". Received: '
                f"{dtype!r}."
            )
    for name, numbers in (
        ("ks", ks),
        ("num_views", [num_views]),
        ("num_examples", [num_examples]),
        ("batch_size", [batch_size]),
    ):
        for number in numbers:
            if type(number) is not int or number < 1:
                raise ValueError(
                    f'Argument "{name}" takes positive ints. Received: '
                    f"{number!r}."
                )
    for name, values in (("temperatures", temperatures), ("dtypes", dtypes)):
        if not values:
            raise ValueError(f'Argument "{name}" names none.')
    teacher = teachers.as_teacher(teacher)
    num_members = 1
    if forward.can_keep_members(teacher):
        num_members = len(teacher.members)
    views = forward.Views(None, None, None, None)
    options = []
    for temperature in temperatures:
        logits = _sampled_logits(
            teacher, source, views, temperature, num_examples, batch_size
        )
        for dtype in dtypes:
            dense = codecs.Dense(dtype, (), source.num_classes)
            whole = _option(dense, None, temperature, logits, num_views)
            if num_members > 1:
                # Of the members no less is known than of their mean.
                each = codecs.Dense(dtype, (num_members,), source.num_classes)
                options.append(
                    dataclasses.replace(
                        whole,
                        num_members=num_members,
                        bytes_per_example=_bytes(each, num_views),
                    )
                )
            options.append(whole)
            for k in sorted(set(ks)):
                if k < source.num_classes:
                    codec = codecs.TopK(
                        dtype, (), source.num_classes, k, temperature
                    )
                    options.append(
                        _option(codec, k, temperature, logits, num_views)
                    )
    return Plan(
        options=options,
        recommended=_recommended(options, source.num_examples),
        num_examples=source.num_examples,
        num_sampled=len(logits),
    )


def _sampled_logits(
    teacher, source, views, temperature, num_examples, batch_size
):
    """Logits of a sample, of an ensemble those for the temperature."""
    # `top_k` only says that a temperature is welcome.
    teacher, _ = forward.check_teacher(teacher, temperature, top_k=1)
    compute = forward.Forward(teacher, views, temperature, False)
    stride = max(source.num_examples // num_examples, 1)
    sample = range_writer.only_needed(source.dataset).enumerate()
    sample = sample.filter(lambda i, _: i % stride == 0).take(num_examples)
    rows = []
    for batch in sample.batch(batch_size):
        ids, images = range_writer.ids_and_images(*batch)
        rows.append(compute(images, ids))
    logits = np.concatenate(rows)
    if logits.shape[1:] != (source.num_classes,):
        raise ValueError(
            f"The teacher gives logits of shape {logits.shape[1:]} for each "
            f"example, and the data has {source.num_classes} classes."
        )
    if not np.isfinite(logits).all():
        raise ValueError("The teacher gives logits that are NaN or infinite.")
    return logits


def _option(codec, k, temperature, logits, num_views):
    rows = codec.to_stored(logits)
    is_held = bool(codec.is_finite(rows).all())
    if not is_held:
        rows = codec.to_stored(np.zeros_like(logits))
    stored = np.float64(codec.from_stored(tf.constant(rows)).numpy())
    log_probs = codecs.log_softmax(np.float64(logits) / temperature)
    probs = np.exp(log_probs)
    if k is None:
        mass = np.ones(len(logits))
        stored_log_probs = codecs.log_softmax(stored / temperature)
    else:
        is_kept = np.isfinite(stored)
        mass = np.where(is_kept, probs, 0.0).sum(axis=-1)
        rest = 1 - np.exp(stored / temperature).sum(axis=-1, keepdims=True)
        even = np.log(np.maximum(rest, 1e-12) / (logits.shape[-1] - k))
        stored_log_probs = np.where(is_kept, stored / temperature, even)
    lost = (probs * (log_probs - stored_log_probs)).sum(axis=-1)
    return Option(
        top_k=k,
        dtype=codec.dtype,
        temperature=temperature,
        num_members=1,
        bytes_per_example=_bytes(codec, num_views),
        retained_mass=float(mass.mean()),
        least_mass=float(mass.min()),
        # What float16 does not hold is lost.
        kl_lost=max(float(lost.mean()), 0.0) if is_held else math.inf,
    )


def _bytes(codec, num_views):
    ids_and_digests = 16
    of_view = records.Layout.of(codec).bytes_per_example - ids_and_digests
    return ids_and_digests + num_views * of_view


def _recommended(options, num_examples):
    first = options[0].temperature
    here = [o for o in options if o.temperature == first]
    whole = [o for o in here if o.top_k is None and o.kl_lost < math.inf]
    for option in whole:
        if option.bytes_per_example * num_examples <= CHEAP_BYTES:
            return option
    good = [o for o in here if o.kl_lost <= MAX_LOSS] or whole or here
    return min(good, key=lambda o: (o.bytes_per_example, o.kl_lost))
