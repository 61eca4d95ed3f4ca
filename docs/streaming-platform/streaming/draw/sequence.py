"""Draws the part of Mermaid's sequence diagrams that the flows use.

Understood: title, participant X as Name, A->>B: text (call), A-->>B: text (answer or event), Note over A,B: text, and
the frames alt/else/opt/loop/par/and/end. The sources stay valid Mermaid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .svg import LINE, SOFT, Canvas, text_width, wrap

SIZE = 13.0
LEADING = SIZE * 1.25
MARGIN = 24.0
MIN_GAP, MAX_LABEL = 134.0, 140.0


@dataclass
class Step:
    kind: str  # call, answer, note, open, divide, close
    left: str = ""
    right: str = ""
    text: str = ""


@dataclass
class Sequence:
    title: str = ""
    names: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)


def parse(source: str) -> Sequence:
    """Raises ValueError for a line that is not understood or names a participant that was not declared."""
    seq = Sequence()
    for number, raw in enumerate(source.splitlines(), 1):
        line = raw.strip()
        if line and not line.startswith("%%") and line != "sequenceDiagram":
            try:
                _parse_line(seq, line)
            except (KeyError, ValueError) as error:
                raise ValueError(f"line {number}: {line}: {error}") from error
    return seq


def _parse_line(seq: Sequence, line: str) -> None:
    if ";" in line or "#" in line:
        raise ValueError("Mermaid ends a statement at a semicolon and begins an entity at #")
    if found := re.fullmatch(r"title:? (.+)", line):
        seq.title = found[1]
    elif found := re.fullmatch(r"participant (\w+) as (.+)", line):
        seq.names[found[1]] = found[2]
    elif found := re.fullmatch(r"(\w+)(-?->>)(\w+): ?(.+)", line):
        kind = "call" if found[2] == "->>" else "answer"
        seq.steps.append(Step(kind, _known(seq, found[1]), _known(seq, found[3]), found[4]))
    elif found := re.fullmatch(r"Note over (\w+)(?:,(\w+))?: ?(.+)", line):
        seq.steps.append(Step("note", _known(seq, found[1]), _known(seq, found[2] or found[1]), found[3]))
    elif found := re.fullmatch(r"(alt|opt|loop|par) (.+)", line):
        seq.steps.append(Step("open", left=found[1], text=found[2]))
    elif found := re.fullmatch(r"(else|and) (.+)", line):
        seq.steps.append(Step("divide", text=found[2]))
    elif line == "end":
        seq.steps.append(Step("close"))
    else:
        raise ValueError("not understood")


def _known(seq: Sequence, name: str) -> str:
    if name not in seq.names:
        raise ValueError(f"no participant {name}")
    return name


def columns(seq: Sequence) -> dict[str, float]:
    """The x of every lifeline: neighbours are as far apart as the labels between them need."""
    ids = list(seq.names)
    gaps = [MIN_GAP] * (len(ids) - 1)
    for step in seq.steps:
        if step.kind in ("call", "answer") and step.left != step.right:
            a, b = sorted((ids.index(step.left), ids.index(step.right)))
            need = min(text_width(step.text, SIZE), MAX_LABEL * (b - a)) + 26
            short = need - sum(gaps[a:b])
            if short > 0:
                for n in range(a, b):
                    gaps[n] += short / (b - a)
        elif step.left == step.right and step.kind == "call" and ids.index(step.left) < len(gaps):
            n = ids.index(step.left)
            gaps[n] = max(gaps[n], min(text_width(step.text, SIZE), MAX_LABEL) + 50)
    x, out = MARGIN + 70, {}
    for n, name in enumerate(ids):
        out[name] = x
        x += gaps[n] if n < len(gaps) else 0
    return out


def draw(source: str) -> str:
    seq = parse(source)
    at = columns(seq)
    width = max(at.values()) + 70 + MARGIN + _right_overhang(seq, at)
    body = Canvas(seq.title)
    y = 52.0
    head = _heads(body, seq, at, y)
    bottom = _steps(body, seq, at, y + head + 18, width)
    page = Canvas(seq.title)
    page.text(width / 2, 28, seq.title, 16, anchor="middle", font_weight="bold")
    for x in at.values():
        page.line([(x, y + head), (x, bottom)], stroke=LINE, stroke_dasharray="3 4")
    page.items += body.items
    return page.render(width, bottom + 16)


def _right_overhang(seq: Sequence, at: dict[str, float]) -> float:
    last = list(at)[-1]
    own = [s for s in seq.steps if s.kind == "call" and s.left == s.right == last]
    return max((min(text_width(s.text, SIZE), MAX_LABEL) - 40 for s in own), default=0.0)


def _heads(canvas: Canvas, seq: Sequence, at: dict[str, float], y: float) -> float:
    wrapped = {name: wrap(title, SIZE, 112) for name, title in seq.names.items()}
    height = max(len(lines) for lines in wrapped.values()) * LEADING + 14
    for name, lines in wrapped.items():
        canvas.rect(at[name] - 62, y, 124, height, "#e8eff5", "#2f6690", rx="4")
        top = y + height / 2 - (len(lines) - 1) * LEADING / 2 + SIZE * 0.36
        canvas.lines(at[name], top, lines, SIZE, anchor="middle", font_weight="bold")
    return height


def _steps(canvas: Canvas, seq: Sequence, at: dict[str, float], y: float, width: float) -> float:
    frames: list[tuple[float, Step, list[tuple[float, str]]]] = []
    for step in seq.steps:
        inset = 8.0 * (len(frames) + 1)
        if step.kind == "open":
            frames.append((y, step, []))
            y += LEADING + 12
        elif step.kind == "divide":
            frames[-1][2].append((y, step.text))
            y += LEADING + 12
        elif step.kind == "close":
            top, opened, dividers = frames.pop()
            _frame(canvas, 8.0 * (len(frames) + 1), top, width, y - top, opened, dividers)
            y += 12
        elif step.kind == "note":
            y = _note(canvas, step, at, y, inset, width)
        else:
            y = _message(canvas, step, at, y)
    return y


def _message(canvas: Canvas, step: Step, at: dict[str, float], y: float) -> float:
    a, b = at[step.left], at[step.right]
    dash = {"stroke_dasharray": "6 4"} if step.kind == "answer" else {}
    if a == b:
        lines = wrap(step.text, SIZE, MAX_LABEL)
        canvas.line([(a, y), (a + 26, y), (a + 26, y + 16), (a + 2, y + 16)], stroke=SOFT, marker_end="url(#arrow)")
        _label(canvas, a + 34, y + 4, lines, "start")
        return y + max(30.0, len(lines) * LEADING + 14)
    lines = wrap(step.text, SIZE, abs(b - a) - 16)
    y += len(lines) * LEADING
    _label(canvas, (a + b) / 2, y - 6 - (len(lines) - 1) * LEADING, lines, "middle")
    canvas.line([(a, y), (b - (2 if b > a else -2), y)], stroke=SOFT, marker_end="url(#arrow)", **dash)
    return y + 18


def _label(canvas: Canvas, x: float, y: float, lines: list[str], anchor: str) -> None:
    canvas.lines(x, y, lines, SIZE, anchor=anchor, stroke="#ffffff", stroke_width="4", paint_order="stroke")


def _note(canvas: Canvas, step: Step, at: dict[str, float], y: float, inset: float, width: float) -> float:
    a, b = sorted((at[step.left], at[step.right]))
    left, right = max(inset + 6, a - 62), min(width - inset - 6, b + 62)
    if step.left == step.right:
        left, right = max(inset + 6, a - 100), min(width - inset - 6, a + 100)
    lines = wrap(step.text, SIZE, right - left - 16)
    height = len(lines) * LEADING + 10
    canvas.rect(left, y, right - left, height, "#fff6d6", "#c9a94b", rx="2")
    canvas.lines((left + right) / 2, y + LEADING, lines, SIZE, anchor="middle")
    return y + height + 14


def _frame(
    canvas: Canvas, inset: float, y: float, width: float, height: float, step: Step, dividers: list[tuple[float, str]]
) -> None:
    canvas.rect(inset, y, width - 2 * inset, height, "none", "#5b5ea6", stroke_width="1.2", rx="3")
    tag = text_width(step.left, SIZE) + 14
    canvas.rect(inset, y, tag, LEADING + 4, "#5b5ea6")
    canvas.text(inset + 7, y + LEADING - 1, step.left, SIZE, fill="#ffffff", font_weight="bold")
    _label(canvas, inset + tag + 8, y + LEADING - 1, [f"[{step.text}]"], "start")
    for top, text in dividers:
        canvas.line([(inset, top), (width - inset, top)], stroke="#5b5ea6", stroke_dasharray="5 4")
        _label(canvas, inset + 8, top + LEADING, [f"[{text}]"], "start")
