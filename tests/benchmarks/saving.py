"""What a benchmark found, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.benchmarks.contenders import YARDSTICK, Contender, Field
from tests.benchmarks.jobs import Job
from tests.benchmarks.session import Results
from tests.benchmarks.spread import Spread, ratios
from tests.benchmarks.targets import per_cpu_second, targets

INCHES: Final = 4.2
"""Height of one job's row."""


def as_json(settings: Mapping[str, str], field: Field, results: Results) -> dict[str, Any]:
    """Return everything that was measured, each run by itself; null stands for what is unknown."""
    return {
        "settings": dict(settings),
        "skipped": field.skipped,
        "left_out": results.left_out,
        "failures": results.failures,
        "targets": [asdict(target) for target in targets(results)],
        "quick_latency": [each.as_json() for each in results.quick],
        "results": [_result(one, results) for one in field.contenders],
    }


def _result(one: Contender, results: Results) -> dict[str, Any]:
    runs = results.figures.get(one, [])
    ratio = ratios(per_cpu_second(runs), per_cpu_second(results.of(one.job.name, YARDSTICK)))
    return {
        "job": one.job.name,
        "contender": one.name,
        "promise": one.promise,
        "cpu_ratio_to_hand_written": None if ratio is None else ratio.median,
        "runs": [{"round": number, **figures.as_json()} for number, figures in runs],
        "latency": [each.as_json() for each in results.latencies.get(one, [])],
    }


def save(folder: Path, name: str, settings: Mapping[str, str], field: Field, results: Results) -> list[Path]:
    """Write `<name>.json` and, where anything was measured, `<name>.png`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / f"{name}.json"
    text.write_text(json.dumps(as_json(settings, field, results), indent=2) + "\n", encoding="utf-8")
    paths = [text]
    if results.figures:
        paths.append(folder / f"{name}.png")
        _draw(paths[-1], field, results)
    return paths


def _draw(path: Path, field: Field, results: Results) -> None:
    jobs = list(dict.fromkeys(one.job for one in field.contenders if results.figures.get(one)))
    picture = Figure(figsize=(14, INCHES * len(jobs)), layout="constrained")
    FigureCanvasAgg(picture)
    axes = picture.subplots(len(jobs), 2, squeeze=False)
    for job, (left, right) in zip(jobs, axes, strict=True):
        mine = [one for one in field.contenders if one.job is job and results.figures.get(one)]
        _bars(left, job, {one.name: Spread.of([value for _, value in per_cpu_second(results.figures[one])]) for one in mine})
        _curves(right, job, mine, results)
    picture.savefig(path, dpi=100)


def _bars(axes: Axes, job: Job, found: Mapping[str, Spread]) -> None:
    names = list(found)
    spreads = list(found.values())
    below, above = [each.median - each.low for each in spreads], [each.high - each.median for each in spreads]
    axes.barh(names, [each.median for each in spreads], xerr=[below, above], capsize=3)
    for at, each in enumerate(spreads):
        axes.annotate(f" {each.median:,.0f}", (each.high, at), va="center")
    axes.margins(x=0.2)
    axes.invert_yaxis()
    axes.set_title(f"{job.name}: records per CPU second, median and extremes of the runs")


def _curves(axes: Axes, job: Job, contenders: list[Contender], results: Results) -> None:
    axes.set_title(f"{job.name}: end-to-end latency, p50 to p99")
    axes.set_xlabel("share of the contender's own rate")
    axes.set_ylabel("ms")
    for one in contenders:
        found = [each for each in results.latencies.get(one, []) if each.p99 != inf]
        if not found:
            continue
        loads = [each.load for each in found]
        (line,) = axes.plot(loads, [each.p50 * 1000 for each in found], marker="o", label=one.name)
        axes.fill_between(
            loads, [each.p50 * 1000 for each in found], [each.p99 * 1000 for each in found], color=line.get_color(), alpha=0.15
        )
    if axes.lines:
        axes.set_yscale("log")
        axes.legend()
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
