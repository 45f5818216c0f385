"""A day of pushes, retags, deletes and pulls in fast motion: nothing grows that should not.

Every retention is one "hour" of that day. After the second hour what is kept is as much as what
comes, so the used pages of the database, its log, the objects, memory and open files stay.
"""

import os
import random
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from support import databases
from support.images import image, large_layer
from support.v2 import V2
from support.wait import hesitate

LONG = bool(os.environ.get("BONDED_LONG"))
# Seconds of an hour, and hours of the day.
HOUR, HOURS = (20, 24) if LONG else (3, 8)
CLIENTS = 4
TAGS = 20
SEED = int(os.environ.get("BONDED_SEED") or random.randrange(1 << 32))
CONFIG = f"""
[garbage]
grace = "{HOUR}s"
[audit]
retention = "{HOUR}s"
tag_history = "{HOUR}s"
[limits]
upload_idle = "{HOUR}s"
[testing]
allow = true
garbage_grace = "{HOUR}s"
job_interval = "200ms"
"""


class Day:
    """Clients that push, retag, delete and pull until they are told to end."""

    def __init__(self, registry):
        self.registry = registry
        self.ended = threading.Event()
        self.errors = []
        self.done = 0
        self.clients = [threading.Thread(target=self.work, args=(it,)) for it in range(CLIENTS)]

    def work(self, number):
        chance = random.Random(SEED + number)
        v2 = V2(self.registry.url, self.registry.password())
        try:
            while not self.ended.is_set():
                self.step(v2, f"app-{number}", chance)
                self.done += 1
        except Exception as error:  # told by the test
            self.errors.append(error)

    def step(self, v2, name, chance):
        tag = f"t{chance.randrange(TAGS)}"
        kind = chance.choice(["push", "push", "retag", "delete", "pull", "pull", "upload"])
        if kind == "push":
            made = image([large_layer()] if chance.random() < 0.3 else None)
            for blob in made.blobs:
                v2.push_blob(name, blob.data)
            # A slow client's blobs are collected before: an hour is short.
            assert v2.put_manifest(name, tag, made).status_code in (201, 404)
        elif kind == "upload":
            v2.append(v2.start_upload(name), b"never ended")
        elif kind == "delete":
            assert v2.delete(f"/v2/{name}/manifests/{tag}").status_code in (202, 404)
            # What lost its last tag stays until somebody deletes it.
            ecr = self.registry.client()
            untagged = ecr.list_images(repositoryName=name, filter={"tagStatus": "UNTAGGED"})
            ids = untagged["imageIds"][:100]
            if ids:
                ecr.batch_delete_image(repositoryName=name, imageIds=ids)
        else:
            answer = v2.get_manifest(name, tag)
            if answer.status_code == 200 and kind == "retag":
                headers = {"Content-Type": answer.headers["Content-Type"]}
                path = f"/v2/{name}/manifests/t{chance.randrange(TAGS)}"
                put = v2.put(path, data=answer.content, headers=headers)
                # Its image may have gone with its last tag and the collector meanwhile.
                assert put.status_code in (201, 404), put.text


def measure(registry):
    """What is used at this moment."""
    pid = registry.process.pid
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(line.split()[1] for line in lines if line.startswith("VmRSS:"))
    found = {
        "memory": int(resident) * 1024,
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "objects": sum(len(files) for _, _, files in os.walk(registry.data / "objects-us-east-1")),
    }
    if databases.is_postgres():
        statement = "SELECT SUM(n_live_tup) AS n FROM pg_stat_user_tables"
        found["rows"] = int(databases.rows(registry.database, statement)[0]["n"])
        return found
    path = registry.database.removeprefix("sqlite:")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        found["pages"] = pages - connection.execute("PRAGMA freelist_count").fetchone()[0]
    found["log"] = os.stat(path + "-wal").st_size
    return found


def test_nothing_grows_after_the_second_hour(fresh_registry):
    print(f"BONDED_SEED={SEED}")
    registry = fresh_registry(CONFIG)
    ecr = registry.client()
    for number in range(CLIENTS):
        ecr.create_repository(repositoryName=f"app-{number}")
    day = Day(registry)
    for client in day.clients:
        client.start()
    hours = []
    try:
        for _ in range(HOURS):
            until, seen = time.monotonic() + HOUR, []
            while time.monotonic() < until and not day.errors:
                hesitate(0.1)
                seen.append(measure(registry))
            hours.append({key: max(it[key] for it in seen) for key in seen[0]})
    finally:
        day.ended.set()
        for client in day.clients:
            client.join()
    assert not day.errors, day.errors
    assert day.done > 20 * HOURS, "too little was done"
    print(f"{day.done} steps", *hours, sep="\n")
    assert not grown(hours)


def grown(hours):
    """What the last two hours have more of than the third and fourth, in which all that is steady
    has filled. Chance, and the pieces that memory is given in, need some room."""
    before = {key: max(hour[key] for hour in hours[2:4]) for key in hours[0]}
    after = {key: min(hour[key] for hour in hours[-2:]) for key in hours[0]}
    room = {"memory": 16 << 20, "log": 4 << 20, "pages": 256, "rows": 4_000}
    return [key for key in after if after[key] > before[key] * 1.2 + room.get(key, 20)]


@pytest.mark.parametrize(
    ("key", "start", "each_hour"),
    [
        ("memory", 90 << 20, 20 << 20),
        ("files", 545, 60),
        ("objects", 30, 12),
        ("pages", 400, 150),
        ("log", 8 << 20, 4 << 20),
    ],
)
def test_what_grows_each_hour_is_noticed(key, start, each_hour):
    steady = [{key: start + number % 3} for number in range(8)]
    assert grown(steady) == []
    assert grown([{key: start + number * each_hour} for number in range(8)]) == [key]
