"""The history of tags is linearizable, whichever process and plane is asked.

Many clients put, delete and read a few tags at once through all nodes, some are cut off before
they are answered, and nodes are killed. What they saw must fit into one order.
"""

import itertools
import os
import queue
import random
import threading
import time
from collections import Counter
from functools import partial

import pytest
import requests
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
)

from support.api import push
from support.cluster import running
from support.history import ANYTHING, Recorder, violations
from support.images import ALL_TYPES, Image, digest, image
from support.v2 import send_and_leave

LONG = 10 if os.environ.get("BONDED_LONG") else 1
STEPS = 4000 * LONG
# A node is killed after every so many steps.
KILL_AFTER = 1500
PLANTED_STEPS = 800
CLIENTS = 12
TAGS = ["latest", "stable", "1", "2"]
REPOSITORY = "history"
SEED = int(os.environ.get("BONDED_SEED") or random.randrange(1 << 32))


class Tags:
    """What clients do with tags, and what each answer tells of the register."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.ecr = [node.client(max_pool_connections=CLIENTS) for node in cluster.nodes]
        self.ecr[0].create_repository(repositoryName=REPOSITORY)
        self.base = image()
        push(self.ecr[0], REPOSITORY, self.base)
        self.shared = [self.variant(f"shared-{number}") for number in range(5)]
        self.numbers = itertools.count()

    def variant(self, name):
        """Another image of the same blobs."""
        return Image({**self.base.document, "annotations": {"name": name}})

    def some_image(self, chance):
        """One that is put again and again, or a new one."""
        if chance.random() < 0.5:
            return chance.choice(self.shared)
        return self.variant(f"own-{next(self.numbers)}")


class Client:
    """One client: it stays on a node as long as that answers."""

    def __init__(self, tags, number, seed):
        self.tags, self.name = tags, f"client{number}"
        self.chance = random.Random(seed)
        self.move_to(number)

    def move_to(self, number):
        self.number = number
        self.node = self.tags.cluster.node(number)
        self.v2 = self.tags.cluster.v2(number)
        self.ecr = self.tags.ecr[number % len(self.tags.ecr)]

    ACTS = {
        "put": 14,
        "put_by_api": 6,
        "delete": 6,
        "delete_by_api": 5,
        "get": 14,
        "head": 10,
        "get_by_api": 6,
        "describe": 3,
        "put_and_leave": 1,
        "delete_and_leave": 1,
    }

    def step(self, recorder, tag):
        """Does one thing to a tag and has it written down."""
        act = self.chance.choices(list(self.ACTS), self.ACTS.values())[0]
        recorder.record(tag, f"{self.name}@{self.node.data.name}", lambda: self.try_to(act, tag))

    def try_to(self, act, tag):
        """Does it; a node that is gone leaves a change in doubt."""
        made = self.tags.some_image(self.chance)
        try:
            return getattr(self, act)(tag, made)
        except (requests.ConnectionError, EndpointConnectionError) as error:
            if "refused" in str(error):
                return None
        except (ConnectionClosedError, HTTPClientError):
            pass
        finally:
            if not self.node.listens():
                self.elsewhere()
        if act.startswith("put"):
            return "write", made.digest, True
        return ("erase", None, True) if act.startswith("delete") else None

    def elsewhere(self):
        self.move_to(self.number + 1)
        self.node.wait_until_it_listens()

    def path(self, tag):
        return f"/v2/{REPOSITORY}/manifests/{tag}"

    def put(self, tag, made):
        answer = self.v2.put_manifest(REPOSITORY, tag, made)
        assert answer.status_code == 201, answer.text
        return "write", made.digest

    def put_by_api(self, tag, made):
        try:
            self.ecr.put_image(
                repositoryName=REPOSITORY,
                imageManifest=made.text,
                imageManifestMediaType=made.media_type,
                imageTag=tag,
            )
        except self.ecr.exceptions.ImageAlreadyExistsException:
            return "read", made.digest
        return "write", made.digest

    def delete(self, tag, _):
        answer = self.v2.delete(self.path(tag))
        assert answer.status_code in (202, 404), answer.text
        return ("take", ANYTHING) if answer.status_code == 202 else ("read", None)

    def delete_by_api(self, tag, _):
        """The image goes too if it was its last tag."""
        answer = self.ecr.batch_delete_image(
            repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}]
        )
        if answer["failures"]:
            assert answer["failures"][0]["failureCode"] == "ImageNotFound", answer
            return "read", None
        (gone,) = answer["imageIds"]
        assert gone["imageTag"] == tag
        return "take", gone["imageDigest"]

    def get(self, tag, _):
        answer = self.v2.get_manifest(REPOSITORY, tag)
        assert answer.status_code in (200, 404), answer.text
        if answer.status_code == 404:
            return "read", None
        assert digest(answer.content) == answer.headers["Docker-Content-Digest"]
        return "read", digest(answer.content)

    def head(self, tag, _):
        answer = self.v2.get_manifest(REPOSITORY, tag, method="HEAD")
        assert answer.status_code in (200, 404), answer.text
        return "read", answer.headers.get("Docker-Content-Digest")

    def get_by_api(self, tag, _):
        answer = self.ecr.batch_get_image(
            repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}], acceptedMediaTypes=ALL_TYPES
        )
        if answer["failures"]:
            assert answer["failures"][0]["failureCode"] == "ImageNotFound", answer
            return "read", None
        (found,) = answer["images"]
        assert digest(found["imageManifest"].encode()) == found["imageId"]["imageDigest"]
        return "read", found["imageId"]["imageDigest"]

    def describe(self, tag, _):
        try:
            answer = self.ecr.describe_images(
                repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}]
            )
        except self.ecr.exceptions.ImageNotFoundException:
            return "read", None
        (found,) = answer["imageDetails"]
        assert tag in found["imageTags"]
        return "read", found["imageDigest"]

    def put_and_leave(self, tag, made):
        headers = {"Content-Type": made.media_type}
        self.send_and_leave("PUT", tag, headers, made.manifest)
        return "write", made.digest, True

    def delete_and_leave(self, tag, _):
        self.send_and_leave("DELETE", tag, {}, b"")
        return "erase", None, True

    def send_and_leave(self, method, tag, headers, body):
        password = self.tags.cluster.password
        send_and_leave(self.node.url, password, method, self.path(tag), headers, body)


def record(tags, steps, kills=False, make=Client):
    """The history of so many steps of all clients; in the end every node is asked once more."""
    recorder, numbers, failed, events = Recorder(), itertools.count(), [], queue.Queue()

    def work(number):
        try:
            client = make(tags, number, SEED + number)
            while (step := next(numbers)) < steps and not failed:
                if kills and step % KILL_AFTER == KILL_AFTER // 2:
                    events.put("kill")
                client.step(recorder, client.chance.choice(TAGS))
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            events.put("end")

    for number in range(CLIENTS):
        threading.Thread(target=work, args=(number,)).start()
    chance, working = random.Random(SEED), CLIENTS
    while working:
        if events.get() == "end":
            working -= 1
        elif not failed:
            node = chance.choice(tags.cluster.nodes)
            node.kill()
            node.start()
    assert not failed, f"seed {SEED}: {failed[0]!r}"
    for number, _ in enumerate(tags.cluster.nodes):
        client = Client(tags, number, SEED)
        for tag in TAGS:
            recorder.record(tag, client.name, partial(client.get, tag, None))
    return recorder.operations


@pytest.fixture
def tags(tmp_path):
    with running(tmp_path) as cluster:
        yield Tags(cluster)


def told(found):
    return f"seed {SEED}\n" + "\n".join(map(str, found))


def test_the_history_of_tags_is_linearizable(tags):
    history = record(tags, STEPS, kills=True)
    began = time.monotonic()
    found = violations(history)
    assert not found, told(found)
    searched = time.monotonic() - began
    kinds = Counter(operation.kind for operation in history)
    doubtful = sum(operation.in_doubt for operation in history)
    print(
        f"{len(history)} operations, {doubtful} in doubt, {dict(kinds)}, {searched:.1f} s of search"
    )
    assert len(history) > STEPS * 0.9
    assert min(kinds[kind] for kind in ("write", "read", "take")) > STEPS / 50
    # The trails agree: every move begins where the one before it ended.
    for tag in TAGS:
        check_trail(tags.cluster, tag)


def check_trail(cluster, tag):
    """`tag_change` tells every move of a tag, and each begins where another one ended."""
    moves = cluster.rows("SELECT from_digest, to_digest FROM tag_change WHERE tag = ?", tag)
    ends = Counter(move["to_digest"] for move in moves)
    begins = Counter(move["from_digest"] for move in moves)
    now = cluster.rows(
        "SELECT i.digest FROM tag t JOIN image i ON i.id = t.image_id WHERE t.name = ?", tag
    )
    last = now[0]["digest"] if now else None
    # From nothing to `last`: every digest is left as often as it is reached, but for those two.
    begins[last] += 1
    ends[None] += 1
    assert begins == ends, f"{tag}: {begins - ends} {ends - begins}"


class Forgetful(Client):
    """A planted bug: changes that are acknowledged and not done."""

    def put(self, tag, made):
        if self.chance.random() < 0.3:
            return "write", made.digest
        return super().put(tag, made)


class Caching(Client):
    """A planted bug: a node that remembers a tag's digest and does not hear of changes."""

    REMEMBERED = {}

    def get(self, tag, made):
        key = (self.node.data, tag)
        if key in self.REMEMBERED and self.chance.random() < 0.5:
            return "read", self.REMEMBERED[key]
        answer = super().get(tag, made)
        self.REMEMBERED[key] = answer[1]
        return answer


@pytest.mark.parametrize("planted", [Forgetful, Caching])
def test_a_planted_bug_is_found(tags, planted):
    assert not violations(record(tags, PLANTED_STEPS))
    for tag in TAGS:
        tags.cluster.v2(0).delete(f"/v2/{REPOSITORY}/manifests/{tag}")
    found = violations(record(tags, PLANTED_STEPS, make=planted))
    assert found, f"seed {SEED}: the checker does not see what {planted.__name__} does"
    print(found[0])
