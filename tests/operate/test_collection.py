"""What nobody uses any more is removed, and nothing else; in a directory and in S3."""

import os
import secrets
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from support.images import digest, image, large_layer
from support.server import OTHER_REGION, REGION
from support.v2 import V2
from support.wait import until

TESTING = """
[testing]
allow = true
garbage_grace = "1s"
job_interval = "200ms"
"""


class Directory:
    """Objects in the data directory."""

    def __init__(self):
        self.config = ""
        self.registry = None

    def objects(self):
        folder = self.registry.data / f"objects-{REGION}"
        return {path.name for path in folder.rglob("*") if path.is_file()}


class S3:
    """Objects in the S3 server that scripts/test.sh has started."""

    def __init__(self):
        address = urlsplit(os.environ["BONDED_TEST_S3"])
        self.bucket = address.path.strip("/")
        self.prefix = secrets.token_hex(6)
        endpoint = f"http://{address.hostname}:{address.port}"
        self.client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=address.username,
            aws_secret_access_key=address.password,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        self.config = "".join(
            f'[regions.{region}]\nstorage = "s3://{self.bucket}/{self.prefix}/{region}"\n'
            f's3_endpoint = "{endpoint}"\ns3_region = "us-east-1"\n'
            f's3_access_key_id = "{address.username}"\ns3_secret_access_key = "{address.password}"\n'
            for region in (REGION, OTHER_REGION)
        )
        self.registry = None

    def objects(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}/{REGION}/"
        )
        return {it["Key"] for page in pages for it in page.get("Contents", [])}


@pytest.fixture(params=["directory", "s3"])
def store(request, fresh_registry):
    """A server with a short grace time, and its objects."""
    made = Directory() if request.param == "directory" else S3()
    made.registry = fresh_registry(TESTING + made.config, own_storage=request.param == "directory")
    made.registry.client().create_repository(repositoryName="app")
    return made


@pytest.fixture
def v2(store):
    return V2(store.registry.url, store.registry.password())


def test_a_push_and_a_pull(store, v2):
    made = image()
    v2.push("app", made, "1")
    assert v2.get_manifest("app", "1").content == made.manifest
    for blob in made.blobs:
        path = f"/v2/app/blobs/{blob.digest}"
        assert v2.get(path).content == blob.data
        part = v2.get(path, headers={"Range": "bytes=3-9"})
        assert (part.status_code, part.content) == (206, blob.data[3:10])
    store.registry.restart()
    assert v2.get(f"/v2/app/blobs/{made.blobs[1].digest}").content == made.blobs[1].data


def test_a_blob_of_several_appends(store, v2):
    parts = [secrets.token_bytes(6_000_000), secrets.token_bytes(70_000), b"end"]
    location, start = v2.start_upload("app"), 0
    for part in parts:
        location = v2.append(location, part, start).headers["Location"]
        start += len(part)
    whole = b"".join(parts)
    assert v2.finish(location, digest(whole)).status_code == 201
    assert v2.get(f"/v2/app/blobs/{digest(whole)}").content == whole


def test_a_deleted_image_leaves_no_object(store, v2):
    kept, gone = image([large_layer()]), image([large_layer()])
    v2.push("app", kept, "kept")
    before = store.objects()
    v2.push("app", gone, "gone")
    assert len(store.objects()) >= len(before)
    assert v2.delete(f"/v2/app/manifests/{gone.digest}").status_code == 202
    until(
        lambda: store.objects() == before, "the objects of the deleted image are gone", seconds=120
    )
    for blob in gone.blobs:
        assert v2.head(f"/v2/app/blobs/{blob.digest}").status_code == 404
    for blob in kept.blobs:
        assert v2.get(f"/v2/app/blobs/{blob.digest}").content == blob.data
    v2.push("app", gone, "again")
    assert v2.get(f"/v2/app/blobs/{gone.blobs[1].digest}").content == gone.blobs[1].data


def test_a_deleted_repository_leaves_no_object(store, v2):
    ecr = store.registry.client()
    ecr.create_repository(repositoryName="gone")
    made = image([large_layer()])
    v2.push("gone", made, "1")
    assert len(store.objects()) == 1
    ecr.delete_repository(repositoryName="gone", force=True)
    until(lambda: store.objects() == set(), "all objects are gone", seconds=120)


def test_a_blob_that_two_repositories_have_stays_for_one(store, v2):
    ecr = store.registry.client()
    ecr.create_repository(repositoryName="other")
    made = image([large_layer()])
    for name in ("app", "other"):
        v2.push(name, made, "1")
    objects = store.objects()
    extra = image([large_layer()])
    v2.push("other", extra, "extra")
    ecr.delete_repository(repositoryName="other", force=True)
    # The extra image's objects go, so the collector has been by; the shared ones are there.
    until(lambda: store.objects() <= objects, "the extra objects are gone", seconds=120)
    for blob in made.blobs:
        assert v2.get(f"/v2/app/blobs/{blob.digest}").content == blob.data


def test_a_cancelled_upload_leaves_no_object(store, v2):
    location = v2.append(v2.start_upload("app"), secrets.token_bytes(200_000)).headers["Location"]
    assert len(store.objects()) == 1
    assert v2.delete(location).status_code == 204
    until(lambda: store.objects() == set(), "the object of the upload is gone", seconds=120)


def test_a_second_copy_of_a_blob_leaves_no_object(store, v2):
    data = secrets.token_bytes(100_000)
    v2.push_blob("app", data)
    made = image()
    made.blobs[1].data = data
    made.document["layers"] = [made.blobs[1].descriptor]
    v2.push("app", made, "1")
    until(lambda: len(store.objects()) == 1, "only one copy of the layer is kept", seconds=120)
    assert v2.get(f"/v2/app/blobs/{made.blobs[1].digest}").content == data
