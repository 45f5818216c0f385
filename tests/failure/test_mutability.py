"""Mutability while all put the same tags at once: what may not move does not, whoever asks.

Each put, refusal and read must fit into one order with the changes of the setting.
"""

import itertools
import os
import random
import threading
from dataclasses import dataclass
from functools import partial

import pytest

from support.api import push
from support.cluster import at_once, running
from support.history import Operation, Recorder, violations
from support.images import Image, image
from support.v2 import error_code
from support.wait import until

LONG = 10 if os.environ.get("BONDED_LONG") else 1
FIXED_TAGS = 30 * LONG
PUTTERS = 6
MODE_STEPS = 1200 * LONG
SEED = int(os.environ.get("BONDED_SEED") or random.randrange(1 << 32))


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path) as made:
        print(f"BONDED_SEED={SEED}")
        yield made


def variant(base, name):
    """Another image of the same blobs."""
    return Image({**base.document, "annotations": {"name": name}})


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
