"""The first run: what is made, what is said, and what is refused."""

import re
import signal
import socket
import stat
import subprocess

import pytest
from requests.auth import _basic_auth_str

from support import databases
from support.images import digest, image
from support.log import keep_secret
from support.server import free_port
from support.tools import bonded, environment, run
from support.v2 import V2
from support.wait import until


def test_without_any_configuration(tmp_path):
    """The data directory and the address are all; SQLite, keys and credentials are made."""
    port = free_port()
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [bonded(), "serve", "--data", str(tmp_path / "data"), "--listen", f"127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment(tmp_path),
        )
    try:
        until(lambda: answers(port, process), f"the server answers\n{output.read_text()}")
        said = output.read_text()
        for part in (
            "aws ecr create-repository",
            "aws ecr get-login-password",
            f"docker login --username AWS --password-stdin localhost:{port}",
            f"docker push localhost:{port}/app:1",
            str(tmp_path / "data" / "credentials"),
        ):
            assert part in said, said
        # Where the root key is, and that it belongs apart from the backups.
        assert "root.key" in said
        credentials = (tmp_path / "data" / "credentials").read_text()
        assert credentials.startswith("[default]")
        secret = re.search(r"aws_secret_access_key *= *(\S+)", credentials)[1]
        assert keep_secret(secret) not in said
        for path in ("credentials", "keys/root.key"):
            assert stat.S_IMODE((tmp_path / "data" / path).stat().st_mode) == 0o600
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def answers(port, process):
    assert process.poll() is None
    try:
        return V2(f"http://127.0.0.1:{port}").get("/v2/").status_code == 401
    except OSError:
        return False


def test_the_data_home_is_the_default_place(tmp_path):
    """`bonded` alone serves; where to is told by `config check`."""
    said = run(
        bonded(), "config", "check", env=environment(tmp_path, XDG_DATA_HOME=tmp_path / "home")
    )
    assert said.returncode == 0, said.stderr
    assert str(tmp_path / "home") in said.stdout
    assert "127.0.0.1:5000" in said.stdout


def test_get_login_password(fresh_registry):
    registry = fresh_registry()
    done = registry.command("get-login-password")
    assert done.returncode == 0, done.stderr
    password = keep_secret(done.stdout.strip())
    assert V2(registry.url, password).get("/v2/").status_code == 200


def test_a_second_server_on_the_same_data(fresh_registry):
    registry = fresh_registry()
    done = second(registry)
    if databases.is_postgres():
        assert done is None
    else:
        assert done.returncode != 0
        assert "already" in done.stderr or "in use" in done.stderr or "another" in done.stderr
    registry.client().describe_registry()


def second(registry):
    """Starts one more server on the data of a running one; None if that is no error."""
    port = free_port()
    config = registry.config_file.read_text().replace(f':{registry.port}"', f':{port}"')
    config = config.replace(f':{registry.admin_port}"', f':{free_port()}"')
    other = registry.config_file.with_suffix(".second.toml")
    other.write_text(config)
    process = subprocess.Popen(
        [bonded(), "serve", "--data", str(registry.data), "--config", str(other)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(registry.data.parent),
    )
    try:
        until(lambda: process.poll() is not None or answers_on(port), "it ends or it answers")
        if process.poll() is None:
            return None
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def answers_on(port):
    try:
        return V2(f"http://127.0.0.1:{port}").get("/v2/").status_code == 401
    except OSError:
        return False


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("unknown_key = 1\n", "unknown_key"),
        ("[limits]\nbody_memory = 'much'\n", "body_memory"),
        ("[limits]\nunheard_of = 1\n", "unheard_of"),
        ("[garbage]\ngrace = '1s'\n", "grace"),
        ("[[listeners]]\naddress = 'nowhere'\n", "address"),
        ("[[listeners]]\naddress = '127.0.0.1:0'\ncertificate = '/no/such/file'\n", "key"),
        ("[accounts.12]\nname = 'short'\n", "accounts"),
        ("[audit]\nreads = 'never'\n", "reads"),
        ("[images]\nsparse_indexes = 'perhaps'\n", "sparse_indexes"),
        ("[log]\nformat = 'xml'\n", "format"),
        (
            "[regions.us-east-1]\nstorage = 's3://bucket'\ns3_endpoint = 'http://127.0.0.1:1'\n",
            "s3_",
        ),
        ("[testing]\ngarbage_grace = '1s'\n", "testing"),
        (
            "default_account = '999999999999'\n[accounts.123456789012]\nname = 'a'\n",
            "default_account",
        ),
    ],
)
def test_an_error_names_its_key(tmp_path, config, named):
    file = tmp_path / "config.toml"
    file.write_text(config)
    for command in (["config", "check"], ["serve"]):
        done = run(
            bonded(),
            *command,
            "--data",
            tmp_path / "data",
            "--config",
            file,
            env=environment(tmp_path),
        )
        assert done.returncode != 0
        assert named in done.stderr
        assert "panicked" not in done.stderr


def test_a_checked_configuration_shows_no_secret(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        'database = "postgres://bonded:very-secret-word@127.0.0.1:1/bonded"\n'
        '[regions.us-east-1]\nstorage = "s3://bucket/prefix"\ns3_endpoint = "http://127.0.0.1:1"\n'
        's3_region = "us-east-1"\ns3_access_key_id = "id"\ns3_secret_access_key = "another-secret-word"\n'
    )
    done = run(
        bonded(),
        "config",
        "check",
        "--data",
        tmp_path / "data",
        "--config",
        file,
        env=environment(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "127.0.0.1:5000" in done.stdout
    for secret in ("very-secret-word", "another-secret-word"):
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("more", "allowed"),
    [("", False), ("insecure_http = true", True), ("trusted_proxies = ['10.0.0.0/8']", True)],
)
def test_plain_http_beyond_this_machine(tmp_path, more, allowed):
    file = tmp_path / "config.toml"
    file.write_text(f"[[listeners]]\naddress = '0.0.0.0:5000'\n{more}\n")
    done = run(
        bonded(),
        "config",
        "check",
        "--data",
        tmp_path / "data",
        "--config",
        file,
        env=environment(tmp_path),
    )
    assert (done.returncode == 0) == allowed, done.stderr
    if not allowed:
        assert "insecure_http" in done.stderr


def test_healthcheck(fresh_registry):
    registry = fresh_registry()
    done = registry.command("healthcheck")
    assert done.returncode == 0, done.stderr
    registry.stop()
    assert registry.command("healthcheck").returncode != 0


def test_sigterm_lets_requests_end(fresh_registry):
    registry = fresh_registry()
    registry.client().create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    location = v2.start_upload("app")
    data = b"x" * 100_000
    connection = socket.create_connection(("127.0.0.1", registry.port), timeout=60)
    connection.sendall(
        f"PUT {location}?digest={digest(data)} HTTP/1.1\r\nHost: {registry.host}\r\n"
        f"Authorization: {_basic_auth_str(*v2.session.auth)}\r\nContent-Length: {len(data)}\r\n"
        "Expect: 100-continue\r\n\r\n".encode()
    )
    # The server asks for the body, so the request is under way.
    assert b" 100 " in connection.recv(4096)
    registry.process.send_signal(signal.SIGTERM)
    until(lambda: not answers_on(registry.port), "the listener is closed")
    connection.sendall(data)
    assert connection.recv(4096).split(b" ", 2)[1] == b"201"
    connection.close()
    assert registry.process.wait(timeout=60) == 0
    registry.process = None
    registry.start()
    assert v2.head(f"/v2/app/blobs/{digest(data)}").status_code == 200


def test_it_needs_little_memory(fresh_registry):
    registry = fresh_registry()
    # Not the pages of the program itself: a debug build has five times those of a release.
    assert memory(registry, "RssAnon") < 50 * 1024 * 1024


def test_a_large_blob_needs_no_more(fresh_registry):
    """256 MiB in one PATCH and out again need no more than 32 MiB did, but a sixteenth of it."""
    registry = fresh_registry()
    registry.client().create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    there_and_back(v2, 32)
    before = memory(registry, "VmHWM")
    there_and_back(v2, 256)
    assert memory(registry, "VmHWM") - before < 16 * 1024 * 1024


def there_and_back(v2, pieces):
    piece = bytes(range(256)) * 4096
    answer = v2.patch(v2.start_upload("app"), data=(piece for _ in range(pieces)))
    assert answer.headers["Range"] == f"0-{len(piece) * pieces - 1}"
    blob = digest(piece * pieces)
    assert v2.finish(answer.headers["Location"], blob).status_code == 201
    with v2.get(f"/v2/app/blobs/{blob}", stream=True) as got:
        assert sum(len(part) for part in got.iter_content(1024 * 1024)) == len(piece) * pieces


def memory(registry, what):
    """A figure of the process in bytes."""
    with open(f"/proc/{registry.process.pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(what + ":"))


def test_uploads_stop_while_the_disk_is_full(fresh_registry):
    registry = fresh_registry()
    registry.client().create_repository(repositoryName="app")
    v2 = V2(registry.url, registry.password())
    made = image()
    v2.push("app", made, "1")
    location = v2.start_upload("app")
    registry.stop()
    with registry.config_file.open("a") as file:
        file.write('\n[limits]\nmin_free = "1000000GiB"\n')
    registry.start()
    registry.expect_log("(?i)free|space|full")
    ecr = registry.client()
    assert v2.append(location, b"x").status_code == 507
    upload = ecr.initiate_layer_upload
    with pytest.raises(ecr.exceptions.LimitExceededException):
        answer = upload(repositoryName="app")
        ecr.upload_layer_part(
            repositoryName="app",
            uploadId=answer["uploadId"],
            partFirstByte=0,
            partLastByte=0,
            layerPartBlob=b"x",
        )
    assert v2.get_manifest("app", "1").content == made.manifest
    assert v2.delete(f"/v2/app/manifests/{made.digest}").status_code == 202
