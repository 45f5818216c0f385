"""Fixtures of the client tests: daemons of our own, a real program, a real root file system."""

import signal
import subprocess
import tempfile

import pytest

from support.program import Program
from support.tools import check, debian, environment, folder, run
from support.wait import until

HELLO = """
#include <stdio.h>
int main(void) { puts("hello from the image"); return 0; }
"""


@pytest.fixture(scope="session")
def hello(tmp_path_factory):
    """A folder with a static program and the Dockerfile of an image that runs it."""
    place = tmp_path_factory.mktemp("hello")
    (place / "hello.c").write_text(HELLO)
    check("gcc", "-static", "-Os", "-s", "-o", place / "hello", place / "hello.c")
    context = place / "context"
    context.mkdir()
    (place / "hello").rename(context / "hello")
    (context / "Dockerfile").write_text('FROM scratch\nCOPY hello /hello\nCMD ["/hello"]\n')
    return context


@pytest.fixture(scope="session")
def rootfs():
    """The tar of a Debian base, made from packages: more than 100 MB of real files."""
    path = folder() / "rootfs" / "debian.tar"
    assert path.stat().st_size > 100_000_000
    return path


def end(process):
    """Ends a daemon that a fixture started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def docker(tmp_path_factory):
    """docker with a daemon of its own; the plain CLI, without plugins."""
    place = tmp_path_factory.mktemp("dockerd")
    address = f"unix://{place}/docker.sock"
    env = environment(
        place, DOCKER_HOST=address, DOCKER_CONFIG=place / "config", DOCKER_BUILDKIT="0"
    )
    with (place / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                debian("dockerd"),
                "--storage-driver",
                "vfs",
                "--data-root",
                f"{place}/root",
                "--exec-root",
                f"{place}/exec",
                "-H",
                address,
                "--pidfile",
                f"{place}/docker.pid",
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
        )
    client = Program(debian("docker"), env=env)
    try:
        until(lambda: run(debian("docker"), "info", env=env).returncode == 0, "dockerd answers")
        yield client
    finally:
        end(daemon)


@pytest.fixture(scope="session")
def ctr(tmp_path_factory):
    """ctr with a containerd of its own."""
    place = tmp_path_factory.mktemp("containerd")
    env = environment(place)
    with (place / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                debian("containerd"),
                "--root",
                f"{place}/root",
                "--state",
                f"{place}/state",
                "--address",
                f"{place}/socket",
                "--log-level",
                "warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
        )
    client = Program(debian("ctr"), "--address", f"{place}/socket", env=env)
    try:
        until(
            lambda: (
                run(debian("ctr"), "--address", f"{place}/socket", "version", env=env).returncode
                == 0
            ),
            "containerd answers",
        )
        yield client
    finally:
        end(daemon)


@pytest.fixture
def podman(tmp_path, hello):
    """podman with a storage of its own. It refuses a run root of more than 50 characters."""
    with tempfile.TemporaryDirectory(prefix="podman") as run_root:
        env = environment(tmp_path, XDG_RUNTIME_DIR=run_root)
        yield Program(
            debian("podman"),
            "--root",
            f"{tmp_path}/root",
            "--runroot",
            run_root,
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            env=env,
            cwd=hello,
        )
