"""What was acknowledged survives the loss of everything that was not synced.

The data directory with its keys, the objects and the SQLite database lie on a disk that forgets
what was not synced (`support/powercut.py` says what it keeps and why that is sound). On
PostgreSQL the rows are elsewhere and are not cut: then it is the objects and keys that are
tested, against rows that name them. After each cut the server is killed, and starts anew on a
plain folder with what survived.
"""

import os
import random
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest
import requests

from support import databases
from support.load import Load
from support.powercut import Disk, File, Folder
from support.server import Server
from support.wait import hesitate

# How often the power is cut, here and in the long form, on SQLite and on PostgreSQL.
CUTS = {"sqlite": (15, 150), "postgres": (8, 50)}
FIRST_STARTS = {"sqlite": (8, 60), "postgres": (3, 20)}
CLIENTS = 4
GRACE = 3
TESTING = f"""
[testing]
allow = true
garbage_grace = "{GRACE}s"
job_interval = "100ms"
"""
ONE_REGION = "[regions.us-east-1]\n"
# The longest that a sync takes, in seconds: as on a disk, so that a cut comes in the middle.
SLOW = 0.008


def cuts(long_form, figures=CUTS):
    short, long = figures["postgres" if databases.is_postgres() else "sqlite"]
    return long if long_form else short


def server_in(memory, place, config=""):
    """A server whose data is a folder in memory; its log, which is read later, lies in `place`."""
    (memory / place.name).mkdir()
    place.symlink_to(memory / place.name)
    return Server(place, config + ONE_REGION, own_storage=False)


@pytest.fixture
def registry(memory, tmp_path):
    """A server that runs on a disk now and then. It is not started."""
    server = server_in(memory, tmp_path / "data", TESTING)
    yield server
    if server.process is not None:
        server.kill()
    databases.drop(server.database)


def cut_power(registry, disk, load, chance):
    """Cuts the power in the middle of the load; the server is gone after that."""
    load.ending.set()
    disk.cut(chance.getrandbits(32))
    registry.kill()
    load.end()
    disk.replace()
    # What a server says when its disk is gone is as it should be, but for a panic.
    complaints = registry.log.new_complaints()
    assert not [line for line in complaints if "panicked at" in line], complaints


def well(registry):
    """`bonded check` finds nothing wrong."""
    done = registry.command("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 problems" in done.stdout


def test_what_was_acknowledged_survives(registry, chance, long_form):
    registry.start()
    load = Load(registry, chance.getrandbits(64), clients=CLIENTS, grace=GRACE, power_cut=True)
    registry.stop()
    for _ in range(cuts(long_form)):
        with Disk(registry.data.resolve(), slow=SLOW * chance.choice((0, 1))) as disk:
            registry.start()
            load.begin()
            load.wait_for_requests(chance.randrange(1, 150))
            hesitate(chance.random() * 0.01)
            cut_power(registry, disk, load, chance)
        registry.start()
        load.check()
        registry.stop()
    well(registry)


def test_a_first_start_survives(memory, tmp_path, chance, long_form):
    """A start ends what one before began, and what the one that ended well made is there."""
    for number in range(cuts(long_form, FIRST_STARTS)):
        registry = server_in(memory, tmp_path / f"first{number}")
        try:
            with Disk(registry.data.resolve(), slow=SLOW) as disk:
                registry.spawn()
                hesitate(chance.random() * 0.3)
                ready = chance.random() < 0.3
                if ready:
                    registry.wait_until_ready()
                    key = registry.credentials()
                    registry.client().create_repository(repositoryName="app")
                disk.cut(chance.getrandbits(32))
                registry.kill()
                disk.replace()
            registry.log.new_complaints()
            databases.end_migration_lease(registry.database)
            registry.start()
            ecr = registry.client()
            found = [it["repositoryName"] for it in ecr.describe_repositories()["repositories"]]
            if ready:
                assert registry.credentials() == key
                assert found == ["app"]
            registry.stop()
            well(registry)
        finally:
            if registry.process is not None:
                registry.kill()
            databases.drop(registry.database)


@pytest.mark.parametrize("of", ["file", "folder"])
def test_a_disk_that_lies_loses_what_was_acknowledged(registry, chance, of):
    """The test above can fail: the same load on a disk whose syncs do nothing."""
    registry.start()
    load = Load(registry, chance.getrandbits(64), clients=1, grace=GRACE, power_cut=True)
    registry.stop()
    lost = False
    for _ in range(10):
        with Disk(registry.data.resolve(), lying=of) as disk:
            registry.start()
            load.begin()
            load.wait_for_requests(60)
            cut_power(registry, disk, load, chance)
        try:
            registry.start()
            load.check()
            registry.stop()
        except (AssertionError, requests.RequestException):
            lost = True
            break
    assert lost, "syncs that do nothing were not noticed"
    # That a server cannot even start, or finds its objects damaged, is a loss too.
    registry.log.new_complaints()


# --- the disk itself


@pytest.fixture
def folder(memory):
    made = memory / "disk"
    made.mkdir()
    return made


def write(path, data, *, sync):
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def sync_folder(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def survivors(folder, work, chance, cuts=60):
    """What `work` leaves behind after one of many cuts at its end: all that `work`'s function
    finds in the folders that survive."""
    with Disk(folder) as disk:
        read = work(folder)
        seen = []
        for _ in range(cuts):
            disk.cut(chance.getrandbits(32))
            seen.append(read(disk.survivor))
            shutil.rmtree(disk.survivor)
    return seen


def test_the_disk_keeps_what_was_synced_and_only_that_for_sure(folder, chance):
    def work(folder):
        write(folder / "synced", b"1" * 5000, sync=True)
        sync_folder(folder)
        write(folder / "synced", b"2" * 5000, sync=False)
        return lambda left: (left / "synced").read_bytes()

    seen = survivors(folder, work, chance)
    assert all(data.startswith(b"1" * 5000) for data in seen)
    assert b"1" * 5000 in seen
    assert b"1" * 5000 + b"2" * 5000 in seen
    assert len(set(seen)) > 2, "nothing was ever torn"


def test_the_disk_forgets_a_name_without_a_sync_of_its_folder(folder, chance):
    def work(folder):
        write(folder / "file", b"bytes", sync=True)
        return lambda left: [path.read_bytes() for path in left.iterdir()]

    seen = survivors(folder, work, chance)
    assert [] in seen
    assert [b"bytes"] in seen
    assert all(it in ([], [b"bytes"]) for it in seen)


def test_the_disk_may_keep_a_rename_and_lose_the_bytes(folder, chance):
    def work(folder):
        write(folder / "name", b"old", sync=True)
        sync_folder(folder)
        write(folder / "new", b"new", sync=False)
        (folder / "new").rename(folder / "name")
        return lambda left: (left / "name").read_bytes()

    seen = set(survivors(folder, work, chance))
    assert {b"old", b"new"} < seen, seen


def test_the_disk_brings_back_what_was_removed(folder, chance):
    def work(folder):
        write(folder / "file", b"bytes", sync=True)
        sync_folder(folder)
        (folder / "file").unlink()
        assert not (folder / "file").exists()
        return lambda left: (left / "file").exists()

    assert set(survivors(folder, work, chance)) == {True, False}


def test_the_disk_tears_by_sectors():
    """Of a write over synced bytes, each sector is old or new, and some are of each kind."""
    chance = random.Random(1)
    kinds = set()
    for _ in range(200):
        file = File(0o600, bytes(8 * 4096))
        file.change((0, b"\1" * 8 * 4096))
        data = file.survivor(chance)
        assert len(data) == 8 * 4096
        for start in range(0, len(data), 512):
            assert len(set(data[start : start + 512])) == 1
        kinds.add(data)
    assert len(kinds) > 20


def test_the_disk_syncs_only_what_came_before():
    folder = Folder(0o700)
    first, second = File(0o600), File(0o600)
    folder.change([("first", first)])
    folder.change([("second", second)])
    folder.sync(1)
    chance = random.Random(1)
    names = {tuple(folder.survivor(chance)) for _ in range(50)}
    assert names == {("first",), ("first", "second")}


@pytest.mark.parametrize("synchronous", ["FULL", "OFF"])
def test_a_database_on_the_disk(folder, chance, synchronous):
    """SQLite keeps its promise on it, but for a promise that it does not make. So what the disk
    does to a database is what a disk would do."""
    path, lost = folder / "rows.db", 0
    with Disk(folder) as disk, closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("CREATE TABLE row (value)")
        for number in range(300):
            connection.execute("INSERT INTO row VALUES (?)", (number,))
            if number == 200:
                connection.execute("PRAGMA wal_checkpoint(RESTART)")
        for _ in range(30):
            disk.cut(chance.getrandbits(32))
            lost += rows(disk.survivor / "rows.db") != list(range(300))
            shutil.rmtree(disk.survivor)
    assert lost == 0 if synchronous == "FULL" else lost > 0


def rows(path):
    try:
        with closing(sqlite3.connect(path)) as connection:
            return [row for (row,) in connection.execute("SELECT value FROM row ORDER BY value")]
    except sqlite3.DatabaseError:
        return None


def test_no_disk_is_left(folder):
    with Disk(folder):
        pass
    mounts = subprocess.run(["mount"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in mounts
