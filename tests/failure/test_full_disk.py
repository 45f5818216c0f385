"""A full disk refuses what needs room, tears nothing, and is forgotten when there is room."""

import os
import secrets
from contextlib import contextmanager, suppress

import pytest

from support import databases
from support.api import refused, upload_part
from support.images import digest, image, layer
from support.load import Load
from support.server import Server
from support.v2 import V2
from support.wait import until

SIZE = 64
MIB = 1024 * 1024
# How often the disk gets full under load, here and in the long form.
ROUNDS = (6, 40)
GRACE = 3
TESTING = """
[testing]
allow = true
garbage_grace = "{}s"
job_interval = "100ms"
[limits]
min_free = "{}"
"""
FULL = "LimitExceededException"
# What a server says of jobs and records that it cannot write; it goes on with them later.
NO_ROOM = "has no room|disk is full"


class SmallDisk:
    """A server, and the small disk that some of it lies on."""

    def __init__(self, server, disk):
        self.server, self.disk = server, disk

    def free(self):
        found = os.statvfs(self.disk)
        return found.f_bavail * found.f_frsize

    @contextmanager
    def filled(self, left=0):
        """Another program takes all room but `left` bytes, as long as the block lasts. Yields
        what it does to take what was freed meanwhile."""
        path = self.disk / "of-another"
        with path.open("wb") as file:

            def fill():
                while self.free() > left:
                    with suppress(OSError):  # somebody else was faster
                        os.posix_fallocate(file.fileno(), file.seek(0, 2), self.free() - left)

            try:
                fill()
                yield fill
            finally:
                path.unlink()


@pytest.fixture
def full(tmp_path, small_disk, request):
    """A server that is not started, with its objects or everything on a small disk. The
    parameter says which, how long garbage is kept (in seconds), and what must be free."""
    where, grace, min_free = request.param
    config = TESTING.format(grace, min_free)
    with small_disk(tmp_path / "disk", f"{SIZE}m") as disk:
        data = tmp_path / "data"
        if where == "everything":
            (disk / "data").mkdir()
            data.symlink_to(disk / "data")
            server = Server(data, config + "[regions.us-east-1]\n", own_storage=False)
        else:
            storage = f'[regions.us-east-1]\nstorage = "{disk}/objects"\n'
            server = Server(data, config + storage, own_storage=False)
        yield SmallDisk(server, disk)
        if server.process is not None:
            server.kill()
        databases.drop(server.database)


def well(server):
    """`bonded check` finds nothing wrong."""
    done = server.command("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 problems" in done.stdout


def push(v2, made, tag):
    """Pushes an image, each blob in one request, and says whether there was room."""
    for blob in made.blobs:
        answer = v2.post(f"/v2/app/blobs/uploads/?digest={blob.digest}", data=blob.data)
        if answer.status_code == 507:
            assert answer.json()["errors"][0]["message"]
            return False
        assert answer.status_code == 201, answer.text
    assert v2.put_manifest("app", tag, made).status_code == 201
    return True


def large_image():
    return image([layer({"random": secrets.token_bytes(4 * MIB)})])


@pytest.mark.parametrize(
    "full", [("objects", 1, "8MiB"), ("everything", 1, "16MiB")], indirect=True
)
def test_a_disk_that_fills_up(full):
    server = full.server.start()
    ecr = server.client()
    ecr.create_repository(repositoryName="app")
    v2 = V2(server.url, server.password())
    begun = secrets.token_bytes(300_000)
    upload = v2.append(v2.start_upload("app"), begun[:200_000]).headers["Location"]

    pushed = [large_image()]
    while push(v2, pushed[-1], f"{len(pushed)}"):
        assert len(pushed) * 4 < SIZE, "it was never full"
        pushed.append(large_image())
    late = pushed.pop()
    assert len(pushed) > 4

    # What needs room is refused on both planes, with nothing half done ...
    assert v2.post("/v2/app/blobs/uploads/").status_code == 507
    assert v2.append(upload, begun[200_000:]).status_code == 507
    assert v2.finish(upload, digest(begun), begun[200_000:]).status_code == 507
    assert v2.head(f"/v2/app/blobs/{late.blobs[-1].digest}").status_code == 404
    with refused(FULL):
        ecr.initiate_layer_upload(repositoryName="app")
    with refused(FULL):
        upload_part(ecr, "app", upload.rpartition("/")[2], 200_000, begun[200_000:])
    assert v2.get(upload).headers["Range"] == "0-199999"

    # ... and what needs none goes on: reads, tags, deletes.
    for number, made in enumerate(pushed):
        assert v2.get_manifest("app", f"{number + 1}").content == made.manifest
        assert v2.get(f"/v2/app/blobs/{made.blobs[-1].digest}").content == made.blobs[-1].data
    assert v2.put_manifest("app", "again", pushed[0]).status_code == 201
    for made in pushed[1:4]:
        assert v2.delete(f"/v2/app/manifests/{made.digest}").status_code == 202

    # The room of what was deleted is used again.
    until(lambda: push(v2, late, "late"), "there is room again", seconds=120)
    assert v2.get(f"/v2/app/blobs/{late.blobs[-1].digest}").content == late.blobs[-1].data

    def finish():
        answer = v2.finish(upload, digest(begun), begun[200_000:])
        assert answer.status_code in (201, 507), answer.text
        return answer.status_code == 201

    until(finish, "there is room for the upload", seconds=120)
    assert v2.get(f"/v2/app/blobs/{digest(begun)}").content == begun
    server.stop()
    well(server)


@pytest.mark.parametrize("full", [("objects", 60, "0B")], indirect=True)
@pytest.mark.parametrize("plane", ["whole", "in pieces", "api"])
def test_a_disk_that_another_program_fills(full, plane):
    """No figure foresees it: it is the write itself that fails, in the middle of an object."""
    server = full.server.start()
    ecr = server.client()
    ecr.create_repository(repositoryName="app")
    v2 = V2(server.url, server.password())
    data = secrets.token_bytes(6 * MIB)
    first = 5 * MIB
    upload = v2.append(v2.start_upload("app"), data[:first]).headers["Location"]
    before = objects(full)

    def send():
        """Sends the rest: whether it was taken."""
        if plane == "api":
            try:
                upload_part(ecr, "app", upload.rpartition("/")[2], first, data[first:])
            except ecr.exceptions.LimitExceededException:
                return False
            return v2.finish(upload, digest(data)).status_code == 201
        # Without a length, so that nobody can know before that it will not fit.
        body = data[first:] if plane == "whole" else (data[at : at + MIB // 4] for at in QUARTERS)
        answer = v2.finish(upload, digest(data), body)
        assert answer.status_code in (201, 507), answer.text
        return answer.status_code == 201

    for left in (600_000, 4096, 0):
        with full.filled(left):
            assert not send()
            assert v2.get(upload).headers["Range"] == f"0-{first - 1}"
            assert v2.head(f"/v2/app/blobs/{digest(data)}").status_code == 404
            # What was written of the object is gone at once, not only with the collector.
            until(lambda: objects(full) == before, "the piece of an object is removed")
    assert send()
    assert v2.get(f"/v2/app/blobs/{digest(data)}").content == data
    server.stop()
    well(server)


QUARTERS = [5 * MIB + number * MIB // 4 for number in range(4)]


def objects(full):
    return {path for path in (full.disk / "objects").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "full", [("objects", GRACE, "0B"), ("everything", GRACE, "0B")], indirect=True
)
def test_a_full_disk_under_load(full, chance, long_form):
    """Whoever was told that there is no room finds nothing done, and everything else is there:
    with the database on the full disk too, where every commit may fail."""
    server = full.server.start()
    server.expect_log(NO_ROOM)
    load = Load(server, chance.getrandbits(64), clients=3, grace=GRACE, may_be_full=True)
    for _ in range(ROUNDS[long_form]):
        load.begin()
        load.wait_for_requests(chance.randrange(1, 60))
        with full.filled(chance.choice((0, 0, 4096, 100_000, 1_000_000))) as fill:
            until(lambda: fill() or load.has_ended(), "every client met the full disk")
            load.end()
            # What is there can be read all the while.
            load.check_reads()
        load.check()
    assert load.done["full"] > 0, "the clients never met a full disk"
    load.settle()
    server.stop()
    well(server)


@pytest.mark.parametrize("full", [("everything", 60, "0B")], indirect=True)
def test_a_start_on_a_full_disk(full):
    """A server that ended when its disk was full starts when there is room; and before that it
    serves, or says why it does not."""
    server = full.server.start()
    server.expect_log(NO_ROOM)
    ecr = server.client()
    ecr.create_repository(repositoryName="app")
    v2 = V2(server.url, server.password())
    made = large_image()
    assert push(v2, made, "1")
    with full.filled():
        assert v2.post("/v2/app/blobs/uploads/").status_code == 507 or databases.is_postgres()
        server.kill()
        server.spawn()
        until(lambda: server.has_ended() or server.is_ready(), "it runs or has ended")
        if server.has_ended():
            assert server.process.returncode == 1
            assert "full" in server.log.text().splitlines()[-1]
        else:
            assert v2.get_manifest("app", "1").content == made.manifest
            server.kill()
    server.start()
    assert v2.get(f"/v2/app/blobs/{made.blobs[-1].digest}").content == made.blobs[-1].data
    assert push(v2, large_image(), "2")
    server.stop()
    well(server)
