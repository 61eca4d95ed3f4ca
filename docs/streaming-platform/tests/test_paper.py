"""The checks of the paper find what they are for."""

import json
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
    text = (HERE / "alerts.rules.yml").read_text()
    found = next(part for part in text.split("  - name: ") if part.startswith(f"{name}\n"))
    return "  - name: " + found.replace(
        f"    interval: {slo.EVALUATION_S}s\n", ""
    )  # weeks are evaluated in longer steps


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
    if t.kind == "ends":
        return f"{240 * 60 + limit - 60}x240", f"{240 * 60 + limit + 60}x240"
    left = limit // 60  # runs out by a hundred a minute, some minutes before the limit or after it
    return f"{100 * (240 + left - 30)}-100x240", f"{100 * (240 + left + 6)}-100x240"


def threshold_tests(t: slo.Threshold) -> list[dict[str, Any]]:
    beyond, within = threshold_values(t)
    names = [{label: f"{which}-{label}" for label in t.by} for which in ("one", "two")]
    series = [t.metric + "{" + ",".join(f'{k}="{v}"' for k, v in by.items()) + "}" for by in names]
    url = f"docs/streaming-platform/appendix/runbooks.md#{t.id.lower()}"
    common = {"severity": t.severity, "owner": t.owner.lower(), "threshold": t.id, "runbook": t.id.lower()}

    def fires(missing: bool, by: dict[str, str]) -> dict[str, Any]:
        where = " ".join(by.get(label, "") for label in t.by)
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

    vanished = within.replace("x240", "x200") + " _x40"
    return [
        case({series[0]: beyond, series[1]: within}, 240, [names[0]], []),
        case({series[0]: within, series[1]: within}, 240, [], []),
        case({series[0]: within, series[1]: vanished}, 235, [], [names[1]]),
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
            "Burn1h": f"the budget of S-start burns 14.4 times too fast in {region}",
            "Silent": f"less than half of what it was a week ago in {region}",
            "NoData": "no data at all: neither the counter nor its past is there",
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
        self.assertEqual(promtool(group(slo.THRESHOLDS), tests, "5m"), "")

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
            ["promtool", "check", "rules", HERE / "alerts.rules.yml"], capture_output=True, check=False
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

    def test_the_test_can_fail(self) -> None:
        self.assertFalse(self.finds("Burn1h", 90, self.series("0+9900x120", "0+10000x120")))
        self.assertFalse(self.finds("Burn1h", 90, self.series("0+9900x120", "0+10000x120"), {"region": "east"}))

    def test_every_alert_names_its_runbook(self) -> None:
        text = (HERE / "alerts.rules.yml").read_text()
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
