"""notes: every route, status and limit; what it keeps under concurrency, SIGKILL, and when it is full."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import harness
from described import described_api
from harness import Service

Start = Callable[..., Service]
Note = dict[str, Any]
KILLS = int(os.environ.get("KILLS", "100"))
DESCRIPTION = described_api("notes")
PATCH = {"content-type": "application/merge-patch+json"}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def described(value: Any) -> Any:
    """A part of the description, with what it refers to in its place."""
    while isinstance(value, dict) and "$ref" in value:
        part = DESCRIPTION
        for name in value["$ref"].removeprefix("#/").split("/"):
            part = part[name]
        value = part
    return value


class Api:
    """A client that takes the service at its word: each answer must be one that the description has."""

    def __init__(self, service: Service, client: httpx.Client) -> None:
        self.service, self.client = service, client
        self.url = service.http_url + "/v1/notes"

    def __call__(self, method: str, path: str = "", **options: Any) -> httpx.Response:
        reply = self.client.request(method, self.url + path, **options)
        template = "/v1/notes/{id}" if path.startswith("/") else "/v1/notes"
        answer = described(DESCRIPTION["paths"][template][method.lower()]["responses"][str(reply.status_code)])
        assert reply.status_code in (204, 304) or reply.headers["content-type"] in answer["content"], reply.headers
        for content in answer.get("content", {}).values():
            schema = described(content["schema"])
            assert set(schema["required"]) <= reply.json().keys() <= schema["properties"].keys(), reply.text
        return reply

    def create(self, title: str = "a title", **members: Any) -> Note:
        reply = self("POST", json={"title": title} | members)
        assert reply.status_code == 201, reply.text
        return reply.json() | {"etag": reply.headers["etag"]}

    def pages(self, **parameters: Any) -> Iterator[list[Note]]:
        while True:
            reply = self("GET", params=parameters)
            assert reply.status_code == 200, reply.text
            page = reply.json()
            yield page["notes"]
            if page["next_cursor"] is None:
                assert "link" not in reply.headers
                return
            parameters["cursor"] = page["next_cursor"]

    def all(self, **parameters: Any) -> list[Note]:
        return [note for page in self.pages(**parameters) for note in page]


@pytest.fixture
def api(start: Start, http: httpx.Client) -> Api:
    return Api(start("notes"), http)


def is_problem(reply: httpx.Response, status: int, words: str = "") -> bool:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == status
    assert words in reply.json()["detail"], reply.text
    return True


# ---- one note ----


def test_a_note_is_created_and_read(api: Api) -> None:
    reply = api("POST", json={"title": "Grüße 🎉", "body": "a\x00b\n", "tags": ["x", "ü"]})
    assert reply.status_code == 201
    note = reply.json()
    assert uuid.UUID(note["id"]).version == 7
    assert reply.headers["location"] == f"/v1/notes/{note['id']}"
    assert re.fullmatch(r'"[^"]+"', reply.headers["etag"])
    assert (note["title"], note["body"], note["tags"]) == ("Grüße 🎉", "a\x00b\n", ["x", "ü"])
    assert re.fullmatch(TIME, note["created_at"])
    assert note["updated_at"] == note["created_at"]
    again = api("GET", f"/{note['id']}")
    assert (again.status_code, again.json(), again.headers["etag"]) == (200, note, reply.headers["etag"])
    head = api.client.head(api.url + f"/{note['id']}")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", reply.headers["etag"])
    assert api("GET", f"/{note['id'].upper()}").json() == note


def test_body_and_tags_may_be_left_out(api: Api) -> None:
    note = api.create("t")
    assert (note["body"], note["tags"]) == ("", [])


@pytest.mark.parametrize(
    "unknown", ["01890a5d-ac96-774b-bcce-b302099a8057", "1", "x", "01890a5d-ac96-774b-bcce", "%00"]
)
def test_what_is_not_there(api: Api, unknown: str) -> None:
    for method, options in (
        ("GET", {}),
        ("PUT", {"json": {"title": "t"}}),
        ("PATCH", {"content": b"{}", "headers": PATCH}),
        ("DELETE", {}),
    ):
        reply = api.client.request(method, f"{api.url}/{unknown}", **options)  # type: ignore[arg-type]
        assert is_problem(reply, 400 if unknown == "%00" else 404)


def test_a_note_is_replaced(api: Api) -> None:
    note = api.create("old", body="old", tags=["a"])
    reply = api("PUT", f"/{note['id']}", json={"title": "new", "tags": ["b"]})
    assert reply.status_code == 200
    new = reply.json()
    assert (new["title"], new["body"], new["tags"]) == ("new", "", ["b"])
    assert (new["id"], new["created_at"]) == (note["id"], note["created_at"])
    assert new["updated_at"] >= note["updated_at"]
    assert reply.headers["etag"] != note["etag"]
    assert api("GET", f"/{note['id']}").json() == new
    assert (api.all(tag="a"), api.all(tag="b")) == ([], [new])


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({}, {}),
        ({"title": "new"}, {"title": "new"}),
        ({"body": None, "tags": ["c"]}, {"body": "", "tags": ["c"]}),
        ({"tags": None}, {"tags": []}),
    ],
)
def test_a_note_is_patched(api: Api, patch: Note, changed: Note) -> None:
    note = api.create("old", body="old", tags=["a", "b"])
    reply = api("PATCH", f"/{note['id']}", content=json.dumps(patch), headers=PATCH)
    assert reply.status_code == 200
    expected = {name: note[name] for name in ("id", "title", "body", "tags", "created_at")} | changed
    assert reply.json() == expected | {"updated_at": reply.json()["updated_at"]}
    assert api("GET", f"/{note['id']}").json() == reply.json()


def test_a_note_is_deleted(api: Api) -> None:
    note, other = api.create("t", tags=["a"]), api.create("other", tags=["a"])
    reply = api("DELETE", f"/{note['id']}")
    assert (reply.status_code, reply.content) == (204, b"")
    assert is_problem(api("GET", f"/{note['id']}"), 404)
    assert is_problem(api("DELETE", f"/{note['id']}"), 404)
    assert [each["id"] for each in api.all(tag="a")] == [other["id"]]


def test_wrong_methods(api: Api) -> None:
    note = api.create()
    for path, allow in (("", {"GET", "HEAD", "POST"}), (f"/{note['id']}", {"GET", "HEAD", "PUT", "PATCH", "DELETE"})):
        reply = api.client.request("DELETE" if path == "" else "POST", api.url + path)
        assert is_problem(reply, 405)
        assert allow <= set(reply.headers["allow"].split(", "))


# ---- what is refused ----

TITLE_LIMIT = "title has"
BAD_FORM: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b'{"title":"t"} x', "not JSON"),
    (b'{"title":"t","title":"u"}', "not JSON"),
    (b'{"title":"\xff"}', "not JSON"),
    (b'{"title":"\xc0\xaf"}', "not JSON"),
    (b'{"title":"\\ud800"}', "not JSON"),
    (b'{"title":"t","a\\u0000b":1}', "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b"[]", "must be a JSON object"),
    (b'"t"', "must be a JSON object"),
    (b"null", "must be a JSON object"),
    (b'{"title":1}', "title must be a string"),
    (b'{"title":"t","body":[]}', "body must be a string"),
    (b'{"title":"t","tags":"a"}', "tags must be an array"),
    (b'{"title":"t","tags":{"0":"a"}}', "tags must be an array"),
    (b'{"title":"t","tags":["a",2]}', "tags[1] must be a string"),
    (b'{"title":"t","colour":"red"}', 'unknown member "colour"'),
    (b'{"title":"t","id":"1"}', "id is set by the server"),
    (b'{"title":"t","created_at":null}', "created_at is set by the server"),
]
BEYOND_LIMITS: list[tuple[Note, str]] = [
    ({"title": ""}, TITLE_LIMIT),
    ({"title": "ü" * 201}, "title has 201 characters, 1 to 200"),
    ({"title": "t", "body": "ü" * 32768 + "x"}, "body has 65537 bytes"),
    ({"title": "t", "tags": [str(i) for i in range(17)]}, "tags has 17 elements"),
    ({"title": "t", "tags": ["a", ""]}, "tags[1] has 0 characters"),
    ({"title": "t", "tags": ["\x00"]}, "tags[0] must not contain U+0000"),
    ({"title": "t", "tags": ["🎉" * 65]}, "tags[0] has 65 characters"),
    ({"title": "t", "tags": ["a", "b", "a"]}, "tags[0] and tags[2] are the same"),
]


def test_bad_content_is_refused_with_a_reason(api: Api) -> None:
    note = api.create("old", body="old")
    plain = {"content-type": "application/json; charset=utf-8"}
    for content, words in BAD_FORM:
        assert is_problem(api("POST", content=content, headers=plain), 400, words)
        assert is_problem(api("PUT", f"/{note['id']}", content=content, headers=plain), 400, words)
        assert is_problem(api("PATCH", f"/{note['id']}", content=content, headers=PATCH), 400, words)
    for value, words in [*BEYOND_LIMITS, ({}, TITLE_LIMIT)]:
        assert is_problem(api("POST", json=value), 422, words)
        assert is_problem(api("PUT", f"/{note['id']}", json=value), 422, words)
    for value, words in [*BEYOND_LIMITS, ({"title": None}, TITLE_LIMIT)]:
        assert is_problem(api("PATCH", f"/{note['id']}", content=json.dumps(value), headers=PATCH), 422, words)
    assert is_problem(api("POST", json={"title": None}), 400, "title must be a string")
    assert [(each["title"], each["body"]) for each in api.all()] == [("old", "old")]


def test_the_largest_note_fits_however_it_is_escaped(api: Api) -> None:
    value = {"title": "🎉" * 200, "body": "\x01" * 65536, "tags": [chr(0x1F600 + i) * 64 for i in range(16)]}
    content = json.dumps(value, indent=4).encode()
    assert len(content) > 400_000
    reply = api("POST", content=content, headers={"content-type": "application/json"})
    assert reply.status_code == 201
    assert {name: reply.json()[name] for name in value} == value
    assert {name: api.all(tag=value["tags"][7])[0][name] for name in value} == value
    path = f"/{reply.json()['id']}"
    assert api("PUT", path, content=content, headers={"content-type": "application/json"}).status_code == 200
    too_large = content + b" " * (448 * 1024 + 1 - len(content))
    assert is_problem(api("POST", content=too_large, headers={"content-type": "application/json"}), 413)
    assert is_problem(api("PATCH", path, content=too_large, headers=PATCH), 413)


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/json-patch+json", "application/jsonx"])
def test_content_of_another_type_is_refused(api: Api, kind: str | None) -> None:
    note, headers = api.create(), {} if kind is None else {"content-type": kind}
    reply = api("POST", content=b'{"title":"t"}', headers=headers)
    assert is_problem(reply, 415, "application/json")
    assert is_problem(api("PUT", f"/{note['id']}", content=b'{"title":"t"}', headers=headers), 415)
    for other in (headers, {"content-type": "application/json"}):
        reply = api("PATCH", f"/{note['id']}", content=b"{}", headers=other)
        assert is_problem(reply, 415)
        assert reply.headers["accept-patch"] == "application/merge-patch+json"


# ---- conditions ----


def test_get_of_what_the_client_has(api: Api) -> None:
    note = api.create()
    path, etag = f"/{note['id']}", note["etag"]
    for tags in (etag, "*", f'"x", W/{etag}', f'"a,b" , {etag},'):
        reply = api("GET", path, headers={"if-none-match": tags})
        assert (reply.status_code, reply.content, reply.headers["etag"]) == (304, b"", etag)
    assert api("GET", path, headers={"if-none-match": '"x"'}).status_code == 200
    assert api("GET", path, headers={"if-match": etag}).status_code == 200
    assert is_problem(api("GET", path, headers={"if-match": '"x"'}), 412)
    api("PATCH", path, content=b'{"body":"new"}', headers=PATCH)
    assert api("GET", path, headers={"if-none-match": etag}).status_code == 200


def test_changes_of_what_the_client_has_seen(api: Api) -> None:
    note = api.create("one")
    path = f"/{note['id']}"
    for method, options in (
        ("PUT", {"json": {"title": "two"}}),
        ("PATCH", {"content": b'{"title":"two"}'}),
        ("DELETE", {}),
    ):
        headers = PATCH if method == "PATCH" else {}
        for wrong in ({"if-match": '"1234567"'}, {"if-match": f"W/{note['etag']}"}, {"if-match": ""}):
            assert is_problem(api(method, path, headers=headers | wrong, **options), 412, "has changed")
        assert is_problem(api(method, path, headers=headers | {"if-none-match": "*"}, **options), 412)
        for malformed in ("1", '"1', "*, *", 'W"1"', '"1" "2"', ",".join(f'"{i}"' for i in range(1, 18))):
            assert is_problem(api(method, path, headers=headers | {"if-match": malformed}, **options), 400)
        assert api("GET", path).json()["title"] == "one"
    etag = note["etag"]
    for method, options in (("PUT", {"json": {"title": "two"}}), ("PATCH", {"content": b'{"body":"two"}'})):
        headers = PATCH if method == "PATCH" else {}
        reply = api(method, path, headers=headers | {"if-match": f'"x", {etag}'}, **options)
        assert reply.status_code == 200
        assert is_problem(
            api(method, path, headers=headers | {"if-match": etag}, **options), 412, reply.headers["etag"]
        )
        etag = reply.headers["etag"]
    assert api("PUT", path, headers={"if-match": "*"}, json={"title": "three"}).status_code == 200
    assert is_problem(api("DELETE", path, headers={"if-match": etag}), 412)
    etag = api("GET", path).headers["etag"]
    assert api("DELETE", path, headers={"if-match": etag}).status_code == 204
    assert is_problem(api("DELETE", path, headers={"if-match": "*"}), 404)


def test_compare_and_set_loses_no_update(api: Api) -> None:
    path = f"/{api.create(body='0')['id']}"

    def increment(times: int) -> None:
        while times > 0:
            seen = api("GET", path)
            value = {"title": "counter", "body": str(int(seen.json()["body"]) + 1)}
            reply = api("PUT", path, json=value, headers={"if-match": seen.headers["etag"]})
            assert reply.status_code in (200, 412)
            times -= reply.status_code == 200

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(increment, [10] * 8))
    assert api("GET", path).json()["body"] == "80"


def test_patches_of_different_members_do_not_undo_each_other(api: Api) -> None:
    path = f"/{api.create()['id']}"

    def patch(member: str) -> None:
        for i in range(50):
            value = [str(i)] if member == "tags" else str(i)
            assert api("PATCH", path, content=json.dumps({member: value}), headers=PATCH).status_code == 200
            assert api("GET", path).json()[member] == value

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(patch, ["title", "body", "tags"]))
    note = api("GET", path).json()
    assert (note["title"], note["body"], note["tags"]) == ("49", "49", ["49"])


# ---- lists ----


def test_lists_are_newest_first_by_pages(api: Api) -> None:
    ids = [api.create(str(i), tags=["even"] if i % 2 == 0 else ["odd", "ü & ?"])["id"] for i in range(45)]
    ids.reverse()
    api("PUT", f"/{ids[30]}", json={"title": "changed", "tags": ["even"]})  # keeps its place
    assert [note["id"] for note in api.all()] == ids
    pages = list(api.pages())
    assert [len(page) for page in pages] == [20, 20, 5]
    for limit in (1, 7, 45, 100):
        assert [note["id"] for note in api.all(limit=limit)] == ids
    assert [note["id"] for note in api.all(tag="even", limit=5)] == ids[::2]
    assert [note["id"] for note in api.all(tag="ü & ?", limit=5)] == ids[1::2]
    assert api.all(tag="eve") == api.all(tag="evenly") == []
    reply = api("GET", params={"tag": "ü & ?", "limit": 20})
    target = re.fullmatch(r'<(/v1/notes\?[!-~]+)>; rel="next"', reply.headers["link"])
    assert target
    following = api.client.get(api.service.http_url + target[1]).json()
    assert [note["id"] for note in following["notes"]] == ids[1::2][20:]


def test_pages_miss_and_repeat_nothing_while_notes_come_and_go(api: Api) -> None:
    stay = [api.create(str(i))["id"] for i in range(60)]
    go = [api.create(str(i))["id"] for i in range(20)]
    stay += [api.create(str(i))["id"] for i in range(60, 90)]
    seen: list[str] = []
    for page in api.pages(limit=7):
        seen += [note["id"] for note in page]
        api.create("new")
        for note_id in (go.pop(), go.pop(0)) if go else ():
            assert api("DELETE", f"/{note_id}").status_code == 204
        api("PATCH", f"/{stay[0]}", content=b'{"body":"changed"}', headers=PATCH)
    assert len(seen) == len(set(seen))
    assert [note_id for note_id in seen if note_id in stay] == stay[::-1]


def test_large_notes_make_shorter_pages(api: Api) -> None:
    ids = [api.create("large", body="\x01" * 65536)["id"] for _ in range(12)]
    pages = list(api.pages(limit=100))
    assert [note["id"] for page in pages for note in page] == ids[::-1]
    assert [len(page) for page in pages] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("limit=5&limit=5", "limit"),
        ("limit=%", "limit"),
        ("cursor=", "cursor"),
        ("cursor=0000000000000000", "cursor"),
        ("cursor=00000000000000001", "cursor"),
        ("cursor=000000000000000x", "cursor"),
        ("tag=", "tag"),
        ("tag=" + "a" * 65, "tag"),
        ("tag=%ff", "tag"),
        ("tag=%00", "tag: given twice or badly encoded"),
        ("tag=%zz", "tag: given twice or badly encoded"),
        ("limit=1&tag=%zz", "tag: given twice or badly encoded"),
        ("tag=%zz&limit=1", "tag: given twice or badly encoded"),
        ("%zz=1&limit=1", "the query is badly encoded"),
        ("tag=a&%zz", "the query is badly encoded"),
        ("tag=a&tag=b", "tag"),
        ("page=2", "unknown parameter page"),
    ],
)
def test_bad_parameters_are_refused(api: Api, query: str, words: str) -> None:
    assert is_problem(api.client.get(f"{api.url}?{query}"), 400, words)


def test_max_stale_is_understood(api: Api) -> None:
    path = f"/{api.create()['id']}"
    for value in (
        "max-stale",
        "max-stale=60",
        "no-cache , Max-Stale=60",
        "max-stale=99999999999999999999",
        "max-age=x",
    ):
        for reply in (api("GET", path, headers={"cache-control": value}), api("GET", headers={"cache-control": value})):
            assert reply.status_code == 200
            assert "age" not in reply.headers
    for value in ("max-stale=", "max-stale=x", "max-age=1, max-stale=-1"):
        assert is_problem(api("GET", path, headers={"cache-control": value}), 400, "max-stale")
        assert is_problem(api("GET", headers={"cache-control": value}), 400, "max-stale")


# ---- idempotency keys ----


def test_a_repeated_post_is_answered_as_the_first(api: Api) -> None:
    headers = {"idempotency-key": "!" + "k" * 253 + "~"}
    value = {"title": "once", "body": "b", "tags": ["t"]}
    first = api("POST", json=value, headers=headers)
    path = f"/{first.json()['id']}"
    api("PUT", path, json={"title": "changed"})
    api.service.kill()
    api = Api(api.service.restart(), api.client)
    spaced = json.dumps(value, indent=4).encode()
    for content in (json.dumps(value).encode(), spaced):
        again = api("POST", content=content, headers=headers | {"content-type": "application/json"})
        assert (again.status_code, again.content) == (201, first.content)
        assert (again.headers["location"], again.headers["etag"]) == (first.headers["location"], first.headers["etag"])
    assert is_problem(api("POST", json=value | {"title": "other"}, headers=headers), 422, "another request")
    assert [note["title"] for note in api.all()] == ["changed"]
    api("DELETE", path)
    assert api("POST", json=value, headers=headers).content == first.content
    assert api.all() == []


def test_a_refused_post_leaves_its_key_free(api: Api) -> None:
    headers = {"idempotency-key": "k"}
    assert is_problem(api("POST", json={"title": ""}, headers=headers), 422)
    assert api("POST", json={"title": "t"}, headers=headers).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "\xe4"])
def test_bad_keys_are_refused(api: Api, key: str) -> None:
    headers = {b"idempotency-key": key.encode("latin-1")}
    assert is_problem(api("POST", json={"title": "t"}, headers=headers), 400, "Idempotency-Key")
    twice = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert is_problem(api("POST", json={"title": "t"}, headers=twice), 400, "once")


def test_of_many_posts_with_one_key_one_is_done(api: Api) -> None:
    def post(key: str) -> tuple[str, str]:
        while (reply := api("POST", json={"title": key}, headers={"idempotency-key": key})).status_code == 409:
            assert reply.headers["retry-after"]
        assert reply.status_code == 201
        return key, reply.json()["id"]

    keys = [f"key-{i}" for i in range(10)]
    with ThreadPoolExecutor(16) as threads:
        made = set(threads.map(post, keys * 16))
    assert len(made) == len(keys)
    assert {(note["title"], note["id"]) for note in api.all()} == made


# ---- full ----


def test_a_full_store_says_so_and_recovers(start: Start, http: httpx.Client) -> None:
    api = Api(start("notes", STORE_MAX_BYTES="1Mi"), http)
    made: list[Note] = []
    while (reply := api("POST", json={"title": str(len(made)), "body": "x" * 60_000})).status_code == 201:
        made.append(reply.json())
    assert is_problem(reply, 507, "limit")
    assert len(made) >= 8
    assert is_problem(api("PUT", f"/{made[0]['id']}", json={"title": "new", "body": "x" * 60_000}), 507)
    assert httpx.get(api.service.admin_url + "/healthz").status_code == 200
    assert api.all() == made[::-1]
    for note in made[:4]:
        assert api("DELETE", f"/{note['id']}").status_code == 204
    made = made[4:] + [api.create("again", body="x" * 60_000)]
    api.service.kill()
    api = Api(api.service.restart(), http)
    assert [note["id"] for note in api.all()] == [note["id"] for note in made[::-1]]


# ---- starting ----


def fails_to_start(folder: Path, url: str, words: str) -> None:
    result = harness.run("notes", folder=folder, STORE_URL=url)
    assert result.returncode == 1
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_a_second_process_is_refused(api: Api, tmp_path: Path) -> None:
    note = api.create()
    words = f"data directory {api.service.data} is in use by process {api.service.process.pid}"
    fails_to_start(tmp_path / "second", f"lmdb://{api.service.data}", words)
    assert api("GET", f"/{note['id']}").status_code == 200


def test_data_of_another_kind_is_refused(start: Start, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "data.mdb").write_bytes(b"something else\n" * 1000)
    fails_to_start(tmp_path / "run", f"lmdb://{other}", f"{other}/data.mdb is not an LMDB database")
    fails_to_start(tmp_path / "run", f"lmdb://{tmp_path}/missing/data", "No such file or directory")


def test_a_copied_data_folder_is_a_backup(api: Api, start: Start) -> None:
    notes = [api.create(str(i)) for i in range(10)]
    api.service.kill()
    copy = api.service.data.parent / "copy"
    copy.mkdir()
    shutil.copy(api.service.data / "data.mdb", copy)
    restored = Api(start("notes", STORE_URL=f"lmdb://{copy}"), api.client)
    assert [note["id"] for note in restored.all()] == [note["id"] for note in notes[::-1]]


# ---- crashes ----


class Writer(threading.Thread):
    """Creates and changes notes until the server goes; keeps what was acknowledged and what may have been done."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.address = urlsplit(url).netloc
        self.number = number
        self.acknowledged: dict[str, str] = {}  # id: title
        self.maybe: dict[str, str] = {}  # of changes without an answer
        self.unexpected: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=harness.START_S)
        try:
            for count in range(1_000_000):
                self.create(connection, f"{self.number}.{count}", change=count % 3 == 0)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()

    def send(self, connection: http.client.HTTPConnection, method: str, path: str, title: str) -> Note:
        value = {"title": title, "body": title * 50, "tags": [title]}
        connection.request(method, path, json.dumps(value), {"content-type": "application/json"})
        reply = connection.getresponse()
        note = json.loads(reply.read())
        if reply.status not in (200, 201):
            self.unexpected.append(f"{method} {path}: {reply.status} {note}")
            raise OSError
        return note

    def create(self, connection: http.client.HTTPConnection, title: str, change: bool) -> None:
        note_id = str(self.send(connection, "POST", "/v1/notes", title)["id"])
        self.acknowledged[note_id] = title
        if change:
            if connection.sock is None:  # closed after an answer: where it is refused now, nothing has been sent
                connection.connect()
            self.maybe[note_id] = title + "+"
            self.send(connection, "PUT", f"/v1/notes/{note_id}", title + "+")
            self.acknowledged[note_id] = self.maybe.pop(note_id)


def check_whole(note: Note) -> None:
    assert (note["body"], note["tags"]) == (note["title"] * 50, [note["title"]]), "a torn note"


def crash_under_load(service: Service, turn: int) -> list[Writer]:
    writers = [Writer(service.http_url, 10 * turn + i) for i in range(4)]
    enough = random.randrange(4, 80)
    for writer in writers:
        writer.start()
    harness.until(lambda: sum(len(writer.acknowledged) for writer in writers) >= enough)
    time.sleep(random.uniform(0, 0.003))  # so that any moment of a commit may be hit
    service.kill()
    for writer in writers:
        writer.join()
        assert not writer.unexpected
    return writers


@pytest.mark.timeout(60 + 3 * KILLS)
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(start: Start, http: httpx.Client) -> None:
    service = start("notes")
    acknowledged: dict[str, str] = {}
    maybe: dict[str, str] = {}
    for turn in range(KILLS):
        for writer in crash_under_load(service, turn):
            acknowledged |= writer.acknowledged
            maybe |= writer.maybe
        service.restart()
    there: dict[str, Note] = {}
    for page in Api(service, http).pages(limit=100):
        for note in page:
            check_whole(note)
            assert note["id"] not in there
            there[note["id"]] = note
    for note_id, title in acknowledged.items():
        assert there[note_id]["title"] in (title, maybe.get(note_id, title))
    assert len(acknowledged) >= 4 * KILLS
    # What was created without being acknowledged is at most what each writer had under way.
    assert len(there) - len(acknowledged) <= 4 * KILLS


def test_a_drain_under_load_loses_nothing(start: Start, http: httpx.Client) -> None:
    service = start("notes")
    writers = [Writer(service.http_url, i) for i in range(8)]
    for writer in writers:
        writer.start()
    harness.until(lambda: all(len(writer.acknowledged) >= 10 for writer in writers))
    service.stop()
    acknowledged: dict[str, str] = {}
    for writer in writers:
        writer.join()
        assert not writer.unexpected
        assert not writer.maybe, "a request that was sent was answered"
        acknowledged |= writer.acknowledged
    notes = {note["id"]: note["title"] for note in Api(service.restart(), http).all(limit=100)}
    assert notes == acknowledged
