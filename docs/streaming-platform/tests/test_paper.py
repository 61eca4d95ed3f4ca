"""The checks of the paper find what they are for."""

import json
import math
import re
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from streaming.model.inputs import SCENARIOS
from streaming.model.plan import NOTICE_MONTHS, OTHERS, STAGES, TEST_HOMES, notice_eur
from streaming.paper import drawings, figures, links, schemas, slo, trace
from streaming.paper.documents import VALUE, fill, markdown, too_long
from streaming.paper.values import heartbeats_to_lose, magnitude, short

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


def restored(text: str, figures: dict[str, str]) -> str:
    """The text with every marked figure as it is known."""
    return VALUE.sub(lambda match: figures[match[1]], text)


class Figures(unittest.TestCase):
    def test_what_is_a_figure_and_what_a_name(self) -> None:
        for text in ("it takes 60 ms", "| a | 3 % |", "in 2016", "20 million", "5 sites"):
            self.assertTrue(figures.unmarked(text), text)
        for text in (
            "see [P12](problems.md#p12) (S3)",
            "at 10 million",
            "1080p and AV1",
            "`a 5`",
            "RFC 9345",
            "1. first",
        ):
            self.assertEqual(figures.unmarked(text), [], text)

    def test_a_figure_needs_a_basis(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "figures.toml").write_text('[x]\ntext = "5"\nbasis = "somebody said so"\n')
            with self.assertRaises(ValueError):
                figures.load(Path(name))

    def test_changing_any_figure_of_the_text_is_found(self) -> None:
        """Every marked figure of every page, changed by itself, makes the page out of date."""
        for page in markdown(HERE):
            text = page.read_text()
            current = {match[1]: match[0] for match in VALUE.finditer(text)}
            for match in VALUE.finditer(text):
                changed = text[: match.start()] + match[0].replace("-->", "-->9", 1) + text[match.end() :]
                self.assertTrue(restored(changed, current) == text != changed, f"{page.name}: {match[1]}")

    def test_60_ms_cannot_become_90_ms(self) -> None:
        text = (HERE / "architecture.md").read_text()
        self.assertTrue("60 ms" in text, "architecture.md does not say 60 ms any more")
        changed = text.replace("60 ms", "90 ms")
        known = figures.load(HERE)
        self.assertNotEqual(VALUE.sub(lambda m: f"<!--={m[1]}-->{known.get(m[1], m[0])}<!--/-->", changed), changed)
        bare = re.sub(r"<!--=atlantic-->60 ms<!--/-->", "90 ms", text)
        self.assertNotEqual(bare, text)
        self.assertEqual(len(figures.unmarked(bare)), len(figures.unmarked(text)) + 1)


class ClosedTest(unittest.TestCase):
    def test_a_platform_at_its_levels_passes_and_the_figures_say_so(self) -> None:
        """Of homes for two weeks the levels allow less than two bad plays: by chance every second test would miss them."""
        known, level = figures.load(HERE), {s.id: s.objective for s in slo.load(HERE)}
        homes, days = TEST_HOMES, 14
        plays = homes * next(s.per_day for s in slo.load(HERE) if s.id == "S-start") * days
        signins = homes * (2 + next(s.per_day for s in slo.load(HERE) if s.id == "S-signin") * days)
        self.assertEqual((round(plays, -2), signins), (3_600, 540))
        bad_plays, bad_signins = plays * (1 - level["S-start"]), signins * (1 - level["S-signin"])
        found = [1 - poisson(bad_plays, 1), 1 - poisson(bad_signins, 0)]
        self.assertEqual([f"{p:.0%}" for p in found], [known["test-chance-plays"], known["test-chance-signins"]])
        self.assertEqual((known["test-bad-plays"], known["test-bad-signins"]), ("five plays", "two sign-ins"))
        for missed in (1 - poisson(bad_plays, 5), 1 - poisson(bad_signins, 2)):
            self.assertTrue(0.01 < missed < 0.02, missed)
        self.assertGreater(1 - poisson(6 * bad_plays, 5), 0.9)  # a platform that is six times worse

    def test_what_a_test_by_region_and_day_finds(self) -> None:
        """Half of the days on each side; quantiles of Student's t for the level and for nine tests in ten."""
        known = figures.load(HERE)
        self.assertEqual(known["switch-days"], "Fourteen days")
        deviation, days, (level, power) = float(known["switch-deviation"].split()[0]), 14, (2.179, 1.356)
        found = (level + power) * deviation * math.sqrt(2 / (days / 2))
        self.assertEqual(f"{found:.1f} percent", known["switch-detect"])

    def test_a_derived_set_is_looked_at_before_its_term_ends(self) -> None:
        limit = next(t.limit for t in slo.load_thresholds(HERE) if t.id == "T-derived")
        self.assertLess(limit, int(figures.load(HERE)["retrain"].split()[0]) * 86_400)

    def test_notice_is_three_months_of_everybody(self) -> None:
        first = STAGES[0]
        self.assertEqual(notice_eur(), NOTICE_MONTHS * (first.people + OTHERS) * first.inputs.person_eur)
        self.assertEqual(NOTICE_MONTHS, 3)


def poisson(mean: float, most: int) -> float:
    """The chance of at most so many events."""
    return sum(math.exp(-mean) * mean**n / math.factorial(n) for n in range(most + 1))


class Lease(unittest.TestCase):
    def test_how_many_heartbeats_may_be_lost(self) -> None:
        found = [heartbeats_to_lose(lease, 60) for lease in (60, 150, 180, 200, 240, 250)]
        self.assertEqual(found, [0, 1, 1, 2, 2, 3])


class Diagrams(unittest.TestCase):
    def test_a_participant_without_a_container_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            shutil.copytree(HERE / "diagrams", Path(name) / "diagrams")
            self.assertEqual(drawings.problems(Path(name)), [])
            flow = Path(name) / "diagrams/flow-play.mmd"
            flow.write_text(flow.read_text().replace("participant S as Steering", "participant S as Oracle"))
            self.assertEqual(len(drawings.problems(Path(name))), 1)

    def test_a_figure_in_a_diagram_needs_a_marker(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            shutil.copytree(HERE / "diagrams", Path(name) / "diagrams")
            flow = Path(name) / "diagrams/flow-play.mmd"
            flow.write_text(flow.read_text().replace("{=lease}", "150 s"))
            self.assertEqual(len(drawings.problems(Path(name))), 1)


class Length(unittest.TestCase):
    def test_a_body_or_memo_that_grows_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            memo, other = Path(name) / "README.md", Path(name) / "other.md"
            memo.write_text("word " * 1_000 + "\n## Contents\n")
            other.write_text("word " * 10_000)
            self.assertEqual(too_long([memo, other]), [])
            other.write_text("word " * 11_000)
            self.assertEqual(len(too_long([memo, other])), 1)
            memo.write_text("word " * 1_200 + "\n## Contents\n")
            self.assertEqual(len(too_long([memo])), 1)


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


class Promises(unittest.TestCase):
    def test_a_page_that_no_alert_makes_is_found(self) -> None:
        thresholds = slo.load_thresholds(HERE)
        self.assertEqual(trace.promises(markdown(HERE), thresholds), [])
        with tempfile.TemporaryDirectory() as name:
            page = Path(name) / "flows.md"
            for text in ("a contradiction is parked and pages.", "a defect of ours: pages", "it fails, which pages"):
                page.write_text(text)
                self.assertEqual(len(trace.promises([page], [])), 1, text)
            page.write_text("a contradiction is parked and [pages](appendix/runbooks.md#t-contradiction)")
            mine = [t for t in thresholds if list(t.promised) == ["flows.md#f6"]]
            self.assertEqual(len(mine), 3)
            self.assertEqual(len(trace.promises([page], mine)), 3)  # none of them is linked

    def test_a_threshold_needs_a_kind_and_a_promise(self) -> None:
        text = (HERE / "slo.toml").read_text()
        with tempfile.TemporaryDirectory() as name:
            for old, new in (('kind = "age"', 'kind = "mood"'), ('promised = ["flows.md#f6"]', "promised = []")):
                (Path(name) / "slo.toml").write_text(text.replace(old, new, 1))
                with self.assertRaises(ValueError):
                    slo.load_thresholds(Path(name))


class Owners(unittest.TestCase):
    def test_an_owner_without_a_team_and_a_team_without_an_objective_are_found(self) -> None:
        owners = {item.owner for item in (*slo.load(HERE), *slo.load_thresholds(HERE))}
        self.assertEqual(trace.owner_problems(HERE, owners), [])
        self.assertEqual(len(trace.owner_problems(HERE, owners - {"Home"} | {"House"})), 2)


class Procedures(unittest.TestCase):
    def test_a_step_without_a_way_back_and_a_move_without_a_procedure_are_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "appendix").mkdir()
            for file in ("README.md", "appendix/procedures.md"):
                shutil.copy(HERE / file, folder / file)
            self.assertEqual(trace.procedure_problems(folder), [])
            page, memo = folder / "appendix/procedures.md", folder / "README.md"
            text = page.read_text()
            for count in range(text.count("**No way back after this")):
                parts = text.split("**No way back after this")
                joined = (
                    "**No way back after this".join(parts[: count + 1])
                    + "**Later"
                    + "**No way back after this".join(parts[count + 1 :])
                )
                page.write_text(joined)
                self.assertEqual(len(trace.procedure_problems(folder)), 1, count)
            page.write_text(text)
            memo.write_text(memo.read_text().replace("](appendix/procedures.md#a-second-cdn)", "](flows.md)"))
            self.assertEqual(len(trace.procedure_problems(folder)), 1)


class Ranking(unittest.TestCase):
    def test_a_wrong_product_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            page = Path(name) / "problems.md"
            text = (HERE / "problems.md").read_text()
            page.write_text(text)
            self.assertEqual(trace.ranking_problems(Path(name)), [])
            page.write_text(text.replace("| 4 | 4 | 16 |", "| 4 | 4 | 9 |").replace("**Left because**", "because", 1))
            self.assertEqual(len(trace.ranking_problems(Path(name))), 3)


class Drills(unittest.TestCase):
    def test_a_drill_that_nobody_lists_and_one_without_a_procedure_are_found(self) -> None:
        self.assertEqual(trace.drill_problems(markdown(HERE)), [])
        with tempfile.TemporaryDirectory() as name:
            page, runbooks = Path(name) / "a.md", Path(name) / "runbooks.md"
            page.write_text("the vault is restored by drill\n")
            self.assertEqual(len(trace.drill_problems([page])), 1)
            text = (HERE / "appendix/runbooks.md").read_text()
            runbooks.write_text(text.replace("[lose a zone](#zone-failover)", "lose a zone"))
            self.assertEqual(len(trace.drill_problems([runbooks])), 1)


class Risks(unittest.TestCase):
    def test_a_risk_that_stands_in_one_place_only_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file in ("README.md", "problems.md"):
                shutil.copy(HERE / file, folder)
            self.assertEqual(trace.risk_problems(folder), [])
            memo, page = folder / "README.md", folder / "problems.md"
            text, ranks = memo.read_text(), page.read_text()
            memo.write_text(re.sub(r" \(\[P17\]\(problems.md#p17\)\)", "", text))
            self.assertEqual(len(trace.risk_problems(folder)), 2)  # a risk without a problem, a problem without a risk
            memo.write_text(text)
            page.write_text(re.sub(r"(\| \[P13\].*\|) \d+ \|\n", r"\1 20 |\n", ranks))
            self.assertEqual(len(trace.risk_problems(folder)), 1)
            page.write_text(re.sub(r"(\| \[P18\].*\|) \d+ \|\n", r"\1 11 |\n", ranks))
            self.assertEqual(trace.risk_problems(folder), [])
            page.write_text(re.sub(r"(\| \[P1\].*\|) \d+ \|\n", r"\1 13 |\n", ranks))
            self.assertEqual(len(trace.risk_problems(folder)), 1)  # out of order


class Objectives(unittest.TestCase):
    def test_budget_and_detection(self) -> None:
        s = slo.Slo("S-x", "j", "o", 0.999, "p", "g", "t", True, ("look",))
        self.assertAlmostEqual(s.budget_minutes, 43.2)
        delay = (slo.SCRAPE_S + slo.EVALUATION_S + slo.SEND_S) / 60
        self.assertAlmostEqual(slo.minutes_to_page(replace(s, per_day=1), 1.0, 1e9) or 0, 0.864 + delay)
        self.assertIsNone(slo.minutes_to_page(replace(s, per_day=1), 0.001, 1e9))

    def test_a_page_waits_for_ten_bad_events(self) -> None:
        s = slo.Slo("S-x", "j", "o", 0.999, "p", "g", "t", True, ("look",), per_day=1)
        delay = (slo.SCRAPE_S + slo.EVALUATION_S + slo.SEND_S) / 60
        for accounts, minutes in ((1_440, 10), (720, 20), (144, 100)):  # one a minute, one in two, one in ten
            self.assertAlmostEqual(slo.minutes_to_page(s, 1.0, accounts) or 0, minutes + delay)
        self.assertIsNone(slo.minutes_to_page(s, 1.0, 39))  # no window holds ten

    def test_plays_a_day_are_those_of_the_model(self) -> None:
        small = SCENARIOS["small"]
        for s in slo.load(HERE):
            if s.id in ("S-start", "S-frame", "S-stall"):
                self.assertAlmostEqual(s.per_day, small.hours_per_day * small.plays_per_hour)

    def test_spans(self) -> None:
        found = [slo.span(seconds) for seconds in (5, 90, 600, 3_600, 93_600, 86_400, 432_000)]
        self.assertEqual(found, ["5 s", "90 s", "10 min", "1 h", "26 h", "24 h", "5 days"])

    def test_rules_hold_every_objective_and_threshold(self) -> None:
        slos, thresholds = slo.load(HERE), slo.load_thresholds(HERE)
        text = slo.rules(slos, thresholds)
        expected = 4 * sum(s.burns for s in slos) + 2 * len(slos) + 3 * sum(len(s.cuts) for s in slos)
        self.assertEqual(text.count("- alert:"), expected + 2 * len(thresholds))
        self.assertTrue(all(s.good in text and s.total in text for s in slos))
        for s in slos:
            self.assertIn(f"alert: {s.alert}NoData", text)
            self.assertIn(f"alert: {s.alert}Silent", text)

    def test_an_objective_that_makes_tickets_never_pages(self) -> None:
        for s in slo.load(HERE):
            severities = set(re.findall(r"severity: (\w+)", slo.rules([s], [])))
            self.assertEqual("page" in severities, s.page, s.id)


GOOD, TOTAL = "playback_answers_good_total", "playback_requests_total"
WEEK = 7 * 24 * 60  # in minutes


def group(name: str) -> str:
    """One objective's rules as they are committed; Prometheus takes a while over all of them."""
    text = "".join((HERE / file).read_text().partition("groups:\n")[2] for file in slo.STAGES.values())
    found = next(part for part in text.split("  - name: ") if part.startswith(f"{name}\n"))
    return "  - name: " + re.sub(r"    interval: \d+s\n", "", found)  # weeks are evaluated in longer steps


def promtool(groups: str, tests: list[dict[str, Any]], interval: str) -> str:
    """What Prometheus finds wrong with the rules' tests."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "rules.yml").write_text("groups:\n" + groups)
        path = Path(name) / "test.yml"  # JSON is YAML
        path.write_text(json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": tests}))
        done = subprocess.run(
            ["promtool", "test", "rules", path], capture_output=True, text=True, timeout=120, check=False
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr


def together(tests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Several tests of rules with different metrics as one."""
    parts = ("input_series", "alert_rule_test")
    return {"interval": "1m"} | {part: [item for test in tests for item in test[part]] for part in parts}


def threshold_values(t: slo.Threshold) -> tuple[str, str]:
    """Series of four hours, a value a minute: one that is beyond the limit at its end, and one that never is."""
    limit = int(t.limit)
    if t.kind == "above":
        return f"{limit + 1}x240", f"{limit}x240"
    if t.kind == "differs":
        return "-1x240", "0x240"
    if t.kind == "age":  # a minute more or less than the limit ago
        return f"{240 * 60 - limit - 60}x240", f"{240 * 60 - limit + 60}x240"
    if t.kind == "share":  # of attempts: these are all of them, `beside` has those that succeed
        return "0+10x240", "0+10x240"
    if t.kind == "ends":
        return f"{240 * 60 + limit - 60}x240", f"{240 * 60 + limit + 60}x240"
    left = limit // 60  # runs out by a hundred a minute, some minutes before the limit or after it
    return f"{100 * (240 + left - 30)}-100x240", f"{100 * (240 + left + 6)}-100x240"


def beside(t: slo.Threshold, by: str, values: str, over: bool) -> dict[str, str]:
    """The second series that an expression reads: what succeeded of the attempts, the size of the volume."""
    if t.kind == "share":
        return {t.good + by: values.replace("0+10", "0+1" if over else "0+9")}
    return {t.size + by: "100000x240"} if t.size else {}


def threshold_tests(t: slo.Threshold) -> list[dict[str, Any]]:
    beyond, within = threshold_values(t)
    names = [{label: f"{which}-{label}" for label in t.by} for which in ("one", "two")]
    labels = ["{" + ",".join(f'{k}="{v}"' for k, v in by.items()) + "}" for by in names]
    lost = {label: names[1][label] for label in t.watched}
    url = f"docs/streaming-platform/appendix/runbooks.md#{t.id.lower()}"
    common = {"severity": t.severity, "owner": t.owner.lower(), "threshold": t.id, "runbook": t.id.lower()}

    def fires(missing: bool, by: dict[str, str]) -> dict[str, Any]:
        where = " ".join(by.get(label, "") for label in (t.watched if missing else t.by))
        summary = f"{'no data for: ' if missing else ''}{t.shown} ({where})"
        return {"exp_labels": common | by, "exp_annotations": {"summary": summary, "runbook_url": url}}

    def case(inputs: dict[str, str], at: int, over: list[dict[str, str]], gone: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in inputs.items()],
            "alert_rule_test": [
                {"eval_time": f"{at}m", "alertname": t.alert, "exp_alerts": [fires(False, by) for by in over]},
                {
                    "eval_time": f"{at}m",
                    "alertname": f"{t.alert}Missing",
                    "exp_alerts": [fires(True, by) for by in gone],
                },
            ],
        }

    def both(first: str, second: str, over: bool = False) -> dict[str, str]:
        series = {t.metric + labels[0]: first, t.metric + labels[1]: second}
        return series | beside(t, labels[0], first, over) | beside(t, labels[1], second, False)

    vanished = within.replace("x240", "x200") + " _x40"
    return [
        case(both(beyond, within, True), 240, [names[0]], []),
        case(both(within, within), 240, [], []),
        case(both(within, vanished), 235, [], [lost]),
        case({"something_else": "1x240"}, 60, [], [{}]),
    ]


@unittest.skipUnless(shutil.which("promtool"), "no promtool")
class AlertRules(unittest.TestCase):
    """Prometheus itself says what fires: the committed rules, evaluated over made series."""

    def finds(self, rule: str, at: int, series: dict[str, str], *labels: dict[str, str]) -> bool:
        """Whether exactly the alerts with these labels fire at a minute; good and total are given by labels."""
        wanted = [{**label, "severity": label.get("severity", "page")} for label in labels]
        common = {"owner": "playback", "slo": "S-start", "runbook": "s-start"}
        alerts = [
            {"exp_labels": {**common, **label}, "exp_annotations": self.annotations(rule, label)} for label in wanted
        ]
        test = {
            "rule_files": ["rules.yml"],
            "evaluation_interval": f"{max(1, at // 9)}m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [{"series": name, "values": values} for name, values in series.items()],
                    "alert_rule_test": [{"eval_time": f"{at}m", "alertname": f"SStart{rule}", "exp_alerts": alerts}],
                }
            ],
        }
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "rules.yml").write_text("groups:\n" + group("S-start"))
            path = Path(name) / "test.yml"  # JSON is YAML
            path.write_text(json.dumps(test))
            done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, timeout=120, check=False)
            return done.returncode == 0

    def annotations(self, rule: str, label: dict[str, str]) -> dict[str, str]:
        region, where = label.get("region", ""), f"{label.get('device')} in {label.get('country')}"
        texts = {
            "Burn1h": f"the budget of S-start burns at 14.4 times the allowed rate in {region}",
            "Silent": f"less than half of what it was a week ago in {region}",
            "NoData": "no data at all: the counter does not exist",
            "SliceFails": f"more than 25% fail for {where}",
            "SmallSliceFails": f"more than 25% fail for {where}",
            "SliceSilent": f"less than half of what it was a week ago for {where}",
        }
        url = "docs/streaming-platform/appendix/runbooks.md#s-start"
        return {"summary": f"Play request: {texts[rule]}", "runbook_url": url}

    def test_a_cdn_that_fails_pages_and_one_that_was_drained_may_be_silent(self) -> None:
        labels = {"severity": "page", "owner": "delivery", "slo": "S-frame", "runbook": "s-frame", "cdn": "one"}
        url = "docs/streaming-platform/appendix/runbooks.md#s-frame"
        texts = {
            "CdnFails": "more than 10% fail for the CDN one",
            "CdnSilent": "less than half of what it was a week ago for the CDN one",
        }

        def counters(cdn: str, good: str, total: str) -> list[dict[str, str]]:
            by = f'{{region="west",country="us",device="tv",cdn="{cdn}"}}'
            return [
                {"series": f"playback_frames_good_total{by}", "values": good},
                {"series": f"playback_starts_total{by}", "values": total},
            ]

        def case(at: int, series: list[dict[str, str]], firing: str = "") -> dict[str, Any]:
            return {
                "interval": "1m",
                "input_series": [*series, *counters("two", f"0+900x{at}", f"0+900x{at}")],
                "alert_rule_test": [
                    {
                        "eval_time": f"{at}m",
                        "alertname": f"SFrame{rule}",
                        "exp_alerts": [
                            {
                                "exp_labels": labels,
                                "exp_annotations": {"summary": f"First frame: {texts[rule]}", "runbook_url": url},
                            }
                        ]
                        if rule == firing
                        else [],
                    }
                    for rule in texts
                ],
            }

        bad, tolerable = ("0+780x60", "0+830x60")  # 13 and 8 percent fail
        gone = counters("one", *[f"0+900x{WEEK} _x120"] * 2)
        drained = {"series": 'steering_cdn_drained{cdn="one"}', "values": f"1x{WEEK + 120}"}
        short = [
            case(60, counters("one", bad, "0+900x60"), "CdnFails"),
            case(60, counters("one", tolerable, "0+900x60")),
        ]
        self.assertEqual(promtool(group("S-frame"), short, "10m"), "")
        long = [case(WEEK + 90, gone, "CdnSilent"), case(WEEK + 90, [*gone, drained])]
        self.assertEqual(promtool(group("S-frame"), long, f"{(WEEK + 90) // 9}m"), "")

    def test_thresholds_fire_stay_silent_and_miss_their_series(self) -> None:
        """Every threshold: one series beyond the limit and one within it, one that vanishes, and none at all."""
        cases = zip(*map(threshold_tests, slo.load_thresholds(HERE)))
        tests = [together(case) for case in cases]  # their metrics differ: one run holds all of them
        groups = "".join(map(group, (slo.THRESHOLDS, f"{slo.THRESHOLDS}-ten", slo.SHARES)))
        self.assertEqual(promtool(groups, tests, "5m"), "")

    def firing(
        self, groups: str, series: dict[str, str], at: int, *alerts: str, every: int = 0, step: int = 1
    ) -> set[str]:
        """Which of the alerts fire at a minute; weeks are evaluated in steps, which must end there."""
        test = {
            "interval": f"{step}m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [{"eval_time": f"{at}m", "alertname": a, "exp_alerts": []} for a in alerts],
        }
        found = promtool(groups, [test], f"{every or at // 2}m")
        fired = set(re.findall(r"alertname: (\w+), time", found))
        self.assertEqual(found == "", not fired, found)  # anything else is an error of the test
        return fired

    def test_a_series_that_ends_on_purpose_makes_no_page(self) -> None:
        """A machine that is scaled in, while its region has others."""
        series = {
            f'volume_{what}_bytes{{region="west",volume="{name}"}}': f"{50 if what == 'free' else 100}x{minutes}"
            for what in ("free", "size")
            for name, minutes in (("stays", 240), ("goes", 200))
        }
        self.assertEqual(self.firing(group(slo.THRESHOLDS), series, 235, "TVolumeMissing", every=5), set())

    def test_what_has_run_out_goes_on_alerting(self) -> None:
        """A volume that is full, or nearly full and standing, has no slope any more; nor has a log that was read too late."""
        for free, alerts in (("0x240", True), ("2000x240", True), ("20000x240", False)):
            by = '{region="west",volume="ledger"}'
            series = {f"volume_free_bytes{by}": free, f"volume_size_bytes{by}": "50000x240"}
            fired = self.firing(group(slo.THRESHOLDS), series, 240, "TVolume", every=5)
            self.assertEqual(fired == {"TVolume"}, alerts, free)
        left = {'log_retention_left_seconds{topic="one",consumer="one"}': "0x240"}
        fired = self.firing(group(f"{slo.THRESHOLDS}-ten"), left, 240, "TRetention", every=5)
        self.assertEqual(fired, {"TRetention"})

    def test_unknown_payments_page_by_their_share_at_every_stage(self) -> None:
        """The same eleven are many of 480 attempts an hour and few of 1,200."""
        by = '{region="west",provider="one",kind="refund"}'

        def fires(unknown: int, per_hour: int) -> bool:
            series = {f"billing_unknown_calls{by}": f"{unknown}x240"}
            if per_hour:
                series[f"billing_calls_total{by}"] = f"0+{per_hour // 60}x240"
            return self.firing(group(slo.THRESHOLDS), series, 240, "TUnknown", every=5) != set()

        found = [fires(11, 480), fires(11, 1_200), fires(30, 1_200), fires(11, 0), fires(10, 0)]
        self.assertEqual(found, [True, False, True, True, False])

    def test_a_series_that_vanished_is_missed_for_hours_beside_another(self) -> None:
        series = {
            f'databases_without_standby{{region="{region}"}}': values
            for region, values in (("east", "0x800"), ("west", "0x200 _x600"))
        }
        for at in (230, 800):
            fired = self.firing(group(slo.THRESHOLDS), series, at, "TStandbyMissing", every=10)
            self.assertEqual(fired, {"TStandbyMissing"}, at)

    def test_one_provider_that_runs_does_not_hide_another(self) -> None:
        """The age of a step, or of webhooks, is that of each provider, entity and region by itself."""
        found = {t.id: t for t in slo.load_thresholds(HERE)}
        for id_, same, differs in (
            ("T-reconciliation", 'step="clearing",entity="one"', "counterparty"),
            ("T-reconciliation", 'step="clearing",counterparty="one"', "entity"),
            ("T-webhook", 'region="west"', "provider"),
            ("T-webhook", 'provider="one"', "region"),
        ):
            t = found[id_]
            late = f"{-int(t.limit) - 60}x10"
            series = {f'{t.metric}{{{same},{differs}="{who}"}}': v for who, v in (("a", "0+60x10"), ("b", late))}
            self.assertEqual(self.firing(group(slo.THRESHOLDS), series, 10, t.alert), {t.alert}, f"{id_} {differs}")

    def test_a_steep_hour_of_a_volume_that_has_room_does_not_page(self) -> None:
        by = '{region="west",volume="ledger"}'
        series = {f"volume_free_bytes{by}": "44000-100x240", f"volume_size_bytes{by}": "50000x240"}
        self.assertEqual(self.firing(group(slo.THRESHOLDS), series, 240, "TVolume", every=5), set())

    def test_the_rules_of_the_first_release_are_silent_without_what_comes_later(self) -> None:
        """Nobody would load rules that page for ever about Social, the push gateway and the event log."""
        later = {"S-fresh", "S-friend", "S-hint", "S-push", "T-retention"}
        text = (HERE / "alerts.rules.yml").read_text()
        series: dict[str, str] = {}
        for s in slo.load(HERE):
            if s.id not in later:
                by = '{region="west",country="us",device="tv",cdn="one"}'
                series |= {s.good + by: "0+1000x40", s.total + by: "0+1000x40"}
        for t in slo.load_thresholds(HERE):
            if t.id not in later:
                by = "{" + ",".join(f'{label}="one"' for label in t.by) + "}"
                within = {"above": "0x40", "differs": "0x40", "age": "0+60x40", "ends": "9999999x40"}
                value = within.get(t.kind, "0+10x40" if t.kind == "share" else "50000x40")
                series |= {t.metric + by: value} | beside(t, by, value, False)
        alerts = re.findall(r"- alert: (\w+)", text)
        groups = re.sub(r"    interval: \d+s\n", "", text.partition("groups:\n")[2])
        self.assertEqual(self.firing(groups, series, 40, *alerts, every=4), set())

    def test_the_memo_names_the_objectives_that_come_later(self) -> None:
        memo = " ".join((HERE / "README.md").read_text().split())
        named = re.search(r"\[objectives\]\(operations\.md#objectives\) but ([^;]+);", memo)
        self.assertEqual(
            set(re.findall(r"S-\w+", named[1] if named else "")),
            {s.id for s in slo.load(HERE) if s.begins != "first"},
        )

    def test_silence_says_nothing_the_week_after_a_busy_billing_day(self) -> None:
        """Five times the mean a week ago, by the model's own input; what really stops still makes a ticket."""
        peak = SCENARIOS["small"].invoice_peak
        self.assertLess(slo.IRREGULAR, 1 / peak)
        found = {s.id: s for s in slo.load(HERE)}
        for id_ in ("S-bill", "S-feed"):
            busy, alert = f'{found[id_].total}{{region="west"}}', f"{found[id_].alert}Silent"
            series = {busy: f"0+{10 * int(peak)}x1440 {10 * int(peak) * 1440}+10x{WEEK}"}
            self.assertIn(f"alert: {alert}\n", group(id_))
            self.assertEqual(self.firing(group(id_), series, WEEK + 720, alert), set(), id_)
            self.assertNotRegex(group(id_), rf"alert: {alert}\n.*\n +labels:\n +severity: page")
            series[busy] = f"0+10x{WEEK} _x120"
            self.assertNotEqual(self.firing(group(id_), series, WEEK + 90, alert), set(), id_)

    def test_an_ordinary_week_with_growth_and_a_restart_is_not_silent(self) -> None:
        """Quiet nights, full evenings, a fuller weekend; a tenth more this week, and gateways that start again."""

        def rates(hour: int) -> int:
            day, of_day = divmod(hour, 24)
            base = 40 if of_day < 6 else 1_000 if of_day >= 19 else 300
            return base * (3 if day % 7 >= 5 else 2) * (11 if day >= 7 else 10) // 20

        def values(restart: int) -> str:
            parts, count = [], 0
            for hour in range(9 * 24):
                count = 0 if hour == restart else count
                parts.append(f"{count}+{rates(hour)}x59")
                count += rates(hour) * 60
            return " ".join(parts)

        for minute, restart in ((60, 0), (240, 0), (360, 0), (1_140, 0), (1_205, 7 * 24 + 20), (1_500, 0)):
            series = self.series(values(restart), values(restart))
            self.assertEqual(self.firing(group("S-start"), series, WEEK + minute, "SStartSilent"), set(), minute)

    def test_a_drill_does_not_page_a_week_later(self) -> None:
        """East takes all traffic for an hour and is idle a week later; outside that hour silence pages as before."""
        by = '{region="east",country="us",device="tv"}'
        values = f"0x120 0+1000x60 60000x{WEEK}"  # the counter stands still but for the hour of the drill
        moved = {'steering_region_drained{region="west"}': f"0x119 1x62 0x{WEEK}"}
        east = {TOTAL + by: values, GOOD + by: values}
        for minute in (150, 180, 186):
            self.assertEqual(self.firing(group("S-start"), east | moved, WEEK + minute, "SStartSilent"), set(), minute)
        self.assertNotEqual(self.firing(group("S-start"), east, WEEK + 150, "SStartSilent"), set())
        gone = f"0+1000x{WEEK} _x400"
        west = self.series(gone, gone)
        self.assertTrue(self.finds("Silent", WEEK + 360, west | moved, {"region": "west"}))

    def test_a_region_that_was_just_filled_again_does_not_page(self) -> None:
        """Sixty an hour are watched over six hours, which still hold the drill."""
        begin = WEEK + 600
        values = f"0+1x{begin} {begin}x200 {begin}+1x60"
        drained = {'steering_region_drained{region="west"}': f"0x{begin} 1x200 0x60"}
        self.assertTrue(self.finds("Silent", begin + 240, self.series(values, values) | drained))
        self.assertTrue(self.finds("Silent", begin + 240, self.series(values, values), {"region": "west"}))

    def test_a_drained_cdn_says_nothing_about_the_other_a_week_later(self) -> None:
        by = '{region="west",country="us",device="tv",cdn="two"}'
        values = f"0x120 0+1000x60 60000x{WEEK}"
        series = {f"playback_frames_good_total{by}": values, f"playback_starts_total{by}": values}
        drained = {'steering_cdn_drained{cdn="one"}': f"0x119 1x62 0x{WEEK}"}
        at = WEEK + 150
        self.assertEqual(self.firing(group("S-frame"), series | drained, at, "SFrameCdnSilent"), set())
        self.assertNotEqual(self.firing(group("S-frame"), series, at, "SFrameCdnSilent"), set())

    def test_a_lost_region_pages_as_soon_as_the_flow_says(self) -> None:
        """Its counters are lost with it: the burn rate says nothing and silence takes longer; the probe pages."""
        minutes = slo.minutes_to_page_lost(slo.load_thresholds(HERE), "T-play")
        lost, at = 60, 60 + int(minutes + 0.99)
        reports = f"0+1000x{lost} _x30"
        probe = {'probe_play_last_success_timestamp_seconds{region="west"}': f"0+60x{lost} {lost * 60}x30"}
        series = self.series(reports, reports) | probe
        rules = group("S-start") + group(slo.THRESHOLDS)
        self.assertEqual(self.firing(rules, series, at, "SStartBurn1h", "SStartSilent", every=1), set())
        self.assertEqual(self.firing(rules, series, lost, "TPlay", every=1), set())
        self.assertNotEqual(self.firing(rules, series, at, "TPlay", every=1), set())

    def test_the_steps_of_f8_fit_the_recovery_objective(self) -> None:
        known = {name: int(text.split()[0]) for name, text in figures.load(HERE).items() if text.split()[0].isdigit()}
        page = slo.minutes_to_page_lost(slo.load_thresholds(HERE), "T-play")
        self.assertIn("fencing and promotion a minute", " ".join((HERE / "flows.md").read_text().split()))
        self.assertLessEqual(page + known["decide"] + 1 + known["steer"], known["rto-region"])

    def test_captures_that_fail_page_at_the_review_too(self) -> None:
        """48 attempts an hour: no hour holds fifty, six do."""
        by = '{region="west",provider="one",country="de"}'
        week, at = WEEK // 5, 2 * WEEK + 360
        attempts = {f"billing_first_attempts_answered_total{by}": f"0+4x{2 * week + 72}"}

        def fires(captured: str, minute: int = at) -> bool:
            series = attempts | {f"billing_first_attempts_captured_total{by}": captured}
            return self.firing(group(slo.SHARES), series, minute, "TCaptured", step=5) != set()

        self.assertTrue(fires(f"0+3x{2 * week} {6 * week}x72"))  # six hours ago every charge began to be declined
        self.assertFalse(fires(f"0+3x{2 * week + 72}"))
        self.assertFalse(fires(f"0+2x{2 * week + 72}"))  # a country whose banks decline much
        self.assertTrue(fires("0x300", 1440))  # from the first day on: there is no week before

    def test_no_page_is_held_back_or_hidden_in_another(self) -> None:
        config = json.loads((HERE / "alertmanager.json").read_text())
        apart = set(config["route"]["group_by"])
        self.assertLessEqual({"slo", "severity", "region", "country", "cdn"}, apart)
        # Many series of such a label have one cause.
        together = {"shard", "database", "volume", "consumer", "name", "of", "system", "stream", "set"}
        for t in slo.load_thresholds(HERE):
            self.assertLessEqual(set(t.by) - together, apart, t.id)
        for rule in config["inhibit_rules"]:
            self.assertIn(
                'severity="page"', rule["source_matchers"]
            )  # a ticket that is open for days holds back nothing
            self.assertIn('severity="ticket"', rule["target_matchers"])
            self.assertIn("slo", rule["equal"])

    def test_the_threshold_test_can_fail(self) -> None:
        t = slo.load_thresholds(HERE)[0]
        beyond = threshold_tests(t)[0]
        beyond["alert_rule_test"][0]["exp_alerts"] = []
        self.assertNotEqual(promtool(group(slo.THRESHOLDS), [beyond], "5m"), "")

    def series(self, good: str, total: str, **labels: str) -> dict[str, str]:
        by = {"region": "west", "country": "us", "device": "tv", **labels}
        text = ",".join(f'{k}="{v}"' for k, v in by.items())
        return {name % text: values for name, values in ((GOOD + "{%s}", good), (TOTAL + "{%s}", total)) if values}

    def test_prometheus_takes_the_rules(self) -> None:
        done = subprocess.run(
            ["promtool", "check", "rules", *(HERE / file for file in slo.STAGES.values())],
            capture_output=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_fast_burn_pages_and_a_slow_one_does_not(self) -> None:
        west = {"region": "west"}
        self.assertTrue(self.finds("Burn1h", 90, self.series("0+9900x120", "0+10000x120"), west))
        self.assertTrue(self.finds("Burn1h", 90, self.series("0+9960x120", "0+10000x120")))

    def test_only_the_region_that_burns_pages(self) -> None:
        series = self.series("0+9900x120", "0+10000x120") | self.series("0+9999x120", "0+10000x120", region="east")
        self.assertTrue(self.finds("Burn1h", 90, series, {"region": "west"}))

    def test_a_total_failure_without_a_good_counter_pages(self) -> None:
        """Nothing was ever good, so the counter of good ones was never made."""
        self.assertTrue(self.finds("Burn1h", 90, self.series("", "0+10000x120"), {"region": "west"}))
        series = self.series("", "0+10000x120") | self.series("0+10000x120", "0+10000x120", region="east")
        self.assertTrue(self.finds("Burn1h", 90, series, {"region": "west"}))
        for at in (130, 240):  # a release that never starts anything replaces one that did
            stale = self.series("0+1000x120 stale", "0+1000x240")
            self.assertTrue(self.finds("Burn1h", at, stale, {"region": "west"}))
        self.assertTrue(self.finds("Burn1h", 90, self.series("", "0+0x120")))  # nothing started, nothing failed

    def test_a_few_failures_in_a_quiet_night_do_not_page(self) -> None:
        self.assertTrue(self.finds("Burn1h", 90, self.series("0+0x10 19x200", "0+0x10 20x200")))

    def test_a_silent_region_pages_unless_it_was_drained(self) -> None:
        reports = f"0+1000x{WEEK} _x120"
        east = self.series(f"0+1000x{WEEK + 120}", f"0+1000x{WEEK + 120}", region="east")
        series = self.series(reports, reports) | east
        self.assertTrue(self.finds("Silent", WEEK + 90, series, {"region": "west"}))
        self.assertTrue(self.finds("Burn1h", WEEK + 90, series))
        drained = {'steering_region_drained{region="west"}': f"1x{WEEK + 120}"}
        self.assertTrue(self.finds("Silent", WEEK + 90, series | drained))
        self.assertTrue(self.finds("Silent", WEEK + 90, east))

    def test_a_small_region_that_falls_silent_pages(self) -> None:
        """Twenty an hour are heard in a longer window than ten minutes."""
        quiet = f"0+1x{WEEK} _x400"
        self.assertTrue(self.finds("Silent", WEEK + 380, self.series(quiet, quiet), {"region": "west"}))
        steady = f"0+1x{WEEK + 400}"
        self.assertTrue(self.finds("Silent", WEEK + 380, self.series(steady, steady)))

    def test_no_data_at_all_pages(self) -> None:
        self.assertTrue(self.finds("NoData", 90, {"something_else": "1x120"}, {}))
        self.assertTrue(self.finds("NoData", 90, self.series("0+1x120", "0+1x120")))

    def test_a_slice_that_fails_pages_where_it_usually_counts(self) -> None:
        at = WEEK + 90
        whole = self.series(f"0+9000x{at}", f"0+9000x{at}")
        slice_ = {"country": "fr", "device": "phone"}
        series = whole | self.series(f"0+300x{WEEK} 0+0x120", f"0+300x{at}", **slice_)
        self.assertTrue(self.finds("SliceFails", at, series, slice_))
        self.assertTrue(self.finds("SmallSliceFails", at, series))
        never = whole | self.series("", f"0+300x{at}", **slice_)
        self.assertTrue(self.finds("SliceFails", at, never, slice_))
        self.assertTrue(self.finds("SliceFails", at, whole))

    def test_a_small_slice_that_fails_makes_a_ticket(self) -> None:
        at = WEEK + 90
        slice_ = {"country": "is", "device": "web"}
        series = self.series(f"0+9000x{at}", f"0+9000x{at}") | self.series("", f"0+20x{at}", **slice_)
        self.assertTrue(self.finds("SmallSliceFails", at, series, {**slice_, "severity": "ticket"}))
        self.assertTrue(self.finds("SliceFails", at, series))

    def test_a_silent_slice_pages(self) -> None:
        at = WEEK + 90
        slice_ = {"country": "fr", "device": "phone"}
        gone = f"0+300x{WEEK} _x120"
        series = self.series(f"0+9000x{at}", f"0+9000x{at}") | self.series(gone, gone, **slice_)
        self.assertTrue(self.finds("SliceSilent", at, series, slice_))
        self.assertTrue(self.finds("Silent", at, series))
        self.assertTrue(self.finds("SliceSilent", at, self.series(f"0+9000x{at}", f"0+9000x{at}")))

    def test_ten_quiet_minutes_of_a_small_slice_are_chance(self) -> None:
        """Twelve a minute are held against an hour: among hundreds of slices one halves in ten minutes now and then."""
        at = WEEK + 90
        values = f"0+12x{at - 12} {12 * (at - 12)}x12"
        series = self.series(values, values, country="fr", device="phone")
        self.assertTrue(self.finds("SliceSilent", at, series))

    def test_the_test_can_fail(self) -> None:
        self.assertFalse(self.finds("Burn1h", 90, self.series("0+9900x120", "0+10000x120")))
        self.assertFalse(self.finds("Burn1h", 90, self.series("0+9900x120", "0+10000x120"), {"region": "east"}))

    def test_every_alert_names_its_runbook(self) -> None:
        text = "".join((HERE / file).read_text() for file in slo.STAGES.values())
        anchors = links.anchors((HERE / "appendix/runbooks.md").read_text())
        self.assertEqual(text.count("- alert:"), text.count("          runbook: "))
        self.assertLessEqual(set(re.findall(r"runbook: (\S+)", text)), anchors)


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

    def test_nothing_personal_is_readable_in_the_envelope(self) -> None:
        """Fields that name a person, a device or what was watched are reached through the sealed body only."""
        fields: dict[str, list[tuple[str, str]]] = {}
        for line in schemas.describe(HERE / "proto"):
            message, kind, *rest = line.split()
            if kind == "field":
                fields.setdefault(message, []).append((rest[1], rest[2]))
        package = "streaming.events.v1."
        readable = [("", package + "Envelope")]
        for _, type_ in readable:
            readable += fields.get(type_, [])
        personal = {"profile_id", "session_id", "device_id", "family_id", "from_profile_id", "position_ms", "unit_id"}
        self.assertEqual(personal & {name for name, _ in readable}, set())
        self.assertIn(("sealed_body", "bytes"), readable)
        self.assertNotIn("account_id", {name for name, _ in fields[package + "Envelope"]})

    def test_what_names_an_account_cannot_carry_a_subject(self) -> None:
        """One posting with both would lead from the account to all of its sealed events, after their erasure as well."""
        for body in ('ledger_posted { account_id: "a" }', 'erasure_ordered { subject_id: "a" }'):
            self.assertEqual(self.encoded(body), 0)
            self.assertNotEqual(self.encoded(f'subject_id: "s" {body}'), 0, body)
        described = schemas.describe(HERE / "proto")
        for field in ("2 traceparent string", "3 produced_at_ms int64"):
            self.assertIn(f"streaming.events.v1.PersonalBody field {field} single", described)

    def encoded(self, text: str) -> int:
        """The status of protoc for an envelope that is written as text."""
        command = ["protoc", f"--proto_path={HERE / 'proto'}", "--encode=streaming.events.v1.Envelope"]
        command.append("streaming/events/v1/envelope.proto")
        return subprocess.run(command, input=text.encode(), capture_output=True, timeout=60, check=False).returncode

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
