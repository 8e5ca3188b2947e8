"""The plots of `make growth`, one per curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draw(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw what growth.json holds into `folder`; return the files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    files: list[Path] = []

    def figure(name: str, of: str, unit: str) -> tuple[Any, Path]:
        made = Figure(figsize=(6, 4), layout="constrained")
        FigureCanvasAgg(made)
        axes = made.add_subplot()
        axes.set(title=name, xlabel=of, ylabel=unit)
        axes.grid(visible=True, alpha=0.3)
        files.append(folder / f"growth-{name}.png")
        return axes, files[-1]

    for curve in found["curves"]:
        axes, file = figure(curve["name"], curve["of"], curve["unit"])
        points = curve["points"]
        places = [point["at"] for point in points]
        middle = [point["value"] for point in points]
        below = [point["value"] - point["lowest"] for point in points]
        above = [point["highest"] - point["value"] for point in points]
        axes.errorbar(places, middle, yerr=[below, above], marker="o", capsize=4)
        if places[-1] >= 50 * places[0]:
            axes.set_xscale("log")
        else:
            axes.set_xticks(places)
        axes.set_ylim(0, 1.15 * max(point["highest"] for point in points))
        axes.figure.savefig(file)
    if found["memory"]:
        axes, file = figure("memory", "records", "MB resident")
        axes.plot(
            [each["records"] for each in found["memory"]], [each["rss_bytes"] / 1e6 for each in found["memory"]], marker="."
        )
        axes.set_ylim(bottom=0)
        axes.figure.savefig(file)
    return files
