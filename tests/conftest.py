"""How pytest runs the tests."""

import gc


def pytest_configure():
    """Looks for garbage less often: tracing makes much that stays.

    Of the time of tests that trace functions this takes 8 of 100 parts.
    """
    gc.set_threshold(100_000, 50, 50)
