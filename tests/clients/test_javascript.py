"""The AWS SDK for JavaScript, version 3, unmodified."""

import base64
import json
from pathlib import Path

from support.api import no_repository
from support.images import image
from support.log import keep_secret
from support.tools import check, existing, folder, node
from support.v2 import V2

SCRIPT = Path(__file__).parent / "ecr.cjs"


def test_a_repository_from_its_beginning_to_its_end(registry, name, tmp_path):
    made = image()
    (tmp_path / "manifest.json").write_bytes(made.manifest)
    layers = []
    for number, blob in enumerate(made.blobs):
        layers.append(tmp_path / f"layer{number}")
        layers[-1].write_bytes(blob.data)
    env = registry.environment(tmp_path, NODE_PATH=existing(folder() / "node" / "node_modules"))
    seen = json.loads(check(node(), SCRIPT, name, tmp_path / "manifest.json", *layers, env=env))
    _, password = base64.b64decode(seen["token"]).decode().split(":")
    assert V2(registry.url, keep_secret(password)).get("/v2/").status_code == 200
    assert seen["uri"] == f"{registry.host}/{name}"
    assert seen["digest"] == made.digest
    assert sorted(seen["tags"]) == ["1", "2", "3"]
    assert seen["same"] is True
    assert seen["error"] == "RepositoryNotFoundException"
    assert seen["message"] == no_repository(name)
    assert seen["requestId"]
