"""Bytes that are not those that were written are never served; the next push heals them.

The store's objects are changed behind the server's back, in every part that they have. What a
reader got of a damaged blob before it broke off is true; then the blob is absent, on both
planes, until somebody pushes its bytes again. `bonded check` finds the same, and `--repair`
marks it.
"""

import secrets
import sqlite3
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from support import databases
from support.api import upload_layer
from support.images import Blob, image
from support.server import REGION
from support.v2 import V2

# An object is a header (salt and commitment) and chunks, each with a tag; the last one is short.
SALT, HEADER, CHUNK, TAG = 24, 56, 16_384, 16
SEALED = CHUNK + TAG
# 19 chunks: a reader is given the first 16 together, so the others break off its answer.
SIZE = 300_000


def flip(place):
    """One bit is another one. Negative places are from the end."""

    def damage(data):
        data = bytearray(data)
        data[place] ^= 1 << secrets.randbelow(8)
        return bytes(data)

    return damage


def cut(length):
    return lambda data: data[:length]


def zeros(data):
    return data[:5_000] + bytes(4096) + data[5_000 + 4096 :]


def swapped_chunks(data):
    """Two whole chunks have changed places: each is authentic by itself."""
    first, second, third = HEADER, HEADER + SEALED, HEADER + 2 * SEALED
    return data[:first] + data[second:third] + data[first:second] + data[third:]


def dropped_chunk(data):
    return data[: HEADER + SEALED] + data[HEADER + 2 * SEALED :]


DAMAGES = {
    "salt": flip(3),
    "commitment": flip(SALT + 9),
    "first byte": flip(HEADER),
    "first chunk": flip(HEADER + 7_000),
    "first tag": flip(HEADER + CHUNK + 5),
    "a chunk": flip(HEADER + 9 * SEALED + 100),
    "the 17th chunk": flip(HEADER + 16 * SEALED),
    "a late tag": flip(HEADER + 17 * SEALED + CHUNK),
    "last chunk": flip(-TAG - 1),
    "last byte": flip(-1),
    "swapped chunks": swapped_chunks,
    "a chunk less": dropped_chunk,
    "zeros": zeros,
    "empty": cut(0),
    "within the header": cut(HEADER - 1),
    "only the header": cut(HEADER),
    "after a chunk": cut(HEADER + SEALED),
    "after 16 chunks": cut(HEADER + 16 * SEALED),
    "after all whole chunks": cut(HEADER + 18 * SEALED),
    "last byte cut": cut(-1),
    "missing": None,
}


class Store:
    """A server with an image of many layers, one for each damage, and a sound one."""

    def __init__(self, server):
        self.server = server
        self.ecr = server.client()
        self.ecr.create_repository(repositoryName="app")
        self.v2 = V2(server.url, server.password())
        self.blobs = {name: self.push(secrets.token_bytes(SIZE)) for name in DAMAGES}
        self.sound = self.push(secrets.token_bytes(SIZE))
        self.image = image([*self.blobs.values(), self.sound])
        self.v2.push_blob("app", self.image.blobs[0].data)
        assert self.v2.put_manifest("app", "1", self.image).status_code == 201

    def push(self, data):
        blob = Blob(data)
        answer = self.v2.post(f"/v2/app/blobs/uploads/?digest={blob.digest}", data=data)
        assert answer.status_code == 201, answer.text
        return blob

    def object(self, blob, number=0):
        """The file of one of a blob's segments."""
        (row,) = self.server.rows(
            "SELECT s.object FROM segment s JOIN blob b ON b.id = s.blob_id"
            " WHERE b.digest = ? AND s.number = ?",
            blob.digest,
            number,
        )
        name = bytes(row["object"]).hex()
        return self.server.data / f"objects-{REGION}" / name[:2] / name

    def damage_all(self):
        for name, damage in DAMAGES.items():
            change(self.object(self.blobs[name]), damage)

    def path(self, blob):
        return f"/v2/app/blobs/{blob.digest}"

    def read(self, blob, **options):
        """What a reader gets of a blob: the status, the bytes, and whether they were all."""
        answer = self.v2.get(self.path(blob), stream=True, **options)
        got = b""
        try:
            for piece in answer.iter_content(8192):
                got += piece
        except (requests.exceptions.ChunkedEncodingError, requests.ConnectionError):
            return answer.status_code, got, False
        return answer.status_code, got, True

    def is_absent(self, blob):
        """On both planes, to readers and to whoever asks whether it must be pushed."""
        assert self.v2.head(self.path(blob)).status_code == 404
        assert self.v2.get(self.path(blob)).status_code == 404
        (layer,) = self.ecr.batch_check_layer_availability(
            repositoryName="app", layerDigests=[blob.digest]
        )["layers"]
        assert layer["layerAvailability"] == "UNAVAILABLE"
        with pytest.raises(self.ecr.exceptions.LayersNotFoundException):
            self.ecr.get_download_url_for_layer(repositoryName="app", layerDigest=blob.digest)

    def is_there(self, blob):
        assert self.v2.head(self.path(blob)).status_code == 200
        assert self.read(blob) == (200, blob.data, True)


def change(path, damage):
    """Does a damage to a file, or removes it."""
    if damage is None:
        path.unlink()
        return
    data = path.read_bytes()
    changed = damage(data)
    assert changed != data
    path.write_bytes(changed)


@pytest.fixture
def store(fresh_registry):
    made = Store(fresh_registry())
    made.server.expect_log("damaged")
    return made


@pytest.mark.parametrize("plane", ["v2", "api"])
def test_no_damage_is_served_and_every_one_heals(store, plane):
    store.damage_all()
    for name, blob in store.blobs.items():
        status, got, whole = store.read(blob)
        assert status == 404 or (status == 200 and not whole), name
        if status == 200:
            assert blob.data.startswith(got), f"{name}: what was served is not what was pushed"
            assert len(got) < SIZE, name
        store.is_absent(blob)
    errors = [it for it in store.server.log.lines() if it.get("level") == "ERROR"]
    assert all("damaged" in str(it) for it in errors), errors
    marked = {it["blob"] for it in errors if it["message"].startswith("a blob is damaged")}
    assert len(marked) == len(DAMAGES)

    # The image is still there, the sound layer too; a new image cannot use what is damaged.
    assert store.v2.get_manifest("app", "1").content == store.image.manifest
    store.is_there(store.sound)
    other = image([store.blobs["missing"]], Labels={"other": "yes"})
    store.v2.push_blob("app", other.blobs[0].data)
    assert store.v2.put_manifest("app", "2", other).status_code == 404

    for blob in store.blobs.values():
        if plane == "v2":
            store.push(blob.data)
        else:
            upload_layer(store.ecr, "app", blob.data, [blob.digest])
        store.is_there(blob)
    assert store.v2.put_manifest("app", "2", other).status_code == 201
    well(store.server)


def test_check_finds_every_damage_and_marks_it(store):
    store.server.stop()
    store.damage_all()
    for repair in ([], [], ["--repair"]):
        done = store.server.command("check", *repair)
        assert done.returncode != 0
        found = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("blob ")}
        assert found == {blob.digest for blob in store.blobs.values()}
    assert f", {len(DAMAGES)} repaired" in done.stdout

    store.server.start()
    for blob in store.blobs.values():
        store.is_absent(blob)
    store.is_there(store.sound)
    for blob in store.blobs.values():
        store.push(blob.data)
        store.is_there(blob)
    store.server.stop()
    well(store.server)


def well(server):
    """`bonded check` finds nothing wrong, beside a server or without."""
    done = server.command("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 problems" in done.stdout


def test_check_beside_a_server(store):
    store.damage_all()
    done = store.server.command("check")
    assert done.returncode != 0
    assert all(blob.digest in done.stdout for blob in store.blobs.values())
    assert store.sound.digest not in done.stdout


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_segment_of_several(store, number):
    """A reader gets what comes before the damaged segment, or the parts that are elsewhere."""
    parts = [secrets.token_bytes(SIZE) for _ in range(3)]
    blob = Blob(b"".join(parts))
    location = store.v2.start_upload("app")
    for part in parts:
        location = store.v2.append(location, part).headers["Location"]
    assert store.v2.finish(location, blob.digest).status_code == 201
    change(store.object(blob, number), flip(HEADER + 10))

    for other in {0, 1, 2} - {number}:
        wanted = {"Range": f"bytes={other * SIZE + 5}-{other * SIZE + 90_000}"}
        got = store.read(blob, headers=wanted)
        assert got == (206, blob.data[other * SIZE + 5 : other * SIZE + 90_001], True)
    status, got, whole = store.read(blob)
    if number == 0:
        assert status == 404
    else:
        assert (status, whole) == (200, False)
        assert got == blob.data[: len(got)]
        assert len(got) <= number * SIZE
    store.is_absent(blob)
    store.push(blob.data)
    store.is_there(blob)


def test_objects_that_have_changed_places(store):
    """Both are whole and authentic, but each under the other's name: also of the same key."""
    parts = [secrets.token_bytes(SIZE) for _ in range(2)]
    blob = Blob(b"".join(parts))
    location = store.v2.append(store.v2.start_upload("app"), parts[0]).headers["Location"]
    assert store.v2.finish(location, blob.digest, parts[1]).status_code == 201
    for first, second in [
        (store.object(blob, 0), store.object(blob, 1)),
        (store.object(store.blobs["salt"]), store.object(store.blobs["zeros"])),
    ]:
        spare = first.with_name("spare")
        first.rename(spare)
        second.rename(first)
        spare.rename(second)
    for one in (blob, store.blobs["salt"], store.blobs["zeros"]):
        assert store.read(one)[0] == 404
        store.is_absent(one)
        store.push(one.data)
        store.is_there(one)


def test_what_is_damaged_cannot_be_mounted(store):
    blob = store.blobs["missing"]
    store.ecr.create_repository(repositoryName="other")
    change(store.object(blob), None)
    assert store.read(blob)[0] == 404
    asked = {"mount": blob.digest, "from": "app"}
    answer = store.v2.post("/v2/other/blobs/uploads/", params=asked)
    assert answer.status_code == 202
    # A push to the other repository heals it for both.
    assert store.v2.finish(answer.headers["Location"], blob.digest, blob.data).status_code == 201
    store.is_there(blob)


ROWS = "SELECT y.object, y.bytes FROM segment_bytes y"


@pytest.mark.parametrize("place", ["header", "body", "tag", "cut", "missing"])
def test_bytes_that_lie_in_a_row(fresh_registry, place):
    """A small blob has no object: its sealed bytes are in the database."""
    server = fresh_registry()
    server.expect_log("damaged")
    server.client().create_repository(repositoryName="app")
    v2 = V2(server.url, server.password())
    blob = Blob(secrets.token_bytes(3_000))
    v2.push_blob("app", blob.data)
    server.stop()
    (row,) = server.rows(ROWS)
    sealed = bytes(row["bytes"])
    damage = {"header": flip(3), "body": flip(1_000), "tag": flip(-1), "cut": cut(-1)}
    write_row(server, bytes(row["object"]), damage[place](sealed) if place in damage else None)

    done = server.command("check")
    assert done.returncode != 0
    assert blob.digest in done.stdout
    server.start()
    path = f"/v2/app/blobs/{blob.digest}"
    assert v2.get(path).status_code == 404
    assert v2.head(path).status_code == 404
    v2.push_blob("app", blob.data)
    assert v2.get(path).content == blob.data
    server.stop()
    well(server)


def write_row(server, name, sealed):
    """Changes the row of a segment's bytes behind the back of a server that is stopped."""
    if sealed is None:
        statement, values = "DELETE FROM segment_bytes WHERE object = ?", (name,)
    else:
        statement = "UPDATE segment_bytes SET bytes = ? WHERE object = ?"
        values = (sealed, name)
    if databases.is_postgres():
        with closing(psycopg.connect(server.database, autocommit=True)) as connection:
            assert connection.execute(statement.replace("?", "%s"), values).rowcount == 1
        return
    path = urlsplit(server.database).path
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1
