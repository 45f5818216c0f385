"""Listing tags and repositories, page by page.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
"""

import re

import pytest

from support.images import image
from support.server import OTHER_ACCOUNT
from support.v2 import V2


@pytest.fixture
def tagged(v2, repository):
    """A repository with tags whose order tells bytes from letters and numbers."""
    made = image()
    v2.push(repository, made)
    query = "&".join(f"tag={tag}" for tag in ("b", "A", "a", "_", "10", "9", "B.1", "a-1"))
    assert v2.put_manifest(repository, f"{made.digest}?{query}", made).status_code == 201
    return repository


ORDER = ["10", "9", "A", "B.1", "_", "a", "a-1", "b"]


def following(answer):
    """Where the next page is, or None. The place is a path, no host is guessed."""
    link = answer.headers.get("Link")
    if link is None:
        return None
    found = re.fullmatch(r'<(/v2/[^>]+)>; ?rel="?next"?', link)
    assert found, link
    return found[1]


def pages(v2, path, member):
    """The pages that begin at a path."""
    found = []
    while path:
        answer = v2.get(path)
        assert answer.status_code == 200, answer.text
        found.append(answer.json()[member])
        path = following(answer)
    return found


def test_tags_in_byte_order(v2, tagged):
    answer = v2.get(f"/v2/{tagged}/tags/list")
    assert answer.status_code == 200
    assert answer.json() == {"name": tagged, "tags": ORDER}
    assert "Link" not in answer.headers


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_pages_hold_every_tag_once(v2, tagged, size):
    found = pages(v2, f"/v2/{tagged}/tags/list?n={size}", "tags")
    assert [tag for page in found for tag in page] == ORDER
    assert all(len(page) == size for page in found[:-1])
    assert found[-1]


@pytest.mark.parametrize(
    ("last", "rest"),
    [
        ("9", ORDER[2:]),
        ("a", ORDER[6:]),
        ("a0", ORDER[7:]),
        ("b", []),
        ("zzz", []),
        ("0", ORDER),
        ("", ORDER),
    ],
)
def test_last_is_a_name_that_need_not_exist(v2, tagged, last, rest):
    assert v2.get(f"/v2/{tagged}/tags/list?last={last}").json()["tags"] == rest
    answer = v2.get(f"/v2/{tagged}/tags/list?n=2&last={last}")
    assert answer.json()["tags"] == rest[:2]
    assert (following(answer) is None) == (len(rest) <= 2)


def test_a_page_of_none(v2, tagged):
    answer = v2.get(f"/v2/{tagged}/tags/list?n=0")
    assert answer.status_code == 200
    assert answer.json() == {"name": tagged, "tags": []}
    assert "Link" not in answer.headers
    answer = v2.get("/v2/_catalog?n=0")
    assert answer.json() == {"repositories": []}
    assert "Link" not in answer.headers


@pytest.mark.parametrize("size", ["x", "-1", "1.5", "1e3", "", " "])
def test_what_is_no_number(v2, tagged, size):
    for path in (f"/v2/{tagged}/tags/list", "/v2/_catalog"):
        answer = v2.get(path, params={"n": size})
        assert answer.status_code == 400, path
        assert answer.json()["errors"]


def test_a_page_is_at_most_a_thousand(v2, repository):
    made = image()
    v2.push(repository, made)
    other = image()
    v2.push(repository, other)
    # An image has at most 1,000 tags, so that two are needed.
    for start in range(0, 1010, 10):
        query = "&".join(f"tag=t{number:04}" for number in range(start, start + 10))
        target = made if start < 600 else other
        assert v2.put_manifest(repository, f"{target.digest}?{query}", target).status_code == 201
    for path in ("", "?n=100000", "?n=99999999999999999999999"):
        answer = v2.get(f"/v2/{repository}/tags/list{path}")
        assert answer.status_code == 200, path
        assert len(answer.json()["tags"]) == 1000
        assert following(answer)
    found = pages(v2, f"/v2/{repository}/tags/list", "tags")
    assert [len(page) for page in found] == [1000, 10]


def test_a_missing_repository(v2, name):
    assert v2.get(f"/v2/{name}/tags/list").status_code == 404


def test_an_empty_repository(v2, repository):
    assert v2.get(f"/v2/{repository}/tags/list").json() == {"name": repository, "tags": []}


def test_the_catalog(registry, other_account, name):
    v2 = V2(
        f"http://127.0.0.1:{registry.port}",
        registry.password(OTHER_ACCOUNT),
        host=registry.registry_host(OTHER_ACCOUNT),
    )
    made = sorted(f"{name}/{part}" for part in ("b", "a", "a-b", "a/b", "9", "10"))
    for one in made:
        other_account.create_repository(repositoryName=one)
    for path in ("/v2/_catalog", "/v2/_catalog?n=4"):
        found = [it for page in pages(v2, path, "repositories") for it in page]
        assert found == sorted(found)
        assert len(found) == len(set(found))
        assert [it for it in found if it.startswith(name + "/")] == made
    after = v2.get("/v2/_catalog", params={"last": made[2]}).json()["repositories"]
    assert [it for it in after if it.startswith(name + "/")] == made[3:]
