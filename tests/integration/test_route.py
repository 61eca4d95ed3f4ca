"""System A: route-guide and feature-store, all rpcs of both, with clients made by the stock protobuf compiler."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import re
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest

import etcd
import harness
from conftest import Routes
from harness import ROOT, SANITIZED, Service, until
from system import held_port

FEATURES = ROOT / "share/route-guide/features.json"
KNOWN = (409146138, -746188906)
KNOWN_NAME = "Berkshire Valley Management Area Trail, Jefferson, NJ, USA"
BEYOND = [(900000001, 0), (-900000001, 0), (0, 1800000001), (0, -1800000001)]
WORLD = ((-900000000, -1800000000), (900000000, 1800000000))
TIMEOUT = harness.START_S
KILLS = int(os.environ.get("KILLS", "10" if SANITIZED else "100"))

SOON = {"MAX_CONNECTION_AGE_MS": 200}  # for servers that are to end while clients are connected

Place = tuple[int, int]
Start = Callable[..., Service]


class Guide:
    """A route guide as Python calls it: points are pairs, results are plain values."""

    def __init__(self, stubs: SimpleNamespace, channel: grpc.Channel) -> None:
        self.pb = stubs.routeguide
        self.channel = channel
        self.stub = stubs.routeguide_grpc.RouteGuideStub(channel)
        self.history_stub = stubs.routeguide_grpc.FeatureHistoryStub(channel)

    def point(self, place: Place) -> Any:
        return self.pb.Point(latitude=place[0], longitude=place[1])

    def rectangle(self, lo: Place | None, hi: Place | None) -> Any:
        corners = {name: self.point(corner) for name, corner in (("lo", lo), ("hi", hi)) if corner is not None}
        return self.pb.Rectangle(**corners)

    def feature(self, place: Place | None, name: str) -> Any:
        return self.pb.Feature(name=name, location=None if place is None else self.point(place))

    def note(self, place: Place | None, message: str) -> Any:
        return self.pb.RouteNote(message=message, location=None if place is None else self.point(place))

    def get(self, place: Place, **metadata: str) -> str:
        feature = self.stub.GetFeature(self.point(place), timeout=TIMEOUT, metadata=pairs(metadata))
        assert feature.HasField("location")
        assert where(feature) == place
        return str(feature.name)

    def save(self, place: Place | None, name: str, **metadata: str) -> None:
        result = self.stub.SaveFeature(self.feature(place, name), timeout=TIMEOUT, metadata=pairs(metadata))
        assert result.ok is True

    def list(self, lo: Place | None, hi: Place | None, **metadata: str) -> list[tuple[Place, str]]:
        stream = self.stub.ListFeatures(self.rectangle(lo, hi), timeout=TIMEOUT * 3, metadata=pairs(metadata))
        return [(where(feature), feature.name) for feature in stream]

    def record(self, places: Iterable[Place], **metadata: str) -> Any:
        points = (self.point(place) for place in places)
        return self.stub.RecordRoute(points, timeout=TIMEOUT, metadata=pairs(metadata))

    def chat(self, notes: Iterable[tuple[Place | None, str]]) -> list[tuple[Place, str]]:
        stream = self.stub.RouteChat((self.note(*note) for note in notes), timeout=TIMEOUT * 3)
        return [(where(note), note.message) for note in stream]

    def saves(self, place: Place | None, size: int = 0, token: str = "", **metadata: str) -> Any:
        request = self.pb.ListSavesRequest(page_size=size, page_token=token)
        if place is not None:
            request.location.CopyFrom(self.point(place))
        return self.history_stub.ListSaves(request, timeout=TIMEOUT, metadata=pairs(metadata))

    def history(self, place: Place) -> list[str]:
        """The names saved at a place, newest first, from all pages."""
        names, token = [], ""
        while True:
            page = self.saves(place, 7, token)
            names += [save.name for save in page.saves]
            token = page.next_page_token
            if not token:
                return names


def pairs(metadata: dict[str, str]) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), value) for name, value in metadata.items()]


def where(message: Any) -> Place:
    return (message.location.latitude, message.location.longitude)


def refuses(code: grpc.StatusCode, detail: str, call: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """The call ends with that status, and with a message that contains detail."""
    with pytest.raises(grpc.RpcError) as error:
        call(*args, **kwargs)
    assert error.value.code() == code, error.value.details()
    assert detail in error.value.details()


def invalid(detail: str, call: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    refuses(grpc.StatusCode.INVALID_ARGUMENT, detail, call, *args, **kwargs)


def counter(http: httpx.Client, service: Service, name: str) -> float:
    """A counter's value, summed up over its labels."""
    text = http.get(service.admin_url + "/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def distance(places: list[Place]) -> int:
    """What RecordRoute must say, computed here."""
    total = 0
    for a, b in itertools.pairwise(places):
        lat_a, lon_a, lat_b, lon_b = (math.radians(e7 / 1e7) for e7 in (*a, *b))
        h = math.sin((lat_b - lat_a) / 2) ** 2
        h += math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
        total += int(6371000 * 2 * math.atan2(math.sqrt(h), math.sqrt(1 - h)))
    return min(total, 2**31 - 1)


def write_features(path: Path, features: list[tuple[Place, str]]) -> Path:
    entries = [{"location": {"latitude": p[0], "longitude": p[1]}, "name": name} for p, name in features]
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def connect(channel: Callable[[str], grpc.Channel], stubs: SimpleNamespace) -> Callable[[Service], Guide]:
    return lambda service: Guide(stubs, channel(service.grpc_address))


@pytest.fixture
def guide(routes: Routes, connect: Callable[[Service], Guide]) -> Guide:
    return connect(routes.guide)


@pytest.fixture
def store(routes: Routes, connect: Callable[[Service], Guide]) -> Guide:
    return connect(routes.store)


@pytest.fixture(params=["route-guide", "feature-store"])
def either(request: pytest.FixtureRequest, routes: Routes, guide: Guide, store: Guide) -> tuple[Service, Guide]:
    """Both serve the same service: each test that asks for this runs with both."""
    return (routes.guide, guide) if request.param == "route-guide" else (routes.store, store)


# ---- GetFeature ----


def test_bytes_on_the_wire(guide: Guide) -> None:
    call = guide.channel.unary_unary("/routeguide.RouteGuide/GetFeature")
    request = bytes.fromhex("089aa68cc30110969f989cfdffffffff01")
    reply = call(request, timeout=TIMEOUT)
    assert reply == b"\x0a" + bytes([len(KNOWN_NAME)]) + KNOWN_NAME.encode() + b"\x12" + bytes([len(request)]) + request


def test_get_feature_saves_what_it_finds(guide: Guide, store: Guide) -> None:
    assert store.get(KNOWN) == ""
    assert guide.get(KNOWN) == KNOWN_NAME
    assert store.get(KNOWN) == KNOWN_NAME
    assert guide.get(KNOWN) == KNOWN_NAME
    assert store.history(KNOWN) == [KNOWN_NAME, KNOWN_NAME]


def test_get_feature_of_nothing_saves_nothing(guide: Guide, store: Guide) -> None:
    for place in [(0, 0), (KNOWN[0], KNOWN[1] + 1), WORLD[0], WORLD[1]]:
        assert guide.get(place) == ""
    assert store.list(*WORLD) == []


def test_get_feature_answers_the_first_of_a_location(
    start: Start, connect: Callable[[Service], Guide], tmp_path: Path
) -> None:
    store = start("feature-store")
    features = [((1, 1), "a"), ((2, 2), "first"), ((2, 2), "second"), ((3, 3), "")]
    file = write_features(tmp_path / "f.json", features)
    guide = connect(start("route-guide", FEATURE_STORE_SERVICE_ADDR=store.grpc_address, FEATURES_FILE=file))
    assert guide.get((2, 2)) == "first"
    assert guide.list((2, 2), (3, 3)) == features[1:]
    assert guide.get((3, 3)) == "", "an unnamed feature is one"
    assert [save.name for save in connect(store).saves((3, 3)).saves] == [""]
    assert guide.record([(3, 3), (4, 4)]).feature_count == 1


def test_points_beyond_the_bounds_are_refused(either: tuple[Service, Guide]) -> None:
    guide = either[1]
    for place in BEYOND:
        invalid("900000000", guide.get, place)
        invalid("location", guide.save, place, "x")
        invalid("corner lo", guide.list, place, (0, 0))
        invalid("corner hi", guide.list, (0, 0), place)
        invalid("", guide.record, [(0, 0), place, (1, 1)])
        invalid("", guide.chat, [((0, 0), "x"), (place, "y")])


def test_parts_that_are_missing_are_refused(either: tuple[Service, Guide]) -> None:
    guide = either[1]
    invalid("corner lo is missing", guide.list, None, (0, 0))
    invalid("corner hi is missing", guide.list, (0, 0), None)
    invalid("location is missing", guide.save, None, "x")
    invalid("is missing", guide.chat, [(None, "x")])


def test_a_failed_save_fails_get_feature(start: Start, connect: Callable[[Service], Guide], http: httpx.Client) -> None:
    address = f"127.0.0.1:{harness.free_port()}"
    server = start("route-guide", FEATURE_STORE_SERVICE_ADDR=address)
    guide = connect(server)
    refuses(grpc.StatusCode.UNAVAILABLE, "could not be saved", guide.get, KNOWN)
    assert counter(http, server, "route_guide_failed_saves_total") == 1
    refuses(grpc.StatusCode.UNAVAILABLE, "", guide.save, (1, 1), "x")
    assert guide.get((0, 0)) == "", "what is not saved needs no store"
    assert len(guide.list(*WORLD)) == 34003
    store = start("feature-store", GRPC_PORT=address.split(":")[1], **SOON)

    def works() -> bool:
        try:
            return guide.get(KNOWN) == KNOWN_NAME
        except grpc.RpcError:
            return False

    until(works, what="route-guide does not find the store")
    assert KNOWN_NAME in connect(store).history(KNOWN)


def test_a_store_that_hangs_fails_get_feature_in_time(
    start: Start, connect: Callable[[Service], Guide], http: httpx.Client
) -> None:
    store = start("feature-store")
    address = store.grpc_address
    server = start("route-guide", FEATURE_STORE_TIMEOUT_MS=200, FEATURE_STORE_SERVICE_ADDR=address)
    guide = connect(server)
    assert guide.get(KNOWN) == KNOWN_NAME
    with store.stopped():
        refuses(grpc.StatusCode.UNAVAILABLE, "DEADLINE_EXCEEDED", guide.get, KNOWN)
        assert counter(http, server, "route_guide_failed_saves_total") == 1
        patient = connect(start("route-guide", FEATURE_STORE_TIMEOUT_MS=60000, FEATURE_STORE_SERVICE_ADDR=address))
        with pytest.raises(grpc.RpcError) as error:
            patient.stub.GetFeature(patient.point(KNOWN), timeout=0.2)
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        call = patient.stub.GetFeature.future(patient.point(KNOWN), timeout=TIMEOUT)
        call.cancel()
    assert patient.get(KNOWN) == KNOWN_NAME


def test_trace_and_key_go_with_the_save(guide: Guide, routes: Routes) -> None:
    trace = uuid.uuid4().hex
    guide.stub.GetFeature(
        guide.point(KNOWN), timeout=TIMEOUT, metadata=[("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
    )
    for service, method in ((routes.guide, "GetFeature"), (routes.store, "SaveFeature")):
        line = service.wait_log(test=lambda line: line.get("logging.googleapis.com/trace", "").endswith(trace))
        assert line["httpRequest"]["requestUrl"] == f"http://{service.grpc_address}/routeguide.RouteGuide/{method}"


# ---- ListFeatures ----


def test_list_features_in_file_order(start: Start, connect: Callable[[Service], Guide], tmp_path: Path) -> None:
    rng = random.Random(1)
    features = [((rng.randint(-20, 20), rng.randint(-20, 20)), f"f{i}") for i in range(500)]
    file = write_features(tmp_path / "f.json", features)
    guide = connect(start("route-guide", FEATURE_STORE_SERVICE_ADDR="127.0.0.1:1", FEATURES_FILE=file))
    for _ in range(50):
        a, b = ((rng.randint(-25, 25), rng.randint(-25, 25)) for _ in range(2))
        inside = [
            feature
            for feature in features
            if min(a[0], b[0]) <= feature[0][0] <= max(a[0], b[0])
            and min(a[1], b[1]) <= feature[0][1] <= max(a[1], b[1])
        ]
        for lo, hi in ((a, b), (b, a), ((a[0], b[1]), (b[0], a[1]))):
            assert guide.list(lo, hi) == inside


def test_list_all_features(guide: Guide) -> None:
    expected = [
        ((entry["location"]["latitude"], entry["location"]["longitude"]), entry["name"])
        for entry in json.loads(FEATURES.read_text())
    ]
    assert len(expected) >= 20000
    assert guide.list(*WORLD) == expected


def test_a_list_that_is_not_read_to_its_end(either: tuple[Service, Guide], store: Guide) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.save((i, i), "x" * 1000), range(500)))
    stream = either[1].stub.ListFeatures(either[1].rectangle(*WORLD), timeout=TIMEOUT)
    next(stream)
    stream.cancel()
    assert either[1].get((5, 7)) == ""


# ---- RecordRoute ----


@pytest.mark.parametrize("count", [0, 1, 2, 101, 3000])
def test_record_route(count: int, either: tuple[Service, Guide], store: Guide) -> None:
    store.save(KNOWN, "x")
    rng = random.Random(count)
    places = [(rng.randint(-(10**9) * 9 // 10, 9 * 10**8), rng.randint(-18 * 10**8, 18 * 10**8)) for _ in range(count)]
    for i in range(0, count, 10):
        places[i] = KNOWN
    summary = either[1].record(places)
    assert summary.point_count == count
    assert summary.feature_count == places.count(KNOWN)
    assert summary.distance == distance(places)
    assert summary.elapsed_time >= 0


# ---- RouteChat ----


def test_route_chat(either: tuple[Service, Guide]) -> None:
    places: list[Place] = [(0, 1), (0, 2), (0, 3)]
    notes = [(place, f"{turn} {place}") for turn in ("first", "second") for place in places]
    first = either[1].chat(notes)
    assert first == notes[:3] + [notes[0], notes[3], notes[1], notes[4], notes[2], notes[5]]
    again = either[1].chat([((0, 1), "third")])
    assert again == [notes[0], notes[3], ((0, 1), "third")]


def test_route_chat_answers_each_note_at_once(either: tuple[Service, Guide]) -> None:
    guide = either[1]
    answered = threading.Semaphore(1)

    def notes() -> Iterator[Any]:
        for i in range(5):
            assert answered.acquire(timeout=TIMEOUT)
            yield guide.note((1, 1), str(i))

    stream = guide.stub.RouteChat(notes(), timeout=TIMEOUT)
    for i in range(5):
        assert [next(stream).message for _ in range(i + 1)] == [str(j) for j in range(i + 1)]
        answered.release()
    assert list(stream) == []


def test_route_chat_refuses_what_is_no_note(either: tuple[Service, Guide]) -> None:
    guide = either[1]
    assert guide.chat([((0, 0), "ä" * 512)]) == [((0, 0), "ä" * 512)]
    invalid("1024", guide.chat, [((0, 0), "x" * 1025)])
    call = guide.channel.stream_stream("/routeguide.RouteGuide/RouteChat")
    bad = guide.note((0, 0), "xx").SerializeToString().replace(b"xx", b"\xc3(")
    invalid("", list, call(iter([bad]), timeout=TIMEOUT))
    assert len(guide.chat([((0, 0), "y")])) == 2, "nothing of it was kept"


def test_route_chat_keeps_so_many_notes(either: tuple[Service, Guide], http: httpx.Client) -> None:
    server, guide = either
    replies = guide.chat([((5, 5), str(i)) for i in range(130)])
    assert [message for _, message in replies[-128:]] == [str(i) for i in range(2, 130)]
    assert counter(http, server, "route_chat_dropped_notes_total") == 2


def test_route_chat_with_a_client_that_reads_late(either: tuple[Service, Guide]) -> None:
    """More than any buffer between holds: the server must wait, and lose nothing."""
    guide, text, count = either[1], "x" * 1000, 60 if SANITIZED else 150
    stream = guide.stub.RouteChat((guide.note((7, 7), f"{i} {text}") for i in range(count)), timeout=TIMEOUT * 3)
    assert guide.chat([((8, 8), "another client")]) == [((8, 8), "another client")]
    numbers = [int(note.message.split()[0]) for note in stream]
    assert numbers == [j for i in range(count) for j in range(max(0, i - 127), i + 1)]


def test_route_chat_of_many_clients(either: tuple[Service, Guide]) -> None:
    guide, clients, notes = either[1], 6, 15

    def talk(client: int) -> list[tuple[Place, str]]:
        return guide.chat([((9, i % 2), f"{client}:{i}") for i in range(notes)])

    with ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(talk, range(clients)))
    for client, replies in enumerate(results):
        own = [i for i, (_, message) in enumerate(replies) if message.startswith(f"{client}:")]
        assert own, "each sees its own notes"
        assert replies[-1] == ((9, (notes - 1) % 2), f"{client}:{notes - 1}")
    everything = guide.chat([((9, 0), "last")])
    assert len(everything) == clients * ((notes + 1) // 2) + 1


# ---- SaveFeature ----


def test_what_is_saved_is_read_back(either: tuple[Service, Guide], store: Guide) -> None:
    names = ["plain", "", "Ä" * 512, "\U0001f600"]
    for i, name in enumerate(names):
        either[1].save((i, -i), name)
    for i, name in enumerate(names):
        assert store.get((i, -i)) == name
    assert sorted(store.list(*WORLD)) == [((i, -i), name) for i, name in enumerate(names)]


def test_save_feature_refuses_bad_names(either: tuple[Service, Guide], store: Guide) -> None:
    guide = either[1]
    invalid("1024", guide.save, (1, 1), "x" * 1025)
    call = guide.channel.unary_unary("/routeguide.RouteGuide/SaveFeature")
    bad = guide.feature((1, 1), "xx").SerializeToString().replace(b"xx", b"\xc3(")
    invalid("", call, bad, timeout=TIMEOUT)
    invalid("", call, b"\xff", timeout=TIMEOUT)
    assert store.list(*WORLD) == []


def test_text_with_a_nul_is_refused_whole(either: tuple[Service, Guide], store: Guide) -> None:
    _, guide = either
    place = (31, 32)
    for name in ("\0", "before\0behind", "behind\0"):
        invalid("a string must not contain a NUL", guide.save, place, name)
        invalid("a string must not contain a NUL", guide.chat, [(place, name)])
    assert store.get(place) == ""


def test_the_save_committed_last_is_answered(store: Guide) -> None:
    for name in ("a", "b", "c"):
        store.save((1, 2), name)
    store.save((1, 3), "other")
    assert store.get((1, 2)) == "c"
    assert store.list((1, 2), (1, 2)) == [((1, 2), "c")]
    assert store.history((1, 2)) == ["c", "b", "a"]


@pytest.mark.parametrize("bad", ["x" * 256, "a b"])
def test_bad_idempotency_keys_are_refused(bad: str, either: tuple[Service, Guide], store: Guide) -> None:
    invalid("idempotency-key", either[1].save, (1, 1), "x", idempotency_key=bad)
    assert store.history((1, 1)) == []


def test_a_key_saves_once(either: tuple[Service, Guide], store: Guide) -> None:
    guide, key = either[1], "!" + "k" * 253 + "~"
    for _ in range(3):
        guide.save((1, 1), "x", idempotency_key=key)
    assert store.history((1, 1)) == ["x"]
    invalid("another feature", guide.save, (1, 1), "y", idempotency_key=key)
    invalid("another feature", guide.save, (1, 2), "x", idempotency_key=key)
    guide.save((1, 1), "x", idempotency_key="other")
    guide.save((1, 1), "x")
    assert store.history((1, 1)) == ["x", "x", "x"]


def save_code(store: Guide, place: Place, key: str) -> grpc.StatusCode:
    try:
        store.save(place, "x", idempotency_key=key)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_a_key_saves_once_for_many_at_the_same_time(store: Guide) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: save_code(store, (1, 1), "k"), range(80)))
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}
    assert codes.count(grpc.StatusCode.OK) >= 1
    assert store.history((1, 1)) == ["x"]


def test_a_full_store_refuses_and_loses_nothing(start: Start, connect: Callable[[Service], Guide]) -> None:
    server = start("feature-store", STORE_MAX_BYTES="2Mi", **SOON)
    store = connect(server)
    saved = []
    with pytest.raises(grpc.RpcError) as error:
        for i in range(10000):
            store.save((i, 0), "x" * 1000)
            saved.append(i)
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [place[0] for place, _ in sorted(store.list(*WORLD))] == saved
    server.stop()
    assert len(connect(server.restart(STORE_MAX_BYTES="64Mi")).list(*WORLD)) == len(saved)


# ---- ListFeatures of feature-store ----


def test_list_features_finds_the_newest_in_a_rectangle(store: Guide) -> None:
    rng = random.Random(2)
    count = 300 if SANITIZED else 1500
    places = [(rng.randint(-30, 30), rng.randint(-30, 30)) for _ in range(count // 2)]
    places += [(rng.randint(-9 * 10**8, 9 * 10**8), rng.randint(-18 * 10**8, 18 * 10**8)) for _ in range(count // 2)]
    names: dict[Place, str] = {}
    for i, place in enumerate(places):
        names[place] = str(i)
    with ThreadPoolExecutor(8) as pool:  # one thread a place, so that its order is known
        list(pool.map(lambda place: [store.save(place, str(i)) for i, p in enumerate(places) if p == place], names))
    assert sorted(store.list(*WORLD)) == sorted(names.items())
    for _ in range(40):
        reach = rng.choice([(30, 30), (9 * 10**8, 18 * 10**8)])
        a, b = ((rng.randint(-reach[0], reach[0]), rng.randint(-reach[1], reach[1])) for _ in range(2))
        inside = [
            (place, name)
            for place, name in names.items()
            if min(a[0], b[0]) <= place[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= place[1] <= max(a[1], b[1])
        ]
        assert sorted(store.list(a, b)) == sorted(inside)


def test_a_thin_rectangle_among_many_points(store: Guide) -> None:
    """Nothing inside, and a point of another column between any two of the walk's jumps."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.save((i, 1), "x"), range(3000)))
    assert store.list((0, 0), (4000, 0)) == []
    store.save((2999, 0), "y")
    assert store.list((0, 0), (4000, 0)) == [((2999, 0), "y")]


# ---- history ----


def test_history_in_pages(store: Guide) -> None:
    for i in range(25):
        store.save((4, 4), str(i))
        store.save((4, 5), "other")
    newest_first = [str(i) for i in reversed(range(25))]
    page = store.saves((4, 4))
    assert [save.name for save in page.saves] == newest_first
    assert page.next_page_token == ""
    assert len({save.id for save in page.saves}) == 25
    assert {uuid.UUID(save.id).version for save in page.saves} == {7}
    sequences = [save.sequence for save in page.saves]
    assert sequences == sorted(sequences, reverse=True)
    for size in (1, 5, 24, 25, 26, 1000):
        names, token = [], ""
        for _ in range(26):
            page = store.saves((4, 4), size, token)
            names += [save.name for save in page.saves]
            token = page.next_page_token
            if not token:
                break
            assert len(page.saves) == size
        assert names == newest_first
    assert list(store.saves((0, 4)).saves) == []


def test_history_pages_hold_still_while_others_save(store: Guide) -> None:
    for i in range(6):
        store.save((4, 4), str(i))
    page = store.saves((4, 4), 3)
    store.save((4, 4), "later")
    rest = store.saves((4, 4), 3, page.next_page_token)
    assert [save.name for save in (*page.saves, *rest.saves)] == ["5", "4", "3", "2", "1", "0"]
    assert rest.next_page_token == ""


def test_history_with_long_names_is_not_more_than_a_message_holds(store: Guide) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.save((4, 4), f"{i:04}" + "x" * 1020), range(100)))
    assert len(store.history((4, 4))) == 100
    assert sum(len(save.name) for save in store.saves((4, 4), 1000).saves) <= 300 * 1024


def test_history_refuses_bad_pages(store: Guide) -> None:
    for i in range(3):
        store.save((4, 4), str(i))
        store.save((4, 5), str(i))
    for size in (-1, 1001, 2**31 - 1, -(2**31)):
        invalid("page_size", store.saves, (4, 4), size)
    token = store.saves((4, 4), 1).next_page_token
    for bad in (token + "0", token[:-1], token.upper() + "x", "g" + token[1:], "x", " "):
        invalid("page_token", store.saves, (4, 4), 1, bad)
    invalid("page_token", store.saves, (4, 5), 1, token)
    invalid("missing", store.saves, None)
    for place in BEYOND:
        invalid("", store.saves, place)


def test_how_stale_data_may_be(store: Guide) -> None:
    store.save((1, 1), "x")
    for good in ("0", "5", "31536000"):
        assert store.get((1, 1), x_max_stale=good) == "x"
        assert store.list((1, 1), (2, 2), x_max_stale=good) == [((1, 1), "x")]
        assert store.record([(1, 1)], x_max_stale=good).feature_count == 1
        assert len(store.saves((1, 1), x_max_stale=good).saves) == 1
    for bad in ("-1", "1.5", "x", "", "31536001"):
        invalid("x-max-stale", store.get, (1, 1), x_max_stale=bad)
        invalid("x-max-stale", store.list, (1, 1), (2, 2), x_max_stale=bad)
        invalid("x-max-stale", store.record, [(1, 1)], x_max_stale=bad)
        invalid("x-max-stale", store.saves, (1, 1), x_max_stale=bad)


def test_only_feature_store_has_history(guide: Guide) -> None:
    refuses(grpc.StatusCode.UNIMPLEMENTED, "", guide.saves, (1, 1))


# ---- retention ----

DROPPED = "feature_store_dropped_saves_total"


def test_history_is_bounded_a_point(start: Start, connect: Callable[[Service], Guide], http: httpx.Client) -> None:
    server = start("feature-store", HISTORY_PER_POINT=3, **SOON)
    store = connect(server)
    for i in range(40):
        for place in ((1, 1), (2, 2)):
            store.save(place, str(i))
    store.save((3, 3), "only")
    until(lambda: counter(http, server, DROPPED) == 74)
    for place in ((1, 1), (2, 2)):
        assert store.history(place) == ["39", "38", "37"]
    assert store.history((3, 3)) == ["only"]
    server.stop()
    server.restart(HISTORY_PER_POINT=1)
    until(lambda: counter(http, server, DROPPED) == 4, what="a lower bound holds for what is there")
    store = connect(server)
    assert store.history((1, 1)) == ["39"]
    assert store.get((2, 2)) == "39"


def test_history_is_bounded_in_all(start: Start, connect: Callable[[Service], Guide], http: httpx.Client) -> None:
    server = start("feature-store", HISTORY_TOTAL=10)
    store = connect(server)
    for i in range(8):
        for place in ((1, 1), (2, 2)):
            store.save(place, str(i))
    until(lambda: counter(http, server, DROPPED) == 6)
    assert store.history((1, 1)) == store.history((2, 2)) == ["7", "6", "5", "4", "3"]
    for i in range(12):  # more points than saves are kept: each keeps its newest
        store.save((10 + i, 0), "first")
    until(lambda: counter(http, server, DROPPED) == 14)
    assert store.history((1, 1)) == store.history((2, 2)) == ["7"]
    for i in range(12):
        store.save((10 + i, 0), "second")
    until(lambda: counter(http, server, DROPPED) == 26)
    assert [store.history((10 + i, 0)) for i in range(12)] == [["second"]] * 12
    assert len(store.list(*WORLD)) == 14


# ---- several replicas of feature-store, over etcd ----


def test_replicas_share_what_is_saved(
    start: Start, connect: Callable[[Service], Guide], http: httpx.Client, tmp_path: Path
) -> None:
    with etcd.running(tmp_path / "etcd") as address:
        settings = {"STORE_URL": f"etcd://{address}/features", "HISTORY_PER_POINT": 5, **SOON}
        servers = [start("feature-store", **settings) for _ in range(2)]
        stores = [connect(server) for server in servers]
        for i in range(20):
            stores[i % 2].save((1, 1), str(i))
            assert stores[1 - i % 2].get((1, 1)) == str(i), "the other one sees it at once"
        until(lambda: sum(counter(http, server, DROPPED) for server in servers) == 15)
        for store in stores:
            assert store.history((1, 1)) == ["19", "18", "17", "16", "15"]
            assert store.record([(1, 1), (2, 2)]).feature_count == 1
            assert store.list(*WORLD) == [((1, 1), "19")]
        assert stores[0].saves((1, 1)) == stores[1].saves((1, 1))
        page = stores[0].saves((1, 1), 2)
        assert [save.name for save in stores[1].saves((1, 1), 2, page.next_page_token).saves] == ["17", "16"]

        stores[0].save((2, 2), "x", idempotency_key="k")
        stores[1].save((2, 2), "x", idempotency_key="k")
        invalid("another feature", stores[1].save, (2, 2), "y", idempotency_key="k")
        assert stores[1].history((2, 2)) == ["x"]
        with ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda i: save_code(stores[i % 2], (3, 3), "same"), range(80)))
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}
        assert stores[0].history((3, 3)) == ["x"]
        for server in servers:
            server.stop()


def test_get_feature_survives_the_loss_of_a_replica(
    start: Start, connect: Callable[[Service], Guide], tmp_path: Path
) -> None:
    with etcd.running(tmp_path / "etcd") as address:
        servers = [start("feature-store", STORE_URL=f"etcd://{address}/features", **SOON) for _ in range(2)]
        addresses = ",".join(server.grpc_address for server in servers)
        server = start("route-guide", FEATURE_STORE_SERVICE_ADDR=addresses, **SOON)
        guide = connect(server)
        for i in range(60):
            if i == 20:
                servers[0].kill()
            assert guide.get(KNOWN) == KNOWN_NAME
        assert len(connect(servers[1]).history(KNOWN)) == 60, "a repeated save is one save"
        server.stop()
        servers[1].stop()


# ---- durability ----


def test_saves_survive_a_restart(start: Start, connect: Callable[[Service], Guide]) -> None:
    server = start("feature-store", **SOON)
    store = connect(server)
    for i in range(20):
        store.save((i % 5, -7), str(i), idempotency_key=str(i))
    before = [store.saves((i, -7)) for i in range(5)]
    server.stop()
    store = connect(server.restart())
    assert [store.saves((i, -7)) for i in range(5)] == before
    store.save((0, -7), "0", idempotency_key="0")
    assert store.saves((0, -7)) == before[0], "keys survive too"
    store.save((0, -7), "new")
    assert store.get((0, -7)) == "new"
    assert store.saves((0, -7)).saves[0].sequence > max(save.sequence for page in before for save in page.saves)


class Writers:
    """Threads that save, each place once, until the server is gone; they know what was acknowledged."""

    def __init__(self, store: Guide, longitude: int, threads: int = 4) -> None:
        self.store, self.longitude = store, longitude
        self.acknowledged: dict[Place, str] = {}
        self.first = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._write, args=(i, threads)) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def _write(self, first: int, step: int) -> None:
        latitude = first
        while True:
            place, name = (latitude, self.longitude), f"{latitude} {self.longitude}"
            try:
                self.store.save(place, name)
            except grpc.RpcError:
                return
            self.acknowledged[place] = name
            self.first.release()
            latitude += step

    def join(self) -> None:
        for thread in self._threads:
            thread.join(TIMEOUT)
            assert not thread.is_alive()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_acknowledged_save_is_lost_by_sigkill(start: Start, connect: Callable[[Service], Guide]) -> None:
    """KILLS times."""
    rng = random.Random(3)
    server = start("feature-store")
    acknowledged: dict[Place, str] = {}
    for longitude in range(KILLS):
        store = connect(server)
        writers = Writers(store, longitude)
        for _ in range(rng.randint(1, 40)):
            assert writers.first.acquire(timeout=TIMEOUT)
        server.kill()
        writers.join()
        server.restart()
        found = dict(connect(server).list((0, longitude), (10**6, longitude)))
        assert writers.acknowledged.items() <= found.items()
        acknowledged |= writers.acknowledged
    found = dict(connect(server).list(*WORLD))
    assert acknowledged.items() <= found.items()
    assert all(name == f"{place[0]} {place[1]}" for place, name in found.items())


# ---- route-guide's start ----


@pytest.mark.parametrize(
    ("text", "where_and_why"),
    [
        (None, "No such file or directory"),
        ("", ":1:1: '\\['"),
        ('[\n{"location":{"latitude":1,"longitude":1},"name":"a"},\n{"name":"b"}]', ":3:1: location must be"),
        ('[{"location":{"latitude":1,"longitude":1},"name":"a"}', "',' or '\\]' expected"),
    ],
    ids=["missing", "empty", "invalid", "cut"],
)
def test_a_bad_data_set_is_one_clear_line(text: str | None, where_and_why: str, tmp_path: Path) -> None:
    file = tmp_path / "features.json"
    if text is not None:
        file.write_text(text)
    settings = {"FEATURES_FILE": file, "FEATURE_STORE_SERVICE_ADDR": "127.0.0.1:1"}
    result = harness.run("route-guide", folder=tmp_path / "run", **settings)
    assert result.returncode == 1
    assert re.fullmatch(rf"route-guide: {re.escape(str(file))}.*{where_and_why}.*\n", result.stderr)


def test_route_guide_needs_a_store(tmp_path: Path) -> None:
    result = harness.run("route-guide", "-n", folder=tmp_path)
    assert result.returncode == 2
    assert "FEATURE_STORE_SERVICE_ADDR" in result.stderr


# ---- route-client ----


def client(address: str, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return harness.run("route-client", "--server", address, *args, folder=folder, timeout=TIMEOUT * 3)


def test_route_client_checks_a_run(routes: Routes, tmp_path: Path) -> None:
    for turn in range(30):  # the notes of the turns before are still there, at last as many as are kept
        result = client(routes.guide.grpc_address, tmp_path / "client", *(["--repeat", "3"] if turn % 2 else []))
        assert result.returncode == 0, result.stdout
    assert "all answers are right" in client(routes.guide.grpc_address, tmp_path / "client").stdout


def test_route_client_puts_load(routes: Routes, store: Guide, tmp_path: Path) -> None:
    result = client(routes.guide.grpc_address, tmp_path / "client", "--repeat=40", "--concurrency=8", "--json")
    assert result.returncode == 0, result.stdout
    report = json.loads(result.stdout)
    assert report["failed"] == 0
    assert {name: method["calls"] for name, method in report["methods"].items()} == {
        "GetFeature": 80,
        "ListFeatures": 40,
        "RecordRoute": 40,
        "RouteChat": 40,
    }
    for method in report["methods"].values():
        assert method["statuses"] == {"OK": method["calls"]}
        latency = [method["latency_ms"][name] for name in ("p50", "p90", "p99", "p99.9", "max")]
        assert latency == sorted(latency)
        assert latency[0] > 0
    result = client(routes.guide.grpc_address, tmp_path / "client", "--method=SaveFeature", "--repeat=50")
    assert result.returncode == 0
    assert re.search(r"^SaveFeature +50 +0 ", result.stdout, re.MULTILINE)
    assert sum(len(store.history(place)) for place, _ in store.list((1, 0), (1000, 0))) == 50
    assert client(routes.guide.grpc_address, tmp_path / "client", "--duration=1", "--method=GetFeature").returncode == 0


def test_route_client_counts_failures(start: Start, tmp_path: Path) -> None:
    dead = f"127.0.0.1:{held_port()}"
    result = client(dead, tmp_path / "client")
    assert result.returncode == 1
    assert result.stdout.count("FAILED: UNAVAILABLE") == 5
    report = json.loads(client(dead, tmp_path / "client", "--repeat=3", "--json").stdout)
    assert report["failed"] == 15
    assert report["methods"]["RouteChat"]["statuses"] == {"UNAVAILABLE": 3}
    empty = start("feature-store")
    result = client(empty.grpc_address, tmp_path / "client")
    assert result.returncode == 1
    assert "2 of 5 calls failed" in result.stdout, "a store that knows nothing answers, but not rightly"


@pytest.mark.parametrize("args", [["--repeat", "0"], ["--method", "Get"], ["--nonsense"], ["x"], ["--server", "x y"]])
def test_route_client_refuses_wrong_options(args: list[str], tmp_path: Path) -> None:
    result = harness.run("route-client", *args, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(("route-client: ", f"{harness.program('route-client')}: "))


def lying_server(stubs: SimpleNamespace, lie: str) -> grpc.Server:
    """A route guide that is right in all but one thing."""
    pb = stubs.routeguide
    notes: dict[Place, list[Any]] = {}

    class Servicer(stubs.routeguide_grpc.RouteGuideServicer):  # type: ignore[name-defined, misc]
        def GetFeature(self, request: Any, context: object) -> Any:
            name = KNOWN_NAME if (request.latitude, request.longitude) == KNOWN else ""
            if lie == "name" and name:
                name += "."
            if lie == "nothing":
                name = KNOWN_NAME
            if lie == "location":
                request.longitude += 1
            return pb.Feature(name=name, location=request)

        def ListFeatures(self, request: Any, context: object) -> Iterator[Any]:
            if lie != "empty":
                yield pb.Feature(name="a", location=request.lo)
                yield pb.Feature(name="b", location=request.hi)
            if lie == "outside":
                yield pb.Feature(name="c", location=pb.Point(latitude=request.hi.latitude + 1))

        def RecordRoute(self, request: Iterator[Any], context: object) -> Any:
            places = [(point.latitude, point.longitude) for point in request]
            summary = pb.RouteSummary(point_count=len(places), distance=distance(places))
            if lie == "points":
                summary.point_count += 1
            if lie == "distance":
                summary.distance -= 1
            if lie == "features":
                summary.feature_count = len(places) + 1
            if lie == "elapsed":
                summary.elapsed_time = 1000
            return summary

        def RouteChat(self, request: Iterator[Any], context: object) -> Iterator[Any]:
            for note in request:
                there = notes.setdefault(where(note), [])
                there.append(note)
                replies = list(there)
                if lie == "order":
                    replies.reverse()
                if lie == "twice":
                    replies.append(note)
                if lie == "lost":
                    replies = replies[-1:]
                if lie == "itself":
                    replies = replies[:-1]
                if lie == "place":
                    replies.insert(0, pb.RouteNote(message="x", location=pb.Point(latitude=1)))
                yield from replies

    server = grpc.server(ThreadPoolExecutor(4))
    stubs.routeguide_grpc.add_RouteGuideServicer_to_server(Servicer(), server)
    return server


LIES = [
    "name",
    "nothing",
    "location",
    "empty",
    "outside",
    "points",
    "distance",
    "features",
    "elapsed",
    "order",
    "twice",
    "lost",
    "itself",
    "place",
]


def reflected_bytes(service: Service) -> int:
    """What the log says of the length of one long response: the description of a service."""
    request = b"\x22\x15routeguide.RouteGuide"  # file_containing_symbol
    with grpc.insecure_channel(service.grpc_address) as channel:
        call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        (response,) = call(iter([request]), timeout=TIMEOUT)
    assert b"RouteGuide" in response
    line = service.wait_log(
        test=lambda line: "ServerReflectionInfo" in line.get("httpRequest", {}).get("requestUrl", "")
    )
    return int(line["httpRequest"]["responseSize"])


def test_responses_are_compressed_from_a_length_on(start: Start) -> None:
    """grpcio accepts gzip."""
    plain, long, compressed = (
        reflected_bytes(start("feature-store", LOG_LEVEL="debug", GRPC_COMPRESS_FROM_BYTES=length))
        for length in (0, 1_000_000, 100)
    )
    assert plain == long
    assert compressed < plain


@pytest.mark.parametrize("lie", ["", *LIES])
def test_route_client_finds_every_lie(lie: str, stubs: SimpleNamespace, tmp_path: Path) -> None:
    server = lying_server(stubs, lie)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        result = client(f"127.0.0.1:{port}", tmp_path / "client", "--timeout", "5")
    finally:
        server.stop(None).wait()
    assert result.returncode == (1 if lie else 0), result.stdout
    assert result.stdout.count("FAILED") == (2 if lie == "location" else bool(lie))
