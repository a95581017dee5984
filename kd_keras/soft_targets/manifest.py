"""What a store of soft targets says of itself, as data that is checked.

The manifest is JSON with a checksum of its own. Nothing in it is executed, no
path in it leads out of its folder, and what does not have the types and names
below is refused.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import pathlib
import re
import types
import typing

from kd_keras.soft_targets import codecs

SCHEMA = 2
# How pixels become what the teacher takes: `pixels.to_float`.
PREPROCESSING = "uint8 / 255"
FILE = "manifest.json"
CANARIES_FILE = "canaries.tfrecord"

# A manifest lists a line for each range; nobody has a million of them.
_MAX_BYTES = 2**26


@dataclasses.dataclass(frozen=True)
class Source:
    """The examples that the teacher was given.

    Attributes:
        name: TFDS name, or another one.
        version: Version of the prepared files.
        split: Split in the TFDS syntax.
        num_examples: Number of its examples.
        class_names: By label.
        image_shape: `[height, width, channels]`, of uint8.
        resized: Whether images were resized to that shape.
        has_ids: Whether the examples brought ids; otherwise these are their
            positions in the split.
    """

    name: str
    version: str
    split: str
    num_examples: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    resized: bool
    has_ids: bool


@dataclasses.dataclass(frozen=True)
class Views:
    """The views of each example that the teacher was given.

    Attributes:
        count: How many there are.
        seed: The `augment_seed` of `kd_keras.datasets.batches`.
        augmentation: What the augmentation calls itself.
    """

    count: int
    seed: int
    augmentation: str


@dataclasses.dataclass(frozen=True)
class Members:
    """The members of an ensemble whose logits are kept one by one.

    Attributes:
        weights: One positive number per member, which sum to 1.
    """

    weights: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class File:
    """A file of the store.

    Attributes:
        file: Its name, without folder.
        count: Number of examples in it.
        bytes: Its size.
        sha256: Hexadecimal digest of its content.
    """

    file: str
    count: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything that a reader has to know.

    Attributes:
        schema: Version of the format.
        kd_keras: Version of the package that wrote it.
        source: `Source`.
        preprocessing: What was done to uint8 images (or views of them) for
            the teacher.
        views: `Views`, or None for the images as they are.
        teacher: Fingerprint of the teacher.
        num_classes: Classes of the logits.
        members: `Members`, or None if one row of logits is kept.
        temperature: The one temperature that the logits hold for; None for
            every one.
        dtype: `"float16"` or `"float32"`.
        top_k: How many classes are kept of each example; None for all.
        batch_size: How many examples the teacher was given at once.
        range_ends: Position after the last example of each range.
        ranges: `File`s with consecutive examples, in order.
        canaries: `File` of examples with their inputs.
        canary_views: For each canary and view the digest of its pixels.
    """

    schema: int
    kd_keras: str
    source: Source
    preprocessing: str
    views: Views | None
    teacher: str
    num_classes: int
    members: Members | None
    temperature: float | None
    dtype: str
    top_k: int | None
    batch_size: int
    range_ends: tuple[int, ...]
    ranges: tuple[File, ...]
    canaries: File
    canary_views: tuple[tuple[str, ...], ...]

    @property
    def codec(self):
        """How logits are stored, of `codecs`."""
        views = () if self.views is None else (self.views.count,)
        if self.top_k is not None:
            return codecs.TopK(
                self.dtype,
                views,
                self.num_classes,
                self.top_k,
                self.temperature,
            )
        members = () if self.members is None else (len(self.members.weights),)
        return codecs.Dense(self.dtype, (*views, *members), self.num_classes)


def identity(manifest):
    """What a store depends on, known before it is written, as JSON."""
    value = json.loads(json.dumps(dataclasses.asdict(manifest)))
    for result in ("ranges", "canaries", "canary_views"):
        del value[result]
    return value


def tag(manifest, canaries):
    """The number that records of a store bear: of what it depends on.

    Args:
        manifest: A `Manifest`, as far as it is known before writing.
        canaries: `File` of its canaries, which hold what the teacher said.

    Returns:
        int, of 64 bits with its sign.
    """
    digest = _checksum({**identity(manifest), "canaries": canaries.sha256})
    return int.from_bytes(bytes.fromhex(digest)[:8], "little", signed=True)


def range_file(number, count):
    """The name of the file of a range, by its number among so many."""
    return f"range-{number:05d}-of-{count:05d}.tfrecord"


def to_json(manifest):
    """A manifest as a JSON value, with its checksum.

    Args:
        manifest: A `Manifest`.

    Returns:
        A dict.
    """
    value = json.loads(json.dumps(dataclasses.asdict(manifest)))
    return {**value, "checksum": _checksum(value)}


def read_manifest(folder):
    """Reads and checks the manifest of a store.

    Args:
        folder: Directory of the store.

    Returns:
        A `Manifest`.

    Raises:
        FileNotFoundError: If there is no store.
        ValueError: If the manifest is damaged, or of another format.
    """
    folder = pathlib.Path(folder)
    path = folder / FILE
    if not path.is_file():
        partial = folder.with_name(folder.name + ".partial")
        raise FileNotFoundError(
            f"There is no store of soft targets at {folder}: it has no {FILE}."
            + (
                f" {partial} is one that is not complete; the command that "
                "began it goes on with it."
                if partial.is_dir()
                else ""
            )
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} is damaged: larger than {_MAX_BYTES} bytes.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict) or "checksum" not in value:
        raise ValueError(f"{path} is damaged, or no manifest: no checksum.")
    checksum = value.pop("checksum")
    if checksum != _checksum(value):
        raise ValueError(
            f"{path} is damaged: its checksum is {checksum!r}, and that of "
            f"its content {_checksum(value)!r}."
        )
    schema = value.get("schema")
    if schema != SCHEMA:
        raise ValueError(
            f"{path} is of schema {schema!r}, and this version of kd_keras "
            f"reads schema {SCHEMA}."
        )
    manifest = _parse(Manifest, value, str(path))
    _check_consistent(manifest, path)
    return manifest


def check_members(manifest, teacher, path):
    """Raises unless an ensemble has the members' weights of a store."""
    found, expected = tuple(teacher.weights), manifest.members.weights
    if len(found) != len(expected) or any(
        abs(one - other) > 1e-6
        for one, other in zip(found, expected, strict=True)
    ):
        raise ValueError(
            f"The soft targets in {path} are of an ensemble with the weights "
            f"{expected}. Received one with the weights {found}."
        )


def _check_consistent(manifest, path):
    """Raises unless the fields fit one another."""
    files = [file.file for file in manifest.ranges]
    wanted = [range_file(i, len(files)) for i in range(len(files))]
    faults = {
        "ranges": files == wanted
        and all(file.count > 0 for file in manifest.ranges),
        "range_ends": list(manifest.range_ends)
        == list(itertools.accumulate(file.count for file in manifest.ranges)),
        "canary_views": all(
            len(digests) == (manifest.views.count if manifest.views else 1)
            for digests in manifest.canary_views
        ),
        "canaries": manifest.canaries.file == CANARIES_FILE
        and manifest.canaries.count == len(manifest.canary_views),
        "source.num_examples": manifest.source.num_examples
        == sum(file.count for file in manifest.ranges),
        "num_classes": manifest.num_classes == len(manifest.source.class_names),
        "dtype": manifest.dtype in ("float16", "float32"),
        "top_k": manifest.top_k is None
        or (
            0 < manifest.top_k < manifest.num_classes
            and manifest.members is None
            and manifest.temperature is not None
        ),
        "batch_size": manifest.batch_size > 0,
        "views.count": manifest.views is None or manifest.views.count > 0,
        "temperature": manifest.temperature is None
        or 0 < manifest.temperature < math.inf,
        "members": manifest.members is None
        or (
            all(weight > 0 for weight in manifest.members.weights)
            and abs(math.fsum(manifest.members.weights) - 1) < 1e-6
        ),
    }
    if manifest.preprocessing != PREPROCESSING:
        raise ValueError(
            f"{path}: its `preprocessing` is {manifest.preprocessing!r}, and "
            f"this version of kd_keras does {PREPROCESSING!r}."
        )
    for name, fits in faults.items():
        if not fits:
            raise ValueError(f"{path} is damaged: its {name} cannot be.")
    for file in (*manifest.ranges, manifest.canaries):
        if not re.fullmatch("[0-9a-f]{64}", file.sha256) or file.bytes < 0:
            raise ValueError(f"{path} is damaged: what it says of {file.file}.")


def _checksum(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _parse(kind, value, where):
    """A value of JSON as the type that it must have."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict) or set(value) != set(hints):
            raise ValueError(f"{where} is no {kind.__name__}: {value!r:.80}")
        return kind(
            **{
                name: _parse(hint, value[name], f"{where}: {name}")
                for name, hint in hints.items()
            }
        )
    if isinstance(kind, types.UnionType):
        [inner] = [
            arg for arg in typing.get_args(kind) if arg is not type(None)
        ]
        return None if value is None else _parse(inner, value, where)
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        if not isinstance(value, list):
            raise ValueError(f"{where} is no list: {value!r:.80}")
        return tuple(_parse(inner, item, where) for item in value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is no {kind.__name__}: {value!r:.80}")
    return value
