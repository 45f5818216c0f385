"""Many tags: every page is right, at any place, and what is put or deleted among them too.

How long that takes is measured by scripts/scale.sh, with a million.
"""

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from support import databases
from support.images import image
from support.server import Server
from support.tools import bonded, check
from support.v2 import V2

TAGS = 100_000 if os.environ.get("BONDED_LONG") else 20_000
NAMES = [f"t{number:07}" for number in range(TAGS)]
PLACES = [0, TAGS // 2, TAGS - 150]

pytestmark = pytest.mark.skipif(
    databases.is_postgres(), reason="filling PostgreSQL so takes long: scripts/scale.sh does it"
)


def seed(registry, *arguments):
    """Fills a stopped deployment by the functions of the server. The program is an example of
    the server's crate: cargo builds it with the tests."""
    root = Path(__file__).parents[2]
    program = Path(bonded()).parent / "examples" / "seed"
    if not program.exists():
        build = ["cargo", "build", "--locked", "-p", "bonded-server", "--example", "seed"]
        subprocess.run(build, cwd=root, check=True)
        program = root / "target" / "debug" / "examples" / "seed"
    command = [str(program), "--config", str(registry.config_file), "--data", str(registry.data)]
    check(*command, *arguments, timeout=600)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A repository with very many tags, of an image for every 500."""
    with Server(tmp_path_factory.mktemp("many") / "data") as registry:
        registry.client().create_repository(repositoryName="many")
        V2(registry.url, registry.password()).push("many", image(), "v1")
        registry.stop()
        seed(registry, "tags", "--repository", "many", "--count", str(TAGS))
        registry.start()
        yield registry


def tags(v2, **parameters):
    answer = v2.get("/v2/many/tags/list", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["tags"]


def test_pages_at_any_place(many):
    v2 = V2(many.url, many.password())
    for place in PLACES:
        last = NAMES[place - 1] if place else ""
        assert tags(v2, n=100, last=last) == NAMES[place : place + 100]
    assert tags(v2, n=100, last=NAMES[-1]) == ["v1"]
    seen, last = [], ""
    while page := tags(v2, n=1000, last=last):
        seen += page
        last = page[-1]
    assert seen == [*NAMES, "v1"]


def test_the_apis_pages_have_all_of_them(many):
    ecr = many.client()
    pages = ecr.get_paginator("list_images").paginate(
        repositoryName="many", PaginationConfig={"PageSize": 1000}
    )
    listed = [image["imageTag"] for page in pages for image in page["imageIds"]]
    assert sorted(listed) == [*NAMES, "v1"]
    pages = ecr.get_paginator("describe_images").paginate(repositoryName="many")
    described = [image["imageTags"] for page in pages for image in page["imageDetails"]]
    assert sorted(itertools.chain(*described)) == sorted(listed)


def test_a_tag_among_them_is_put_and_deleted(many):
    v2 = V2(many.url, many.password())
    made = image()
    for place in PLACES:
        name = f"{NAMES[place]}-new"
        v2.push("many", made, name)
        assert tags(v2, n=2, last=NAMES[place]) == [name, NAMES[place + 1]]
        assert v2.get_manifest("many", name).content == made.manifest
        assert v2.delete(f"/v2/many/manifests/{name}").status_code == 202
        assert tags(v2, n=1, last=NAMES[place]) == [NAMES[place + 1]]
