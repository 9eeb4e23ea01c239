"""The geometry of the console's plots; the templates draw it as SVG, with a table beside it that says the same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.items.overview import FRESHNESS_BOUNDS, Minute
from web.console.words import duration

WIDTH, HEIGHT = 600, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 4, 22, 24
GAP = 0.22
STEPS = (1, 2, 2.5, 5, 10)
LINES = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle of a plot, in the plot's units; `tone` is its colour's name."""

    x: float
    y: float
    width: float
    height: float
    tone: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text of a plot; of an axis or above a column."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Columns over a scale, `labels` below and `values` on top of them. `rows` are the same figures for the table."""

    bars: tuple[Bar, ...]
    marks: tuple[Label, ...]
    labels: tuple[Label, ...]
    values: tuple[Label, ...]
    rows: tuple[tuple[str, ...], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT


def scale_of(highest: float) -> tuple[float, ...]:
    """Return a few round figures from above 0 up to one that is at least `highest`."""
    raw = max(highest, LINES) / LINES
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in STEPS if factor * power >= raw * (1 - 1e-9))
    if step < 1 or step != int(step):
        step = math.ceil(step)
    return tuple(step * line for line in range(1, math.ceil(max(highest, 1) / step) + 1))


def freshness(counts: Sequence[int]) -> Plot:
    """Plot Items by the time since their last sync."""
    names = [f"< {duration(bound)}" for bound in FRESHNESS_BOUNDS]
    names += [f"\N{GREATER-THAN OR EQUAL TO} {duration(FRESHNESS_BOUNDS[-1])}", "never"]
    tones = ["good"] * 3 + ["busy"] * 2 + ["warn"] + ["bad"] + ["idle"]
    scale = scale_of(max(counts, default=0))
    bars, labels, values = [], [], []
    for index, (count, tone) in enumerate(zip(counts, tones, strict=True)):
        bar = _bar(index, len(counts), 0, count, scale[-1], tone, GAP)
        bars += [bar] if count else []
        middle = bar.x + bar.width / 2
        labels += [Label(middle, HEIGHT - 7, names[index])]
        values += [Label(middle, bar.y - 4, compact(count))] if count else []
    rows = tuple((name, f"{count:,}") for name, count in zip(names, counts, strict=True))
    return Plot(tuple(bars), _marks(scale), tuple(labels), tuple(values), rows)


def minutes(ended: Sequence[Minute]) -> Plot:
    """Plot the runs that ended well and badly in each minute, one on top of the other."""
    scale = scale_of(max((one.succeeded + one.failed for one in ended), default=0))
    bars, labels = [], []
    for index, one in enumerate(ended):
        parts = ((0, one.succeeded, "good"), (one.succeeded, one.failed, "bad"))
        bars += [_bar(index, len(ended), low, count, scale[-1], tone, 0.15) for low, count, tone in parts if count]
        if one.ago % 15 == 0:
            slot = (WIDTH - LEFT - RIGHT) / len(ended)
            at = min(LEFT + slot * (index + 0.5), WIDTH - 16)
            labels.append(Label(at, HEIGHT - 7, f"\N{MINUS SIGN}{one.ago} min" if one.ago else "now"))
    rows = tuple((f"{one.ago} min ago", str(one.succeeded), str(one.failed)) for one in reversed(ended))
    busy = tuple(row for row in rows if row[1:] != ("0", "0"))
    return Plot(tuple(bars), _marks(scale), tuple(labels), (), busy)


def share(part: float, whole: float, width: float = 100) -> float:
    """Return how long a bar of a part is, at least so long that it is seen."""
    return max(1.5, round(width * part / whole, 1)) if part and whole else 0


def compact(value: float) -> str:
    """Return a figure in few characters: 950, 12k, 3.4M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:g}"


def _bar(index: int, of: int, low: float, count: float, highest: float, tone: str, gap: float) -> Bar:  # noqa: PLR0913, PLR0917 - a rectangle's geometry
    slot = (WIDTH - LEFT - RIGHT) / of
    room = HEIGHT - TOP - BOTTOM
    height = room * count / highest
    y = TOP + room * (1 - low / highest) - height
    return Bar(_round(LEFT + slot * (index + gap / 2)), _round(y), _round(slot * (1 - gap)), _round(height), tone)


def _marks(scale: Sequence[float]) -> tuple[Label, ...]:
    room = HEIGHT - TOP - BOTTOM
    lines = [Label(LEFT, _round(TOP + room * (1 - value / scale[-1])), compact(value)) for value in scale]
    return (Label(LEFT, TOP + room, "0"), *lines)


def _round(value: float) -> float:
    return round(value, 2)
