"""Attacks on what proves who somebody is: tokens, signatures and saved states (attacks 8, 12, 13, 14 and 18)."""

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
import subprocess
from contextlib import closing

import psycopg
import pytest

from support.images import digest, image
from support.raw import Raw, basic
from support.signed import code, request, send, sign
from support.v2 import V2, error_code

NOT_ALLOWED = (401, b"Not Authorized\n")


def told(answer):
    return answer.status_code, answer.content


def b64(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(header, claims, key=b""):
    """A JSON Web Token: none of ours is one."""
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


CLAIMS = {
    "iss": "ecr.amazonaws.com",
    "aud": "ecr.amazonaws.com",
    "sub": "arn:aws:iam::123456789012:root",
    "exp": 4102444800,
    "access": [{"type": "repository", "name": "app", "actions": ["*"]}],
}
JWTS = {
    "none": {"alg": "none"},
    "hs256": {"alg": "HS256", "typ": "JWT"},
    "jwk": {"alg": "HS256", "jwk": {"kty": "oct", "k": b64(b"mine")}},
    "jku": {"alg": "RS256", "jku": "http://127.0.0.1:1/keys"},
    "x5c": {"alg": "ES256", "x5c": ["MIIB"]},
    "kid": {"alg": "HS256", "kid": "../../../../dev/null"},
}


@pytest.mark.parametrize("kind", JWTS)
@pytest.mark.parametrize("scheme", ["bearer", "basic"])
def test_12_a_token_that_says_what_it_is_worth(registry, repository, kind, scheme):
    """A key, an algorithm or an address in a token means nothing: ours are sealed, not signed."""
    token = jwt(JWTS[kind], CLAIMS, b"mine")
    authorization = f"Bearer {token}" if scheme == "bearer" else basic(token)
    answer = V2(registry.url).get(
        f"/v2/{repository}/tags/list", headers={"Authorization": authorization}
    )
    assert told(answer) == NOT_ALLOWED


def test_12_a_token_that_was_changed(registry, v2, repository):
    """Not one character of it may be another."""
    password = v2.session.auth[1]
    step = max(1, len(password) // 64)
    for place in [*range(0, len(password), step), len(password) - 1]:
        # Another top bit: the last characters may have bits that mean nothing.
        other = "A" if password[place] not in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef" else "z"
        changed = password[:place] + other + password[place + 1 :]
        assert told(V2(registry.url, changed).get("/v2/")) == NOT_ALLOWED, place
    for cut in (password[:-1], password[:-4], password[4:], password * 2, f"{password}AAAA"):
        assert told(V2(registry.url, cut).get("/v2/")) == NOT_ALLOWED
    assert v2.get("/v2/").status_code == 200


def test_12_what_is_sealed_for_another_purpose_is_no_token(registry, ecr, v2, repository):
    """A download link and a page's token are sealed by the same keys."""
    made = image()
    v2.push(repository, made, "1")
    v2.push(repository, image(), "2")
    link = ecr.get_download_url_for_layer(
        repositoryName=repository, layerDigest=made.blobs[0].digest
    )["downloadUrl"]
    page = ecr.list_images(repositoryName=repository, maxResults=1)["nextToken"]
    for sealed in (link.rsplit("/", 1)[1].split("?")[0], page):
        assert told(V2(registry.url, sealed).get("/v2/")) == NOT_ALLOWED
    answer = V2(registry.url).get(f"/v2/-/layer/{v2.session.auth[1]}")
    assert told(answer) == NOT_ALLOWED


def test_12_a_token_of_another_deployment(registry, fresh_registry):
    other = fresh_registry()
    assert told(V2(registry.url, other.password()).get("/v2/")) == NOT_ALLOWED
    assert V2(other.url, other.password()).get("/v2/").status_code == 200


# Sets the clock that a process reads ahead, by as many seconds as CLOCK_AHEAD says: ours and
# SQLite's, which read it by different functions.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long ahead(void) {
    const char *seconds = getenv("CLOCK_AHEAD");
    return seconds ? atol(seconds) : 0;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += ahead();
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}
"""


def test_12_a_token_that_is_too_old(fresh_registry, tmp_path):
    """The server's clock is put forward: the token is refused after twelve hours, not before."""
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    # PostgreSQL's clock would still be right: the server would say so, and not be ready.
    data = tmp_path / "old"
    server = fresh_registry(start=False, database=f"sqlite:{data}/bonded.db")
    server.start()
    server.client().create_repository(repositoryName="app")
    v2 = V2(server.url, server.password())
    for hours, expected in ((11.9, 200), (12.1, 403)):
        server.stop()
        server.more_environment = {
            "LD_PRELOAD": str(library),
            "CLOCK_AHEAD": str(int(hours * 3600)),
        }
        server.start()
        answer = v2.get("/v2/app/tags/list")
        assert answer.status_code == expected, f"after {hours} hours"
        if expected == 403:
            assert error_code(answer) == "DENIED"
            assert "expired" in answer.json()["errors"][0]["message"]
            assert v2.get("/v2/").status_code == 403
            assert v2.post("/v2/app/blobs/uploads/").status_code == 403


@pytest.mark.parametrize(
    "token",
    ["." * 30_000, "a." * 10_000, "[" * 20_000, '{"a":' * 5_000, "A" * 30_000, "\x00" * 1_000],
    ids=["dots", "parts", "lists", "objects", "letters", "zeros"],
)
def test_13_a_huge_token(registry, token):
    """Refused by its length, as a password, as a bearer's token, and where a link is."""
    encoded = base64.b64encode(f"AWS:{token}".encode()).decode()
    with Raw(registry) as connection:
        # Longer ones than a head may be are refused with the head.
        for authorization in (f"Basic {encoded}", f"Bearer {token}"):
            if len(authorization) > 31_000 or "\x00" in authorization:
                continue
            answer = connection.request("GET", "/v2/", {"Authorization": authorization})
            assert answer[0] == 401
    path = "/v2/-/layer/" + token.replace("\x00", "%00").replace('"', "%22")
    with Raw(registry) as connection:
        answer = connection.request("GET", path)
        assert answer is None or answer[0] in (401, 414, 431)


def test_13_deep_json_in_every_call(registry):
    """A parser that goes down with its input would use up its stack."""
    deep = {"lists": "[" * 400_000, "objects": '{"a":' * 150_000}
    for operation in ("DescribeRegistry", "PutImage", "BatchGetImage", "SetRepositoryPolicy"):
        for opening in deep.values():
            closing_ = opening.replace('"a":', "")[::-1].translate(str.maketrans("[{", "]}"))
            body = f'{{"repositoryName":"no/such","x":{opening}1{closing_}}}'.encode()
            answer = send(sign(registry, request(registry, operation, data=body)))
            assert answer.status_code in (200, 400), answer.text
    assert registry.process.poll() is None


def test_13_deep_json_in_a_policy(raw_ecr, repository):
    for policy in ("[" * 10_000, '{"Statement":' * 700, '{"Statement":[' * 700):
        for call in (
            lambda text: raw_ecr.set_repository_policy(repositoryName=repository, policyText=text),
            lambda text: raw_ecr.put_registry_policy(policyText=text),
        ):
            with pytest.raises(raw_ecr.exceptions.InvalidParameterException):
                call(policy)


def test_14_a_link_of_a_repository_that_is_gone(registry, ecr, v2, nobody_v2, repository):
    """A link is for the repository that it was made in, not for the next one of its name."""
    made = image()
    v2.push(repository, made, "1")
    layer = made.blobs[1]
    link = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=layer.digest)[
        "downloadUrl"
    ]
    assert nobody_v2.get(link).content == layer.data
    ecr.delete_repository(repositoryName=repository, force=True)
    ecr.create_repository(repositoryName=repository)
    v2.push(repository, made, "1")
    assert told(nobody_v2.get(link)) == NOT_ALLOWED


def test_14_a_page_token_of_a_repository_that_is_gone(ecr, v2, repository):
    for tag in ("1", "2", "3"):
        v2.push(repository, image(), tag)
    token = ecr.list_images(repositoryName=repository, maxResults=1)["nextToken"]
    ecr.delete_repository(repositoryName=repository, force=True)
    ecr.create_repository(repositoryName=repository)
    v2.push(repository, image(), "only")
    # It may be refused, or show what is in the new one; what was in the old one is gone.
    try:
        page = ecr.list_images(repositoryName=repository, nextToken=token)
    except ecr.exceptions.InvalidParameterException:
        return
    assert {it.get("imageTag") for it in page["imageIds"]} <= {"only"}


def test_18_every_wrong_signature_is_told_alike(registry):
    """First or last character, one or all: the answer does not say how much was right.

    That the comparison takes the same time is in the function that it uses, and no test of
    ours measures time.
    """
    answers = set()
    for place in (0, 1, 31, 62, 63):
        made = sign(registry, request(registry, "DescribeRegistry"))
        before, signature = made.headers["Authorization"].rsplit("=", 1)
        other = "0" if signature[place] != "0" else "1"
        changed = signature[:place] + other + signature[place + 1 :]
        made.headers.replace_header("Authorization", f"{before}={changed}")
        answer = send(made)
        answers.add((answer.status_code, answer.text))
    made = sign(registry, request(registry, "DescribeRegistry"), secret=secrets.token_hex(20))
    answer = send(made)
    answers.add((answer.status_code, answer.text))
    assert len(answers) == 1
    assert code(answer) == "InvalidSignatureException"


def test_18_every_wrong_password_is_told_alike(registry, v2, other_v2):
    right = v2.session.auth[1]
    theirs = other_v2.session.auth[1]
    wrong = [
        "",
        "x",
        right[:-1],
        f"A{right[1:]}" if right[0] != "A" else f"B{right[1:]}",
        right[: len(right) // 2] + theirs[len(right) // 2 :],
        secrets.token_urlsafe(len(right)),
    ]
    answers = set()
    for password in wrong:
        authorization = "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()
        with Raw(registry) as connection:
            status, headers, body = connection.request(
                "GET", "/v2/", {"Authorization": authorization}
            )
        kept = {name: it for name, it in headers.items() if "request" not in name}
        kept.pop("date")
        answers.add((status, json.dumps(kept, sort_keys=True), body))
    with Raw(registry) as connection:
        connection.head("GET", "/v2/", {"Authorization": basic(right, "root")})
        status, _, body = connection.answer()
        assert (status, body) == NOT_ALLOWED
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401


def change(database, statement, *parameters):
    """Changes a row behind a server's back, as who holds its database could."""
    if database.startswith("sqlite:"):
        path = database.removeprefix("sqlite:")
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement, parameters).rowcount
    with closing(psycopg.connect(database)) as connection, connection:
        return connection.execute(statement.replace("?", "%s"), parameters).rowcount


def flip(data, place):
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("how", ["first", "last", "empty", "noise", "exchanged", "older"])
def test_8_a_saved_state_that_was_changed(fresh_registry, how):
    """A hash's saved state is sealed for its upload and its place: it is opened or not used.

    The upload may be lost by it, or be hashed again from its bytes; it is never believed.
    """
    server = fresh_registry()
    server.client().create_repository(repositoryName="app")
    v2 = V2(server.url, server.password())
    data, other = secrets.token_bytes(5000), secrets.token_bytes(5000)
    location = v2.append(v2.start_upload("app"), data[:2000], 0).headers["Location"]
    older = state_of(server, location)
    v2.append(location, data[2000:], 2000)
    theirs = v2.append(v2.start_upload("app"), other, 0).headers["Location"]
    now = state_of(server, location)
    assert now != older
    changed = {
        "first": flip(now, 0),
        "last": flip(now, -1),
        "empty": b"",
        "noise": secrets.token_bytes(len(now)),
        "exchanged": state_of(server, theirs),
        "older": older,
    }[how]
    server.stop()
    assert (
        change(
            server.database,
            "UPDATE upload SET hash_state = ? WHERE id = ?",
            changed,
            id_of(location),
        )
        == 1
    )
    server.expect_log("hash|state|seal|request failed|upload")
    server.start()
    for wrong in (other, b"", data[:2000]):
        answer = v2.finish(location, digest(wrong))
        assert answer.status_code >= 400, answer.text
        assert v2.head(f"/v2/app/blobs/{digest(wrong)}").status_code == 404
    answer = v2.finish(location, digest(data))
    if answer.status_code == 201:
        assert v2.get(f"/v2/app/blobs/{digest(data)}").content == data
    else:
        assert answer.status_code in (400, 404, 500), answer.text
    assert v2.finish(theirs, digest(other)).status_code == 201


def id_of(location):
    return bytes.fromhex(location.split("?")[0].rsplit("/", 1)[1].replace("-", ""))


def state_of(server, location):
    rows = server.rows("SELECT hash_state FROM upload WHERE id = ?", id_of(location))
    return bytes(rows[0]["hash_state"])
