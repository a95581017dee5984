"""Points of the ways of gradients, for the tests of that experiment."""

TARGETS = ("hard", "soft-1", "soft-20")


def point(epoch, error_share, **noise):
    """A point of a way; noise as `target=(variance, squared mean)`."""
    return {
        "epoch": epoch,
        "error_share": error_share,
        "noise": {
            name.replace("_", "-"): {"variance": v, "squared_mean": s}
            for name, (v, s) in noise.items()
        },
    }
