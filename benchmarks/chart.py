"""Bar charts of a run: speed-up per case on a log axis, and share of the measured peak."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from .cases import GROUPS
from .rivals import OURS, RIVALS

# Okabe and Ito's colours, told apart by every eye; ours is black.
_PALETTE = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#F0E442", "#D55E00", "#CC79A7", "#999999")
_COLOURS = dict(zip(RIVALS, _PALETTE, strict=True))
_INCH = 0.085  # of one bar
_LEAST = 0.2  # inches of a case, however few its bars: its name must fit

# The speed-ups are two pictures, or one would be longer than any page.
_PICTURES = {
    "speedup_kernels.png": ("elementwise", "losses", "updates", "products"),
    "speedup_networks.png": ("steps", "epochs", "inference"),
}

Entry = dict[str, Any]


def draw(report: dict[str, Any], folder: Path) -> list[str]:
    """Write the charts that the report has figures for; their file names."""
    written = []
    entries = [entry for entry in report["cases"] if len(entry["results"]) > 1]
    for name, groups in _PICTURES.items():
        members = [entry for entry in entries if entry["group"] in groups]
        if members:
            _save(_speed_up(members, _caption(report)), folder / name)
            written.append(name)
    entries = [entry for entry in report["cases"] if entry["peak_gflops"]]
    if entries:
        _save(_shares(entries, _caption(report)), folder / "peak.png")
        written.append("peak.png")
    return written


def _save(figure: Figure, path: Path) -> None:
    """As a picture of 64 colours, a third of the bytes; Pillow comes with matplotlib."""
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    Image.open(picture).convert("RGB").quantize(64).save(path, optimize=True)


def _caption(report: dict[str, Any]) -> str:
    facts = report["facts"]
    blas = facts["blas"]
    return (
        f"{facts['cpu']}, {facts['threads']} thread{'s' * (facts['threads'] > 1)}, {facts['dtype']}\n"
        f"chainrule {facts['chainrule']['version']} ({facts['chainrule']['isa']}), NumPy {facts['numpy']} "
        f"({blas['name']} {blas['version']}, {blas['kernel']} kernels), {facts['date'][:10]}"
    )


def _rivals(entries: list[Entry], *, ours: bool) -> list[str]:
    """Those with a result in one of the cases, in the order of the list."""
    return [name for name in RIVALS if (ours or name != OURS) and any(name in e["results"] for e in entries)]


def _panels(entries: list[Entry], title: str, *, ours: bool) -> tuple[Figure, list[tuple[Axes, list[Entry]]]]:
    """A figure with one panel a group of cases, as high as its bars need, and a legend below."""
    groups = [(group, [e for e in entries if e["group"] == group]) for group in GROUPS]
    groups = [(group, members) for group, members in groups if members]
    heights = [
        len(members) * max(_LEAST, (len(_rivals(members, ours=ours)) + 1) * _INCH) + 0.5 for _, members in groups
    ]
    figure = Figure(figsize=(9, sum(heights) + 1.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(len(groups), squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axis, (group, members) in zip(axes, groups, strict=True):
        axis.set_title(GROUPS[group], fontsize=9, loc="left")
        axis.set_yticks(range(len(members)), [entry["name"] for entry in members], fontsize=7)
        axis.set_ylim(len(members) - 0.5, -0.5)
        axis.tick_params(axis="x", labelsize=8, labelbottom=True)
        axis.grid(axis="x", which="both", color="0.9", linewidth=0.6)
        axis.set_axisbelow(True)
    names = _rivals(entries, ours=ours)
    patches = [Patch(color=_COLOURS[name], label=RIVALS[name].label) for name in names]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(4, len(names)), fontsize=8)
    return figure, list(zip(axes, [members for _, members in groups], strict=True))


def _places(members: list[Entry], names: list[str], name: str) -> list[tuple[float, Entry]]:
    """Where the bars of one rival stand, with their cases."""
    shift = (names.index(name) - (len(names) - 1) / 2) / (len(names) + 1)
    return [(place + shift, entry) for place, entry in enumerate(members) if name in entry["results"]]


def _speed_up(entries: list[Entry], caption: str) -> Figure:
    """The rival's time over ours, from 1 outwards: to the right chainrule is faster. Whiskers are quartiles."""
    figure, panels = _panels(entries, f"Time of the rival ÷ time of chainrule\n{caption}", ours=False)
    for axis, members in panels:
        names = _rivals(members, ours=False)
        axis.set_xscale("log")
        for name in names:
            found = _places(members, names, name)
            ratios = [entry["results"][name]["ratio"] for _, entry in found]
            whiskers = [
                [ratio["median"] - ratio["q1"] for ratio in ratios],
                [ratio["q3"] - ratio["median"] for ratio in ratios],
            ]
            axis.barh(
                [place for place, _ in found], [ratio["median"] - 1 for ratio in ratios], 1 / (len(names) + 1),
                left=1, color=_COLOURS[name], xerr=whiskers, error_kw={"linewidth": 0.6, "ecolor": "0.3"},
            )  # fmt: skip
        axis.axvline(1, color="black", linewidth=1)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    # One x axis for all panels, set when all bars are there; with 1 inside it, and room for the whiskers.
    ends = [r["ratio"][q] for e in entries for name, r in e["results"].items() if name != OURS for q in ("q1", "q3")]
    panels[0][0].set_xlim(0.85 * min(1, *ends), 1.2 * max(1, *ends))
    panels[-1][0].set_xlabel("above 1x chainrule is faster; whiskers are quartiles", fontsize=8)
    return figure


def _shares(entries: list[Entry], caption: str) -> Figure:
    """Work of the case over its time, as a part of the measured peak."""
    figure, panels = _panels(entries, f"Share of the measured peak of multiply-adds\n{caption}", ours=True)
    for axis, members in panels:
        names = _rivals(members, ours=True)
        for name in names:
            found = _places(members, names, name)
            shares = [100 * e["work"] / e["results"][name]["ns"]["median"] / e["peak_gflops"] for _, e in found]
            axis.barh([place for place, _ in found], shares, 1 / (len(names) + 1), color=_COLOURS[name])
        axis.set_xlim(0, 100)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    return figure
