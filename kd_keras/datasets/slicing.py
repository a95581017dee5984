"""Parts of a TFDS split by position, whatever the split is composed of."""

import os


def file_lengths(builder, split):
    """How many examples of a split come from each file, in order.

    Args:
        builder: `tfds.core.DatasetBuilder`, prepared.
        split: str, a split in the TFDS syntax.

    Returns:
        tuple of positive ints, which add up to the examples of the split.
    """
    instructions = builder.info.splits[split].file_instructions
    return tuple(instruction.take for instruction in instructions)


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
    places = _places_of_files(builder)
    slices = []
    position = 0
    for instruction in builder.info.splits[split].file_instructions:
        first = max(start - position, 0)
        last = min(stop - position, instruction.take)
        if first < last:
            name, offset = places[os.path.basename(instruction.filename)]
            offset += instruction.skip
            slices.append(f"{name}[{offset + first}:{offset + last}]")
        position += instruction.take
    return "+".join(slices)


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
