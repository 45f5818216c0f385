"""Appends from all sides to one upload: what was acknowledged first stays, and nothing else.

Many clients append at the same places through all nodes, on both planes; some do not wait for
the answer. What was acknowledged must be one chain of bytes, told as such at any time, and the
blob is made of it.
"""

import itertools
import os
import random
import time
from dataclasses import dataclass
from functools import partial

import pytest
from botocore.exceptions import ClientError

from support.api import upload_part
from support.cluster import at_once, running
from support.images import digest
from support.v2 import send_and_leave, with_query

LONG = 10 if os.environ.get("BONDED_LONG") else 1
UPLOADS = 8 * LONG
# Acknowledged appends of each upload before it is finished, and who makes them.
APPENDS = 12
APPENDERS = 6
SEED = int(os.environ.get("BONDED_SEED") or random.randrange(1 << 32))


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path) as made:
        print(f"BONDED_SEED={SEED}")
        yield made


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
