"""docker-credential-ecr-login, unmodified.

It believes only in names of ECR's own form, so in a mount namespace of its own such a name is
mapped to the loopback address, and the server has a certificate of its own CA for it.
"""

import base64
import json

import pytest

from support.images import image
from support.log import keep_secret
from support.program import Program
from support.server import ACCOUNT, REGION, free_port
from support.tools import debian, environment, folder, tool
from support.v2 import V2


@pytest.fixture
def registry(fresh_registry):
    """A server that calls itself as ECR does."""
    port = free_port()
    return fresh_registry(
        f'public_name = "ACCOUNT.dkr.ecr.REGION.amazonaws.com:{port}"\ndomains = ["amazonaws.com"]\n',
        port=port,
        tls=True,
    )


@pytest.fixture
def host(registry):
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com:{registry.port}"


@pytest.fixture
def env(registry, tmp_path):
    """What the helper needs to be told, and nothing else."""
    ca = tmp_path / "ca.pem"
    text = registry.command("ca").stdout
    end = "-----END CERTIFICATE-----"
    ca.write_text(
        text[text.index("-----BEGIN CERTIFICATE-----") : text.rindex(end) + len(end)] + "\n"
    )
    (tmp_path / "docker").mkdir()
    key, secret = registry.credentials()
    return environment(
        tmp_path,
        PATH=f"{folder()}/bin:/usr/bin:/bin",
        DOCKER_CONFIG=tmp_path / "docker",
        SSL_CERT_FILE=ca,
        AWS_CA_BUNDLE=ca,
        AWS_ACCESS_KEY_ID=key,
        AWS_SECRET_ACCESS_KEY=secret,
        AWS_EC2_METADATA_DISABLED="true",
        AWS_ECR_DISABLE_CACHE="true",
        AWS_ENDPOINT_URL_ECR=f"https://api.ecr.{REGION}.amazonaws.com:{registry.port}",
    )


@pytest.fixture
def inside(tmp_path):
    """The start of a command that runs where the names of ECR mean this machine."""
    hosts = tmp_path / "hosts"
    hosts.write_text(
        f"127.0.0.1 localhost {ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com api.ecr.{REGION}.amazonaws.com\n"
    )
    return [
        debian("unshare"),
        "--mount",
        debian("sh"),
        "-c",
        f'mount --bind {hosts} /etc/hosts && exec "$@"',
        "sh",
    ]


def test_it_gets_a_password(registry, host, env, inside, tmp_path):
    helper = Program(*inside, tool("docker-credential-ecr-login"), env=env)
    answer = json.loads(helper("get", stdin=host))
    keep_secret(answer["Secret"])
    assert answer["Username"] == "AWS"
    v2 = V2(registry.url, answer["Secret"], host=host, verify=str(env["SSL_CERT_FILE"]))
    assert v2.get("/v2/").status_code == 200


def test_a_client_pushes_and_pulls_with_it(registry, host, env, inside, tmp_path):
    (tmp_path / "docker" / "config.json").write_text(
        json.dumps({"credHelpers": {host: "ecr-login"}})
    )
    crane = Program(*inside, tool("crane"), env=env, cwd=tmp_path)
    ecr = registry.client(verify=env["SSL_CERT_FILE"])
    made = ecr.create_repository(repositoryName="app")["repository"]
    assert made["repositoryUri"] == f"{host}/app"
    pushed = image()
    v2 = V2(registry.url, password(ecr), host=host, verify=str(env["SSL_CERT_FILE"]))
    v2.push("app", pushed, "1")
    crane("pull", "--format", "oci", f"{host}/app:1", "layout")
    crane("push", "layout", f"{host}/app:2")
    assert crane("ls", f"{host}/app").split() == ["1", "2"]
    assert crane("digest", f"{host}/app:2").strip() == pushed.digest


def password(ecr):
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return keep_secret(base64.b64decode(token).decode().split(":")[1])
