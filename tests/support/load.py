"""A mixed load from several clients, each of whom knows what it was told.

For tests that end the server in the middle: a client keeps what was acknowledged, and of the
one request that may have been under way both what was before and what would be after. When the
server is back, `Load.check` compares all of it with what is there, byte for byte, and finds
what was acknowledged and is lost, what was deleted and came back, and what is half done.
"""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import botocore.exceptions
import requests
from botocore.exceptions import ClientError

from support.images import Blob, digest, image, index
from support.v2 import V2, with_query

# A client deletes images when it has more, and ends uploads before it begins more.
MOST_IMAGES = 5
MOST_UPLOADS = 3
TAGS = [f"tag{number}" for number in range(4)]

BROKEN_OFF = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
)


class Gone(Exception):
    """The server went away, as the test wants it: nobody knows what became of the request."""


class Full(Exception):
    """The server said that there is no room, and so that nothing was done."""


class Collected(Exception):
    """What a client pushed and did not use was collected, after its grace: it was too slow."""


@dataclass
class State:
    """What a repository has."""

    images: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)

    def copy(self):
        return State(dict(self.images), dict(self.tags))

    def put(self, made, tag):
        after = self.copy()
        after.images[made.digest] = made
        if tag:
            after.tags[tag] = made.digest
        return after

    def without_tag(self, tag):
        after = self.copy()
        del after.tags[tag]
        return after

    def without_image(self, image_digest):
        after = self.copy()
        del after.images[image_digest]
        after.tags = {tag: it for tag, it in self.tags.items() if it != image_digest}
        return after

    def free_images(self):
        """Those that no index names: only they can be deleted."""
        named = {child.digest for made in self.images.values() for child in made.children}
        return [it for it in self.images if it not in named]

    def listed(self):
        """As the API lists it: a pair for each tag, and one for each image without."""
        tagged = set(self.tags.values())
        untagged = {(it, None) for it in self.images if it not in tagged}
        return untagged | {(it, tag) for tag, it in self.tags.items()}


@dataclass
class Upload:
    """An upload that is not ended. `sizes` are the sizes that it may have."""

    id: str
    data: bytes
    sizes: set = field(default_factory=lambda: {0})
    ending: bool = False
    # When its completion was asked for: once it is gone, its blob must be there.
    completed: float | None = None

    @property
    def size(self):
        (size,) = self.sizes
        return size


class Load:
    """Clients of one server, each with a repository of its own. `grace` is in seconds.

    With `power_cut` an upload without any acknowledged byte may be forgotten: to begin one
    promises nothing, so it is not synced. With `may_be_full` a client stops when it is told
    that there is no room.
    """

    def __init__(self, server, seed, *, clients, grace, power_cut=False, may_be_full=False):
        self.server, self.grace, self.power_cut = server, grace, power_cut
        self.may_be_full = may_be_full
        self.ending = threading.Event()
        self.news = threading.Condition()
        self.requests = 0
        self.done = Counter()
        chance = random.Random(seed)
        self.shared = [chance.randbytes(chance.randrange(10, 100_000)) for _ in range(8)]
        self.clients = [Client(self, number, chance.getrandbits(64)) for number in range(clients)]
        self.threads = []
        for client in self.clients:
            client.connect(server)
            client.ecr.create_repository(repositoryName=client.repository)

    def begin(self):
        """Every client works, until the server is gone."""
        self.ending.clear()
        self.threads = [
            threading.Thread(target=client.work, daemon=True) for client in self.clients
        ]
        for thread in self.threads:
            thread.start()

    def count(self):
        with self.news:
            self.requests += 1
            self.news.notify_all()

    def wait_for_requests(self, more):
        """Waits until this many more requests were begun."""
        with self.news:
            wanted = self.requests + more
            waited = self.news.wait_for(
                lambda: self.requests >= wanted or any(it.error for it in self.clients), 60
            )
        assert waited, "the clients stand still"
        self.raise_errors()

    def end(self):
        """Waits for the clients. The server is gone, or `ending` was set to let them stop."""
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"
        self.threads = []
        self.raise_errors()

    def has_ended(self):
        return not any(thread.is_alive() for thread in self.threads)

    def raise_errors(self):
        for client in self.clients:
            if client.error:
                raise client.error

    def check(self):
        """Compares what is there with what was told."""
        self.ending.clear()
        self.for_all(Client.check)

    def check_reads(self):
        """Compares only what images have: for a server that cannot write."""
        self.for_all(Client.check_images)

    def settle(self):
        """Ends all uploads with their bytes."""
        self.for_all(Client.end_uploads)

    def connect(self, server):
        """Goes on with another server that has the same rows and objects."""
        for client in self.clients:
            client.connect(server)

    def for_all(self, work):
        with ThreadPoolExecutor(len(self.clients)) as pool:
            list(pool.map(work, self.clients))


class Client:
    """One client. It has at most one request under way."""

    def __init__(self, load, number, seed):
        self.load = load
        self.chance = random.Random(seed)
        self.repository = f"load/client{number}"
        self.scratch = f"load/scratch{number}"
        # What may be: one state, but for the request that was under way when the server went.
        self.states = [State()]
        self.scratch_images = [None]
        self.uploads = []
        # Blobs that no image has: they are kept for a while after they were told to be there.
        self.loose = {}
        self.error = None

    def connect(self, server):
        self.v2 = V2(server.url, server.password())
        self.ecr = server.client(max_pool_connections=1)

    @property
    def state(self):
        (state,) = self.states
        return state

    # --- one request

    @contextmanager
    def request(self):
        """A request that may end with the server."""
        self.load.count()
        try:
            yield
        except BROKEN_OFF as error:
            if self.load.ending.is_set():
                raise Gone from error
            raise

    def call(self, method, path, *expected, **options):
        """A request to `/v2/`. Another status than the expected ones fails the test, but for
        those of a server whose power was cut."""
        with self.request():
            answer = self.v2.request(method, path, **options)
        if answer.status_code not in expected:
            if self.load.ending.is_set():
                raise Gone
            if answer.status_code == 507 and self.load.may_be_full:
                raise Full
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def api(self, operation, *expected, **parameters):
        """A request to the API: the answer, and the code of an expected error."""
        parameters.setdefault("repositoryName", self.repository)
        with self.request():
            try:
                return getattr(self.ecr, operation)(**parameters), None
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in expected:
                    return error.response, code
                if self.load.ending.is_set():
                    raise Gone from error
                if code == "LimitExceededException" and self.load.may_be_full:
                    raise Full from error
                raise AssertionError(f"{operation}: {error}") from error

    def over_api(self):
        return self.chance.random() < 0.4

    # --- work

    def work(self):
        """Works until the server is gone, or is about to be."""
        try:
            while not self.load.ending.is_set():
                self.work_once()
        except Gone:
            pass
        except Full:
            self.load.done["full"] += 1
        except BaseException as error:
            self.error = error
            self.load.count()

    def work_once(self):
        chance, state = self.chance.random(), self.state
        if len(self.uploads) >= MOST_UPLOADS or (self.uploads and chance < 0.15):
            work = self.go_on_with_upload
        elif len(state.images) >= MOST_IMAGES or (state.images and chance < 0.25):
            work = self.delete
        elif state.images and chance < 0.4:
            work = self.retag
        elif chance < 0.5:
            work = self.begin_and_append
        elif chance < 0.6:
            work = self.use_scratch
        else:
            work = self.push
        try:
            work()
        except Collected:
            self.load.done["collected"] += 1

    def push(self):
        if self.chance.random() < 0.15:
            self.push_index()
        else:
            made = self.new_image()
            self.put(made, self.chance.choice([*TAGS, None]))

    def push_index(self):
        made = index([self.new_image("amd64"), self.new_image("arm64")])
        for child in made.children:
            self.put(child, None)
        self.put(made, self.chance.choice(TAGS))
        self.load.done["index"] += 1

    def new_image(self, architecture="amd64"):
        """A new image whose blobs were pushed."""
        layers = [Blob(self.layer_bytes()) for _ in range(self.chance.randrange(1, 3))]
        mounted = self.mount() if self.chance.random() < 0.4 else None
        layers += [Blob(mounted)] if mounted else []
        # The label makes it another image, even of layers that others have too.
        label = {"id": f"{self.chance.getrandbits(64):x}"}
        made = image(layers, architecture=architecture, Labels=label)
        for blob in made.blobs:
            if blob.data != mounted:
                self.push_blob(blob.data)
        return made

    def layer_bytes(self):
        if self.chance.random() < 0.3:
            return self.chance.choice(self.load.shared)
        most = self.chance.choice((200, 20_000, 80_000, 300_000, 1_500_000))
        return self.chance.randbytes(self.chance.randrange(2, most))

    # --- blobs

    def push_blob(self, data):
        begun = time.monotonic()
        blob = digest(data)
        way = self.chance.choice((self.push_whole, self.push_with_put, self.push_in_pieces))
        if self.chance.random() < 0.3:
            there = self.call("HEAD", f"/v2/{self.repository}/blobs/{blob}", 200, 404)
            if there.status_code == 200:
                # Told to be there, so it must stay; but whoever asks starts the grace time anew
                # only when a quarter of it is over.
                self.load.done["found"] += 1
                self.loose[blob] = (data, begun - self.load.grace / 4)
                return
        begun = time.monotonic()
        way(data)
        self.loose[blob] = (data, begun)

    def push_whole(self, data):
        path = f"/v2/{self.repository}/blobs/uploads/?digest={digest(data)}"
        self.call("POST", path, 201, data=data)
        self.load.done["whole"] += 1

    def push_with_put(self, data):
        upload = self.begin(data)
        self.finish(upload)

    def push_in_pieces(self, data):
        upload = self.begin(data)
        while upload.size < len(data) and self.chance.random() < 0.8:
            self.append(upload)
        self.finish(upload)

    def begin(self, data):
        if self.over_api():
            answer, _ = self.api("initiate_layer_upload")
            upload = Upload(answer["uploadId"], data)
        else:
            answer = self.call("POST", f"/v2/{self.repository}/blobs/uploads/", 202)
            upload = Upload(answer.headers["Location"].rpartition("/")[2], data)
        self.uploads.append(upload)
        return upload

    def place(self, upload):
        return f"/v2/{self.repository}/blobs/uploads/{upload.id}"

    def append(self, upload):
        """Appends some of the bytes that are missing."""
        start = upload.size
        most = max(1, min(len(upload.data) - start, 400_000))
        piece = upload.data[start : start + self.chance.randrange(most) + 1]
        end = start + len(piece)
        with self.growing(upload, end):
            self.send(upload, piece, start, end)
        self.load.done["append"] += 1

    def send(self, upload, piece, start, end):
        if self.over_api():
            answer, _ = self.api(
                "upload_layer_part",
                uploadId=upload.id,
                partFirstByte=start,
                partLastByte=end - 1,
                layerPartBlob=piece,
            )
            assert answer["lastByteReceived"] == end - 1
        else:
            ranged = self.chance.random() < 0.5
            headers = {"Content-Range": f"{start}-{end - 1}"} if ranged else {}
            answer = self.call("PATCH", self.place(upload), 202, data=piece, headers=headers)
            assert answer.headers["Range"] == f"0-{end - 1}"

    def finish(self, upload):
        """Ends an upload with the rest of its bytes."""
        begun = time.monotonic()
        with self.growing(upload, len(upload.data), completed=begun):
            self.complete(upload)
        self.uploads.remove(upload)
        self.loose[digest(upload.data)] = (upload.data, begun)
        self.load.done["finish"] += 1

    def complete(self, upload):
        rest = upload.data[min(upload.sizes) :]
        blob = digest(upload.data)
        if not rest and self.over_api():
            _, code = self.api(
                "complete_layer_upload",
                "LayerAlreadyExistsException",
                "LayerPartTooSmallException",
                uploadId=upload.id,
                layerDigests=[blob],
            )
            # A rule of the API alone: the same upload may end on the other plane.
            if code != "LayerPartTooSmallException":
                return
        self.call("PUT", with_query(self.place(upload), "digest", blob), 201, data=rest)

    def begin_and_append(self):
        """Begins an upload that is gone on with later, perhaps after a restart."""
        upload = self.begin(self.chance.randbytes(self.chance.randrange(2, 500_000)))
        self.append(upload)

    def go_on_with_upload(self):
        upload = self.chance.choice(self.uploads)
        if self.chance.random() < 0.15:
            upload.ending = True
            try:
                self.call("DELETE", self.place(upload), 204)
            except Full:
                upload.ending = False
                raise
            self.uploads.remove(upload)
            self.load.done["cancel"] += 1
        elif upload.size < len(upload.data) and self.chance.random() < 0.5:
            self.append(upload)
        else:
            self.finish(upload)

    def end_uploads(self):
        while self.uploads:
            self.finish(self.uploads[0])

    def mount(self):
        """Mounts a layer of another client's image, and gives its bytes if that went well."""
        other = self.chance.choice(self.load.clients)
        images = list(other.states[0].images.values())
        blobs = [blob for made in images for blob in made.blobs]
        if other is self or not blobs:
            return None
        blob = self.chance.choice(blobs)
        begun = time.monotonic()
        path = f"/v2/{self.repository}/blobs/uploads/"
        parameters = {"mount": blob.digest, "from": other.repository}
        answer = self.call("POST", path, 201, 202, params=parameters)
        if answer.status_code == 202:
            # The other one has deleted it meanwhile: this is an upload now.
            self.call("DELETE", answer.headers["Location"], 204)
            return None
        self.load.done["mount"] += 1
        self.loose[blob.digest] = (blob.data, begun)
        return blob.data

    # --- images and tags

    @contextmanager
    def changing(self, after):
        """What is asked for in the block may be done or not when the server goes."""
        before = self.state
        self.states = [before, after]
        try:
            yield
        except (Collected, Full):
            self.states = [before]
            raise
        self.states = [after]

    @contextmanager
    def growing(self, upload, end, completed=None):
        """An upload may have the bytes up to `end`, and be completed, when the server goes."""
        start = upload.size
        upload.sizes = {start, end}
        upload.ending, upload.completed = completed is not None, completed
        try:
            yield
        except Full:
            upload.sizes, upload.ending, upload.completed = {start}, False, None
            raise
        upload.sizes = {end}

    def put(self, made, tag):
        with self.changing(self.state.put(made, tag)):
            if self.over_api():
                more = {"imageTag": tag} if tag else {}
                _, code = self.api(
                    "put_image",
                    "LayersNotFoundException",
                    imageManifest=made.text,
                    imageManifestMediaType=made.media_type,
                    **more,
                )
                missing = code is not None
            else:
                path = f"/v2/{self.repository}/manifests/{tag or made.digest}"
                headers = {"Content-Type": made.media_type}
                answer = self.call("PUT", path, 201, 404, data=made.manifest, headers=headers)
                missing = answer.status_code == 404
            if missing:
                self.must_be_old(made.blobs)
                raise Collected
        for blob in made.blobs:
            self.loose.pop(blob.digest, None)
        self.load.done["put"] += 1

    def must_be_old(self, blobs):
        """One of them was refused as missing: its grace must be over."""
        now = time.monotonic()
        ages = [now - self.loose[it.digest][1] for it in blobs if it.digest in self.loose]
        assert ages, "a layer that an image has is missing"
        assert max(ages) >= self.load.grace, f"a layer was missing after {max(ages):.3f} s"

    def retag(self):
        state = self.state
        tag = self.chance.choice(TAGS)
        others = [it for it in state.images.values() if it.digest != state.tags.get(tag)]
        if others:
            self.put(self.chance.choice(others), tag)
            self.load.done["retag"] += 1

    def delete(self):
        state = self.state
        if state.tags and self.chance.random() < 0.4:
            self.delete_tag(self.chance.choice(sorted(state.tags)))
            return
        victim = self.chance.choice(state.free_images())
        with self.changing(state.without_image(victim)):
            self.delete_reference(victim, {"imageDigest": victim})
        self.load.done["delete image"] += 1

    def delete_tag(self, tag):
        state = self.state
        made = state.tags[tag]
        without_tag = state.without_tag(tag)
        if self.over_api():
            # The API removes an image with its last tag, `/v2/` does not.
            last = made not in without_tag.tags.values()
            if last and made not in state.free_images():
                return
            after = without_tag.without_image(made) if last else without_tag
            with self.changing(after):
                answer, _ = self.api("batch_delete_image", imageIds=[{"imageTag": tag}])
                assert answer["failures"] == [], answer
        else:
            with self.changing(without_tag):
                self.call("DELETE", f"/v2/{self.repository}/manifests/{tag}", 202)
        self.load.done["delete tag"] += 1

    def delete_reference(self, reference, image_id):
        if self.over_api():
            answer, _ = self.api("batch_delete_image", imageIds=[image_id])
            assert answer["failures"] == [], answer
        else:
            self.call("DELETE", f"/v2/{self.repository}/manifests/{reference}", 202)

    def use_scratch(self):
        """Makes a repository with an image in it, or deletes it."""
        (made,) = self.scratch_images
        if made is not None:
            with self.changing_scratch(None):
                self.api("delete_repository", repositoryName=self.scratch, force=True)
            self.load.done["delete repository"] += 1
            return
        label = {"id": f"{self.chance.getrandbits(64):x}"}
        made = image([Blob(self.chance.choice(self.load.shared))], Labels=label)
        with self.changing_scratch("empty"):
            self.api("create_repository", repositoryName=self.scratch)
        begun = time.monotonic()
        for blob in made.blobs:
            path = f"/v2/{self.scratch}/blobs/uploads/?digest={blob.digest}"
            self.call("POST", path, 201, data=blob.data)
        with self.changing_scratch(made):
            path = f"/v2/{self.scratch}/manifests/1"
            headers = {"Content-Type": made.media_type}
            answer = self.call("PUT", path, 201, 404, data=made.manifest, headers=headers)
            if answer.status_code == 404:
                assert time.monotonic() - begun >= self.load.grace, "a layer is lost"
                raise Collected

    @contextmanager
    def changing_scratch(self, after):
        """As `changing`, for the other repository: an image, `empty`, or None if it is not."""
        (before,) = self.scratch_images
        self.scratch_images = [before, after]
        try:
            yield
        except (Collected, Full):
            self.scratch_images = [before]
            raise
        self.scratch_images = [after]

    # --- checks

    def check(self):
        """Compares everything, and knows afterwards what became of the request under way."""
        self.check_images()
        self.check_uploads()
        self.check_loose_blobs()
        self.check_scratch()

    def check_images(self):
        listed = self.listed()
        possible = [state for state in self.states if state.listed() == listed]
        wanted = [sorted(state.listed(), key=str) for state in self.states]
        assert possible, f"{self.repository} has {sorted(listed, key=str)}, not one of {wanted}"
        self.states = [possible[0]]
        for made in self.state.images.values():
            self.check_image(self.repository, made.digest, made)
        for tag, image_digest in self.state.tags.items():
            answer = self.call("GET", self.manifest(self.repository, tag), 200)
            assert answer.content == self.state.images[image_digest].manifest
        blobs = {blob.digest: blob for made in self.state.images.values() for blob in made.blobs}
        for blob in blobs.values():
            self.check_blob(self.repository, blob)

    def manifest(self, repository, reference):
        return f"/v2/{repository}/manifests/{reference}"

    def check_image(self, repository, reference, made):
        path = self.manifest(repository, reference)
        answer = self.call("GET", path, 200, headers={"Accept": made.media_type})
        assert answer.content == made.manifest, f"{repository} {reference} is another one"

    def check_blob(self, repository, blob):
        answer = self.call("GET", f"/v2/{repository}/blobs/{blob.digest}", 200)
        assert answer.content == blob.data, f"{repository} {blob.digest} has other bytes"

    def listed(self):
        pages = self.ecr.get_paginator("list_images").paginate(repositoryName=self.repository)
        return {
            (it["imageDigest"], it.get("imageTag")) for page in pages for it in page["imageIds"]
        }

    def check_uploads(self):
        for upload in list(self.uploads):
            answer = self.call("GET", self.place(upload), 204, 404)
            if answer.status_code == 404:
                empty = self.load.power_cut and min(upload.sizes) == 0
                lost = f"upload {upload.id} with {upload.sizes} bytes is lost"
                assert upload.ending or empty, lost
                self.uploads.remove(upload)
                if upload.completed is not None and not empty:
                    self.loose[digest(upload.data)] = (upload.data, upload.completed)
                continue
            last = int(answer.headers["Range"].removeprefix("0-"))
            sizes = {size for size in upload.sizes if max(size - 1, 0) == last}
            assert sizes, f"upload {upload.id} has {last + 1} bytes and should have {upload.sizes}"
            # Of an upload of nothing or one byte, `0-0` says too little: the append says more.
            upload.sizes, upload.ending, upload.completed = {min(sizes)}, False, None

    def check_loose_blobs(self):
        for blob, (data, begun) in list(self.loose.items()):
            answer = self.call("GET", f"/v2/{self.repository}/blobs/{blob}", 200, 404)
            if answer.status_code == 200:
                assert answer.content == data, f"{blob} has other bytes"
            else:
                age = time.monotonic() - begun
                assert age >= self.load.grace, f"{blob} is lost after {age:.3f} s"
            del self.loose[blob]

    def check_scratch(self):
        found, code = self.api(
            "describe_images", "RepositoryNotFoundException", repositoryName=self.scratch
        )
        if code:
            assert None in self.scratch_images, "an acknowledged repository is lost"
            self.scratch_images = [None]
            return
        made = [it for it in self.scratch_images if it not in (None, "empty")]
        if found["imageDetails"]:
            assert made, "a repository has an image that nobody pushed"
            self.check_image(self.scratch, "1", made[0])
            for blob in made[0].blobs:
                self.check_blob(self.scratch, blob)
            self.scratch_images = made
        else:
            assert "empty" in self.scratch_images, "an acknowledged image is lost"
            self.api("delete_repository", repositoryName=self.scratch, force=True)
            self.scratch_images = [None]
