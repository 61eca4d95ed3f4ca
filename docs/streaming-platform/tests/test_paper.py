"""The checks of the paper find what they are for."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from streaming.paper import links, schemas, slo, trace
from streaming.paper.documents import fill
from streaming.paper.values import magnitude, short

HERE = Path(__file__).resolve().parent.parent


class Documents(unittest.TestCase):
    def test_fill(self) -> None:
        text = "a <!--=x.y-->old<!--/--> b\n<!--table:t-->\nold\n<!--/table-->\n"
        want = "a <!--=x.y-->7<!--/--> b\n<!--table:t-->\n| 1 |\n<!--/table-->\n"
        self.assertEqual(fill(text, {"x.y": "7"}, {"t": "| 1 |"}), want)
        self.assertEqual(fill(want, {"x.y": "7"}, {"t": "| 1 |"}), want)

    def test_unknown_or_open_markers_are_errors(self) -> None:
        with self.assertRaises(KeyError):
            fill("<!--=nothing-->1<!--/-->", {}, {})
        with self.assertRaises(ValueError):
            fill("<!--=x-->1", {"x": "1"}, {})

    def test_numbers(self) -> None:
        self.assertEqual([short(v) for v in (0, 0.0399, 4.4, 12345, 99.96)], ["0", "0.0399", "4.4", "12,300", "100"])
        self.assertEqual(magnitude(43_300_000), "43.3 million")


class Links(unittest.TestCase):
    def test_dead_links_are_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            page = Path(name) / "a.md"
            page.write_text("# One two\n[ok](#one-two) [bad](#three) [gone](b.md) [web](https://example.org)\n")
            self.assertEqual(len(links.dead_links([page])), 2)

    def test_a_marker_at_the_start_of_a_line_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            page = Path(name) / "a.md"
            page.write_text("good <!--=x-->1<!--/-->\n  <!--=x-->1<!--/--> bad\n")
            self.assertEqual(links.broken_lines([page]), ["a.md:2: begins with a marker"])

    def test_anchors_as_github_makes_them(self) -> None:
        self.assertEqual(links.anchors('# A `b`, c!\n## A b c\n<a id="x"></a>'), {"a-b-c", "a-b-c-1", "x"})


class Trace(unittest.TestCase):
    def test_an_incomplete_row_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file in ("requirements.md", "flows.md", "problems.md"):
                shutil.copy(HERE / file, folder)
            slos = slo.load(HERE)
            self.assertEqual(trace.problems(folder, slos), [])
            page = folder / "requirements.md"
            page.write_text(page.read_text().replace("problems.md#p1)", "nowhere)"))
            self.assertNotEqual(trace.problems(folder, slos), [])


class Ranking(unittest.TestCase):
    def test_a_wrong_product_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            page = Path(name) / "problems.md"
            text = (HERE / "problems.md").read_text()
            page.write_text(text)
            self.assertEqual(trace.ranking_problems(Path(name)), [])
            page.write_text(text.replace("| 4 | 4 | 16 |", "| 4 | 4 | 9 |").replace("**Left because**", "because", 1))
            self.assertEqual(len(trace.ranking_problems(Path(name))), 3)


class Objectives(unittest.TestCase):
    def test_budget_and_detection(self) -> None:
        s = slo.Slo("S-x", "j", "o", 0.999, "p", "g", "t", True)
        self.assertAlmostEqual(s.budget_minutes, 43.2)
        self.assertAlmostEqual(slo.minutes_to_page(s, 1.0) or 0, 0.864)
        self.assertIsNone(slo.minutes_to_page(s, 0.001))

    def test_rules_hold_every_objective(self) -> None:
        slos = slo.load(HERE)
        text = slo.rules(slos)
        self.assertEqual(text.count("- alert:"), 4 * len(slos) + sum(s.page for s in slos))
        self.assertTrue(all(s.good in text and s.total in text for s in slos))


RULE_TEST = """
rule_files: [{rules}]
evaluation_interval: {step}m
tests:
  - interval: 1m
    input_series:
      - series: playback_starts_good_total
        values: {good}
      - series: playback_starts_total
        values: {total}
    alert_rule_test:
      - eval_time: {at}m
        alertname: SStart{rule}
        exp_alerts: [{alerts}]
"""
FIRING = """{{exp_labels: {{severity: page, owner: playback}}, exp_annotations: {{summary: 'Play: {}'}}}}"""
BURNING = FIRING.format("the budget of S-start burns 14.4 times too fast")
ABSENT = FIRING.format("less than half of what it was a week ago")
WEEK = 7 * 24 * 60  # in minutes


@unittest.skipUnless(shutil.which("promtool"), "no promtool")
class AlertRules(unittest.TestCase):
    def fires_as(self, alerts: str, good: int, total: int = 10_000) -> bool:
        """Whether Prometheus finds exactly these alerts after 90 minutes of so many good starts a minute."""
        return self.finds(alerts, "Burn1h", 90, f"0+{good}x120", f"0+{total}x120")

    def finds(self, alerts: str, rule: str, at: int, good: str, total: str) -> bool:
        with tempfile.TemporaryDirectory() as name:
            test = Path(name) / "test.yml"
            values = {"good": good, "total": total, "at": at, "rule": rule, "alerts": alerts, "step": at // 9}
            test.write_text(RULE_TEST.format(rules=HERE / "alerts.rules.yml", **values))
            done = subprocess.run(["promtool", "test", "rules", test], capture_output=True, timeout=60, check=False)
            return done.returncode == 0

    def test_a_fast_burn_pages_and_a_slow_one_does_not(self) -> None:
        self.assertTrue(self.fires_as(BURNING, good=9_900))
        self.assertTrue(self.fires_as("", good=9_960))

    def test_a_few_failures_in_a_quiet_night_do_not_page(self) -> None:
        one_in_twenty = "0+0x10 19x200"
        self.assertTrue(self.finds("", "Burn1h", 90, one_in_twenty, "0+0x10 20x200"))
        self.assertTrue(self.finds(BURNING, "Burn1h", 90, "0+0x120", "0+1x120"))

    def test_silence_pages(self) -> None:
        """The clients' reports stop: there is no ratio any more, and all is well by the burn rates."""
        reports = f"0+1000x{WEEK} _x120"
        self.assertTrue(self.finds(ABSENT, "Absent", WEEK + 90, reports, reports))
        self.assertTrue(self.finds("", "Burn1h", WEEK + 90, reports, reports))
        self.assertTrue(self.finds("", "Absent", WEEK + 90, f"0+1000x{WEEK + 120}", f"0+1000x{WEEK + 120}"))

    def test_a_missing_good_counter_pages(self) -> None:
        """A release that fails every start never increments the counter of good ones, so it exports no such series."""
        self.assertTrue(self.finds(BURNING, "Burn1h", 90, "_x120", "0+1000x120"))
        self.assertTrue(self.finds(BURNING, "Burn1h", 130, "0+1000x120 stale", "0+1000x240"))
        self.assertTrue(self.finds(BURNING, "Burn1h", 240, "0+1000x120 stale", "0+1000x240"))
        self.assertTrue(self.finds("", "Burn1h", 90, "_x120", "0+0x120"))  # nothing started, nothing failed

    def test_the_test_can_fail(self) -> None:
        self.assertFalse(self.fires_as("", good=9_900))


@unittest.skipUnless(schemas.have_protoc(), "no protoc")
class Schemas(unittest.TestCase):
    def changed(self, file: str, old: str, new: str) -> list[str]:
        """What the evolution rule says when one file is changed so."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "proto"
            shutil.copytree(HERE / "proto", folder)
            path = folder / "streaming/events/v1" / file
            text = path.read_text()
            self.assertIn(old, text)
            path.write_text(text.replace(old, new, 1))
            baseline = (folder / schemas.BASELINE).read_text().splitlines()
            return schemas.breaks(baseline, schemas.describe(folder))

    def test_breaking_changes_are_found(self) -> None:
        for file, old, new in (
            ("library.proto", "  bool saved = 3;\n", ""),
            ("library.proto", "bool saved = 3;", "string saved = 3;"),
            ("library.proto", "bool saved = 3;", "bool kept = 3;"),
            ("library.proto", "  bool saved = 3;\n", "  reserved 3;\n"),
            ("billing.proto", "repeated LedgerEntry entries", "LedgerEntry entries"),
            ("playback.proto", '  reserved 6;\n  reserved "throughput_kbps";\n', ""),
            ("playback.proto", "CODEC_AV1 = 3", "CODEC_VVC = 3"),
        ):
            self.assertNotEqual(self.changed(file, old, new), [], f"{old} -> {new}")

    def test_compatible_changes_pass(self) -> None:
        for file, old, new in (
            ("library.proto", "  bool saved = 3;\n", "  bool saved = 3;\n  string list = 5;\n"),
            ("library.proto", "  bool saved = 3;\n", '  reserved 3;\n  reserved "saved";\n'),
            ("playback.proto", "CODEC_AV1 = 3;", "CODEC_AV1 = 3;\n  CODEC_VVC = 4;"),
        ):
            self.assertEqual(self.changed(file, old, new), [])

    def test_what_does_not_compile_is_an_error(self) -> None:
        with self.assertRaises(ValueError):
            self.changed("library.proto", "bool saved = 3;", "bool saved = 4;")
