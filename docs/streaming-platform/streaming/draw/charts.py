"""Plots: lines and bars, horizontal bars (tornado) and stacked bars."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .svg import INK, SERIES, SOFT, Canvas, num, text_width

WIDTH, HEIGHT = 760.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 78.0, 24.0, 52.0, 56.0


@dataclass(frozen=True)
class Axis:
    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float, start: float, length: float) -> float:
        def scale(v: float) -> float:
            return math.log10(v) if self.log else v

        share = (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))
        return start + share * length


@dataclass(frozen=True)
class Line:
    name: str
    points: list[tuple[float, float]]
    dashed: bool = False


def line_plot(title: str, x: Axis, y: Axis, lines: list[Line], marks: tuple[tuple[float, str], ...] = ()) -> str:
    canvas = Canvas(title)
    px, py = _frame(canvas, title, x, y)
    for at, text in marks:
        canvas.line([(px(at), TOP), (px(at), HEIGHT - BOTTOM)], stroke=SOFT, stroke_dasharray="2 4")
        canvas.text(px(at) + 5, TOP + 14, text, 12, fill=SOFT)
    for n, line in enumerate(lines):
        more = {"stroke_dasharray": "7 4"} if line.dashed else {}
        points = [(px(a), py(min(max(b, y.low), y.high))) for a, b in line.points]
        canvas.line(points, SERIES[n % len(SERIES)], **{"stroke_width": "2.2", **more})
    return canvas.render(WIDTH, _key(canvas, [line.name for line in lines], HEIGHT + 4))


def _frame(canvas: Canvas, title: str, x: Axis, y: Axis) -> tuple[Callable[[float], float], Callable[[float], float]]:
    def px(v: float) -> float:
        return x.place(v, LEFT, WIDTH - LEFT - RIGHT)

    def py(v: float) -> float:
        return y.place(v, HEIGHT - BOTTOM, -(HEIGHT - TOP - BOTTOM))

    canvas.text(WIDTH / 2, 28, title, 16, anchor="middle", font_weight="bold")
    for value, text in y.ticks:
        canvas.line([(LEFT, py(value)), (WIDTH - RIGHT, py(value))], stroke="#e3e8ec")
        canvas.text(LEFT - 8, py(value) + 4, text, 12, anchor="end")
    for value, text in x.ticks:
        canvas.line([(px(value), HEIGHT - BOTTOM), (px(value), HEIGHT - BOTTOM + 5)])
        canvas.text(px(value), HEIGHT - BOTTOM + 20, text, 12, anchor="middle")
    canvas.line([(LEFT, TOP), (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], stroke=INK)
    canvas.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x.label, 13, anchor="middle")
    canvas.text(
        18,
        (TOP + HEIGHT - BOTTOM) / 2,
        y.label,
        13,
        anchor="middle",
        transform=f"rotate(-90 18 {num((TOP + HEIGHT - BOTTOM) / 2)})",
    )
    return px, py


def _key(canvas: Canvas, names: list[str], y: float) -> float:
    """The key of the colours, in as many rows as it needs; returns the y below it."""
    x = LEFT
    for n, name in enumerate(names):
        step = 24 + text_width(name, 12) + 16
        if x + step > WIDTH and x > LEFT:
            x, y = LEFT, y + 20
        canvas.rect(x, y, 14, 12, SERIES[n % len(SERIES)])
        canvas.text(x + 20, y + 11, name, 12)
        x += step
    return y + 26


def tornado(title: str, unit: str, base: float, rows: list[tuple[str, float, float]]) -> str:
    """Rows of (name, value at the low end, value at the high end), bars from the base value."""
    canvas = Canvas(title)
    left, bar = 250.0, 22.0
    low = min(min(r[1:]) for r in rows)
    high = max(max(r[1:]) for r in rows)
    span = WIDTH - left - 70

    def px(v: float) -> float:
        return left + (v - low) / (high - low) * span

    canvas.text(WIDTH / 2, 28, title, 16, anchor="middle", font_weight="bold")
    for n, (name, at_low, at_high) in enumerate(rows):
        y = 52 + n * (bar + 8)
        canvas.text(left - 44, y + 15, name, 12.5, anchor="end")
        for value, colour in ((at_low, SERIES[0]), (at_high, SERIES[1])):
            canvas.rect(min(px(base), px(value)), y, abs(px(value) - px(base)), bar, colour)
        for value in (at_low, at_high):
            side = 1 if value > base else -1
            canvas.text(px(value) + 5 * side, y + 15, f"{value:.3f}", 11, anchor="start" if side > 0 else "end")
    bottom = 52 + len(rows) * (bar + 8)
    canvas.line([(px(base), 46), (px(base), bottom)], stroke=INK)
    canvas.text(px(base), bottom + 16, f"{base:.3f} {unit}", 12, anchor="middle")
    canvas.rect(left - 60, bottom + 28, 14, 12, SERIES[0])
    canvas.text(left - 40, bottom + 39, "input at the low end of its range", 12)
    canvas.rect(left + 190, bottom + 28, 14, 12, SERIES[1])
    canvas.text(left + 210, bottom + 39, "at the high end", 12)
    return canvas.render(WIDTH, bottom + 54)


def stacked(title: str, label: str, bars: list[tuple[str, dict[str, float]]]) -> str:
    """Horizontal bars of shares; each bar's parts are given in its own unit and shown as percent of the bar."""
    canvas = Canvas(title)
    left, height = 190.0, 40.0
    names = list(bars[0][1])
    canvas.text(WIDTH / 2, 28, title, 16, anchor="middle", font_weight="bold")
    for row, (name, parts) in enumerate(bars):
        y, x, total = 52 + row * (height + 14), left, sum(parts.values())
        canvas.text(left - 10, y + 25, name, 12.5, anchor="end")
        for n, part in enumerate(names):
            width = parts[part] / total * (WIDTH - left - 30)
            canvas.rect(x, y, width, height, SERIES[n % len(SERIES)], "#ffffff")
            if width > 34:
                share = f"{parts[part] / total:.0%}"
                canvas.text(x + width / 2, y + 25, share, 12, fill="#ffffff" if n < 10 else INK, anchor="middle")
            x += width
    bottom = 52 + len(bars) * (height + 14)
    canvas.text((left + WIDTH - 30) / 2, bottom + 12, label, 13, anchor="middle")
    return canvas.render(WIDTH, _key(canvas, names, bottom + 28))
