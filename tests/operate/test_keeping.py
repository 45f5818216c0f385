"""Keeping a deployment: check, backup, restore, and a new root key."""

import random

import pytest

from support import databases
from support.images import image, index, large_layer
from support.v2 import V2


@pytest.fixture
def filled(fresh_registry):
    """A server with two repositories, and what was pushed to them."""
    registry = fresh_registry()
    ecr = registry.client()
    pushed = {}
    v2 = V2(registry.url, registry.password())
    for name in ("team/app", "team/other"):
        ecr.create_repository(repositoryName=name, tags=[{"Key": "kept", "Value": "yes"}])
        children = [image([large_layer()], architecture=it) for it in ("amd64", "arm64")]
        pushed[name] = index(children)
        v2.push(name, pushed[name], "1")
    return registry, pushed


def same(registry, pushed):
    """Everything that was pushed is there, byte for byte."""
    v2 = V2(registry.url, registry.password())
    for name, made in pushed.items():
        assert v2.get_manifest(name, "1").content == made.manifest
        for child in made.children:
            assert v2.get_manifest(name, child.digest).content == child.manifest
            for blob in child.blobs:
                assert v2.get(f"/v2/{name}/blobs/{blob.digest}").content == blob.data


def objects(registry):
    """The files of the object store."""
    return sorted(
        path for path in (registry.data / "objects-us-east-1").rglob("*") if path.is_file()
    )


def test_a_check_of_what_is_well(filled):
    registry, _ = filled
    for _ in range(2):
        done = registry.command("check")
        assert done.returncode == 0, done.stdout + done.stderr
        registry.stop()
    registry.start()


def test_a_check_finds_a_damaged_blob(filled):
    registry, pushed = filled
    registry.stop()
    victims = objects(registry)
    victim = random.Random(3).choice(victims)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    done = registry.command("check")
    assert done.returncode != 0
    assert "sha256:" in done.stdout + done.stderr
    repaired = registry.command("check", "--repair")
    assert "sha256:" in repaired.stdout + repaired.stderr

    # A damaged blob is absent; the next push of its bytes heals it.
    registry.start()
    registry.expect_log("(?i)damaged")
    v2 = V2(registry.url, registry.password())
    missing = [
        (name, blob)
        for name, made in pushed.items()
        for child in made.children
        for blob in child.blobs
        if v2.head(f"/v2/{name}/blobs/{blob.digest}").status_code == 404
    ]
    assert len(missing) == 1
    name, blob = missing[0]
    v2.push_blob(name, blob.data)
    same(registry, pushed)


def test_a_check_finds_a_missing_object_and_a_strange_one(filled):
    registry, _ = filled
    registry.stop()
    victim = objects(registry)[0]
    victim.unlink()
    done = registry.command("check")
    assert done.returncode != 0
    registry.expect_log("(?i)damaged")


def test_repairing_beside_a_server_is_refused(filled):
    registry, pushed = filled
    done = registry.command("check", "--repair")
    if not databases.is_postgres():
        assert done.returncode != 0
        assert "another" in done.stderr
    same(registry, pushed)


def test_a_backup_of_a_running_server(filled, fresh_registry, tmp_path):
    registry, pushed = filled
    backup = tmp_path / "backup"
    done = registry.command("backup", str(backup))
    assert done.returncode == 0, done.stdout + done.stderr
    first = {path: path.stat().st_mtime_ns for path in backup.rglob("*") if path.is_file()}

    # It is repeated, and copies only what is new.
    registry.client().create_repository(repositoryName="later")
    pushed["later"] = index()
    V2(registry.url, registry.password()).push("later", pushed["later"], "1")
    done = registry.command("backup", str(backup))
    assert done.returncode == 0, done.stdout + done.stderr
    rewritten = [
        path for path, time in first.items() if path.exists() and path.stat().st_mtime_ns != time
    ]
    assert len(rewritten) < len(first) / 2
    registry.stop()

    # Root keys are kept apart from backups, so they are carried over by hand.
    other = fresh_registry(start=False)
    (other.data / "keys").mkdir(parents=True, exist_ok=True)
    for key in (registry.data / "keys").iterdir():
        (other.data / "keys" / key.name).write_bytes(key.read_bytes())
        (other.data / "keys" / key.name).chmod(0o600)
    assert not list(backup.rglob("root.key"))
    done = other.command("restore", str(backup))
    assert done.returncode == 0, done.stdout + done.stderr
    if not (other.data / "credentials").exists():
        (other.data / "credentials").write_bytes((registry.data / "credentials").read_bytes())
    other.start()
    same(other, pushed)
    ecr = other.client()
    found = {it["repositoryName"] for it in ecr.describe_repositories()["repositories"]}
    assert found == set(pushed)
    arn = ecr.describe_repositories(repositoryNames=["team/app"])["repositories"][0][
        "repositoryArn"
    ]
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "kept", "Value": "yes"}]
    V2(other.url, other.password()).push("team/app", image(), "2")


def test_a_backup_moves_a_deployment_to_another_engine(fresh_registry, tmp_path):
    """From SQLite to the engine under test: on PostgreSQL that is the other one."""
    registry = fresh_registry(database=f"sqlite:{tmp_path}/first.db")
    registry.client().create_repository(repositoryName="app")
    pushed = {"app": index()}
    V2(registry.url, registry.password()).push("app", pushed["app"], "1")
    assert registry.command("backup", str(tmp_path / "backup")).returncode == 0
    registry.stop()
    other = fresh_registry(start=False)
    (other.data / "keys").mkdir(parents=True, exist_ok=True)
    for key in (registry.data / "keys").iterdir():
        (other.data / "keys" / key.name).write_bytes(key.read_bytes())
        (other.data / "keys" / key.name).chmod(0o600)
    done = other.command("restore", str(tmp_path / "backup"))
    assert done.returncode == 0, done.stdout + done.stderr
    if not (other.data / "credentials").exists():
        (other.data / "credentials").write_bytes((registry.data / "credentials").read_bytes())
    other.start()
    same(other, pushed)


def test_restoring_beside_a_server_is_refused(filled, tmp_path):
    """On SQLite; a server on PostgreSQL has a database that this process may share."""
    registry, pushed = filled
    assert registry.command("backup", str(tmp_path / "backup")).returncode == 0
    done = registry.command("restore", str(tmp_path / "backup"))
    if not databases.is_postgres():
        assert done.returncode != 0
        assert "another" in done.stderr
    same(registry, pushed)


def test_a_new_root_key(filled):
    registry, pushed = filled
    keys = {path.name: path.read_bytes() for path in (registry.data / "keys").iterdir()}
    if not databases.is_postgres():
        assert registry.command("rotate-root-key").returncode != 0
    registry.stop()
    done = registry.command("rotate-root-key")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name: path.read_bytes() for path in (registry.data / "keys").iterdir()} != keys
    registry.start()
    same(registry, pushed)


def test_without_its_root_key_nothing_starts(filled):
    registry, pushed = filled
    registry.stop()
    key = registry.data / "keys" / "root.key"
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(AssertionError, match="has ended"):
        registry.start()
    assert registry.process.wait(timeout=60) != 0
    registry.process = None
    registry.expect_log("(?i)key")
    key.write_bytes(kept)
    key.chmod(0o600)
    registry.start()
    same(registry, pushed)


def test_a_store_that_is_not_mounted_is_noticed(filled):
    """An empty folder in its place would make every blob look damaged, for ever."""
    registry, pushed = filled
    registry.stop()
    store = registry.data / "objects-us-east-1"
    apart = store.rename(registry.data / "elsewhere")
    for make in (lambda: None, store.mkdir):
        make()
        refused = registry.command("serve")
        assert refused.returncode != 0
        assert "is the disk mounted?" in refused.stderr.lower()
    store.rmdir()
    apart.rename(store)
    registry.start()
    same(registry, pushed)
