"""The little SVG that the diagrams and plots need. Output is deterministic, so a committed file can be compared."""

from __future__ import annotations

from html import escape

FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
INK, SOFT, LINE, PAPER = "#1b2733", "#5a6b7b", "#8596a6", "#ffffff"
SERIES = (
    "#2f6690",
    "#d1783c",
    "#4f8a5b",
    "#8a4f7d",
    "#b59a2e",
    "#5b5ea6",
    "#8d8d8d",
    "#c0504d",
    "#3aa6a6",
    "#744700",
    "#b7c4cf",
    "#6b8e23",
    "#a05195",
    "#ffa600",
    "#003f5c",
    "#bc5090",
)


def text_width(text: str, size: float) -> float:
    """An upper estimate of the width of text, for sans-serif fonts as wide as DejaVu Sans."""
    units = 0.0
    for char in text:
        if char in "iljI.,:;'|!()[]/ ":
            units += 0.36
        elif char in "mwMW@":
            units += 0.92
        elif char.isupper() or char.isdigit():
            units += 0.66
        else:
            units += 0.59
    return units * size


def wrap(text: str, size: float, width: float) -> list[str]:
    """Lines no wider than width where words allow; a line break in the text is kept."""
    lines: list[str] = []
    for part in text.split("\n"):
        line = ""
        for word in part.split():
            longer = f"{line} {word}".strip()
            if line and text_width(longer, size) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def num(value: float) -> str:
    """One decimal. The nudge keeps exact halves from falling to either side by the last bit of an earlier sum."""
    return f"{value + 1e-7:.1f}".rstrip("0").rstrip(".")


class Canvas:
    """Shapes in drawing order; `render` gives the file."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.items: list[str] = []

    def rect(self, x: float, y: float, w: float, h: float, fill: str, stroke: str = "none", **more: str) -> None:
        attrs = {"x": num(x), "y": num(y), "width": num(w), "height": num(h), "fill": fill, "stroke": stroke, **more}
        self._add("rect", attrs)

    def line(self, points: list[tuple[float, float]], stroke: str = LINE, **more: str) -> None:
        path = " ".join(f"{num(x)},{num(y)}" for x, y in points)
        self._add("polyline", {"points": path, "fill": "none", "stroke": stroke, "stroke_width": "1.4", **more})

    def text(
        self, x: float, y: float, text: str, size: float = 13, fill: str = INK, anchor: str = "start", **more: str
    ) -> None:
        attrs = {"x": num(x), "y": num(y), "font_size": num(size), "fill": fill, "text_anchor": anchor, **more}
        self._add("text", attrs, escape(text, quote=False))

    def lines(self, x: float, y: float, lines: list[str], size: float = 13, **more: str) -> None:
        for n, line in enumerate(lines):
            self.text(x, y + n * size * 1.25, line, size, **more)

    def _add(self, tag: str, attrs: dict[str, str], body: str = "") -> None:
        flat = " ".join(f'{key.replace("_", "-")}="{escape(value)}"' for key, value in attrs.items())
        self.items.append(f"<{tag} {flat}>{body}</{tag}>" if body else f"<{tag} {flat}/>")

    def render(self, width: float, height: float) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{num(width)}" height="{num(height)}" '
            f'viewBox="0 0 {num(width)} {num(height)}" font-family="{FONT}" role="img">'
        )
        arrow = (
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            f'orient="auto-start-reverse"><path d="M0,0 L10,5 L0,10 z" fill="{SOFT}"/></marker></defs>'
        )
        paper = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
        return "\n".join([head, f"<title>{escape(self.title)}</title>", arrow, paper, *self.items, "</svg>", ""])
