"""The console's page in a browser: on the real console, with real services beside it or with what telemetry.py sends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect
from telemetry import CLIENT, INTERNAL, Replica

import harness

Start = Callable[..., harness.Service]
NewReplica = Callable[..., Replica]
Open = Callable[..., Page]

WWW = harness.ROOT / "src/console/www"
PHONE = {"viewport": {"width": 360, "height": 740}}
ROWS = 1000  # that www/logs.js keeps in the document
STABLE_MS = 6000  # beyond this a number of replicas that stays is what the console compares later ones with
# What may be seen in any of the texts that services send. "&amp;" is not to become "&".
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>&amp;'
VIEWS = ("#/fleet", "#/traces", "#/logs", "#/timeline", "#/stores", "#/interfaces/notes", "#/interfaces/route-guide")


def ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=harness.START_S) as answer:
        return answer.read().decode()


def kept(console: harness.Service, path: str) -> dict:
    return json.loads(ask(f"{console.http_url}{path}"))


@pytest.fixture
def report(start: Start, console: harness.Service) -> Start:
    """report(NAME, INSTANCE, VERSION, **environment): a real service that sends all its telemetry to the console, at once."""

    def started(name: str, instance: str, version: str = "1.0", **settings: object) -> harness.Service:
        return start(
            name,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{console.grpc_address}",
            OTEL_METRICS_EXPORTER="otlp",
            OTEL_LOGS_EXPORTER="otlp",
            OTEL_RESOURCE_ATTRIBUTES=f"service.instance.id={instance},service.version={version}",
            OTEL_METRIC_EXPORT_INTERVAL=1000,
            OTEL_BSP_SCHEDULE_DELAY=50,
            OTEL_BLRP_SCHEDULE_DELAY=50,
            **settings,
        )

    return started


@pytest.fixture
def fleet(replica: NewReplica) -> dict[str, Replica]:
    """Some of everything that the views show, without a clock: two versions, all states, a trace over two services with an
    error, and log lines of each severity."""
    found = {
        name: replica(service, name, version).phase(phase)
        for service, name, version, phase in (
            ("shop", "shop-a", "1.0", "ready"),
            ("shop", "shop-b", "1.1", "starting"),
            ("shop", "shop-c", "1.0", "draining"),
            ("stock", "stock-a", "2.0", "ready"),
        )
    }
    for _ in range(20):
        found["shop-a"].request("GET /shop/{id}", 2, **{"http.response.status_code": 200}).log("GET /shop/1 200")
    order = found["shop-a"].request("POST /orders", 40, failed=True)
    call = found["shop-a"].request("stock.Stock/Take", 30, parent=order, kind=CLIENT)
    take = found["stock-a"].request("stock.Stock/Take", 24, parent=call, failed=True)
    found["stock-a"].request("write lmdb", 20, parent=take, kind=INTERNAL)
    take.log("the shelf is empty", "ERROR", shelf=7)
    order.log("slow request", "WARNING", latency_us=40000)
    return found


# ---- what it shows of real services ----


def test_services_their_flows_and_their_log_lines(report: Start, open_page: Open) -> None:
    users = report("users", "users-a")
    countries = report("countries", "countries-a", USERS_SERVICE_ADDR=users.http_url.removeprefix("http://"))
    for number in range(20):
        ask(f"{countries.http_url}/countries?user_id={number}")
    page = open_page()
    for name in ("users", "countries"):
        row = page.locator(f'[data-service="{name}"] [data-replica="{name}/{name}-a"]')
        expect(row.locator(".c-state")).to_have_text("ready")
        expect(row.locator(".c-version")).to_have_text("1.0")
    expect(page.locator(".box", has_text="countries")).to_be_visible()
    flows = page.locator("table.flows")
    expect(flows).to_contain_text("clients → countries")
    expect(flows).to_contain_text("countries → users")
    page.get_by_role("link", name="Traces").first.click()
    page.locator("[data-trace] a", has_text="GET /countries").first.click()
    expect(page.locator("button.span")).to_have_count(3)
    page.get_by_role("link", name="Logs").first.click()
    expect(page.locator(".entry", has_text="GET /countries?user_id=7 200")).to_be_visible()
    expect(page.locator(".entry", has_text="GET /users/7 200")).to_be_visible()


def test_a_killed_replica_is_gone(report: Start, open_page: Open) -> None:
    report("users", "stays")
    killed = report("users", "killed")
    page = open_page()
    state = page.locator('[data-replica="users/killed"] .c-state')
    expect(state).to_have_text("ready")
    killed.kill()
    expect(state).to_have_text("gone")
    expect(page.locator('[data-replica="users/stays"] .c-state')).to_have_text("ready")
    page.get_by_role("link", name="Timeline").first.click()
    expect(page.locator(".events li", has_text="killed").filter(has_text="gone")).to_be_visible()


def test_a_rollout_passes_through(report: Start, open_page: Open) -> None:
    old = report("users", "users-old", "1.0", SHUTDOWN_DELAY_SECONDS=2)
    page = open_page()
    card = page.locator('[data-service="users"]')
    expect(card.locator(".version")).to_have_text(["1.0"])
    report("users", "users-new", "1.1")
    expect(card.locator(".versions[data-rolling] .version")).to_have_text(["1.0", "1.1"])
    old.signal(signal.SIGTERM)
    expect(card.locator('[data-replica="users/users-old"] .c-state')).to_have_text("draining")
    expect(card.locator('[data-replica="users/users-old"] .c-state')).to_have_text("gone")
    expect(card.locator(".version")).to_have_text(["1.1"])
    page.get_by_role("link", name="Timeline").first.click()
    expect(page.locator(".events li", has_text="new version")).to_contain_text("1.1")
    bar = page.locator(".replica-bar", has_text="old")
    for state in ("ready", "draining", "gone"):
        expect(bar.locator(f".part.{state}")).to_have_count(1)


def test_scaling_from_two_to_five(report: Start, console: harness.Service, open_page: Open) -> None:
    for number in range(2):
        report("users", f"users-{number}")
    page = open_page("#/timeline")
    expect(page.locator(".replica-bar")).to_have_count(2)

    def stayed() -> bool:
        with urllib.request.urlopen(f"{console.http_url}/api/fleet") as answer:
            fleet = json.load(answer)
        since = max(one["since_ms"] for one in fleet["services"][0]["replicas"])
        return fleet["time_ms"] >= since + STABLE_MS

    harness.until(stayed, what="the console has not counted two")
    for number in range(2, 5):
        report("users", f"users-{number}")
    expect(page.locator(".replica-bar")).to_have_count(5)
    expect(page.locator(".events li", has_text="scaled").filter(has_text="→ 5").first).to_be_visible()
    page.get_by_role("link", name="Fleet").first.click()
    expect(page.locator('[data-service="users"] .states')).to_have_text("5 ready")


# ---- from a slow request to its log line ----


def test_a_slow_request_is_three_clicks_from_its_log_line(fleet: dict[str, Replica], open_page: Open) -> None:
    slow = fleet["shop-a"].request("GET /report", 1500)
    fleet["stock-a"].request("stock.Stock/List", 1400, parent=slow).log("read 9000 shelves", "WARNING", shelves=9000)
    page = open_page()
    clicks = 0

    def click(role: Literal["link", "button"], name: str) -> None:
        nonlocal clicks
        clicks += 1
        page.get_by_role(role, name=name).first.click()

    click("link", "Traces")
    click("button", "> 1 s")
    expect(page.locator("[data-trace]")).to_have_count(1)
    click("link", "GET /report")
    expect(page.locator(".beside .message")).to_have_text(["read 9000 shelves"])
    assert clicks == 3
    span = page.locator("button.span", has_text="List")
    span.click()
    expect(page.locator(".entry.of-span .message")).to_have_text(["read 9000 shelves"])
    page.locator(".beside button.line").click()
    expect(page.locator(".beside .details")).to_contain_text("9000")


def test_a_trace_that_is_no_longer_kept(open_page: Open) -> None:
    page = open_page()  # before: its log has the 404 that the browser writes there
    open_page.wrong.clear()  # type: ignore[attr-defined]
    page.evaluate('location.hash = "#/traces/0123456789abcdef0123456789abcdef"')
    expect(page.get_by_text("This trace is no longer kept.")).to_be_visible()
    assert open_page.wrong == [  # type: ignore[attr-defined]
        "Failed to load resource: the server responded with a status of 404 (Not Found)"
    ]
    open_page.wrong.clear()  # type: ignore[attr-defined]


# ---- log lines ----


def test_log_lines_are_filtered_and_paused(fleet: dict[str, Replica], open_page: Open) -> None:
    page = open_page("#/logs")
    lines = page.locator(".loglist .message")
    expect(lines.filter(has_text="GET /shop/1 200")).to_have_count(20)
    page.get_by_label("Severity").select_option("WARNING")
    expect(lines).to_have_text([re.compile("^the shelf is empty"), re.compile("^slow request")])
    page.get_by_label("Service").select_option("stock")
    expect(lines).to_have_text([re.compile("^the shelf is empty")])
    fleet["shop-a"].log("not of this service", "ERROR")
    fleet["stock-a"].log("not severe enough")
    fleet["stock-a"].log("a new error", "ERROR")
    expect(lines).to_have_text([re.compile("^the shelf is empty"), "a new error"])
    page.get_by_role("button", name="Pause").click()
    fleet["stock-a"].log("while paused", "ERROR")
    expect(page.get_by_role("button", name="1 new line")).to_be_visible()
    expect(lines).to_have_count(2)
    page.get_by_role("button", name="Resume").click()
    expect(lines).to_have_count(3)
    page.get_by_label("Text").fill("shelf")
    expect(lines).to_have_count(1)


def test_log_rows_are_bounded(replica: NewReplica, open_page: Open) -> None:
    sender = replica("shop", "shop-a")
    sender.log_all([f"early {number}" for number in range(250)])
    page = open_page("#/logs")
    rows = page.locator(".loglist .entry")
    expect(rows).to_have_count(200)
    for batch in range(21):  # 50 come through at a time, the others are counted
        sender.log_all([f"line {batch}.{number}" for number in range(40)])
        expect(rows.last).to_contain_text(f"line {batch}.39")
    expect(rows).to_have_count(ROWS)
    expect(rows.first).to_contain_text("early 90")


# ---- what is hostile stays text ----


def test_hostile_texts_stay_texts(replica: NewReplica, open_page: Open) -> None:
    bad = replica(f"shop{HOSTILE}"[:60], f"a{HOSTILE}"[:120], "1<b>2</b>").phase("ready")
    call = bad.request(f"GET {HOSTILE}", 12, failed=True, **{"url.path": HOSTILE, HOSTILE[:60]: "x"})
    call.log(HOSTILE, "ERROR", **{"path": HOSTILE, HOSTILE[:60]: HOSTILE})
    page = open_page()
    expect(page.locator(".card h2")).to_have_text(f"shop{HOSTILE}"[:60])
    expect(page.locator(".card .version")).to_have_text("1<b>2</b>")
    page.evaluate('location.hash = "#/timeline"')
    expect(page.locator(".lane-name")).to_have_text(f"shop{HOSTILE}"[:60])
    page.evaluate('location.hash = "#/logs"')
    page.locator("button.line", has_text=HOSTILE).click()
    expect(page.locator(".details .full")).to_have_text(HOSTILE)
    expect(page.locator(".details dd", has_text=HOSTILE).first).to_be_visible()
    page.get_by_role("link", name="Open trace").click()
    expect(page.locator(".trace-head .name")).to_have_text(f"GET {HOSTILE}")
    page.locator("button.span").click()
    expect(page.locator(".about dd", has_text=HOSTILE).first).to_be_visible()
    page.evaluate('location.hash = "#/traces"')
    expect(page.locator("[data-trace] .name")).to_have_text(f"GET {HOSTILE}")
    for route in ("#/stores", f"#/fleet/{HOSTILE}", f"#/traces/{HOSTILE}", f"#/logs?text={HOSTILE}", f"#/{HOSTILE}"):
        page.evaluate("route => { location.hash = route }", route)
        expect(page.locator("main h1").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script, main iframe").count() == 0
    open_page.wrong[:] = [line for line in open_page.wrong if "status of 4" not in line]  # type: ignore[attr-defined]


MARKUP = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|createContextualFragment|srcdoc|setHTML|javascript:"


def test_no_script_makes_markup() -> None:
    scripts = sorted(WWW.glob("*.js"))
    assert len(scripts) > 10
    found = [
        f"{path.name}: {line}" for path in scripts for line in path.read_text().splitlines() if re.search(MARKUP, line)
    ]
    assert found == []


def test_nothing_is_inline_or_from_elsewhere() -> None:
    page = (WWW / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    for path in [*WWW.glob("*.html"), *WWW.glob("*.css"), *WWW.glob("*.js")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]+/|@import", text), path.name
        assert path.suffix != ".css" or "url(" not in text, path.name


# ---- keyboard ----


def test_everything_is_reached_by_keyboard(fleet: dict[str, Replica], open_page: Open) -> None:
    page = open_page()
    expect(page.locator(".card")).to_have_count(2)
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    seen = walk(page)
    for name in ("shop", "stock", "Traces", "Logs"):
        assert any(name in each for each in seen), (name, seen)
    page.keyboard.press("2")
    expect(page.get_by_role("heading", name="Traces")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.type("2")  # text, not a key of the page
    expect(page.get_by_label("Text")).to_have_value("2")
    page.get_by_label("Text").fill("")
    first = page.locator("[data-row]").first
    first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-row]").nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("button.span").first).to_be_visible()
    page.locator("button.span").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator('button.span[aria-pressed="true"]')).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Traces")).to_be_visible()


def walk(page: Page) -> list[str]:
    """Tabs on until the focus leaves the page; every place must show that it has the focus. The names of all."""
    names = []
    for _ in range(200):
        page.keyboard.press("Tab")
        at = page.evaluate(
            """() => {
                const at = document.activeElement;
                if (at === document.body) return null;
                const style = getComputedStyle(at);
                return { name: at.getAttribute("aria-label") || at.innerText, outline: parseFloat(style.outlineWidth), kind: style.outlineStyle };
            }"""
        )
        if at is None:
            return names
        assert at["kind"] != "none", at
        assert at["outline"] >= 2, at
        names.append(at["name"])
    raise AssertionError(f"the focus does not leave: {names[-5:]}")


def test_keys_of_one_character_can_be_turned_off(fleet: dict[str, Replica], open_page: Open) -> None:
    page = open_page()
    expect(page.locator(".card")).to_have_count(2)
    page.keyboard.press("?")
    page.get_by_label("Keys of one character are enabled").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("3")
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
    page.get_by_role("button", name="Keyboard help").click()
    page.get_by_label("Keys of one character are enabled").check()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("3")
    expect(page.get_by_role("heading", name="Logs")).to_be_visible()


# ---- accessible, narrow, light and dark ----


def settled(page: Page, route: str) -> None:
    """On that view, with what it shows first."""
    page.evaluate("route => { location.hash = route }", route)
    shown = {
        "#/fleet": ".card",
        "#/traces": "[data-trace]",
        "#/logs": ".loglist .entry",
        "#/timeline": ".replica-bar",
        "#/stores": ".empty",
        "#/interfaces/notes": ".operation",
        "#/interfaces/route-guide": ".method",
        "trace": "button.span",
    }
    expect(page.locator(shown["trace"] if route.startswith("#/traces/") else shown[route]).first).to_be_visible()


def routes(console: harness.Service) -> list[str]:
    """All views, and the trace with the error."""
    failed = kept(console, "/api/traces?errors=1")["traces"]
    return [*VIEWS, f"#/traces/{failed[0]['trace_id']}"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious(
    fleet: dict[str, Replica], console: harness.Service, open_page: Open, axe: str, scheme: str, width: int
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    found = []
    for route in routes(console):
        settled(page, route)
        for closed in page.locator(".operation > summary").all()[:3]:
            closed.click()
        for line in page.locator("button.line").all()[-2:]:
            line.click()
        page.evaluate(axe)
        result = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        found += [
            f"{route}: {each['id']}: {node['html'][:160]}: {node['failureSummary']}"
            for each in result["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]
    assert not found, "\n".join(found)


def test_a_phone_scrolls_in_one_direction(fleet: dict[str, Replica], console: harness.Service, open_page: Open) -> None:
    fleet["shop-a"].request("GET /" + "long" * 60, 3).log("x" * 900)
    page = open_page(**PHONE)
    wide = []
    for route in routes(console):
        settled(page, route)
        for line in page.locator("button.line").all()[-2:]:
            line.click()
        if (width := page.evaluate("document.documentElement.scrollWidth")) > PHONE["viewport"]["width"]:
            wide.append(f"{route}: {width}")
    assert wide == []
    page.get_by_role("button", name="More").click()
    page.locator("#more").get_by_role("link", name="Stores").click()
    expect(page.get_by_role("heading", name="Stores")).to_be_visible()


def test_the_theme_is_chosen_and_kept(console: harness.Service, open_page: Open) -> None:
    page = open_page(color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    switch = page.locator("#theme")
    switch.click()  # light, whatever the system has
    assert page.evaluate(ground) == light
    page.reload()
    assert page.evaluate(ground) == light
    switch.click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) == dark


# ---- connection ----


def test_a_lost_connection_is_shown_and_comes_back(console: harness.Service, open_page: Open) -> None:
    page = open_page()
    expect(page.locator("#connection")).to_have_text("Live")
    with console.stopped():  # connections stay open, and silent
        expect(page.locator("#lost")).to_be_visible()
        expect(page.locator("#connection")).to_have_text(re.compile("Retry"))
        page.get_by_role("button", name="Retry now").click()
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("#connection")).to_have_text("Live")


def test_without_services_it_says_what_to_do(open_page: Open) -> None:
    page = open_page()
    expect(page.get_by_text("No service has reported yet.")).to_be_visible()
    expect(page.get_by_text("./dev up")).to_be_visible()
    for route, text in (("#/traces", "No trace matches."), ("#/logs", "No line matches."), ("#/timeline", "Nothing has changed yet."),
                        ("#/stores", "No service has reported a store.")):  # fmt: skip
        page.evaluate("route => { location.hash = route }", route)
        expect(page.get_by_text(text)).to_be_visible()


# ---- interfaces, and what only ./dev up allows ----


def test_interfaces_of_services(open_page: Open) -> None:
    page = open_page("#/interfaces/route-guide", permissions=["clipboard-read", "clipboard-write"])
    method = page.locator(".method", has_text="GetFeature")
    expect(method.locator(".signature")).to_have_text("rpc GetFeature(Point) returns (Feature)")
    expect(page.locator(".signature", has_text="RouteChat")).to_contain_text(
        "(stream RouteNote) returns (stream RouteNote)"
    )
    command = method.locator(".command code").inner_text()
    assert command.startswith("grpcurl -plaintext")
    method.get_by_role("button", name="Copy").click()
    expect(method.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == command
    page.locator(".index").get_by_role("link", name="notes").click()
    create = page.locator("details.operation", has=page.locator(".verb.post"))
    create.locator("> summary").click()
    expect(create).to_contain_text("Idempotency-Key")
    expect(create.locator(".shape").first).to_contain_text("title")
    expect(create.locator(".status", has_text="201")).to_be_visible()


def test_nothing_is_sent_in_a_cluster(open_page: Open) -> None:
    page = open_page("#/fleet")
    expect(page.locator("#mode")).to_have_text("cluster")
    expect(page.locator('.side [data-view="try"]')).to_be_hidden()
    page.locator("body").press("7")
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()


@pytest.fixture
def local(start: Start, tmp_path: Path) -> tuple[harness.Service, str]:
    """A console as ./dev up starts it, with the address that is printed, and users beside it."""
    users = start("users")
    token, state = tmp_path / "token", tmp_path / "up.json"
    token.write_text("a-token-of-the-test\n")
    state.write_text(json.dumps({"services": {"users": {"http": users.http_url.removeprefix("http://")}}}))
    console = start("console", CONSOLE_TOKEN_FILE=token, CONSOLE_SERVICES_FILE=state)
    return console, f"{console.http_url}/#token={token.read_text().strip()}"


def test_a_request_is_tried(local: tuple[harness.Service, str], browser: object) -> None:
    console, address = local
    with contextlib.closing(browser.new_context()) as context:  # type: ignore[attr-defined]
        page = context.new_page()
        page.goto(address)
        expect(page.locator("#mode")).to_have_text("local")
        assert "token" not in page.url
        page.get_by_role("link", name="Try").first.click()
        form = page.locator("form", has=page.get_by_role("heading", name="Request"))
        form.get_by_label("Service").select_option("users")
        form.get_by_label("Path").fill("/users/1234")
        form.get_by_role("button", name="Send").click()
        expect(form.locator(".answer .status")).to_have_text("200")
        expect(form.locator(".answer pre")).to_contain_text('"user_id": "1234"')
        assert "token" not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
        page.reload()
        page.goto(f"{console.http_url}/#/try")
        expect(page.get_by_text("This page has no token.")).to_be_visible()


def test_traffic_is_sent(local: tuple[harness.Service, str], browser: object) -> None:
    _console, address = local
    with contextlib.closing(browser.new_context()) as context:  # type: ignore[attr-defined]
        page = context.new_page()
        page.goto(address)
        page.get_by_role("link", name="Try").first.click()
        form = page.locator("form", has=page.get_by_role("heading", name="Traffic"))
        form.get_by_label("Path").fill("/users/traffic")
        form.get_by_label("Service").select_option("users")
        form.get_by_label("Requests per second").fill("50")
        form.get_by_label("Seconds").fill("1")
        form.get_by_role("button", name="Start").click()
        expect(form.get_by_role("status")).to_contain_text("Sending 50 requests/s to users for 1 s.")
