"""What the width experiment shows: tables, plots, and the protocol's lines."""

from kd_keras import comparison
from kd_keras.experiments import bounds
from kd_keras.experiments import findings

# Table 1 of the paper: accuracy of teachers in %, and by how many points soft
# labels raise that of students, by task and width.
PAPER_TEACHERS = {"all": 98.34, "reduced": 98.75}
PAPER_GAPS = {
    "all": {"4": 6.78, "6": 0.67, "8": 0.81},
    "reduced": {"4": 2.79, "6": 0.42, "8": 0.48},
}
_TASKS = {"all": "all digits", "reduced": "without 1, 7, 4, 9"}
_INTERVALS = "Mean with its 95% interval over the seeds."
# The radius for which the protocol expects a gap, and how large, in points.
_RADIUS = "10"
_AT_LEAST = 3.0
_MARGINS = (0.1, 0.01)


def find(results, arms, settings):
    """What the results show.

    Args:
        results: Dict of `(arm, seed)` to what `width.run` returned.
        arms: Names of all arms.
        settings: `laboratory.Settings`.

    Returns:
        `findings.Findings`.
    """
    regimes = {"practical": {}, "theorem": {}, "deep": {}}
    for arm, found in findings.by_arm(results, arms).items():
        regime, _, task = arm.partition("-")
        regimes[regime][task] = found
    practical, theorem, deep = regimes.values()
    tables, plots = [], []
    if practical or deep:
        tables.append(_practical_table({**practical, **deep}, settings))
    if theorem:
        tables.append(_theorem_table(theorem))
        plots.append(_theorem_lines(theorem))
        if "all" in theorem and "1" in theorem["all"][0]["students"]:
            tables.append(_bounds_table(theorem["all"]))
    if practical:
        plots.append(_practical_lines(practical))
    if deep:
        plots.append(_deep_lines(deep))
    return findings.Findings(
        tuple(tables),
        tuple(plots),
        tuple(_checks(practical, theorem, settings)),
        tuple(_headlines(practical, theorem)),
    )


def _accuracy(result, errors):
    return 100 * (1 - errors / result["test_examples"])


def _accuracies(found, target, width, radius=None):
    """In %, one for each seed."""
    values = []
    for result in found:
        students = result["students"]
        errors = (students[radius] if radius else students)[width][target]
        values.append(_accuracy(result, errors))
    return values


def _teachers(found):
    return [_accuracy(result, result["teacher_errors"]) for result in found]


def _gap(found, target, *place):
    """Points of accuracy above labels: mean, and the ends of its interval."""
    return comparison.paired_difference(
        _accuracies(found, target, *place), _accuracies(found, "hard", *place)
    )


def _signed(gap):
    """As text; of a single seed the number alone."""
    mean, low, high = gap
    if low == -float("inf"):
        return f"{mean:+.2f}"
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _says(task):
    if task in _TASKS:
        return _TASKS[task]
    kind, _, amount = task.rpartition("-")
    if kind == "noise":
        return f"all digits, noise of deviation {amount}"
    return f"groups of CIFAR-100, noise of variance {task}"


def _practical_table(tasks, settings):
    rows = []
    for task, found in tasks.items():
        for width in found[0]["students"]:
            paper = PAPER_GAPS.get(task, {}).get(width)
            rows.append(
                [
                    f"{_says(task)}, {width}",
                    comparison.interval(_teachers(found), 2),
                    comparison.interval(_accuracies(found, "hard", width), 2),
                    f"{paper:+.2f}" if paper and not settings.quick else "-",
                    *(
                        _signed(_gap(found, target, width))
                        for target in ("soft-1", "soft-4")
                    ),
                ]
            )
    return findings.Table(
        "All weights trained by Adam: accuracy, %, and what soft targets add",
        ("task, width", "teacher", "labels", "paper", "T = 1", "T = 4"),
        rows,
        f"{_INTERVALS} Soft targets alone, points of accuracy above labels "
        "alone; pairs share initial weights and order. The paper's gaps are of "
        "projected gradient descent, of which it gives no settings. Of the "
        "groups the width is that of the convolutions.",
    )


def _theorem_table(tasks):
    rows = [
        [
            f"{_says(task)}, B = {radius}, {width}",
            comparison.interval(_accuracies(found, "hard", width, radius), 2),
            *(
                _signed(_gap(found, target, width, radius))
                for target in ("soft", "smooth", "raw")
            ),
        ]
        for task, found in tasks.items()
        for radius, widths in found[0]["students"].items()
        for width in widths
    ]
    return findings.Table(
        "The theorem's training: accuracy, %, and what other labels add",
        ("task, radius, width", "labels", "soft", "no teacher", "as they are"),
        rows,
        f"{_INTERVALS} Output weights are fixed, the others stay within "
        "B / sqrt(width) of their start; inf: no projection. Points of "
        "accuracy above labels. Soft: the sigmoid of the teacher's logit over "
        "its largest size on the training set, which is no kernel limit. No "
        "teacher: the sigmoid of 1 for the class of the label, the share of "
        "the gap that needs none. As they are: the sigmoid of the teacher's "
        "logit itself. What is said here holds for these radii and these "
        "labels.",
    )


def _bounds_table(found):
    """What the theorems ask for, beside what was measured of all digits."""
    of = found[0]["train_examples"], min(x["smallest_norm"] for x in found)
    rows = []
    for width in found[0]["students"]["1"]:
        measured = [result["divergence"]["1"][width] for result in found]
        beta, _ = comparison.mean_and_spread(measured)
        rows.append(
            [
                f"divergence {beta:.4f}, soft, B = 1, theorem 2",
                width,
                f"{bounds.soft_width(beta, *of):.1e}",
                f"{bounds.soft_steps(beta):.1e}",
            ]
        )
    width = list(found[0]["students"][_RADIUS])[-1]
    for target, name in (("soft", "corollary 4"), ("hard", "proposition 5")):
        mean, _ = comparison.mean_and_spread(
            _accuracies(found, target, width, _RADIUS)
        )
        # The bound of no errors at all would be infinite.
        error = max(1 - mean / 100, 1 / found[0]["test_examples"])
        for margin in _MARGINS:
            steps = "-"
            if target == "soft":
                asked = bounds.soft_error_width(error, margin, *of)
                steps = f"{bounds.soft_error_steps(error, margin):.1e}"
            else:
                asked = bounds.hard_error_width(error, margin, *of)
            rows.append(
                [
                    f"error {error:.3f}, {target}, B = {_RADIUS}, {name} "
                    f"at margin {margin:g}",
                    width,
                    f"{asked:.1e}",
                    steps,
                ]
            )
    return findings.Table(
        "Widths that were trained, and those that the theorems ask for",
        ("measured of all digits", "width", "asked", "steps asked"),
        rows,
        "The bounds are larger by many orders of magnitude than what was "
        "enough here: they say nothing of nets of such widths. The margin of "
        "the kernel was not measured; two are assumed. Divergence: of the "
        "training set, in nats, after the last step. n = "
        f"{of[0]}, c = {of[1]:.2f}, probability 0.01.",
    )


def _practical_lines(tasks):
    return findings.Lines(
        "widths",
        "What soft targets at T = 4 add, all weights trained",
        "hidden units",
        "points of accuracy above labels",
        {
            _says(task): {
                float(width): [
                    soft - hard
                    for soft, hard in zip(
                        _accuracies(found, "soft-4", width),
                        _accuracies(found, "hard", width),
                        strict=True,
                    )
                ]
                for width in found[0]["students"]
            }
            for task, found in tasks.items()
        },
        log_x=True,
        note="Mean with the standard deviation over the seeds.",
    )


def _theorem_lines(tasks):
    task, found = next(iter(tasks.items()))
    says = {
        "hard": "labels",
        "soft": "soft labels",
        "smooth": "as soft, no teacher",
        "raw": "teacher's outputs as they are",
    }
    return findings.Lines(
        "theorem",
        f"The theorem's training, {_says(task)}, B = {_RADIUS}",
        "hidden units",
        "accuracy, %",
        {
            name: {
                float(width): _accuracies(found, target, width, _RADIUS)
                for width in found[0]["students"][_RADIUS]
            }
            for target, name in says.items()
        },
        log_x=True,
        note="Mean with the standard deviation over the seeds.",
    )


def _deep_lines(tasks):
    def over_noise(values):
        return {float(task): values(found) for task, found in tasks.items()}

    def of(target):
        return lambda found: _accuracies(
            found, target, next(iter(found[0]["students"]))
        )

    return findings.Lines(
        "deep",
        "Two groups of CIFAR-100",
        "variance of the noise",
        "accuracy, %",
        {
            "teacher": over_noise(_teachers),
            "student, labels": over_noise(of("hard")),
            "student, T = 1": over_noise(of("soft-1")),
            "student, T = 4": over_noise(of("soft-4")),
        },
        log_x=True,
        note="Mean with the standard deviation over the seeds.",
    )


def _checks(practical, theorem, settings):
    """The lines of the protocol; of the practical nets it has none."""
    if settings.quick:
        for task, found in theorem.items():
            widths = found[0]["students"][_RADIUS]
            gaps = [_gap(found, "soft", width, _RADIUS) for width in widths]
            yield findings.Check(
                f"projected, B = {_RADIUS}, {_says(task)}: soft labels do "
                "better than labels",
                "; ".join(
                    f"{width} units {_signed(gap)}"
                    for width, gap in zip(widths, gaps, strict=True)
                ),
                min(mean for mean, _, _ in gaps) > 0,
                is_certain=True,
            )
        return
    for task, paper in PAPER_TEACHERS.items():
        found = practical.get(task) or theorem.get(task)
        if found:
            mean, _ = comparison.mean_and_spread(_teachers(found))
            yield findings.Check(
                f"teacher, {_says(task)}: within 0.4 of {paper}%",
                f"{comparison.interval(_teachers(found), 2)}%",
                abs(mean - paper) <= 0.4,
            )
    for task, found in theorem.items():
        for width in ("4", "8"):
            gap = _gap(found, "soft", width, _RADIUS)
            yield findings.Check(
                f"projected, B = {_RADIUS}, {_says(task)}, {width} units: soft "
                f"labels at least {_AT_LEAST:g} points above labels",
                _signed(gap),
                findings.is_above(gap, _AT_LEAST),
            )


def _headlines(practical, theorem):
    for task in _TASKS:
        paper = f"{PAPER_GAPS[task]['4']:+.2f}"
        for says, found, target, *place in (
            ("all weights by Adam, T = 1", practical, "soft-1", "4"),
            ("projected, B = 10", theorem, "soft", "4", _RADIUS),
        ):
            if task in found and _has(found[task], *place):
                yield findings.Headline(
                    "points that soft labels add to labels, 4 units, "
                    f"{_says(task)}: {says}",
                    paper,
                    _signed(_gap(found[task], target, *place)),
                    len(found[task]),
                )


def _has(found, width, radius=None):
    students = found[0]["students"]
    return width in (students.get(radius, {}) if radius else students)
