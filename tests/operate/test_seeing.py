"""Seeing what it does: metrics, health, the access log, traces."""

import http.server
import json
import threading

import pytest
import requests

from support.images import image
from support.log import SECRETS
from support.v2 import V2
from support.wait import until


def metrics(registry):
    answer = requests.get(f"{registry.admin}/metrics", timeout=60)
    assert answer.status_code == 200
    return answer.text


def test_health(registry):
    for path in ("healthz", "readyz"):
        assert requests.get(f"{registry.admin}/{path}", timeout=60).status_code == 200
    assert requests.get(f"{registry.admin}/v2/", timeout=60).status_code == 404


def test_the_public_listener_shows_none_of_it(registry):
    for path in ("metrics", "healthz", "readyz"):
        answer = requests.get(f"{registry.url}/{path}", timeout=60)
        assert answer.status_code != 200
        assert "# TYPE" not in answer.text


def test_metrics(registry, v2, ecr, repository):
    v2.push(repository, image(), "1")
    v2.get_manifest(repository, "1")
    ecr.describe_images(repositoryName=repository)
    text = metrics(registry)
    assert "# TYPE" in text
    assert "# HELP" in text
    for part in ("DescribeImages", "PutImage", "_bucket{", "_sum", "_count"):
        assert part in text, part
    # Names of repositories and digests would grow without bound.
    assert repository not in text
    assert "sha256:" not in text


def test_ready_means_that_the_store_can_be_written(fresh_registry):
    registry = fresh_registry()
    ready = f"{registry.admin}/readyz"
    folder = registry.data / "objects-us-east-1"
    registry.expect_log(".")
    folder.rename(folder.with_name("away"))
    until(lambda: requests.get(ready, timeout=60).status_code == 503, "it is not ready")
    assert requests.get(f"{registry.admin}/healthz", timeout=60).status_code == 200
    folder.with_name("away").rename(folder)
    until(lambda: requests.get(ready, timeout=60).status_code == 200, "it is ready again")


def test_a_request_has_one_id_everywhere(registry, v2, ecr, repository):
    v2.push(repository, image(), "1")
    answer = v2.get_manifest(repository, "1")
    request = answer.headers["X-Request-Id"]
    assert answer.headers["x-amzn-RequestId"] == request
    lines = until(
        lambda: [line for line in registry.log.lines() if request in json.dumps(line)],
        "the line is written",
    )
    line = json.dumps(lines)
    for part in (repository, "127.0.0.1", "200", "GET"):
        assert part in line, part
    described = ecr.describe_images(repositoryName=repository)["ResponseMetadata"]["RequestId"]
    until(lambda: described in registry.log.text(), "the line of the call is written")


def test_a_log_for_reading(fresh_registry):
    registry = fresh_registry('[log]\nformat = "text"\nlevel = "info"\naccess = true\n')
    registry.client().create_repository(repositoryName="app")
    V2(registry.url, registry.password()).push("app", image(), "1")
    text = registry.log.text()
    assert "app" in text
    assert "INFO" in text
    assert not text.lstrip().startswith("{")


@pytest.fixture
def collector():
    """A receiver of traces: its address and the bodies that came."""
    bodies = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def test_traces_are_exported_without_secrets(fresh_registry, collector):
    address, bodies = collector
    registry = fresh_registry(
        f'[log]\nformat = "json"\nlevel = "info"\notlp_endpoint = "{address}"\n'
    )
    registry.client().create_repository(repositoryName="app")
    V2(registry.url, registry.password()).push("app", image(), "1")
    registry.stop()
    assert any(path.endswith("/v1/traces") for path, _ in bodies)
    everything = b"".join(body for _, body in bodies)
    assert b"bonded" in everything
    for secret in SECRETS:
        assert secret.encode() not in everything
