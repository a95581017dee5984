"""On which test examples a net was right, as results keep it."""

import numpy as np

from kd_keras import comparison


def packed(logits, labels):
    """A string that says which predictions are right, a bit for each.

    Args:
        logits: Float array, shape `[num_examples, num_classes]`.
        labels: int array, shape `[num_examples]`.

    Returns:
        Hexadecimal string, as results keep it as `right`.

    Example:

    >>> packed(np.eye(3), np.array([0, 1, 0]))
    'c0'
    """
    return np.packbits(logits.argmax(axis=1) == labels).tobytes().hex()


def quality(examples, logits):
    """What results keep of a net: its quality, and where it is right.

    Args:
        examples: `training.data.Examples` it is counted on.
        logits: Float array, its logits for them.

    Returns:
        A dict.
    """
    return {
        **examples.quality(logits),
        "right": packed(logits, examples.labels),
    }


def right(result):
    """On which test examples a result is right.

    Args:
        result: Dict with `right` and `test_examples`.

    Returns:
        Bool array, shape `[test_examples]`.

    Example:

    >>> right({"right": "c0", "test_examples": 3})
    array([ True,  True, False])
    """
    bits = np.frombuffer(bytes.fromhex(result["right"]), np.uint8)
    return np.unpackbits(bits, count=result["test_examples"]).astype(bool)


def mcnemar(one, other):
    """McNemar's p-value of each pair of results.

    Args:
        one: List of results.
        other: List of results of the same seeds.

    Returns:
        List of floats; of pairs that do not keep what was right, none.

    Example:

    >>> mcnemar([{"right": "c0", "test_examples": 3}], [{}])
    []
    """
    return [
        comparison.mcnemar(right(a), right(b))
        for a, b in zip(one, other, strict=True)
        if "right" in a and "right" in b
    ]


def mcnemar_text(one, other):
    """These p-values as the end of a sentence; nothing if there are none.

    Example:

    >>> kept = {"right": "c0", "test_examples": 3}
    >>> mcnemar_text([{}, kept], [{}, kept])
    "; McNemar's p = 1 (of 1 of the seeds)"
    """
    values = mcnemar(one, other)
    if not values:
        return ""
    text = f"; McNemar's p = {', '.join(f'{p:.2g}' for p in values)}"
    if len(values) < len(one):
        text += f" (of {len(values)} of the seeds)"
    return text
