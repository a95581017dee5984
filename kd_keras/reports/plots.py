"""The plots of the reports, each a function of data to a figure."""

import numpy as np
from scipy import special

from kd_keras.reports import style


def learning_curves(curves):
    """How arms learnt: mean over the seeds, and from least to most.

    Args:
        curves: Dict of names of arms to lists of curves, one for each seed:
            lists of dicts with `epoch`, `accuracy`, and here and there
            `val_accuracy`.

    Returns:
        `matplotlib.figure.Figure`.
    """
    has_validation = any(
        "val_accuracy" in line
        for of_seeds in curves.values()
        for curve in of_seeds
        for line in curve
    )
    plot = style.new_figure()
    panels = plot.subplots(1, 1 + has_validation, sharey=True, squeeze=False)
    keys = ("accuracy", "val_accuracy")
    titles = ("Training examples with labels", "Held-out examples")
    for axes, key, title in zip(panels[0], keys, titles, strict=False):
        for number, (name, of_seeds) in enumerate(curves.items()):
            values = {}
            for curve in of_seeds:
                for line in curve:
                    if key in line:
                        at_epoch = values.setdefault(line["epoch"] + 1, [])
                        at_epoch.append(100 * line[key])
            if not values:
                continue
            epochs = sorted(values)
            colour, marker = style.look_of(name, number)
            axes.plot(
                epochs,
                [np.mean(values[epoch]) for epoch in epochs],
                color=colour,
                marker=marker,
                markevery=max(len(epochs) // 8, 1),
                label=name,
            )
            axes.fill_between(
                epochs,
                [min(values[epoch]) for epoch in epochs],
                [max(values[epoch]) for epoch in epochs],
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        style.plain(axes)
    panels[0][0].set_ylabel("accuracy, %")
    panels[0][0].legend(frameon=False, loc="lower right")
    return plot


def reliability(labels, logits, num_bins=15):
    """Accuracy of predictions against their confidence.

    Args:
        labels: int array, shape `[num_examples]`.
        logits: Dict of names of models to float arrays, shape
            `[num_examples, num_classes]`.
        num_bins: Bins of equal width. Defaults to 15.

    Returns:
        `matplotlib.figure.Figure`.
    """
    plot = style.new_figure(3.6)
    panels = plot.subplots(1, len(logits), sharey=True, squeeze=False)[0]
    for number, (axes, (name, of_model)) in enumerate(
        zip(panels, logits.items(), strict=True)
    ):
        probs = special.softmax(np.float64(of_model), axis=-1)
        confidence = probs.max(axis=-1)
        right = of_model.argmax(axis=-1) == labels
        # Closed above, as in the calibration error.
        bins = np.clip(np.ceil(confidence * num_bins) - 1, 0, num_bins - 1)
        counts = np.bincount(bins.astype(int), minlength=num_bins)
        sums = np.bincount(bins.astype(int), right, minlength=num_bins)
        held = counts > 0
        centres = (np.arange(num_bins) + 0.5) / num_bins
        axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
        axes.bar(
            centres[held],
            sums[held] / counts[held],
            width=0.9 / num_bins,
            color=style.look_of(name, number)[0],
        )
        for bar, count in zip(axes.patches, counts[held], strict=True):
            # Bars of few examples are pale: they say little.
            bar.set_alpha(1.0 if count >= 10 else 0.35)
        axes.set_title(name)
        axes.set_xlabel("confidence")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        style.plain(axes)
    panels[0].set_ylabel("accuracy")
    return plot


def temperatures(cells, chosen, what):
    """Errors over temperature, a line for each weight of the soft term.

    Args:
        cells: Dict of `(temperature, soft_weight)` to lists of errors, one for
            each seed.
        chosen: The pair that was chosen.
        what: What the errors were counted on.

    Returns:
        `matplotlib.figure.Figure`.
    """
    plot = style.new_figure()
    axes = plot.subplots()
    weights = sorted({weight for _, weight in cells})
    for number, weight in enumerate(weights):
        mine = sorted(t for t, w in cells if w == weight)
        means = [np.mean(cells[t, weight]) for t in mine]
        spread = [
            np.std(cells[t, weight], ddof=1) if cells[t, weight][1:] else 0.0
            for t in mine
        ]
        has_spread = all(len(cells[t, weight]) > 1 for t in mine)
        # Beside each other, so that none hides another.
        aside = 1 + 0.03 * (number - (len(weights) - 1) / 2)
        axes.errorbar(
            np.multiply(mine, aside),
            means,
            yerr=spread if has_spread else None,
            color=style.COLOURS[number % len(style.COLOURS)],
            marker=style.MARKERS[number % len(style.MARKERS)],
            capsize=3,
            label=f"weight {weight:g}",
        )
    aside = 1 + 0.03 * (weights.index(chosen[1]) - (len(weights) - 1) / 2)
    axes.plot(
        chosen[0] * aside,
        np.mean(cells[chosen]),
        marker="o",
        markersize=16,
        markerfacecolor="none",
        markeredgecolor="black",
        linestyle="none",
        label="chosen",
    )
    axes.set_xscale("log")
    ticks = sorted({temperature for temperature, _ in cells})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("temperature")
    axes.set_ylabel(f"errors, {what}")
    style.plain(axes)
    style.legend(axes)
    return plot


def soft_targets(images, labels, probs, class_names, temperature):
    """Images with the teacher's soft targets beside them.

    Args:
        images: uint8 array, shape `[num_images, height, width, channels]`, of
            at most eight.
        labels: int array, shape `[num_images]`.
        probs: float array, shape `[num_images, num_classes]`.
        class_names: Names of the classes.
        temperature: That of the soft targets.

    Returns:
        `matplotlib.figure.Figure`.
    """
    num_rows = -(-len(images) // 2)
    plot = style.new_figure(1.7 * num_rows + 0.4)
    plot.suptitle(f"Soft targets at T = {temperature:g}; the label is darker")
    panels = plot.subplots(
        num_rows, 4, width_ratios=[1, 2, 1, 2], squeeze=False
    ).reshape(-1, 2)
    limit = min(1.0, 1.05 * probs.max())
    for number, (picture, bars) in enumerate(panels):
        if number >= len(images):
            picture.axis("off")
            bars.axis("off")
            continue
        show(picture, images[number])
        # The largest, the first above, and the label in any case.
        largest = np.argsort(-probs[number], kind="stable")[:5]
        if labels[number] not in largest:
            largest[-1] = labels[number]
        largest = largest[::-1]
        bars.barh(
            [class_names[index] for index in largest],
            probs[number][largest],
            color=[
                style.COLOURS[0] if index == labels[number] else "#9ecae1"
                for index in largest
            ],
        )
        bars.set_xlim(0, limit)
        bars.spines[["top", "right"]].set_visible(False)
        if number >= len(panels) - 2:
            bars.set_xlabel("probability")
    return plot


def disagreements(images, titles):
    """Images with a word below each.

    Args:
        images: uint8 array, shape `[num_images, height, width, channels]`, of
            at most ten.
        titles: A text for each.

    Returns:
        `matplotlib.figure.Figure`.
    """
    num_rows = -(-len(images) // 5)
    plot = style.new_figure(2.2 * num_rows)
    for axes in plot.subplots(num_rows, 5, squeeze=False).flat:
        axes.axis("off")
    for axes, image, title in zip(plot.axes, images, titles, strict=False):
        axes.axis("on")
        show(axes, image)
        axes.set_title(title, fontsize=9)
    return plot


def class_errors(errors, class_names):
    """Errors of each class, for each model.

    Args:
        errors: Dict of names of models to arrays, shape `[num_classes]`.
        class_names: Names of the classes.

    Returns:
        `matplotlib.figure.Figure`.
    """
    plot = style.new_figure()
    axes = plot.subplots()
    places = np.arange(len(class_names))
    width = 0.8 / len(errors)
    for number, (name, of_model) in enumerate(errors.items()):
        axes.bar(
            places + (number - (len(errors) - 1) / 2) * width,
            of_model,
            width=width,
            color=style.look_of(name, number)[0],
            label=name,
        )
    axes.set_xticks(places, class_names)
    if len("".join(class_names)) > 60:
        axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel("class")
    axes.set_ylabel("errors on the test split")
    style.plain(axes)
    style.legend(axes)
    return plot


def show(axes, image):
    """Shows an image without ticks."""
    is_grey = image.shape[-1] == 1
    axes.imshow(
        image[..., 0] if is_grey else image,
        cmap="gray" if is_grey else None,
        vmin=0,
        vmax=255,
        interpolation="nearest",
    )
    axes.set_xticks([])
    axes.set_yticks([])
