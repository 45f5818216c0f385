"""Connections that are used again: a refused body must not spoil the next request."""

import pytest
import requests

from support.signed import code, request, sign
from support.v2 import V2


@pytest.mark.parametrize("size", [1, 10_000, 300_000])
def test_refused_bodies_over_the_registry(registry, repository, size):
    """A client that keeps its connection sees each answer, whether the body was read or not."""
    nobody = V2(registry.url)
    for _ in range(100):
        answer = nobody.put(f"/v2/{repository}/manifests/1", data=b"x" * size)
        assert answer.status_code == 401


def test_refused_bodies_over_the_api(registry):
    session = requests.Session()
    session.trust_env = False
    for _ in range(100):
        made = sign(registry, request(registry, "NoSuchOperation", {"a": "x" * 1000}))
        answer = session.post(made.url, data=made.data, headers=dict(made.headers.items()))
        assert code(answer) == "UnknownOperationException"


def test_answers_without_a_body_keep_the_connection(v2, repository):
    path = f"/v2/{repository}/blobs/{v2.push_blob(repository, b'head')}"
    for _ in range(20):
        assert v2.head(path).status_code == 200
        assert v2.get(path).content == b"head"
