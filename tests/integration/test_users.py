"""users and countries: what they answer, and what countries does when users is slow, wrong, away or many."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest

import harness
from harness import Service, free_port
from system import held_port

Start = Callable[..., Service]
BAD_IDS = ["a b", "a/b", "ä", "a.b", "a+b", "a%b", "a\n", "a'b", "x" * 65]
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def is_problem(reply: httpx.Response, status: int, words: str = "") -> bool:
    document = reply.json()
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert words in document["detail"]
    return True


def ask(countries: Service, http: httpx.Client, user_id: str = "1234") -> httpx.Response:
    return http.get(f"{countries.http_url}/countries", params={"user_id": user_id})


# ---- users ----


@pytest.mark.parametrize(
    ("user_id", "name"), [("1234", "Akira Weber"), ("alice", "Ayla Gupta"), ("Alice", "Mateo Nguyen")]
)
def test_a_name(start: Start, http: httpx.Client, user_id: str, name: str) -> None:
    reply = http.get(f"{start('users').http_url}/users/{user_id}")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.content == f'{{"user_id":"{user_id}","name":"{name}"}}'.encode()


def test_every_replica_gives_the_same_names(start: Start, http: httpx.Client) -> None:
    replicas = [start("users"), start("users")]
    ids = [str(i) for i in range(50)] + ["_", "-", "x" * 64, "Az-_09"]
    answers = [[http.get(f"{each.http_url}/users/{user_id}").text for user_id in ids] for each in replicas]
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == len(ids)


@pytest.mark.parametrize("user_id", [*BAD_IDS, "%", "\x7f"])
def test_a_bad_id(start: Start, http: httpx.Client, user_id: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in user_id.encode())
    assert is_problem(http.get(f"{start('users').http_url}/users/{quoted}"), 400, "1 to 64 of A-Z")


@pytest.mark.parametrize(("path", "status"), [("/users", 404), ("/users/", 404), ("/users/1/2", 404), ("/", 404)])
def test_other_paths_of_users(start: Start, http: httpx.Client, path: str, status: int) -> None:
    assert is_problem(http.get(start("users").http_url + path), status)


def test_nothing_is_written(start: Start, http: httpx.Client) -> None:
    url = f"{start('users').http_url}/users/1"
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert is_problem(http.request(method, url), 405)


# ---- countries ----


def test_a_country(people: SimpleNamespace, http: httpx.Client) -> None:
    reply = ask(people.countries, http)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.content == b'{"user_id":"1234","name":"Akira Weber","country":"Tunisia"}'


def test_ids_that_are_just_right(people: SimpleNamespace, http: httpx.Client) -> None:
    for user_id in ("x" * 64, "_-_", "0"):
        reply = ask(people.countries, http, user_id)
        assert list(reply.json()) == ["user_id", "name", "country"]
        assert reply.json()["user_id"] == user_id
        assert reply.json()["name"] == http.get(f"{people.users.http_url}/users/{user_id}").json()["name"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "missing"),
        ("?", "missing"),
        ("?userid=1", "missing"),
        ("?user_id", "1 to 64"),
        ("?user_id=", "1 to 64"),
        ("?user_id=1&user_id=1", "twice"),
        ("?user_id=%zz", "encoded"),
        ("?user_id=1&x=%", "the query is badly encoded"),
        ("?user_id=%00", "encoded"),
        *(("?user_id=" + "".join(f"%{byte:02X}" for byte in bad.encode()), "1 to 64") for bad in BAD_IDS),
    ],
)
def test_a_bad_request(people: SimpleNamespace, http: httpx.Client, query: str, words: str) -> None:
    assert is_problem(http.get(f"{people.countries.http_url}/countries{query}"), 400, words)
    assert not people.users.logs(test=lambda line: "httpRequest" in line), "users was asked"


def test_other_methods_of_countries(people: SimpleNamespace, http: httpx.Client) -> None:
    url = f"{people.countries.http_url}/countries?user_id=1"
    assert is_problem(http.post(url), 405)
    head = http.head(url)
    assert (head.status_code, head.content) == (200, b"")


def test_one_trace_joins_both(start: Start, http: httpx.Client) -> None:
    users = start("users", GOOGLE_CLOUD_PROJECT="shop")
    countries = start(
        "countries", USERS_SERVICE_ADDR=users.http_url.removeprefix("http://"), GOOGLE_CLOUD_PROJECT="shop"
    )
    parent = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
    http.get(f"{countries.http_url}/countries?user_id=1", headers={"traceparent": parent})
    http.get(f"{countries.http_url}/countries?user_id=2")
    spans = set()
    for user_id in (1, 2):
        front = countries.wait_log(message=f"GET /countries?user_id={user_id} 200")
        back = users.wait_log(message=f"GET /users/{user_id} 200")
        for member in ("trace", "trace_sampled"):
            assert front[f"logging.googleapis.com/{member}"] == back[f"logging.googleapis.com/{member}"]
        expected = f"projects/shop/traces/{TRACE_ID}"
        assert (front["logging.googleapis.com/trace"] == expected) == (user_id == 1)
        assert front["logging.googleapis.com/trace_sampled"] == (user_id == 1)
        spans |= {line["logging.googleapis.com/spanId"] for line in (front, back)}
    assert len(spans) == 4


# ---- users that fail ----


@contextlib.contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that listens in users' place: behave has each connection, when a request's head has been read."""
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        head = b""
        with contextlib.suppress(OSError):
            while not head.endswith(b"\r\n\r\n") and (chunk := connection.recv(4096)):
                head += chunk
            if head:
                behave(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(harness.START_S)
    for connection in connections:
        connection.close()


def answer(head: str, body: bytes = b"") -> Callable[[socket.socket], None]:
    """Sends this and closes."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + body)
        connection.close()

    return behave


def document(body: bytes) -> Callable[[socket.socket], None]:
    return answer(f"HTTP/1.1 200 OK\ncontent-length: {len(body)}\n", body)


def hang(connection: socket.socket) -> None:
    """Never answers; the end of peer closes."""


def begin_and_hang(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")


def test_users_is_away(start: Start, http: httpx.Client) -> None:
    countries = start("countries", USERS_SERVICE_ADDR=f"127.0.0.1:{held_port()}")
    reply = ask(countries, http)
    assert is_problem(reply, 503, "cannot be reached")
    assert reply.headers["retry-after"] == "1"
    line = countries.wait_log(message="GET /countries?user_id=1234 503")
    assert (line["severity"], line["detail"]) == ("ERROR", "users cannot be reached")
    assert http.get(f"{countries.admin_url}/readyz").status_code == 200


def test_users_has_no_address(start: Start, http: httpx.Client) -> None:
    countries = start("countries", USERS_SERVICE_ADDR="users.invalid:8080", USERS_TIMEOUT_MS=20000)
    assert is_problem(ask(countries, http), 503, "cannot be reached")


@pytest.mark.parametrize("behave", [hang, begin_and_hang])
def test_users_hangs(start: Start, http: httpx.Client, behave: Callable[[socket.socket], None]) -> None:
    with peer(behave) as address:
        countries = start("countries", USERS_SERVICE_ADDR=address, USERS_TIMEOUT_MS=200)
        assert is_problem(ask(countries, http), 504, "in time")


def test_many_questions_to_users_that_hang(start: Start, http: httpx.Client) -> None:
    with peer(hang) as address, ThreadPoolExecutor(40) as pool:
        countries = start("countries", USERS_SERVICE_ADDR=address, USERS_TIMEOUT_MS=500, WORKERS=1)
        questions = [pool.submit(ask, countries, http, str(i)) for i in range(40)]
        assert is_problem(http.get(f"{countries.http_url}/countries"), 400), "others are served meanwhile"
        assert all(is_problem(each.result(), 504) for each in questions)


@pytest.mark.parametrize(
    "behave",
    [
        lambda connection: connection.close(),
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{") or connection.close(),
    ],
    ids=["at once", "in the middle"],
)
def test_users_breaks_off(start: Start, http: httpx.Client, behave: Callable[[socket.socket], None]) -> None:
    with peer(behave) as address:
        assert is_problem(ask(start("countries", USERS_SERVICE_ADDR=address), http), 503, "cannot be reached")


@pytest.mark.parametrize(
    "behave",
    [
        answer("SSH-2.0-OpenSSH_9.2\n"),
        answer("HTTP/1.1 404 Not Found\ncontent-length: 2\n", b"{}"),
        answer("HTTP/1.1 503 Service Unavailable\ncontent-length: 0\n"),
        answer("HTTP/1.1 302 Found\nlocation: /\ncontent-length: 0\n"),
        answer("HTTP/1.1 204 No Content\n"),
        document(b""),
        document(b"Akira"),
        document(b'{"user_id":"1234","name":"A"'),
        document(b'["1234","A"]'),
        document(b'{"user_id":"1234"}'),
        document(b'{"name":"A"}'),
        document(b'{"user_id":"1235","name":"A"}'),
        document(b'{"user_id":1234,"name":"A"}'),
        document(b'{"user_id":"1234","name":null}'),
        document(b'{"user_id":"1234","name":"A","name":"B"}'),
        document(b'{"user_id":"1234","name":"\xff"}'),
        document(b'{"user_id":"1234","name":"%s"}' % (b"A" * 5000)),
        document(b"[" * 4000),
    ],
)
def test_users_makes_no_sense(start: Start, http: httpx.Client, behave: Callable[[socket.socket], None]) -> None:
    with peer(behave) as address:
        assert is_problem(ask(start("countries", USERS_SERVICE_ADDR=address), http), 502, "users")


def test_users_may_say_more(start: Start, http: httpx.Client) -> None:
    body = '{"since":2020,"name":"Zoë","user_id":"1234"}'.encode()
    with peer(document(body)) as address:
        reply = ask(start("countries", USERS_SERVICE_ADDR=address), http)
    assert reply.content == '{"user_id":"1234","name":"Zoë","country":"Tunisia"}'.encode()


def test_users_comes_back(start: Start, http: httpx.Client) -> None:
    port = free_port()
    users = start("users", PORT=port)
    countries = start("countries", USERS_SERVICE_ADDR=f"127.0.0.1:{port}")
    assert ask(countries, http).status_code == 200
    users.kill()
    assert is_problem(ask(countries, http), 503)
    users.restart()
    harness.until(lambda: ask(countries, http).status_code == 200)


def test_clients_that_go(start: Start, http: httpx.Client) -> None:
    asked = threading.Semaphore(0)
    go_on = threading.Event()

    def behave(connection: socket.socket) -> None:
        asked.release()
        go_on.wait(harness.START_S)
        document(b'{"user_id":"1","name":"A"}')(connection)

    with peer(behave) as address:
        countries = start("countries", USERS_SERVICE_ADDR=address, USERS_TIMEOUT_MS=20000, WORKERS=1)
        url = urlsplit(countries.http_url)
        for _ in range(20):
            client = socket.create_connection((url.hostname, url.port))
            client.sendall(b"GET /countries?user_id=1 HTTP/1.1\r\nhost: c\r\n\r\n")
            assert asked.acquire(timeout=harness.START_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
            client.close()
        assert is_problem(http.get(f"{countries.http_url}/countries"), 400)
        go_on.set()
        assert ask(countries, http, "1").status_code == 200


def test_clients_that_go_over_http2(start: Start) -> None:
    with peer(hang) as address:
        countries = start("countries", USERS_SERVICE_ADDR=address, USERS_TIMEOUT_MS=300)
        with httpx.Client(http1=False, http2=True, timeout=0.05) as client, pytest.raises(httpx.ReadTimeout):
            client.get(f"{countries.http_url}/countries?user_id=1")
        countries.wait_log(message="GET /countries?user_id=1 499")
        countries.stop()


def test_a_question_in_flight_survives_sigterm(start: Start) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def behave(connection: socket.socket) -> None:
        asked.set()
        go_on.wait(harness.START_S)
        document(b'{"user_id":"1","name":"A"}')(connection)

    with peer(behave) as address, ThreadPoolExecutor(1) as pool, httpx.Client(timeout=harness.START_S) as client:
        countries = start("countries", USERS_SERVICE_ADDR=address, USERS_TIMEOUT_MS=20000)
        reply = pool.submit(ask, countries, client, "1")
        assert asked.wait(harness.START_S)
        countries.signal()
        countries.wait_log(message="draining")
        go_on.set()
        assert reply.result().status_code == 200
        client.close()
        countries.stop()


# ---- several users ----


def start_users(start: Start, count: int) -> tuple[list[Service], str]:
    """So many users at addresses of their own, and the target that names them all."""
    port = free_port()
    hosts = [f"127.0.0.{2 + i}" for i in range(count)]
    return [start("users", BIND_ADDRESS=host, PORT=port) for host in hosts], ",".join(
        f"{host}:{port}" for host in hosts
    )


def answered(users: Service) -> int:
    return len(users.logs(test=lambda line: "httpRequest" in line))


def wait_answered(users: list[Service], count: int) -> list[int]:
    """How many each has answered, when all have together answered so many."""
    harness.until(lambda: sum(answered(each) for each in users) >= count)
    return [answered(each) for each in users]


def test_questions_are_spread_evenly(start: Start, http: httpx.Client) -> None:
    users, target = start_users(start, 3)
    countries = start("countries", USERS_SERVICE_ADDR=target, WORKERS=2)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda i: ask(countries, http, str(i)), range(300)))
    assert Counter(reply.status_code for reply in replies) == {200: 300}
    counts = wait_answered(users, 300)
    assert sum(counts) == 300
    assert max(counts) - min(counts) <= 2, "each worker goes round"


def test_the_others_take_over(start: Start, http: httpx.Client) -> None:
    users, target = start_users(start, 3)
    countries = start("countries", USERS_SERVICE_ADDR=target)
    for i in range(30):
        assert ask(countries, http, str(i)).status_code == 200
    users[0].kill()
    for i in range(30):
        assert ask(countries, http, str(i)).status_code == 200
    users[0].restart()

    def again() -> bool:
        assert ask(countries, http).status_code == 200
        return answered(users[0]) > 0

    harness.until(again)


def test_a_silent_address_fails_no_question(start: Start, http: httpx.Client) -> None:
    """A full backlog drops what comes, as a node does that has died."""
    with socket.socket() as silent, contextlib.ExitStack() as waiting:
        silent.bind(("127.0.0.2", 0))
        silent.listen(0)
        waiting.enter_context(socket.create_connection(silent.getsockname()))
        users = start("users").http_url.removeprefix("http://")
        target = f"127.0.0.2:{silent.getsockname()[1]},{users}"
        countries = start("countries", USERS_SERVICE_ADDR=target)
        assert [ask(countries, http, str(i)).status_code for i in range(10)] == [200] * 10


def test_rolling_users_fails_no_question(start: Start) -> None:
    users, target = start_users(start, 2)
    countries = start("countries", USERS_SERVICE_ADDR=target)
    stop = threading.Event()

    def load(worker: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        with httpx.Client(timeout=harness.START_S) as client:
            while not stop.is_set():
                statuses[ask(countries, client, str(worker)).status_code] += 1
        return statuses

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(load, i) for i in range(4)]
        try:
            for each in users:
                each.stop()
                each.restart()
                harness.until(lambda each=each: answered(each) > 0)
        finally:
            stop.set()
    total = sum((result.result() for result in results), Counter())
    assert set(total) == {200}, total


# ---- options ----


@pytest.mark.parametrize(
    ("settings", "status", "said"),
    [
        ({}, 2, "USERS_SERVICE_ADDR: must be set"),
        ({"USERS_SERVICE_ADDR": ""}, 2, "USERS_SERVICE_ADDR: must be set"),
        ({"USERS_SERVICE_ADDR": "a:1", "USERS_TIMEOUT_MS": 0}, 2, "USERS_TIMEOUT_MS=0: must be 1 to 60000 ms"),
        ({"USERS_SERVICE_ADDR": "users"}, 2, "USERS_SERVICE_ADDR=users: must be host:port"),
        ({"USERS_SERVICE_ADDR": "users:0"}, 2, "USERS_SERVICE_ADDR=users:0: must be host:port"),
        ({"USERS_SERVICE_ADDR": "http://users:80"}, 2, "USERS_SERVICE_ADDR=http://users:80: must be host:port"),
    ],
)
def test_wrong_options(tmp_path: Path, settings: dict[str, object], status: int, said: str) -> None:
    result = harness.run("countries", folder=tmp_path, **settings)
    assert result.returncode == status
    assert result.stderr == f"countries: {said}\n"
