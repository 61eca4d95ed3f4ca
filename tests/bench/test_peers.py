"""What bench peers does beside measuring: what makes load over HTTP, the table, the picture, the comparison of ratios."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

PEERS = Path(__file__).resolve().parent / "peers"
ROOT = PEERS.parents[2]
BUILD = ROOT / os.environ.get("SLIPWAY_BUILD", "build") / "tests/bench"
sys.path.insert(0, str(PEERS))
sys.dont_write_bytecode = True

import over_http
import report
from servers import free_port, listens

NAMES = ["slipway", "net/http"]


def results(own_cpu: float, peer_cpu: float, rounds: int = 3) -> report.Results:
    def figures(cpu: float, i: int) -> dict[str, float]:
        return {row.measure: i + 1.0 for row in over_http.ROWS} | {"h1 cpu": cpu * (i + 1), "h2 cpu": cpu}

    every = [{"slipway": figures(own_cpu, i), "net/http": figures(peer_cpu, i)} for i in range(rounds)]
    return {"what": "http", "own": "slipway", "names": NAMES, "conditions": "h2o 1; 3 rounds", "rounds": every}


# ---- what makes load ----


@contextmanager
def h2o() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([BUILD / "peer-h2o"], env=os.environ | {"PORT": str(port)})
    try:
        while not listens(port):
            assert process.poll() is None
            time.sleep(0.01)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def load(*arguments: object) -> tuple[int, dict[str, Any]]:
    command = [BUILD / "peer-load-http", *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def test_load_over_http_counts_every_request_that_was_due():
    with h2o() as port:
        status, closed = load("get", port, over_http.PATH, 4, 0.2)
        assert (status, closed["failed"]) == (0, 0)
        assert closed["requests"] >= 4
        status, opened = load("get", port, over_http.PATH, 4, 0.5, 200)
        assert (status, opened["requests"], opened["failed"]) == (0, 100, 0)
        assert 0 < opened["p50_us"] <= opened["p99_us"]
        assert load("idle", port, over_http.PATH, 8) == (0, {"answered": 8})


def test_answers_that_are_not_200_fail():
    with h2o() as port:
        status, result = load("get", port, "/nothing", 2, 0.5, 20)
    assert (status, result["requests"], result["failed"]) == (1, 0, 10)


def test_requests_that_are_never_answered_fail():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        status, result = load("get", silent.getsockname()[1], "/", 2, 0.2, 50)
    assert (status, result["requests"], result["failed"]) == (1, 0, 10)


# ---- the table and the picture ----


def test_the_table_has_medians_and_medians_of_ratios():
    lines = report.table(results(2, 8), over_http.ROWS).splitlines()
    assert lines[0] == "| measure | slipway | net/http | to net/http |"
    assert lines[3] == "| ... CPU per request, us | 4.00 | 16.00 | 0.25 |"
    assert len(lines) == 2 + len(over_http.ROWS)


def test_goals_stand_beside_their_ratio():
    row = report.Row("h1 cpu", "CPU", "{:.0f}", {"net/http": "<= 0.5"})
    assert report.table(results(2, 8), [row]).splitlines()[0].endswith("| to net/http (goal) |")
    assert report.table(results(2, 8), [row]).splitlines()[2] == "| CPU | 4 | 16 | 0.25 (<= 0.5) |"


def test_only_the_marked_part_of_a_document_is_replaced():
    document = "before\n<!-- BEGIN measured: a -->\nold\n<!-- END measured -->\nafter\n"
    once = report.replaced(document, "a", "new")
    assert once == "before\n<!-- BEGIN measured: a -->\n\nnew\n\n<!-- END measured -->\nafter\n"
    assert report.replaced(once, "a", "new") == once
    with pytest.raises(ValueError, match="measured: b"):
        report.replaced(document, "b", "new")


def test_the_document_has_the_part_that_is_written():
    document = (ROOT / "docs/benchmarks.md").read_text()
    assert "the new table" in report.replaced(document, "peers http", "the new table")


def test_the_picture_has_a_bar_a_server_in_each_panel():
    drawn = report.picture(results(2, 8), over_http.PANELS, "a < b")
    bars = ElementTree.fromstring(drawn).findall("{http://www.w3.org/2000/svg}rect")
    widths = [float(bar.get("width")) for bar in bars if bar.get("class") in ("own", "peer")]
    assert len(widths) == len(NAMES) * len(over_http.PANELS)
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.01)


def test_figures_of_a_file_are_shown_without_measuring(tmp_path):
    figures = tmp_path / "http.json"
    figures.write_text(json.dumps(results(2, 8)))

    def run(what: str) -> subprocess.CompletedProcess[str]:
        command = [PEERS / "run", what, "--from", figures]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert run("http").stdout == f"h2o 1; 3 rounds:\n\n{report.table(results(2, 8), over_http.ROWS)}"
    other = run("rpc")
    assert (other.returncode, other.stdout) == (1, "")
    assert "figures of http" in other.stderr


# ---- ratios from run to run ----


def compare(folder: Path, *cpus: tuple[float, float]) -> list[subprocess.CompletedProcess[str]]:
    """Runs one after the other, each with CPU times of ours and of the peer."""
    done = []
    for own, peer in cpus:
        (folder / "http.json").write_text(json.dumps(results(own, peer)))
        command = [PEERS / "ratios", folder / "ratios.jsonl", folder / "http.json"]
        done.append(subprocess.run(command, capture_output=True, text=True, timeout=60, check=False))
    return done


def test_the_first_run_has_nothing_to_compare_with(tmp_path):
    (first,) = compare(tmp_path, (2, 8))
    assert first.returncode == 0
    assert "| http: h1 cpu to net/http | | 0.250 | |" in first.stdout
    (kept,) = (tmp_path / "ratios.jsonl").read_text().splitlines()
    assert json.loads(kept)["ratios"] == {"http: h1 cpu to net/http": 0.25, "http: h2 cpu to net/http": 0.25}


def test_a_change_of_more_than_a_tenth_is_reported(tmp_path):
    runs = compare(tmp_path, (1, 1), (1.09, 1), (1, 1), (0.91, 1), (1.11, 1), (0.8, 1))
    assert [run.returncode for run in runs] == [0, 0, 0, 0, 1, 1]
    assert "| http: h1 cpu to net/http | 1.000 | 1.110 | +11.0% **changed** |" in runs[4].stdout
    assert len((tmp_path / "ratios.jsonl").read_text().splitlines()) == 6


def test_faster_machines_change_no_ratio(tmp_path):
    assert [run.returncode for run in compare(tmp_path, (2, 8), (0.5, 2))] == [0, 0]


def test_a_slow_drift_is_reported(tmp_path):
    """Each step is below a tenth; the median of earlier runs is left behind."""
    runs = compare(tmp_path, (1, 1), (1, 1), (1, 1), (1.06, 1), (1.12, 1))
    assert [run.returncode for run in runs] == [0, 0, 0, 0, 1]
