"""Drawing: sources are understood or refused, and nothing is drawn outside the picture."""

import re
import unittest
from pathlib import Path
from xml.etree import ElementTree

from streaming.draw import blocks, sequence
from streaming.draw.svg import text_width, wrap

DIAGRAMS = Path(__file__).resolve().parent.parent / "diagrams"


class Sequences(unittest.TestCase):
    def test_what_is_not_understood_is_refused(self) -> None:
        for line in ("A->>B: undeclared", "activate A", "participant", "participant A as a; b"):
            with self.assertRaises(ValueError):
                sequence.parse("sequenceDiagram\n" + line)

    def test_every_declared_participant_takes_part(self) -> None:
        for source in DIAGRAMS.glob("*.mmd"):
            seq = sequence.parse(source.read_text())
            used = {name for step in seq.steps for name in (step.left, step.right)}
            self.assertLessEqual(set(seq.names), used, source.name)

    def test_frames_are_closed(self) -> None:
        for source in DIAGRAMS.glob("*.mmd"):
            kinds = [s.kind for s in sequence.parse(source.read_text()).steps]
            self.assertEqual(kinds.count("open"), kinds.count("close"), source.name)


class Pictures(unittest.TestCase):
    def test_well_formed_and_inside(self) -> None:
        for source in sorted(DIAGRAMS.iterdir()):
            draw = sequence.draw if source.suffix == ".mmd" else blocks.draw
            root = ElementTree.fromstring(draw(source.read_text()))
            width, height = float(root.attrib["width"]), float(root.attrib["height"])
            self.assertLess(width, 1_400, f"{source.name} is too wide for a page")
            for text in root.iter("{http://www.w3.org/2000/svg}text"):
                x, size = float(text.attrib["x"]), float(text.attrib["font-size"])
                half = text_width(text.text or "", size * 0.9)
                half = half / 2 if text.attrib["text-anchor"] == "middle" else half
                right = x + (0 if text.attrib["text-anchor"] == "end" else half)
                self.assertLessEqual(right, width + 4, f"{source.name}: {text.text}")
                self.assertLessEqual(float(text.attrib["y"]), height, source.name)

    def test_a_link_to_nothing_is_refused(self) -> None:
        with self.assertRaises(KeyError):
            blocks.draw('title = "t"\n[[box]]\nid = "a"\nat = [0, 0]\ntext = "a"\n[[link]]\nfrom = "a"\nto = "b"\n')


class Text(unittest.TestCase):
    def test_wrap_keeps_the_words(self) -> None:
        lines = wrap("one two three four\nfive", 13, 60)
        self.assertEqual(re.sub(r"\s+", " ", " ".join(lines)), "one two three four five")
        self.assertTrue(all(text_width(line, 13) <= 60 for line in lines))
