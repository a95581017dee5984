"""An ensemble of ten nets in one: section 4 of Hinton et al. (2015), on MNIST.

Paper, on its speech data (test accuracy of frames, %): one net 58.9, an
ensemble of ten that differ in nothing but their initial weights 61.1, one net
distilled from the ensemble 60.8: more than 80% of the gain. There are far more
frames than a net can learn by heart. The speech data are private; here images
are shifted at random, anew in every epoch, for members and students alike.
Without that the nets know all training labels, and what the ensemble says of
the training images is hardly more than these (arms `still`).
"""

import dataclasses
import statistics

from kd_keras import comparison
from kd_keras import datasets
from kd_keras import teachers
from kd_keras.experiments import digit_nets
from kd_keras.experiments import findings
from kd_keras.experiments import laboratory
from kd_keras.experiments import per_example

TITLE = "Ten nets, their ensemble, and one net distilled from it"
NUM_SEEDS = 5

_TEMPERATURES = {"distilled-2": 2.0, "distilled-20": 20.0}
_SOFT_WEIGHT = 0.9
_STILL = "still-"
_SAYS = {
    "single": "one net, mean of the members",
    "ensemble": "the ensemble",
    "distilled-2": "one net, distilled, T = 2",
    "distilled-20": "one net, distilled, T = 20",
}
_SAYS |= {_STILL + arm: f"{says}; not shifted" for arm, says in _SAYS.items()}
# Seeds of initial weights apart from those of all members.
_STUDENT_SEEDS = 2_000_000
# Paper: 58.9, 61.1 and 60.8% of the frames are right.
_PAPER_SHARE = (60.8 - 58.9) / (61.1 - 58.9)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        members: Nets of the ensemble.
        units: Hidden layers of these, and of the net that is distilled.
        recipe: `laboratory.Recipe` of all nets, so that what the distilled one
            gains is not of longer training.
        max_shift: Pixels by which the images are shifted at most.
    """

    members: int = 10
    units: tuple[int, ...] = (300, 300)
    recipe: laboratory.Recipe = laboratory.Recipe(
        30, 256, 1e-3, "mixed_bfloat16"
    )
    max_shift: int = 2


QUICK = Plan(
    members=4,
    units=(64, 64),
    recipe=laboratory.Recipe(15, 64, 3e-3),
    max_shift=1,
)


def plan(settings):
    """The `Plan` of settings."""
    return QUICK if settings.quick else Plan()


def arms(settings):
    """Names of the arms, in the order in which they are run."""
    del settings
    each = ("ensemble", *_TEMPERATURES)
    return (*each, *(_STILL + arm for arm in each))


def run(arm, seed, lab):
    """Trains one arm of one seed.

    Args:
        arm: Its name.
        seed: int; the members of two seeds have nothing in common.
        lab: `laboratory.Laboratory`.

    Returns:
        A dict of what was measured.
    """
    of = plan(lab.settings)
    if arm.startswith(_STILL):
        of = dataclasses.replace(of, max_shift=0)
    members = [
        _member(lab, of, seed * of.members + number)
        for number in range(of.members)
    ]
    ensemble = teachers.EnsembleTeacher(members)
    name = arm.removeprefix(_STILL)
    if name == "ensemble":
        # At T = 1, at which it is used.
        each = [lab.test.errors(lab.test.logits(member)) for member in members]
        return {
            **per_example.quality(lab.test, lab.test.logits(ensemble)),
            "member_errors": each,
        }
    if of.max_shift:
        # Ever new images: there is nothing to store.
        data = {"teacher": ensemble, **_shifts(of)}
    else:
        called = f"{_name(of)}-ensemble-{seed}-targets"
        data = {"store": lab.store(called, ensemble, _TEMPERATURES[name])}
    model = lab.fit(
        arm,
        # Other initial weights than those of any member.
        lambda: digit_nets.student(lab, of.units, _STUDENT_SEEDS + seed),
        of.recipe,
        seed,
        temperature=_TEMPERATURES[name],
        soft_weight=_SOFT_WEIGHT,
        **data,
    )
    return per_example.quality(lab.test, lab.test.logits(model))


def _member(lab, of, number):
    return lab.kept(
        f"{_name(of)}-{number}",
        lambda: lab.fit(
            "member",
            lambda: digit_nets.student(lab, of.units, number),
            of.recipe,
            number,
            **_shifts(of),
        ),
    )


def _shifts(of):
    if not of.max_shift:
        return {}
    return {"augment": datasets.random_shift(of.max_shift)}


def _name(of):
    digest = laboratory.digest(
        of.units, dataclasses.asdict(of.recipe), of.max_shift
    )
    return f"member-{digest}"


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    by_arm = findings.by_arm(results, arms(settings))
    errors = {}
    for arm, found in by_arm.items():
        if arm.endswith("ensemble"):
            single = arm.replace("ensemble", "single")
            errors[single] = _of_one(found)
        errors[arm] = [result["test_errors"] for result in found]
    table = findings.Table(
        "Errors on the test split",
        ("arm", "errors", "each seed"),
        [
            [
                _SAYS[arm],
                comparison.interval(values),
                " ".join(f"{value:g}" for value in values),
            ]
            for arm, values in errors.items()
        ],
        "Means with 95% intervals over the seeds, each with an ensemble of its "
        "own. The distilled nets start from weights of their own, too.",
    )
    dots = findings.Dots(
        "errors",
        "Errors",
        "errors on the test split",
        {_SAYS[arm]: values for arm, values in errors.items()},
    )
    return findings.Findings(
        (table,),
        (dots,),
        tuple(_checks(results, settings)),
        tuple(_headlines(results, errors)),
        "" if settings.quick else _summary(results),
    )


def _summary(results):
    """What came out of the nets of shifted images, a sentence."""
    for arm, ensemble, distilled in _pairs(results):
        if arm == "distilled-2":
            each = (
                _of_one(ensemble),
                [result["test_errors"] for result in ensemble],
                [result["test_errors"] for result in distilled],
            )
            single, together, net = map(statistics.fmean, each)
            return (
                f"A net makes {single:.1f} errors, ten together "
                f"{together:.1f}, and one distilled from the ten at T = 2 "
                f"{net:.1f}: it keeps {_kept(ensemble, distilled).value:.2f} "
                f"of the ensemble's gain (paper, on speech: "
                f"{_PAPER_SHARE:.2f})."
            )
    return ""


def _headlines(results, errors):
    paper = {"single": 58.9, "ensemble": 61.1, "distilled-2": 60.8}
    for arm, values in errors.items():
        says = f"{paper[arm]}% right (speech)" if arm in paper else "-"
        yield findings.Headline(
            f"errors of 10,000: {_SAYS[arm]}",
            says,
            comparison.interval(values),
            len(values),
        )
    for arm, ensemble, distilled in _pairs(results):
        share = _kept(ensemble, distilled)
        yield findings.Headline(
            f"share of the ensemble's gain that is kept: {_SAYS[arm]}",
            f"{_PAPER_SHARE:.2f} (speech)",
            share.text,
            share.seeds,
        )


def _of_one(ensembles):
    """Errors of one net of each ensemble, the mean over its members."""
    return [statistics.fmean(result["member_errors"]) for result in ensembles]


def _pairs(results):
    """Arms that were distilled, their ensembles, and their results."""
    for regime in ("", _STILL):
        for arm in _TEMPERATURES:
            ensemble, distilled = findings.paired(
                results, f"{regime}ensemble", regime + arm
            )
            if ensemble:
                yield regime + arm, ensemble, distilled


def _kept(ensemble, distilled):
    """Share of the gain that is kept."""
    return findings.recovered(
        _of_one(ensemble),
        [result["test_errors"] for result in distilled],
        [result["test_errors"] for result in ensemble],
    )


def _checks(results, settings):
    for arm, ensemble, distilled in _pairs(results):
        single = _of_one(ensemble)
        gained = comparison.paired_difference(
            single, [result["test_errors"] for result in distilled]
        )
        yield findings.Check(
            f"{_SAYS[arm]}: fewer errors than a net that was not distilled",
            f"fewer by {comparison.difference_text(gained)}",
            findings.is_above(gained),
        )
        if not settings.quick:
            yield findings.check_share(
                f"{_SAYS[arm]}: share of the ensemble's gain that is kept: at "
                "least 0.8",
                _kept(ensemble, distilled),
                0.8,
                f"; paper {_PAPER_SHARE:.2f}",
            )
