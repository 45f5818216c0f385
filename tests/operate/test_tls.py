"""TLS: our own CA, and certificates that are reloaded when they change."""

import socket
import ssl

import pytest

from support.server import ACCOUNT, REGION, free_port
from support.tools import check
from support.v2 import V2
from support.wait import until


@pytest.fixture
def own(fresh_registry):
    """A server with its own CA, and that CA as text."""
    registry = fresh_registry('public_name = "registry.example.com"\n', tls=True)
    done = registry.command("ca")
    assert done.returncode == 0, done.stderr
    return registry, done.stdout


def pem(text):
    end = "-----END CERTIFICATE-----"
    return text[text.index("-----BEGIN CERTIFICATE-----") : text.rindex(end) + len(end)] + "\n"


def connect(port, name, authority):
    """Shakes hands for a name; returns the server's certificate."""
    context = ssl.create_default_context(cadata=authority)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        assert secured.version() in ("TLSv1.2", "TLSv1.3")
        return secured.getpeercert()


def test_it_says_how_to_trust_it(own):
    registry, text = own
    for part in ("docker", "containerd", "podman", "AWS_CA_BUNDLE", "BEGIN CERTIFICATE"):
        assert part in text + registry.command("ca").stderr, part


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "registry.example.com",
        f"{ACCOUNT}.dkr.ecr.{REGION}.localhost",
        f"api.ecr.{REGION}.localhost",
        f"{ACCOUNT}.dkr.ecr.eu-central-1.localhost",
    ],
)
def test_the_names_it_answers_to(own, name):
    registry, text = own
    connect(registry.port, name, pem(text))


@pytest.mark.parametrize("name", ["example.org", "dkr.ecr.us-east-1.localhost.example.com"])
def test_other_names_are_not_its_own(own, name):
    registry, text = own
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(registry.port, name, pem(text))


def test_the_authority_signs_for_no_one_else(own, tmp_path):
    """Its names are constrained, so that trusting it is trusting it for the registry alone."""
    (tmp_path / "ca.pem").write_text(pem(own[1]))
    text = check("openssl", "x509", "-in", tmp_path / "ca.pem", "-noout", "-text")
    assert "X509v3 Name Constraints: critical" in text
    assert "CA:TRUE" in text


def test_it_stays_the_same(own):
    registry, text = own
    registry.restart()
    assert pem(registry.command("ca").stdout) == pem(text)
    connect(registry.port, "localhost", pem(text))


def certificate(folder, name):
    """A self-signed certificate for localhost with the subject `name`, in the same files again."""
    check(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        folder / "new.key",
        "-out",
        folder / "new.crt",
        "-days",
        "30",
        "-subj",
        f"/CN={name}",
        "-addext",
        "subjectAltName=DNS:localhost",
    )
    (folder / "new.key").rename(folder / "tls.key")
    (folder / "new.crt").rename(folder / "tls.crt")
    return (folder / "tls.crt").read_text()


def test_a_certificate_is_reloaded(fresh_registry, tmp_path):
    port = free_port()
    first = certificate(tmp_path, "first")
    config = (
        f'[[listeners]]\naddress = "127.0.0.1:{port}"\ncertificate = "{tmp_path}/tls.crt"\n'
        f'key = "{tmp_path}/tls.key"\n'
    )
    registry = fresh_registry(config, port=port, tls=True)
    connect(port, "localhost", first)
    second = certificate(tmp_path, "second")

    def reloaded():
        try:
            return connect(port, "localhost", second)
        except ssl.SSLError:
            return None

    seen = until(reloaded, "the new certificate is served", seconds=120)
    assert seen["subject"] == ((("commonName", "second"),),)
    # A broken file changes nothing: the last good certificate stays.
    registry.expect_log("(?i)certificate|tls")
    (tmp_path / "tls.crt").write_text("junk")
    connect(port, "localhost", second)


def test_the_registry_over_tls(own):
    registry, text = own
    context = pem(text)
    authority = registry.data.parent / "authority.pem"
    authority.write_text(context)
    v2 = V2(f"https://localhost:{registry.port}", verify=str(authority))
    answer = v2.get("/v2/")
    assert answer.status_code == 401
    assert answer.headers["Www-Authenticate"].startswith('Basic realm="https://')
