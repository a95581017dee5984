"""A generalist and its specialists: section 5 of Hinton et al. (2015).

Paper, on its 100 million images of 15,000 classes, with 61 specialists of 300
classes each: test accuracy 25.0% before, 26.1% with specialists; among the
classes of specialists 43.1 and 45.9%; the more specialists have a class, the
more is gained (tables 3 and 4). The images are private; here it is CIFAR-100,
with what the paper leaves open: whether the generalist, trained as much longer
as the specialists take, would not have gained as much; whether it matters which
classes a specialist gets; the full softmax of its section 6.1; and one net
distilled from them all.
"""

import dataclasses

from kd_keras.experiments import laboratory
from kd_keras.experiments import specialists_data
from kd_keras.experiments import specialists_findings
from kd_keras.experiments import specialists_numbers
from kd_keras.experiments import specialists_work
from kd_keras.training import specialist_training

TITLE = "Specialists for what a generalist confuses"
NUM_SEEDS = 3
# Run where they are named, each as long as the arms with specialists.
EXTRA_ARMS = ("covariance", "covariance-random", "full-softmax", "anew")

load = specialists_data.load


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Attributes:
        filters: Convolutions of all nets.
        dense_units: Their hidden layer.
        dropout: Share of the inputs of its dense layers that is left out.
        max_shift: Pixels by which images are shifted at most.
        generalist: `laboratory.Recipe`.
        num_sets: How many specialists.
        set_size: Classes of each.
        specialist: `SpecialistRecipe` of each; batches and precision are the
            generalist's.
        student: `laboratory.Recipe` of the students.
        temperature: Of their soft targets.
        soft_weight: Weight of these.
        num_views: How many shifts of each image are stored for them.
    """

    filters: tuple[int, ...] = (32, 64, 128)
    dense_units: tuple[int, ...] = (256,)
    dropout: float = 0.3
    max_shift: int = 3
    generalist: laboratory.Recipe = laboratory.Recipe(
        80, 128, 1.5e-3, "mixed_bfloat16"
    )
    num_sets: int = 15
    set_size: int = 12
    specialist: specialist_training.SpecialistRecipe = (
        specialist_training.SpecialistRecipe(
            0, 10, 3e-3, 3e-3, sampled_share=0.25
        )
    )
    student: laboratory.Recipe = laboratory.Recipe(
        30, 128, 1.5e-3, "mixed_bfloat16"
    )
    temperature: float = 2.0
    soft_weight: float = 0.9
    num_views: int = 2


QUICK = Plan(
    filters=(8, 16),
    dense_units=(32,),
    dropout=0.1,
    max_shift=1,
    generalist=laboratory.Recipe(6, 64, 3e-3),
    num_sets=2,
    set_size=30,
    specialist=specialist_training.SpecialistRecipe(1, 2, 2e-3, 2e-3),
    student=laboratory.Recipe(6, 64, 3e-3),
    num_views=1,
)


def plan(settings):
    """The `Plan` of settings."""
    return QUICK if settings.quick else Plan()


def arms(settings):
    """Names of the arms, in the order in which they are run."""
    del settings
    return tuple(specialists_numbers.SAYS)


def run(arm, seed, lab):
    """Trains one arm of one seed.

    Args:
        arm: Its name.
        seed: int, of the generalist and of all that comes of it.
        lab: `laboratory.Laboratory`.

    Returns:
        A dict of what was measured.
    """
    work = specialists_work.Work(plan(lab.settings), seed, lab)
    if arm == "generalist":
        return work.measured(work.generalist)
    if arm == "longer":
        return work.longer(anew=False)
    if arm == "anew":
        return work.longer(anew=True)
    if arm.startswith("student-"):
        return work.measured(work.student(arm.removeprefix("student-")))
    return work.system(arm)


def find(results, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `run` returned.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    return specialists_findings.find(results, plan(settings))
