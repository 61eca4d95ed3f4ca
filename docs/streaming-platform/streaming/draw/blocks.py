"""Draws boxes and arrows on a grid from a TOML description: C4 context and containers, regions, event flow.

A box has an id, a place [column, row], optionally a size [columns, rows], a kind and a text whose first line is bold.
A link goes straight where its two ends face each other and turns once where they do not (route = "v" turns the other
way round); an end is a box or a group. shift moves a straight link sideways, label_at is the label's place along it,
from 0 to 1.
"""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass
from typing import Any

from .svg import INK, SOFT, Canvas, text_width, wrap

SIZE = 12.5
LEADING = SIZE * 1.28
KINDS = {
    "person": ("#dfe7d8", "#4f7942"),
    "service": ("#dbe8f3", "#2f6690"),
    "store": ("#fbe9d7", "#c0703a"),
    "log": ("#efe3f1", "#7c4a86"),
    "external": ("#ececec", "#7d7d7d"),
    "edge": ("#d9f0ee", "#2a8a86"),
}
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    w: float
    h: float

    @property
    def center(self) -> Point:
        return self.x + self.w / 2, self.y + self.h / 2


@dataclass(frozen=True)
class Grid:
    cell: Point
    gap: Point

    def box(self, at: list[float], size: list[float]) -> Box:
        (cw, ch), (gw, gh) = self.cell, self.gap
        x, y = 24 + at[0] * (cw + gw), 56 + at[1] * (ch + gh)
        return Box(x, y, size[0] * (cw + gw) - gw, size[1] * (ch + gh) - gh)


def draw(source: str) -> str:
    """Raises KeyError for a link to a box that does not exist."""
    spec = tomllib.loads(source)
    grid = Grid(tuple(spec.get("cell", (170, 74))), tuple(spec.get("gap", (62, 52))))
    boxes = {b["id"]: grid.box(b["at"], b.get("size", [1, 1])) for b in spec["box"]}
    canvas = Canvas(spec["title"])
    extent = list(boxes.values())
    for group in spec.get("group", []):
        drawn = _group(canvas, group, grid)
        extent.append(drawn)
        boxes[group.get("id", group["text"])] = drawn
    for link in spec.get("link", []):
        _link(canvas, link, boxes)
    for box in spec["box"]:
        _box(canvas, box, boxes[box["id"]])
    for group in spec.get("group", []):
        _group_title(canvas, group["text"], boxes[group.get("id", group["text"])])
    for link in spec.get("link", []):
        _link_label(canvas, link, boxes)
    width = max(b.x + b.w for b in extent) + 24
    canvas.text(width / 2, 28, spec["title"], 16, anchor="middle", font_weight="bold")
    return canvas.render(width, _legend(canvas, spec, max(b.y + b.h for b in extent) + 26))


def _group(canvas: Canvas, group: dict[str, Any], grid: Grid) -> Box:
    inner = grid.box(group["at"], group["size"])
    pad = group.get("pad", 16)
    box = Box(inner.x - pad, inner.y - pad - 12, inner.w + 2 * pad, inner.h + 2 * pad + 12)
    canvas.rect(box.x, box.y, box.w, box.h, group.get("fill", "#f6f8fa"), "#9aa9b7", stroke_dasharray="7 4", rx="6")
    return box


def _group_title(canvas: Canvas, text: str, box: Box) -> None:
    """Drawn over the links, with a halo, so that a link that passes does not cut the words."""
    halo = {"stroke": "#f6f8fa", "stroke_width": "5", "paint_order": "stroke"}
    canvas.text(box.x + 9, box.y + 17, text, SIZE, fill=SOFT, font_weight="bold", **halo)


def _box(canvas: Canvas, spec: dict[str, Any], box: Box) -> None:
    fill, stroke = KINDS[spec.get("kind", "service")]
    round_corners = "24" if spec.get("kind") == "person" else "5"
    canvas.rect(box.x, box.y, box.w, box.h, fill, stroke, rx=round_corners, stroke_width="1.4")
    title, _, rest = spec["text"].partition("\n")
    bold = wrap(title, SIZE * 1.06, box.w - 14)
    plain = wrap(rest, SIZE, box.w - 12) if rest else []
    y = box.y + box.h / 2 - (len(bold) + len(plain) - 1) * LEADING / 2 + SIZE * 0.36
    canvas.lines(box.center[0], y, bold, SIZE, anchor="middle", font_weight="bold")
    for n, line in enumerate(plain):
        canvas.text(box.center[0], y + (len(bold) + n) * LEADING, line, SIZE, anchor="middle")


def path(link: dict[str, Any], a: Box, b: Box) -> list[Point]:
    shift = link.get("shift", 0)
    low, high = max(a.x, b.x), min(a.x + a.w, b.x + b.w)
    if high - low > 8:
        x = (low + high) / 2 + shift
        return [(x, a.y + a.h), (x, b.y)] if a.y < b.y else [(x, a.y), (x, b.y + b.h)]
    low, high = max(a.y, b.y), min(a.y + a.h, b.y + b.h)
    if high - low > 8:
        y = (low + high) / 2 + shift
        return [(a.x + a.w, y), (b.x, y)] if a.x < b.x else [(a.x, y), (b.x + b.w, y)]
    (ax, ay), (bx, by) = a.center, b.center
    if link.get("route") == "v":
        start = (ax + shift, a.y + a.h if by > ay else a.y)
        return [start, (ax + shift, by), (b.x if bx > ax else b.x + b.w, by)]
    start = (a.x + a.w if bx > ax else a.x, ay + shift)
    return [start, (bx, ay + shift), (bx, b.y if by > ay else b.y + b.h)]


def _link(canvas: Canvas, link: dict[str, Any], boxes: dict[str, Box]) -> None:
    more = {"stroke_dasharray": "6 4"} if link.get("kind") == "event" else {}
    if link.get("both"):
        more["marker_start"] = "url(#arrow)"
    canvas.line(path(link, boxes[link["from"]], boxes[link["to"]]), SOFT, marker_end="url(#arrow)", **more)


def _link_label(canvas: Canvas, link: dict[str, Any], boxes: dict[str, Box]) -> None:
    if not link.get("label"):
        return
    points = path(link, boxes[link["from"]], boxes[link["to"]])
    x, y = _along(points, link.get("label_at", 0.5))
    lines = wrap(link["label"], 11.5, link.get("label_width", 120))
    width = max(text_width(line, 11.5) for line in lines)
    height = len(lines) * 14.5
    canvas.rect(x - width / 2 - 2, y - height / 2 - 1, width + 4, height + 1, "#ffffff", fill_opacity="0.88")
    canvas.lines(x, y - height / 2 + 10.5, lines, 11.5, anchor="middle", fill=INK)


def _along(points: list[Point], share: float) -> Point:
    lengths = [abs(x2 - x1) + abs(y2 - y1) for (x1, y1), (x2, y2) in itertools.pairwise(points)]
    left = share * sum(lengths)
    for (x1, y1), (x2, y2), length in zip(points, points[1:], lengths):
        if left <= length:
            part = left / length if length else 0.0
            return x1 + (x2 - x1) * part, y1 + (y2 - y1) * part
        left -= length
    return points[-1]


def _legend(canvas: Canvas, spec: dict[str, Any], y: float) -> float:
    x = 24.0
    for kind in dict.fromkeys(b.get("kind", "service") for b in spec["box"]):
        fill, stroke = KINDS[kind]
        canvas.rect(x, y, 16, 12, fill, stroke, rx="2")
        canvas.text(x + 22, y + 10.5, kind, 11.5, fill=SOFT)
        x += 42 + text_width(kind, 11.5)
    canvas.text(x, y + 10.5, "solid line: request; dashed: event or asynchronous", 11.5, fill=SOFT)
    return y + 30
