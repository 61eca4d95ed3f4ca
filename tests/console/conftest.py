"""Fixtures of the page's tests: the built console, a browser, and pages that must stay without errors and at home."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from telemetry import Replica

import harness

PATIENCE_MS = 30_000  # a bound, no expectation
DESKTOP = {"width": 1280, "height": 800}

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., harness.Service]]:
    """start(NAME, *flags, **environment): a service that is ready; stopped and checked when the test ends."""
    with harness.services(tmp_path) as factory:
        yield factory


@pytest.fixture
def console(start: Callable[..., harness.Service]) -> harness.Service:
    return start("console")


@pytest.fixture
def replica(console: harness.Service) -> Iterator[Callable[..., Replica]]:
    """replica(SERVICE, INSTANCE, VERSION): what reports to the console as such a process."""
    with grpc.insecure_channel(console.grpc_address) as channel:
        yield lambda *args, **more: Replica(channel, *args, **more)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        launched = playwright.chromium.launch(executable_path=os.environ["SLIPWAY_CHROMIUM"], args=arguments)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser, console: harness.Service) -> Iterator[Callable[..., Page]]:
    """open_page(ROUTE, **options of the context): the page of the console. At the end it must have written no error to its
    log, thrown none, and asked nobody but the console."""
    wrong: list[str] = []
    contexts = []
    home = console.http_url

    def opened(route: str = "#/fleet", **options: object) -> Page:
        context = browser.new_context(**({"viewport": DESKTOP} | options))  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(f"thrown: {error}"))
        page.on("request", lambda asked: asked.url.startswith(f"{home}/") or wrong.append(f"asked: {asked.url}"))
        page.goto(f"{home}/{route}")
        return page

    opened.wrong = wrong  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        context.close()
    assert not wrong


@pytest.fixture(scope="session")
def axe() -> str:
    return Path(os.environ["SLIPWAY_AXE"]).read_text()
