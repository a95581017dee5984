"""Parts of a TFDS split by position, whatever the split is composed of."""

import os


def part_of_split(builder, split, start, stop):
    """Names the examples from `start` to `stop` of a split as a split.

    Reading that touches no file but those that hold them.

    Args:
        builder: `tfds.core.DatasetBuilder`, prepared.
        split: str, a split in the TFDS syntax, as "train[:80%]+test".
        start: int, position of the first example in the split.
        stop: int, position after the last one, above `start`.

    Returns:
        str, slices in whole numbers, as "train[60:80]+test[0:20]".
    """
    slices = []
    position = 0
    for name, begin, end in parts_of_split(builder, split):
        first = max(start - position, 0)
        last = min(stop - position, end - begin)
        if first < last:
            slices.append(f"{name}[{begin + first}:{begin + last}]")
        position += end - begin
    return "+".join(slices)


def parts_of_split(builder, split):
    """The parts of named splits of which a split is composed, in order.

    Args:
        builder: `tfds.core.DatasetBuilder`, prepared.
        split: str, a split in the TFDS syntax, as "train[:80%]+test".

    Returns:
        tuple of tuples `(name, start, stop)`, one for each file.
    """
    places = _places_of_files(builder)
    parts = []
    for instruction in builder.info.splits[split].file_instructions:
        name, offset = places[os.path.basename(instruction.filename)]
        start = offset + instruction.skip
        parts.append((name, start, start + instruction.take))
    return tuple(parts)


def _places_of_files(builder):
    """For each file its split, and the position of its first example in it."""
    places = {}
    for name, info in builder.info.splits.items():
        position = 0
        for filename, length in zip(
            info.filenames, info.shard_lengths, strict=True
        ):
            places[os.path.basename(filename)] = name, position
            position += length
    return places
