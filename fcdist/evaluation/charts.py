"""Small charts as inline SVG text: colours come from the page's CSS, so they follow its light and dark themes."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from fcdist.evaluation.statistics import Rate

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 26
BAR, GROUP_GAP, LABEL = 13, 12, 16


def line_chart(series: Mapping[str, Points], title: str, log_y: bool = False) -> str:
    """Lines over training steps, each in its own colour, with a legend where there are several.

    Args:
        series: name → (step, value) points in order of step; a series with one point is drawn as a dot. Values that
            are not finite are left out.
        title: spoken name of the chart.
        log_y: logarithmic values; points that are not positive are left out.

    Returns:
        One `<svg>` element; a line of text where no point is left.
    """
    kept = {name: _usable(points, log_y) for name, points in series.items()}
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return f'<p class="missing">{escape(title)}: no finite values were logged.</p>'
    xs = [x for points in kept.values() for x, _ in points]
    ys = [math.log10(y) if log_y else y for points in kept.values() for _, y in points]
    low_x, high_x = min(xs), max(xs)
    low_y, high_y, y_ticks = _range(min(ys), max(ys), log_y)
    x_ticks = [t for t in ticks(low_x, high_x, 5) if low_x <= t <= high_x and t == int(t)]

    def place(x: float, y: float) -> tuple[float, float]:
        y = math.log10(y) if log_y else y
        across = (x - low_x) / (high_x - low_x) if high_x > low_x else 0.5
        up = (y - low_y) / (high_y - low_y)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [_grid_line(place(low_x, t)[1], number(t)) for t in y_ticks]
    for t in x_ticks:
        parts.append(f'<text x="{place(t, y_ticks[0])[0]:.1f}" y="{HEIGHT - 8}" class="mid">{number(t)}</text>')
    for i, points in enumerate(kept.values()):
        parts.append(_line([place(x, y) for x, y in points], i))
    return _svg(parts, title, HEIGHT) + (_legend(list(kept)) if len(kept) > 1 else "")


def bar_chart(groups: Mapping[str, Mapping[str, Rate]], names: Sequence[str], title: str) -> str:
    """Horizontal bars of shares with their 95 % intervals, one group a category and one bar a row.

    Args:
        groups: category → row name → share; a missing row leaves its place empty.
        names: row names in order of colour.
        title: spoken name of the chart.
    """
    parts: list[str] = []
    y = 4.0
    span = WIDTH - 60
    for label, rates in groups.items():
        parts.append(f'<text x="0" y="{y + 11:.1f}" class="label">{escape(label)}</text>')
        y += LABEL
        for i, name in enumerate(names):
            if name in rates and not math.isnan(rates[name].value):
                parts += _bar(rates[name], i, y, span, f"{label}, {name}")
            y += BAR
        y += GROUP_GAP
    return _svg(parts, title, y) + _legend(names)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover [low, high] with about `count` steps."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def number(value: float) -> str:
    """Short text of an axis value: 3k, 0.25, 2e-04."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:g}" if abs(value) >= 0.001 else f"{value:.0e}"


def _usable(points: Points, log_y: bool) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y) and (y > 0 or not log_y)]


def _range(low: float, high: float, log_y: bool) -> tuple[float, float, list[float]]:
    """Bounds of the axis and the values to label; log bounds are exponents, labels are values."""
    if not log_y:
        marks = ticks(low, high, 4)
        return marks[0], marks[-1], marks
    first, last = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    return first, last, [10.0**e for e in range(int(first), int(last) + 1)]


def _grid_line(y: float, text: str) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="end">{escape(text)}</text>'
    )


def _line(points: Sequence[tuple[float, float]], colour: int) -> str:
    if len(points) == 1:
        return f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="4" class="dot s{colour % 6}"/>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" class="line s{colour % 6}"/>'


def _bar(rate: Rate, colour: int, y: float, span: float, spoken: str) -> list[str]:
    middle = y + BAR / 2 - 1
    low, high = rate.low * span, rate.high * span
    return [
        f"<g><title>{escape(spoken)}: {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}]</title>"
        f'<rect x="0" y="{y:.1f}" width="{span}" height="{BAR - 2}" class="track"/>'
        f'<rect x="0" y="{y:.1f}" width="{max(rate.value * span, 1):.1f}" height="{BAR - 2}" '
        f'class="bar s{colour % 6}"/>'
        f'<path d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 3:.1f}v6M{high:.1f} {middle - 3:.1f}v6" '
        f'class="whisker"/><text x="{WIDTH}" y="{y + 10:.1f}" class="end">{rate.value:.0%}</text></g>'
    ]


def _legend(names: Sequence[str]) -> str:
    items = "".join(f'<span><i class="key s{i % 6}"></i>{escape(name)}</span>' for i, name in enumerate(names))
    return f'<div class="legend">{items}</div>'


def _svg(parts: Sequence[str], title: str, height: float) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">{body}</svg>'
