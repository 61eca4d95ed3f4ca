"""picture -- a drill as SVG: requests answered and failed in each second, the slowest of it, and what was done when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape
from math import log10
from typing import Any

WIDTH, LEFT, RIGHT = 1000, 60, 20
PANELS = {"requests": (90, 120), "latency": (250, 140)}  # top and height
HEIGHT = 430
BANDS = ("#eef3fa", "#fdf3e1")
LATENCIES_MS = (1, 10, 100, 1000, 10000)


def bands(events: list[dict[str, Any]], x: Callable[[float], float]) -> Iterator[str]:
    for index, event in enumerate(events):
        left, right = x(event["start"]), x(event["end"])
        yield f'<rect x="{left:.1f}" y="70" width="{right - left:.1f}" height="330" fill="{BANDS[index % 2]}"/>'
        middle, level = (left + right) / 2, 42 + 16 * (index % 2)
        yield f'<text x="{middle:.1f}" y="{level}" text-anchor="middle">{escape(event["name"])}</text>'


def columns(seconds: list[dict[str, Any]], rate: float, x: Callable[[float], float]) -> Iterator[str]:
    top, height = PANELS["requests"]
    width = max(x(1) - x(0) - 0.2, 0.5)
    for each in seconds:
        right, wrong = (height * count / (rate * 1.2) for count in (each["sent"] - each["failed"], each["failed"]))
        left = x(each["second"])
        yield f'<rect x="{left:.1f}" y="{top + height - right:.1f}" width="{width:.1f}" height="{right:.1f}" fill="#5b8cc8"/>'
        if wrong:
            at = top + height - right - max(wrong, 2)
            yield f'<rect x="{left:.1f}" y="{at:.1f}" width="{width:.1f}" height="{max(wrong, 2):.1f}" fill="#c0392b"/>'


def latencies(seconds: list[dict[str, Any]], x: Callable[[float], float]) -> Iterator[str]:
    top, height = PANELS["latency"]

    def y(ms: float) -> float:
        return top + height * (1 - log10(max(ms, LATENCIES_MS[0])) / log10(LATENCIES_MS[-1]))

    for ms in LATENCIES_MS:
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(ms):.1f}" y2="{y(ms):.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y(ms) + 4:.1f}" text-anchor="end">{f"{ms // 1000} s" if ms >= 1000 else f"{ms} ms"}</text>'
    points = " ".join(f"{x(each['second'] + 0.5):.1f},{y(each['slowest_ms']):.1f}" for each in seconds)
    yield f'<polyline points="{points}" fill="none" stroke="#333" stroke-width="1.2"/>'


def picture(record: dict[str, Any]) -> str:
    seconds = record["seconds"]
    end = max(each["second"] for each in seconds) + 1

    def x(at: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * at / end

    top, height = PANELS["requests"]
    title = f"{record['rate']:.0f} requests a second, sent once: answered (blue) and failed (red); below, the slowest of each second"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
        *bands(record["events"], x),
        *columns(seconds, record["rate"], x),
        f'<text x="{LEFT - 6}" y="{top + height / 6 + 4:.0f}" text-anchor="end">{record["rate"]:.0f}/s</text>',
        *latencies(seconds, x),
        *(f'<text x="{x(at):.1f}" y="415" text-anchor="middle">{at} s</text>' for at in range(0, int(end) + 1, 30)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
