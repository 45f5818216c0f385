"""A crowd of clients that push, mount, report, delete and pull the same few things.

A few families of images are used in bursts; between two bursts a family lies about as long as
it takes the collector to remove its memberships, its blobs or its objects, so that the next
burst meets it at work. What clients are told goes into a model, `support/promises.py`.
"""

import random
import time
from bisect import bisect_right
from collections import Counter

from botocore.exceptions import ClientError

from support.api import upload_layer
from support.images import Blob, digest, image
from support.promises import Promises
from support.v2 import with_query

FAMILIES = 10
# Seconds; also what an object lies after its last row went.
GRACE = 1.0
SHORT_LIVED = "scratch"
REPOSITORIES = ["app", "base", "tools", SHORT_LIVED]
# The first client deletes and makes the short-lived one after so many of its steps.
REPLACE_AFTER = 40


class Bursts:
    """When a family is used, in seconds from the start."""

    def __init__(self, chance):
        self.starts, self.ends = [], []
        moment = chance.uniform(0, 2) * GRACE
        for _ in range(2000):
            self.starts.append(moment)
            self.ends.append(moment + chance.uniform(0.4, 0.8) * GRACE)
            # A membership goes after one grace time, its blob after two, its object after three.
            pause = chance.choice([1, 2, 3]) + chance.uniform(-0.1, 0.3)
            moment = self.ends[-1] + pause * GRACE

    def phase(self, now):
        """How much of a burst is over, from 0 to 1; None between two."""
        place = bisect_right(self.starts, now) - 1
        if place < 0 or now > self.ends[place]:
            return None
        return (now - self.starts[place]) / (self.ends[place] - self.starts[place])


class Family:
    """Two images that share a layer."""

    def __init__(self, chance, number):
        # Some are small enough to be kept in a row, where the server does that.
        sizes = [chance.choice([300, 3_000, 90_000, 150_000]) for _ in range(3)]
        layers = [Blob(chance.randbytes(size)) for size in sizes]
        self.images = [
            image([layers[0], layers[own]], annotations={"of": f"family {number}"})
            for own in (1, 2)
        ]
        self.blobs = list({it.digest: it for made in self.images for it in made.blobs}.values())
        self.bursts = Bursts(chance)


class World:
    """What all clients share."""

    def __init__(self, cluster, seed, clients, grace=GRACE):
        chance = random.Random(seed)
        self.cluster, self.seed = cluster, seed
        self.promises = Promises(grace)
        self.families = [Family(chance, number) for number in range(FAMILIES)]
        self.blobs = {it.digest: it for family in self.families for it in family.blobs}
        self.images = {it.digest: it for family in self.families for it in family.images}
        self.ecr = [node.client(max_pool_connections=clients) for node in cluster.nodes]
        for name in REPOSITORIES:
            self.ecr[0].create_repository(repositoryName=name)
        self.start = time.monotonic()
        self.done = Counter()

    def active(self):
        """The families that are used now, each with how much of its burst is over."""
        now = time.monotonic() - self.start
        phases = [(family, family.bursts.phase(now)) for family in self.families]
        return [(family, phase) for family, phase in phases if phase is not None]


class Client:
    """One of the clients; each request goes to one of the nodes."""

    # What is done in a burst, and what near its end, when all must go.
    EARLY = {
        "push": 20,
        "head": 18,
        "mount": 14,
        "push_image": 20,
        "check_layers": 3,
        "get_blob": 6,
        "get_image": 4,
        "delete_blob": 2,
        "delete_tag": 4,
        "delete_image": 3,
        "delete_by_api": 2,
    }
    LATE = {"delete_image": 10, "delete_by_api": 4, "head": 1, "delete_blob": 1, "get_blob": 1}

    def __init__(self, world, number):
        self.world, self.promises, self.number = world, world.promises, number
        self.chance = random.Random(world.seed + number + 1)
        self.callers = [world.cluster.v2(node) for node, _ in enumerate(world.cluster.nodes)]
        # Manifests to be put later, of blobs that were told to be there: (when, repository, image).
        self.waiting = []
        self.steps = 0

    @property
    def v2(self):
        return self.chance.choice(self.callers)

    @property
    def ecr(self):
        return self.chance.choice(self.world.ecr)

    def step(self):
        """Does one thing."""
        self.steps += 1
        due = [it for it in self.waiting if it[0] <= time.monotonic()]
        if due:
            self.waiting.remove(due[0])
            self.put_image(*due[0][1:])
            return
        if self.number == 0 and self.steps % REPLACE_AFTER == 0:
            self.replace_repository()
            return
        repository = self.chance.choice(REPOSITORIES)
        if self.chance.random() < 0.02:
            self.look_and_put_later(repository, self.chance.choice(self.world.families))
            return
        active = self.world.active()
        if not active:
            # Does not touch the blobs, so that their time goes on.
            self.get_image(repository, self.chance.choice(self.world.families))
            return
        family, phase = self.chance.choice(active)
        acts = self.EARLY if phase < 0.7 else self.LATE
        act = self.chance.choices(list(acts), acts.values())[0]
        self.world.done[act] += 1
        getattr(self, act)(repository, family)

    def timed(self, ask, *good):
        """When a request was asked and answered, and the answer: a good one, or 404."""
        start = time.monotonic()
        answer = ask()
        end = time.monotonic()
        assert answer.status_code in (*good, 404), (
            f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text}"
        )
        return start, end, answer

    def call(self, operation, missing, **parameters):
        """The same for the API: the answer is None for an exception that `missing` names."""
        start = time.monotonic()
        try:
            answer = getattr(self.ecr, operation)(**parameters)
        except ClientError as error:
            if error.response["Error"]["Code"] not in missing:
                raise
            answer = None
        return start, time.monotonic(), answer

    # --- blobs

    def push(self, repository, family):
        self.push_blob(repository, self.chance.choice(family.blobs))

    def push_blob(self, repository, blob):
        """Pushes a blob in one of the ways there are. It can fail only with its repository."""
        ways = [self.in_one_request, self.in_two_requests, self.in_pieces, self.by_api]
        way = self.chance.choices(ways, [4, 3, 2, 1])[0]
        began = time.monotonic()
        start, done = way(repository, blob)
        end = time.monotonic()
        self.promises.must_succeed(way.__name__, repository, began, end, done)
        if done:
            self.promises.blob_written(repository, blob.digest, start, end)
        return done

    def in_one_request(self, repository, blob):
        path = f"/v2/{repository}/blobs/uploads/?digest={blob.digest}"
        start, _, answer = self.timed(lambda: self.v2.post(path, data=blob.data), 201)
        return start, answer.status_code == 201

    def in_two_requests(self, repository, blob):
        start, _, answer = self.timed(lambda: self.v2.post(f"/v2/{repository}/blobs/uploads/"), 202)
        if answer.status_code == 404:
            return start, False
        return self.finish(answer.headers["Location"], blob, blob.data)

    def in_pieces(self, repository, blob):
        start, _, answer = self.timed(lambda: self.v2.post(f"/v2/{repository}/blobs/uploads/"), 202)
        half = len(blob.data) // 2
        if answer.status_code == 202:
            location = answer.headers["Location"]
            _, _, answer = self.timed(lambda: self.v2.append(location, blob.data[:half], 0), 202)
        if answer.status_code == 404:
            return start, False
        return self.finish(location, blob, blob.data[half:])

    def finish(self, location, blob, data):
        path = with_query(location, "digest", blob.digest)
        start, _, answer = self.timed(lambda: self.v2.put(path, data=data), 201)
        return start, answer.status_code == 201

    def by_api(self, repository, blob):
        """What is there already is told as an error, and is a promise too."""
        start = time.monotonic()
        try:
            upload_layer(self.ecr, repository, blob.data, [blob.digest])
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("RepositoryNotFoundException", "UploadNotFoundException"):
                return start, False
            if code != "LayerAlreadyExistsException":
                raise
        return start, True

    def head(self, repository, family):
        self.head_blob(repository, self.chance.choice(family.blobs))

    def head_blob(self, repository, blob):
        path = f"/v2/{repository}/blobs/{blob.digest}"
        start, end, answer = self.timed(lambda: self.v2.head(path), 200)
        found = answer.status_code == 200
        self.promises.blobs_asked("head", repository, [blob.digest], start, end, found)
        if found:
            self.promises.blob_reported(repository, blob.digest, start, end)
        return found

    def get_blob(self, repository, family):
        blob = self.chance.choice(family.blobs)
        path = f"/v2/{repository}/blobs/{blob.digest}"
        start, end, answer = self.timed(lambda: self.v2.get(path), 200)
        found = answer.status_code == 200
        assert not found or answer.content == blob.data
        self.promises.blobs_asked("get", repository, [blob.digest], start, end, found)
        if found:
            self.promises.blob_reported(repository, blob.digest, start, end)

    def check_layers(self, repository, family):
        digests = [blob.digest for blob in family.blobs]
        start, end, answer = self.call(
            "batch_check_layer_availability",
            ["RepositoryNotFoundException"],
            repositoryName=repository,
            layerDigests=digests,
        )
        if answer is None:
            self.promises.must_succeed("check layers", repository, start, end, False)
            return
        there = {
            it["layerDigest"] for it in answer["layers"] if it["layerAvailability"] == "AVAILABLE"
        }
        for blob in digests:
            found = blob in there
            self.promises.blobs_asked("check layers", repository, [blob], start, end, found)
            if found:
                self.promises.blob_reported(repository, blob, start, end)

    def mount(self, repository, family):
        blob = self.chance.choice(family.blobs)
        source = self.chance.choice([it for it in REPOSITORIES if it != repository])
        path = f"/v2/{repository}/blobs/uploads/?mount={blob.digest}"
        named = self.chance.random() < 0.7
        path += f"&from={source}" if named else ""
        start, end, answer = self.timed(lambda: self.v2.post(path), 201, 202)
        self.promises.must_succeed("mount", repository, start, end, answer.status_code != 404)
        if answer.status_code == 404:
            return
        mounted = answer.status_code == 201
        if named:
            self.promises.blobs_asked("mount from", source, [blob.digest], start, end, mounted)
        if mounted:
            self.promises.blob_written(repository, blob.digest, start, end)
        else:
            self.timed(lambda: self.v2.delete(answer.headers["Location"]), 204)

    def delete_blob(self, repository, family):
        blob = self.chance.choice(family.blobs)
        path = f"/v2/{repository}/blobs/{blob.digest}"
        start, end, answer = self.timed(lambda: self.v2.delete(path), 202, 405)
        if answer.status_code == 202:
            self.promises.blob_deleted(repository, blob.digest, start, end)
        else:
            found = answer.status_code == 405
            self.promises.blobs_asked("delete", repository, [blob.digest], start, end, found)

    # --- images

    def push_image(self, repository, family):
        """As a client does: asks for each blob, pushes what is missing, puts the manifest."""
        made = self.chance.choice(family.images)
        for blob in made.blobs:
            if not self.head_blob(repository, blob) and not self.push_blob(repository, blob):
                return
        self.put_image(repository, made)

    def look_and_put_later(self, repository, family):
        """Whoever is told that the blobs are there may take his time."""
        made = self.chance.choice(family.images)
        if all(self.head_blob(repository, blob) for blob in made.blobs):
            later = time.monotonic() + self.chance.uniform(0.3, 0.7) * GRACE
            self.waiting.append((later, repository, made))

    def put_image(self, repository, made):
        if self.chance.random() < 0.8:
            reference = self.chance.choice(["latest", "1", made.digest])
            start, end, answer = self.timed(
                lambda: self.v2.put_manifest(repository, reference, made), 201
            )
            done = answer.status_code == 201
        else:
            start, end, done = self.put_by_api(repository, made)
        blobs = [blob.digest for blob in made.blobs]
        self.promises.blobs_asked("put image", repository, blobs, start, end, done)
        if done:
            self.promises.image_put(repository, made.digest, blobs, start, end)

    def put_by_api(self, repository, made):
        """What is there already is told as an error, and is there."""
        start = time.monotonic()
        try:
            self.ecr.put_image(
                repositoryName=repository,
                imageManifest=made.text,
                imageManifestMediaType=made.media_type,
                imageTag=self.chance.choice(["latest", "1"]),
            )
            done = True
        except ClientError as error:
            code = error.response["Error"]["Code"]
            done = code == "ImageAlreadyExistsException"
            if not done and code not in (
                "LayersNotFoundException",
                "RepositoryNotFoundException",
            ):
                raise
        return start, time.monotonic(), done

    def get_image(self, repository, family):
        made = self.chance.choice(family.images)
        start, end, answer = self.timed(lambda: self.v2.get_manifest(repository, made.digest), 200)
        found = answer.status_code == 200
        assert not found or digest(answer.content) == made.digest
        self.promises.image_asked("get image", repository, made.digest, start, end, found)

    def delete_image(self, repository, family):
        made = self.chance.choice(family.images)
        path = f"/v2/{repository}/manifests/{made.digest}"
        start, end, answer = self.timed(lambda: self.v2.delete(path), 202)
        if answer.status_code == 202:
            self.promises.image_deleted(repository, made.digest, start, end)
        else:
            self.promises.image_asked("delete", repository, made.digest, start, end, False)

    def delete_tag(self, repository, _):
        """The image stays."""
        tag = self.chance.choice(["latest", "1"])
        self.timed(lambda: self.v2.delete(f"/v2/{repository}/manifests/{tag}"), 202)

    def delete_by_api(self, repository, _):
        """The image goes with its last tag."""
        start, end, answer = self.call(
            "batch_delete_image",
            ["RepositoryNotFoundException"],
            repositoryName=repository,
            imageIds=[{"imageTag": self.chance.choice(["latest", "1"])}],
        )
        for gone in answer["imageIds"] if answer else []:
            self.promises.image_deleted(repository, gone["imageDigest"], start, end)

    def replace_repository(self):
        start, deleted, _ = self.call(
            "delete_repository", [], repositoryName=SHORT_LIVED, force=True
        )
        _, end, _ = self.call("create_repository", [], repositoryName=SHORT_LIVED)
        self.promises.repository_replaced(SHORT_LIVED, start, deleted, end)
