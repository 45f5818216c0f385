"""Images made in memory: layers, configs, manifests, indexes and artifacts.

They are small but real: a layer is a gzipped tar, its diff id is in the config, so docker and
podman unpack and run them.
"""

import gzip
import hashlib
import io
import json
import secrets
import tarfile
from dataclasses import dataclass, field

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ALL_TYPES = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST]


def digest(data, algorithm="sha256"):
    """The digest of bytes, as OCI writes it."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def to_json(document):
    """JSON as the tests push it. Digests are of these very bytes."""
    return json.dumps(document, separators=(",", ":")).encode()


@dataclass
class Blob:
    data: bytes
    media_type: str = "application/octet-stream"
    algorithm: str = "sha256"

    @property
    def digest(self):
        return digest(self.data, self.algorithm)

    @property
    def descriptor(self):
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass
class Image:
    """A manifest with what has to be there before it can be pushed."""

    document: dict
    media_type: str = OCI_MANIFEST
    blobs: list = field(default_factory=list)
    children: list = field(default_factory=list)

    @property
    def manifest(self):
        return to_json(self.document)

    @property
    def text(self):
        return self.manifest.decode()

    @property
    def digest(self):
        return digest(self.manifest)

    @property
    def descriptor(self):
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest)}


def layer(files=None, media_type=OCI_LAYER):
    """A layer with the given files (path to bytes), different every time by default."""
    files = files or {"marker": secrets.token_bytes(32)}
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o755
            archive.addfile(entry, io.BytesIO(data))
    blob = Blob(gzip.compress(plain.getvalue(), mtime=0), media_type)
    blob.diff_id = digest(plain.getvalue())
    return blob


def large_layer():
    """A layer that is too large for a row: its bytes lie in an object."""
    return layer({"marker": secrets.token_bytes(100_000)})


def image(
    layers=None, *, architecture="amd64", docker=False, annotations=None, subject=None, **config
):
    """An image for one platform. `config` goes into the config's own `config` member."""
    layers = [layer(media_type=DOCKER_LAYER if docker else OCI_LAYER)] if layers is None else layers
    settings = Blob(
        to_json(
            {
                "architecture": architecture,
                "os": "linux",
                "config": config,
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [getattr(it, "diff_id", it.digest) for it in layers],
                },
            }
        ),
        DOCKER_CONFIG if docker else OCI_CONFIG,
    )
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": settings.descriptor,
        "layers": [it.descriptor for it in layers],
    }
    if annotations:
        document["annotations"] = annotations
    if subject:
        document["subject"] = subject.descriptor
    return Image(document, document["mediaType"], [settings, *layers])


def index(children=None, *, docker=False, annotations=None, subject=None, artifact_type=None):
    """A multi-architecture index over images, by default of two platforms."""
    if children is None:
        children = [image(architecture=it, docker=docker) for it in ("amd64", "arm64")]
    manifests = []
    for child in children:
        descriptor = dict(child.descriptor)
        platform = architecture_of(child)
        if platform:
            descriptor["platform"] = {"os": "linux", "architecture": platform}
        manifests.append(descriptor)
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST if docker else OCI_INDEX,
        "manifests": manifests,
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    if annotations:
        document["annotations"] = annotations
    if subject:
        document["subject"] = subject.descriptor
    return Image(document, document["mediaType"], [], list(children))


def architecture_of(child):
    if not child.blobs:
        return None
    return json.loads(child.blobs[0].data).get("architecture")


def artifact(
    artifact_type="application/vnd.example.sbom", *, subject=None, annotations=None, data=None
):
    """An OCI 1.1 artifact with the empty config; with `subject` a referrer of it."""
    empty = Blob(b"{}", OCI_EMPTY)
    content = Blob(secrets.token_bytes(64) if data is None else data, "text/plain")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": empty.descriptor,
        "layers": [content.descriptor],
    }
    if annotations:
        document["annotations"] = annotations
    if subject:
        document["subject"] = subject.descriptor
    return Image(document, OCI_MANIFEST, [empty, content])
