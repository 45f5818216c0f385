"""A server that is killed at any moment keeps what it has acknowledged, and nothing half done."""

import shutil

import pytest

from support import databases
from support.load import Load
from support.server import OTHER_ACCOUNT, Server
from support.wait import hesitate

# How often the server is killed: here and in the long form, on SQLite and on PostgreSQL.
KILLS = {"sqlite": (40, 250), "postgres": (12, 100)}
FIRST_STARTS = {"sqlite": (12, 100), "postgres": (3, 20)}
CLIENTS = 4
# How long something unused is kept. Short, so that much is collected meanwhile.
GRACE = 3
TESTING = f"""
[testing]
allow = true
garbage_grace = "{GRACE}s"
job_interval = "100ms"
"""
# Kinds of work that are acknowledged in each run.
WANTED = {
    "whole",
    "append",
    "finish",
    "cancel",
    "mount",
    "put",
    "index",
    "retag",
    "delete tag",
    "delete image",
    "delete repository",
    "found",
}


def rounds(long_form, figures=KILLS):
    short, long = figures["postgres" if databases.is_postgres() else "sqlite"]
    return long if long_form else short


def kill(registry, load, chance):
    """Kills the server in the middle of the load."""
    hesitate(chance.random() * 0.005)
    load.ending.set()
    registry.kill()
    load.end()


def copy_keys(registry, other):
    """Root keys are kept apart from backups, so an operator carries them over."""
    shutil.copytree(registry.data / "keys", other.data / "keys")
    shutil.copy(registry.data / "credentials", other.data / "credentials")


def test_what_was_acknowledged_survives(fresh_registry, tmp_path, chance, long_form):
    registry = fresh_registry(TESTING)
    load = Load(registry, chance.getrandbits(64), clients=CLIENTS, grace=GRACE)
    for _ in range(rounds(long_form)):
        load.begin()
        load.wait_for_requests(chance.randrange(1, 150))
        kill(registry, load, chance)
        if chance.random() < 0.2:
            # What is done at a start may be broken off as well.
            registry.spawn()
            hesitate(chance.random() * 0.03)
            registry.kill()
        registry.start()
        load.check()
    # Before the last one each kind of work was done: else it is not the load that is meant.
    load.begin()
    while not set(load.done) >= WANTED:
        load.wait_for_requests(1)
    kill(registry, load, chance)
    registry.start()
    load.check()

    print(f"{load.requests} requests: {load.done}")
    load.settle()
    backed_up = registry.command("backup", str(tmp_path / "backup"))
    assert backed_up.returncode == 0, backed_up.stdout + backed_up.stderr
    registry.stop()
    well(registry)

    other = fresh_registry(TESTING, start=False)
    copy_keys(registry, other)
    restored = other.command("restore", str(tmp_path / "backup"))
    assert restored.returncode == 0, restored.stdout + restored.stderr
    other.start()
    load.connect(other)
    load.check()
    other.stop()
    well(other)


def well(registry):
    """`bonded check` finds nothing wrong."""
    done = registry.command("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": 0 problems" in done.stdout


def test_a_first_start_that_is_killed(tmp_path, chance, long_form):
    """The next start ends what was begun: both accounts can sign, whatever was there."""
    for number in range(rounds(long_form, FIRST_STARTS)):
        registry = Server(tmp_path / f"first{number}")
        try:
            for _ in range(chance.randrange(1, 4)):
                registry.spawn()
                hesitate(chance.random() * 0.05)
                registry.kill()
                databases.end_migration_lease(registry.database)
            registry.start()
            for account in (None, OTHER_ACCOUNT):
                ecr = registry.client(*([account] if account else []))
                ecr.create_repository(repositoryName="app")
            registry.stop()
            well(registry)
        finally:
            if registry.process is not None:
                registry.kill()
            databases.drop(registry.database)


@pytest.mark.parametrize("lost", ["image", "tag", "blob", "bytes", "upload"])
def test_a_loss_is_noticed(fresh_registry, chance, lost):
    """The check above can fail: what a client was told is taken away behind its back."""
    registry = fresh_registry()
    load = Load(registry, chance.getrandbits(64), clients=1, grace=GRACE)
    (client,) = load.clients
    made = client.new_image()
    client.put(made, "tag0")
    client.begin_and_append()
    load.check()
    name = client.repository
    if lost == "image":
        client.v2.delete(f"/v2/{name}/manifests/{made.digest}")
    elif lost == "tag":
        client.v2.delete(f"/v2/{name}/manifests/tag0")
    elif lost == "upload":
        client.v2.delete(client.place(client.uploads[0]))
    elif lost == "blob":
        client.loose["sha256:" + 64 * "0"] = (b"", float("inf"))
    else:
        made.blobs[-1].data += b"!"
    with pytest.raises(AssertionError):
        load.check()
