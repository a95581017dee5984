"""What the program that trains specialists can be told."""

import dataclasses

from kd_keras import arguments
from kd_keras import specialists
from kd_keras.training import config as config_lib
from kd_keras.training import specialist_training

RULES = (
    specialists.dustbin.BAYES,
    specialists.dustbin.PAPER,
    specialists.dustbin.NONE,
)
COLUMNS = (specialists.clusters.CORRELATION, specialists.clusters.COVARIANCE)


@dataclasses.dataclass(frozen=True)
class SpecialistsConfig:
    """How a generalist gets its specialists.

    Attributes:
        dataset: Name of a TFDS image-classification set, or `"digits"`.
        data_dir: Where TFDS keeps its data sets; None for its own default.
        image_size: Height and width to resize images to; None for as they are.
        train_split: Split to train on, in TFDS' notation.
        cluster_split: Split on whose images the generalist's predictions are
            clustered, labels taking no part; None for `train_split`.
        cluster_temperature: Temperature of these predictions. Of what it has
            learnt by heart a generalist is too sure to show what it confuses:
            then a split that it did not see, or a higher temperature, says
            more.
        test_split: Split to count errors on.
        generalist: Path of a `.keras` file; None to train one.
        generalist_model: What to train, as `architectures.build` takes it.
        generalist_dropout: Dropout rate of its hidden layers; None for 0.5 in
            our models, and what others have of their own.
        generalist_epochs: Passes over the training split.
        num_sets: How many specialists; fewer if sets come out equal.
        set_size: Classes of each, the nearest to the centre of a cluster; 0
            for the clusters themselves, which share no class.
        columns: `"correlation"` or `"covariance"`, of what the columns are
            clustered by `specialists.cluster_classes`. The paper's is the
            second, the default of that function; with sets of one size it
            gives all of them the same, hardly confused classes, so that the
            first is the default here.
        head_epochs: Passes of a specialist over its data in which nothing but
            its last layer learns.
        epochs: Passes after that in which all of it learns.
        learning_rate: Of Adam for the generalist.
        head_learning_rate: Of Adam in `head_epochs`, at their start; it falls
            to 0.
        specialist_learning_rate: The same in `epochs`.
        sampled_share: Share of its own classes in the data of a specialist.
        full_softmax: Whether a specialist tells all classes: its own by labels,
            the others by soft targets of the generalist.
        temperature: Of these, with `full_softmax`.
        soft_weight: Weight of these, in (0, 1), with `full_softmax`.
        dustbin_rule: `"bayes"`, `"paper"` or `"none"`, as of
            `specialists.dustbin_shift`.
        top_n: How many of the generalist's most probable classes choose the
            specialists that are asked.
        max_shift: Pixels by which images are shifted at most, in every epoch
            anew; 0 for not at all.
        batch_size: Examples per step.
        seed: Of weights, order, clusters, and of the choice for the dustbin.
    """

    dataset: str = "digits"
    data_dir: str | None = None
    image_size: tuple[int, int] | None = None
    train_split: str = "train"
    cluster_split: str | None = None
    cluster_temperature: float = 2.0
    test_split: str = "test"
    generalist: str | None = None
    generalist_model: str = "mlp:400,400"
    generalist_dropout: float | None = None
    generalist_epochs: int = 60
    num_sets: int = 3
    set_size: int = 4
    columns: str = specialists.clusters.CORRELATION
    head_epochs: int = 5
    epochs: int = 20
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-3
    specialist_learning_rate: float = 1e-3
    sampled_share: float = 0.5
    full_softmax: bool = False
    temperature: float = 2.0
    soft_weight: float = 0.5
    dustbin_rule: str = specialists.dustbin.BAYES
    top_n: int = 1
    max_shift: int = 0
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self):
        config_lib.take_path(self, "generalist")
        config_lib.check_counts(
            self, "generalist_epochs", "batch_size", "num_sets", "top_n"
        )
        config_lib.check_not_negative(
            self, "set_size", "head_epochs", "epochs", "max_shift", "seed"
        )
        config_lib.check_positive(
            self,
            "learning_rate",
            "head_learning_rate",
            "specialist_learning_rate",
            "temperature",
            "cluster_temperature",
        )
        if self.seed >= 2**32:
            raise ValueError(
                "`seed` is below 2 ** 32, as scikit-learn takes it. Received: "
                f"{self.seed}"
            )
        if not self.head_epochs + self.epochs:
            raise ValueError(
                "Specialists learn in `head_epochs` or in `epochs`. Received: "
                "0 for both."
            )
        config_lib.check_share(self, "sampled_share")
        if not isinstance(self.full_softmax, bool):
            raise ValueError(
                "`full_softmax` must be True or False. Received: "
                f"{self.full_softmax!r}"
            )
        if arguments.checked_weight(self.soft_weight) in (0.0, 1.0):
            raise ValueError(
                "`soft_weight` must be between 0 and 1: a specialist that "
                "tells all classes learns its own by labels and the others by "
                f"soft targets. Received: {self.soft_weight!r}"
            )
        for name, known in (("dustbin_rule", RULES), ("columns", COLUMNS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. Received: "
                    f"{getattr(self, name)!r}"
                )

    @property
    def splits(self):
        """The splits to train on, to look at (None) and to test on."""
        return self.train_split, None, self.test_split

    @property
    def recipe(self):
        """How each specialist is trained, a `SpecialistRecipe`."""
        return specialist_training.SpecialistRecipe(
            head_epochs=self.head_epochs,
            epochs=self.epochs,
            head_learning_rate=self.head_learning_rate,
            learning_rate=self.specialist_learning_rate,
            sampled_share=self.sampled_share,
            full_softmax=self.full_softmax,
            temperature=self.temperature,
            soft_weight=self.soft_weight,
        )
