"""A repository that is deleted and made again while it is used: the old one is gone at once, the
new one is empty, what is put into it stays, and no row of an old one is left over in the end."""

import itertools
import os
import random
import threading
import time
from dataclasses import dataclass, field
from functools import partial

import pytest
from botocore.exceptions import ClientError

from support.cluster import at_once, running
from support.images import Blob, digest, image
from support.v2 import with_query
from support.wait import until

LONG = 10 if os.environ.get("BONDED_LONG") else 1
REPLACEMENTS = 10 * LONG
VISITORS = 8
SEED = int(os.environ.get("BONDED_SEED") or random.randrange(1 << 32))
CONFIG = '[testing]\nallow = true\njob_interval = "200ms"\n'


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path, CONFIG) as made:
        print(f"BONDED_SEED={SEED}")
        yield made


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
