"""What a run depends on, compared with what another one depended on."""

import json


def plain(config):
    """A configuration as JSON gives it back.

    Args:
        config: None or anything of JSON.

    Returns:
        The same, with lists for tuples.

    Raises:
        TypeError: If it is nothing of JSON.
    """
    try:
        return json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        raise TypeError(
            "`config` must be None or of JSON: dicts with string keys, lists, "
            f"numbers, strings. Received: {config!r} ({error})."
        ) from None


def check_same(field, found, expected):
    """Raises for the first difference, named by its dotted path.

    Args:
        field: What is compared.
        found: What was saved.
        expected: What is wanted.

    Raises:
        ValueError: If they differ.
    """
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            check_same(
                f"{field}.{key}",
                found.get(key, _MISSING),
                expected.get(key, _MISSING),
            )
    elif isinstance(found, list) and isinstance(expected, list):
        for i in range(max(len(found), len(expected))):
            check_same(
                f"{field}[{i}]",
                found[i] if i < len(found) else _MISSING,
                expected[i] if i < len(expected) else _MISSING,
            )
    elif repr(found) != repr(expected):
        raise ValueError(
            f"The training state was saved by another run: `{field}` differs. "
            f"Found: {found!r}. Expected: {expected!r}. Start the run as it "
            "was started, or give this one another path."
        )


class _Missing:
    def __repr__(self):
        return "nothing"


_MISSING = _Missing()
