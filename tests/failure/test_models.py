"""Uploads, mutability and the deletion of repositories against models, while many clients race.

Each of these has a short rule, and all nodes are asked at once to break it.
"""

import itertools
import os
import random
import threading
import time
from dataclasses import dataclass, field
from functools import partial

import pytest
from botocore.exceptions import ClientError

from support.api import push, upload_part
from support.cluster import at_once, running
from support.history import Operation, Recorder, violations
from support.images import Blob, Image, digest, image
from support.v2 import error_code, send_and_leave, with_query
from support.wait import until

LONG = 10 if os.environ.get("BONDED_LONG") else 1
UPLOADS = 8 * LONG
# Acknowledged appends of each upload before it is finished, and who makes them.
APPENDS = 12
APPENDERS = 6
FIXED_TAGS = 30 * LONG
PUTTERS = 6
MODE_STEPS = 1200 * LONG
REPLACEMENTS = 10 * LONG
VISITORS = 8
SEED = int(os.environ.get("BONDED_SEED") or random.randrange(1 << 32))
CONFIG = '[testing]\nallow = true\njob_interval = "200ms"\n'


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path, CONFIG) as made:
        print(f"BONDED_SEED={SEED}")
        yield made


def variant(base, name):
    """Another image of the same blobs."""
    return Image({**base.document, "annotations": {"name": name}})


# --- uploads


@dataclass(frozen=True)
class Piece:
    """Bytes that somebody sent to an upload. What is in doubt has no end."""

    offset: int
    data: bytes
    start: float
    end: float | None


class Upload:
    """One upload, and what its clients were told."""

    REPOSITORY = "uploads"

    def __init__(self, cluster, chance):
        self.cluster, self.chance = cluster, chance
        self.ecr = [node.client(max_pool_connections=APPENDERS) for node in cluster.nodes]
        self.location = cluster.v2(chance.randrange(3)).start_upload(self.REPOSITORY)
        self.id = self.location.rpartition("/")[2]
        self.pieces = []
        self.looks = []
        # What is in doubt has a length of its own, so that it is known in the end.
        self.lengths = itertools.count(1_001)

    def acknowledged(self):
        return [piece for piece in self.pieces if piece.end is not None]

    def size(self, v2):
        """What a node tells of the size, and when."""
        start = time.monotonic()
        answer = v2.get(self.location)
        assert answer.status_code == 204, answer.text
        size = size_of(answer)
        self.looks.append((start, time.monotonic(), size))
        return size

    def append(self, number):
        """One client's part: it appends until enough was acknowledged."""
        chance = random.Random(SEED + number)
        v2, ecr = self.cluster.v2(number), self.ecr[number % len(self.ecr)]
        while len(self.acknowledged()) < APPENDS:
            data = chance.randbytes(chance.randint(2, chance.choice([50, 5_000, 90_000])))
            offset = self.size(v2)
            ways = [self.by_range, self.without_range, self.by_api, self.and_leave]
            way = chance.choices(ways, [6, 2, 2, 1])[0]
            if way == self.and_leave:
                data = chance.randbytes(next(self.lengths))
            start = time.monotonic()
            done = way(v2, ecr, offset, data)
            end = time.monotonic()
            if way == self.and_leave:
                self.pieces.append(Piece(offset, data, start, None))
            elif done is not None:
                self.pieces.append(Piece(done - len(data), data, start, end))
                if way == self.by_range and chance.random() < 0.2:
                    self.repeat(v2, done - len(data), data)

    def by_range(self, v2, _, offset, data):
        """Says where its bytes belong. Gives where they end; None if they came too late."""
        answer = v2.append(self.location, data, offset)
        assert answer.status_code in (202, 416, 429), answer.text
        if answer.status_code != 202:
            return None
        assert size_of(answer) == offset + len(data)
        return offset + len(data)

    def without_range(self, v2, _, __, data):
        """Where the upload ends, wherever that is. It is the same rule: one append wins."""
        answer = v2.append(self.location, data)
        assert answer.status_code in (202, 416, 429), answer.text
        return size_of(answer) if answer.status_code == 202 else None

    def by_api(self, _, ecr, offset, data):
        try:
            answer = upload_part(ecr, self.REPOSITORY, self.id, offset, data)
        except ClientError as error:
            late = ("InvalidLayerPartException", "LimitExceededException")
            if error.response["Error"]["Code"] not in late:
                raise
            return None
        assert answer["lastByteReceived"] == offset + len(data) - 1
        return offset + len(data)

    def and_leave(self, v2, _, offset, data):
        """Sends all of it and does not wait for the answer."""
        headers = {"Content-Range": f"{offset}-{offset + len(data) - 1}"}
        send_and_leave(v2.url, self.cluster.password, "PATCH", self.location, headers, data)

    def repeat(self, v2, offset, data):
        """The same bytes once more are acknowledged as long as they are the last, and only
        then; others never are."""
        answer = v2.append(self.location, data, offset)
        assert answer.status_code in (202, 416, 429), answer.text
        other = bytes([data[0] ^ 1]) + data[1:]
        answer = v2.append(self.location, other, offset)
        assert answer.status_code in (416, 429), answer.text

    def chain(self, size):
        """The pieces that the upload must be made of: the acknowledged ones, none over another,
        and what is in doubt only where there is a gap."""
        taken = {}
        for piece in self.acknowledged():
            assert piece.offset not in taken, f"two at {piece.offset} were acknowledged"
            taken[piece.offset] = piece
        doubtful = [piece for piece in self.pieces if piece.end is None]
        paths = [(0, [])]
        whole = []
        while paths:
            offset, path = paths.pop()
            if offset == size:
                whole.append(path)
            elif offset in taken:
                paths.append((offset + len(taken[offset].data), [*path, taken[offset]]))
            else:
                for piece in doubtful:
                    if piece.offset == offset:
                        paths.append((offset + len(piece.data), [*path, piece]))
        assert whole, (
            f"nothing gives {size} bytes: {[(it.offset, len(it.data)) for it in self.pieces]}"
        )
        for path in whole:
            assert set(taken) <= {piece.offset for piece in path}, "an acknowledged part is lost"
        return whole[0]

    def check_looks(self, chain):
        """Every told size was one that the upload had between the question and the answer."""
        ends = {0} | {piece.offset + len(piece.data) for piece in chain}
        for start, end, size in self.looks:
            assert size in ends, f"the upload never had {size} bytes"
            for piece in chain:
                last = piece.offset + len(piece.data)
                if piece.end is not None and piece.end < start:
                    assert size >= last, "acknowledged bytes were not told"
                if piece.start > end:
                    assert size <= piece.offset, "bytes were told before they were sent"

    def finish(self):
        """All clients try to end it with bytes of their own, and one more to append."""
        v2 = self.cluster.v2(0)
        for _ in range(50):
            size = self.size(v2)
            chain = self.chain(size)
            before = b"".join(piece.data for piece in chain)
            lasts = [self.chance.randbytes(20) for _ in range(APPENDERS)]
            works = [
                partial(self.finish_with, number, before, last) for number, last in enumerate(lasts)
            ]
            start = time.monotonic()
            answers = at_once([*works, partial(self.append_once, size, b"more")])
            appended = answers.pop()
            wins = [last for last, done in zip(lasts, answers, strict=True) if done]
            assert len(wins) + appended <= 1, "more than one was acknowledged at one place"
            if appended:
                self.pieces.append(Piece(size, b"more", start, time.monotonic()))
            if wins:
                self.check_looks(chain)
                return before + wins[0], [before + it for it in lasts if it != wins[0]]
        raise AssertionError("nobody can finish the upload")

    def finish_with(self, number, before, last):
        headers = {"Content-Range": f"{len(before)}-{len(before) + len(last) - 1}"}
        path = with_query(self.location, "digest", digest(before + last))
        answer = self.cluster.v2(number).put(path, data=last, headers=headers)
        assert answer.status_code in (201, 404, 416, 429), answer.text
        return answer.status_code == 201

    def append_once(self, size, data):
        answer = self.cluster.v2(1).append(self.location, data, size)
        assert answer.status_code in (202, 404, 416, 429), answer.text
        return answer.status_code == 202


def size_of(answer):
    """How many bytes an upload has; `0-0` stands for none, and no test sends one."""
    last = int(answer.headers["Range"].partition("-")[2])
    return last + 1 if last else 0


def test_the_first_acknowledged_append_wins(cluster):
    cluster.first.client().create_repository(repositoryName=Upload.REPOSITORY)
    chance = random.Random(SEED)
    appends = doubtful = 0
    for _ in range(UPLOADS):
        upload = Upload(cluster, chance)
        at_once([partial(upload.append, number) for number in range(APPENDERS)])
        whole, others = upload.finish()
        path = f"/v2/{Upload.REPOSITORY}/blobs/"
        for number, _ in enumerate(cluster.nodes):
            v2 = cluster.v2(number)
            assert v2.get(path + digest(whole)).content == whole
            assert v2.get(upload.location).status_code == 404
            for other in others:
                assert v2.head(path + digest(other)).status_code == 404
        appends += len(upload.acknowledged())
        doubtful += len(upload.pieces) - len(upload.acknowledged())
    print(f"{UPLOADS} uploads, {appends} appends acknowledged, {doubtful} in doubt")
    assert appends >= UPLOADS * APPENDS


# --- mutability


def is_fixed(mode, tag):
    """Whether a tag may not move. The one filter is `dev-*`."""
    excluded = mode.endswith("_WITH_EXCLUSION") and tag.startswith("dev-")
    return mode.startswith("IMMUTABLE") != excluded


def set_mode(ecr, repository, mode):
    more = {}
    if mode.endswith("_WITH_EXCLUSION"):
        filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
        more["imageTagMutabilityExclusionFilters"] = filters
    ecr.put_image_tag_mutability(repositoryName=repository, imageTagMutability=mode, **more)


def put_by_v2(v2, repository, tag, made):
    """Whether it was put; False if the tag may not move."""
    answer = v2.put_manifest(repository, tag, made)
    if answer.status_code == 201:
        return True
    assert (answer.status_code, error_code(answer)) == (400, "TAG_INVALID"), answer.text
    return False


def put_by_api(ecr, repository, tag, made):
    """Whether it was put; False if the tag may not move, None if it has this image."""
    try:
        ecr.put_image(
            repositoryName=repository,
            imageManifest=made.text,
            imageManifestMediaType=made.media_type,
            imageTag=tag,
        )
    except ecr.exceptions.ImageTagAlreadyExistsException:
        return False
    except ecr.exceptions.ImageAlreadyExistsException:
        return None
    return True


def test_an_immutable_tag_is_never_overwritten(cluster):
    """All put at once, each another image: one wins, and its image stays."""
    ecr = [node.client(max_pool_connections=PUTTERS) for node in cluster.nodes]
    ecr[0].create_repository(repositoryName="fixed", imageTagMutability="IMMUTABLE")
    base = image()
    push(ecr[0], "fixed", base)
    callers = [cluster.v2(number) for number in range(PUTTERS)]
    winners = {}
    for round_number in range(FIXED_TAGS):
        tag = f"v{round_number}"
        made = [variant(base, f"{tag} of {number}") for number in range(PUTTERS)]

        def put(number, tag=tag, made=made):
            if number % 3 == 2:
                return put_by_api(ecr[number % len(ecr)], "fixed", tag, made[number])
            return put_by_v2(callers[number], "fixed", tag, made[number])

        done = at_once([partial(put, number) for number in range(PUTTERS)])
        won = [it.digest for it, success in zip(made, done, strict=True) if success]
        assert len(won) == 1, f"{len(won)} puts of {tag} were acknowledged"
        winners[tag] = won[0]
        # The winner may say it once more, and nobody else anything.
        again = [put_by_v2(callers[number], "fixed", tag, it) for number, it in enumerate(made)]
        assert again == [success is True for success in done]
    for v2 in callers[: len(cluster.nodes)]:
        for tag, expected in winners.items():
            assert v2.get_manifest("fixed", tag).headers["Docker-Content-Digest"] == expected
    # Who lost has left nothing.
    assert cluster.count("image") == FIXED_TAGS + 1
    assert cluster.count("tag_change") == FIXED_TAGS


@dataclass(frozen=True)
class Move(Operation):
    """An operation on a tag of a repository whose mutability changes: the value is both."""

    @property
    def only_looks(self):
        return self.kind in ("read", "refused", "refused by the API", "exists")

    def after(self, value):
        digest_now, mode = value
        fixed = is_fixed(mode, self.register)
        same = digest_now == self.value
        if self.kind == "mode":
            return True, (digest_now, self.value)
        if self.kind == "put":
            return digest_now is None or same or not fixed, (self.value, mode)
        if self.kind == "put by the API":
            return digest_now is None or not (same or fixed), (self.value, mode)
        if self.kind == "refused":
            return digest_now is not None and not same and fixed, value
        if self.kind == "refused by the API":
            return digest_now is not None and fixed, value
        if self.kind == "exists":
            return same and not fixed, value
        if self.kind == "take":
            return digest_now is not None, (None, mode)
        return same, value


MODES = ["MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"]
MOVED_TAGS = ["v1", "v2", "dev-1", "dev-2"]


def op(kind, value, start, end, tag="v1"):
    return Move(tag, kind, value, start, end)


@pytest.mark.parametrize(
    ("good", "moves"),
    [
        (True, [op("put", "a", 0, 1), op("put", "b", 2, 3)]),
        (False, [op("mode", "IMMUTABLE", 0, 1), op("put", "a", 2, 3), op("put", "b", 4, 5)]),
        (True, [op("mode", "IMMUTABLE", 0, 9), op("put", "a", 2, 3), op("put", "b", 4, 5)]),
        (False, [op("put", "a", 0, 1), op("refused", "b", 2, 3)]),
        (True, [op("put", "a", 0, 1), op("mode", "IMMUTABLE", 0, 9), op("refused", "b", 2, 3)]),
        (True, [op("mode", "IMMUTABLE", 0, 1), op("put", "a", 2, 3), op("put", "a", 4, 5)]),
        (False, [op("mode", "IMMUTABLE", 0, 1), op("put", "a", 2, 3), op("exists", "a", 4, 5)]),
        (
            False,
            [
                op("mode", "IMMUTABLE_WITH_EXCLUSION", 0, 1, "dev-1"),
                op("put", "a", 2, 3, "dev-1"),
                op("refused", "b", 4, 5, "dev-1"),
            ],
        ),
    ],
)
def test_the_model_of_mutability(good, moves):
    assert bool(violations(moves, (None, "MUTABLE"))) != good


class Mover:
    """A client that puts, deletes and reads tags while the mutability changes."""

    def __init__(self, cluster, ecr, base, number):
        self.chance = random.Random(SEED + number)
        self.v2, self.ecr = cluster.v2(number), ecr[number % len(ecr)]
        self.base = base

    def step(self, tag):
        """Does one thing, and tells what it was."""
        made = variant(self.base, f"image {self.chance.randrange(4)}")
        act = self.chance.choices(["put", "put_by_api", "delete", "read"], [5, 3, 1, 4])[0]
        if act == "put":
            done = put_by_v2(self.v2, "moved", tag, made)
            return "put" if done else "refused", made.digest
        if act == "put_by_api":
            done = put_by_api(self.ecr, "moved", tag, made)
            kinds = {True: "put by the API", False: "refused by the API", None: "exists"}
            return kinds[done], made.digest
        if act == "delete":
            answer = self.v2.delete(f"/v2/moved/manifests/{tag}")
            assert answer.status_code in (202, 404), answer.text
            return ("take", None) if answer.status_code == 202 else ("read", None)
        answer = self.v2.get_manifest("moved", tag, method="HEAD")
        assert answer.status_code in (200, 404), answer.text
        return "read", answer.headers.get("Docker-Content-Digest")


def test_mutability_may_change_at_any_time(cluster):
    """Every put, refusal and read fits into one order with the changes of the mutability."""
    ecr = [node.client(max_pool_connections=PUTTERS + 1) for node in cluster.nodes]
    ecr[0].create_repository(repositoryName="moved")
    base = image()
    push(ecr[0], "moved", base)
    recorder, numbers, ended = Recorder(Move), itertools.count(), threading.Event()

    def move(number):
        mover = Mover(cluster, ecr, base, number)
        try:
            while next(numbers) < MODE_STEPS and not ended.is_set():
                tag = mover.chance.choice(MOVED_TAGS)
                recorder.record(tag, f"client{number}", partial(mover.step, tag))
        finally:
            ended.set()

    changes = Recorder(Move)

    def change():
        chance = random.Random(SEED)

        def one():
            mode = chance.choice(MODES)
            set_mode(chance.choice(ecr), "moved", mode)
            return "mode", mode

        while not ended.is_set():
            changes.record("", "switch", one)
            # So that there is something to see under each.
            enough = len(recorder.operations) + 12
            until(lambda it=enough: ended.is_set() or len(recorder.operations) > it, "a few moves")

    at_once([*(partial(move, number) for number in range(PUTTERS)), change])
    history = list(recorder.operations)
    for tag in MOVED_TAGS:
        history += [
            Move(tag, it.kind, it.value, it.start, it.end, it.client) for it in changes.operations
        ]
    found = violations(history, (None, "MUTABLE"))
    assert not found, "\n".join(map(str, found))
    kinds = {it.kind for it in history}
    assert len(kinds) == 8, kinds
    print(f"{len(recorder.operations)} moves under {len(changes.operations)} settings")


# --- repositories


@dataclass(frozen=True)
class Thing:
    """A blob, an image or a tag that was put once, and never again."""

    path: str
    start: float
    end: float


@dataclass
class Street:
    """What clients saw of a repository that is deleted and made again, all the time."""

    things: list = field(default_factory=list)
    # When each deletion and each making was asked and answered.
    deletions: list = field(default_factory=list)
    makings: list = field(default_factory=list)
    looks: list = field(default_factory=list)
    failures: list = field(default_factory=list)

    def judge(self):
        """Everything that is wrong."""
        return [*filter(None, map(self.judge_look, self.looks)), *self.judge_failures()]

    def judge_look(self, look):
        """A thing is there from its putting to the next deletion."""
        thing, start, end, found = look
        if found and any(thing.end < it[0] and it[1] < start for it in self.deletions):
            return f"{thing.path} of an older repository is seen {start:.6f} … {end:.6f}"
        certain = thing.end < start and not any(
            thing.start < it[1] and it[0] < end for it in self.deletions
        )
        if not found and certain:
            return f"{thing.path} is lost {start:.6f} … {end:.6f}"
        return None

    def judge_failures(self):
        """A request fails only if the repository was deleted since its first step began."""
        begins = [0, *(it[0] for it in self.deletions)]
        ends = [it[1] for it in self.makings]
        gaps = list(itertools.zip_longest(begins, ends, fillvalue=float("inf")))
        for what, start, end in self.failures:
            if not any(gap[0] < end and start < gap[1] for gap in gaps):
                yield f"{what} failed {start:.6f} … {end:.6f}, and the repository was there"


def test_the_model_of_repositories():
    street = Street(deletions=[(10, 11)], makings=[(0, 1), (12, 13)])
    old, new = Thing("old", 2, 3), Thing("new", 14, 15)
    street.looks = [(old, 4, 5, True), (old, 9, 12, False), (old, 9, 12, True), (new, 16, 17, True)]
    street.failures = [("push", 0.5, 2), ("push", 9, 10.5), ("push", 12.5, 14), ("push", 4, 20)]
    assert street.judge() == []
    street.looks = [(old, 4, 5, False), (old, 12, 13, True), (new, 16, 17, False)]
    street.failures = [("push", 4, 5), ("push", 14, 15)]
    assert len(street.judge()) == 5


class Visitor:
    """A client that puts new things into the repository, and looks for those that were put."""

    NAME = "short/lived"

    def __init__(self, cluster, street, source, number):
        self.cluster, self.street, self.number = cluster, street, number
        self.chance = random.Random(SEED + number)
        # Blobs of another repository, which this client alone mounts.
        self.source = source
        self.count = itertools.count()

    def step(self):
        self.v2 = self.cluster.v2(self.chance.randrange(3))
        acts = [self.push_blob, self.mount, self.push_image, self.look, self.list_tags]
        self.chance.choices(acts, [2, 1, 3, 5, 1])[0]()

    def ask(self, began, what, path, request, *good):
        """One request of a step that began at `began`. What was put is there from then on."""
        start = time.monotonic()
        answer = request()
        end = time.monotonic()
        assert answer.status_code in (*good, 404), f"{what}: {answer.status_code} {answer.text}"
        if answer.status_code == 404:
            self.street.failures.append((what, began, end))
            return None
        if path:
            self.street.things.append(Thing(path, start, end))
        return answer

    def blob_path(self, blob_digest):
        return f"/v2/{self.NAME}/blobs/{blob_digest}"

    def push_blob(self, data=None):
        data = data or self.chance.randbytes(200)
        began, wanted = time.monotonic(), digest(data)
        uploads = f"/v2/{self.NAME}/blobs/uploads/"
        begun = self.ask(began, "begin", None, lambda: self.v2.post(uploads), 202)
        if begun is None:
            return False
        path = with_query(begun.headers["Location"], "digest", wanted)
        put = partial(self.v2.put, path, data=data)
        return self.ask(began, "finish", self.blob_path(wanted), put, 201) is not None

    def mount(self):
        wanted = next(self.source, None)
        if wanted is None:
            return
        path = f"/v2/{self.NAME}/blobs/uploads/?mount={wanted}&from=source"
        began = time.monotonic()
        self.ask(began, "mount", self.blob_path(wanted), lambda: self.v2.post(path), 201)

    def push_image(self):
        """A new image with blobs and tag of its own."""
        name = f"{self.number}-{next(self.count)}"
        made = image([Blob(self.chance.randbytes(100))], annotations={"name": name})
        began = time.monotonic()
        if not all(self.push_blob(blob.data) for blob in made.blobs):
            return
        path = f"/v2/{self.NAME}/manifests/"
        put = partial(self.v2.put_manifest, self.NAME, name, made)
        if self.ask(began, "put image", path + name, put, 201):
            put = self.street.things[-1]
            self.street.things.append(Thing(path + made.digest, put.start, put.end))

    def look(self):
        things = self.street.things[-60:]
        if not things:
            return
        thing = self.chance.choice(things)
        headers = {"Accept": "*/*"}
        start = time.monotonic()
        answer = self.v2.head(thing.path, headers=headers)
        end = time.monotonic()
        assert answer.status_code in (200, 404)
        self.street.looks.append((thing, start, end, answer.status_code == 200))

    def list_tags(self):
        """A list holds all tags that must be there, and none of an older repository."""
        start = time.monotonic()
        answer = self.v2.get(f"/v2/{self.NAME}/tags/list")
        end = time.monotonic()
        assert answer.status_code in (200, 404), answer.text
        listed = set(answer.json()["tags"] or []) if answer.status_code == 200 else set()
        for thing in list(self.street.things):
            name = thing.path.rpartition("/")[2]
            if "/manifests/" in thing.path and ":" not in name:
                self.street.looks.append((thing, start, end, name in listed))


def once(calls, *refusals):
    """Calls that race for the same thing: one succeeds, and the others are refused."""

    def outcome(call):
        try:
            call()
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "done"

    start = time.monotonic()
    outcomes = at_once([partial(outcome, call) for call in calls])
    assert outcomes.count("done") == 1, outcomes
    assert set(outcomes) <= {"done", *refusals}, outcomes
    return start, time.monotonic()


def test_a_deleted_repository_is_gone_and_a_new_one_is_empty(cluster):
    ecr = [node.client(max_pool_connections=4) for node in cluster.nodes]
    ecr[0].create_repository(repositoryName="source")
    v2 = cluster.v2(0)
    mounted = [v2.push_blob("source", f"blob {it}".encode()) for it in range(REPLACEMENTS * 8)]
    street, ended = Street(), threading.Event()

    def make():
        calls = [partial(it.create_repository, repositoryName=Visitor.NAME) for it in ecr]
        street.makings.append(once(calls, "RepositoryAlreadyExistsException"))

    def replace():
        try:
            for _ in range(REPLACEMENTS):
                make()
                # So that there is something to delete.
                enough = len(street.things) + 40
                until(lambda it=enough: ended.is_set() or len(street.things) >= it, "a few things")
                calls = [
                    partial(it.delete_repository, repositoryName=Visitor.NAME, force=True)
                    for it in ecr
                ]
                street.deletions.append(once(calls, "RepositoryNotFoundException"))
        finally:
            ended.set()

    def visit(number):
        visitor = Visitor(cluster, street, iter(mounted[number::VISITORS]), number)
        try:
            while not ended.is_set():
                visitor.step()
        finally:
            ended.set()

    at_once([replace, *(partial(visit, number) for number in range(VISITORS))])
    found = street.judge()
    assert not found, f"{len(found)} wrong\n" + "\n".join(found[:10])
    print(
        f"{REPLACEMENTS} repositories, {len(street.things)} things, {len(street.looks)} looks, "
        f"{len(street.failures)} failures in a gap"
    )
    assert len(street.things) > REPLACEMENTS * 40
    nothing_is_left(cluster)


def nothing_is_left(cluster):
    """The jobs remove all rows of the deleted repositories. Blobs go after their grace time."""
    until(lambda: cluster.count("repository") == 1, "only the source has a row", seconds=120)
    of_others = "repository_id <> (SELECT id FROM repository WHERE name = 'source')"
    for table in ("image", "image_blob", "tag", "membership", "upload", "referrer"):
        assert cluster.count(table, of_others) == 0, table
    for table in ("image_manifest", "image_pull"):
        assert cluster.count(table) == 0, table
    used = "EXISTS (SELECT 1 FROM membership m WHERE m.blob_id = blob.id)"
    assert cluster.count("blob", f"NOT {used} AND unused_since IS NULL") == 0
    assert cluster.count("blob", f"{used} AND unused_since IS NOT NULL") == 0
