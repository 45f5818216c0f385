"""Garbage is collected, and nothing else, while everybody pushes, mounts and deletes the same.

A short grace time makes the collector work all the time.
"""

import itertools
import os
import random
import threading
import time

from support.cluster import running
from support.crowd import GRACE, REPOSITORIES, Client, World
from support.wait import until

LONG = 10 if os.environ.get("BONDED_LONG") else 1
STEPS = 3000 * LONG
PLANTED_STEPS = 800
CLIENTS = 10
CONFIG = f"""
[testing]
allow = true
garbage_grace = "{GRACE:.0f}s"
job_interval = "100ms"
"""
TABLES = [
    "repository",
    "image",
    "image_manifest",
    "image_blob",
    "tag",
    "membership",
    "blob",
    "segment",
    "upload",
]
SEED = int(os.environ.get("BONDED_SEED") or random.randrange(1 << 32))


def race(world, steps):
    """All clients at once, until all steps are done."""
    numbers, failed = itertools.count(), []

    def work(number):
        client = Client(world, number)
        try:
            while next(numbers) < steps and not failed:
                client.step()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, f"seed {SEED}: {failed[0]!r}"


def objects_of_segments(cluster):
    """The objects that the rows name. The bytes of a small segment may lie in a row."""
    names = {bytes(row["object"]).hex() for row in cluster.rows("SELECT object FROM segment")}
    catalogue = "sqlite_master" if cluster.first.database.startswith("sqlite") else "pg_class"
    column = "name" if catalogue == "sqlite_master" else "relname"
    if cluster.count(catalogue, f"{column} = 'segment_bytes'"):
        rows = cluster.rows("SELECT object FROM segment_bytes")
        names -= {bytes(row["object"]).hex() for row in rows}
    return names


def test_what_was_told_to_exist_stays_and_all_garbage_goes(tmp_path):
    with running(tmp_path, CONFIG) as cluster:
        world = World(cluster, SEED, CLIENTS)
        race(world, STEPS)
        seconds = time.monotonic() - world.start
        broken = world.promises.broken()
        assert not broken, f"seed {SEED}: {len(broken)} broken\n" + "\n".join(broken[:10])
        counts = world.promises.counts
        print(f"{STEPS} steps in {seconds:.1f} s, {dict(counts)}, {dict(world.done)}")
        # It was a race: much was promised, and the collector took what was not.
        assert counts["promised and there"] > STEPS / 50
        assert counts["collected"] > STEPS / 100
        empty_but_for_two_images(world)
        empty(world)
        cluster.stop()
        cluster.check()


def test_a_planted_bug_is_found(tmp_path):
    """A server that keeps things for a third of the time that it promised."""
    with running(tmp_path, CONFIG) as cluster:
        world = World(cluster, SEED, CLIENTS, grace=3 * GRACE)
        race(world, PLANTED_STEPS)
        broken = world.promises.broken()
        assert broken, f"seed {SEED}: the model does not see it"
        print(f"{len(broken)} broken, first: {broken[0]}")


def empty_but_for_two_images(world):
    """What is still used stays, byte for byte, and nothing else."""
    cluster, ecr = world.cluster, world.ecr[0]
    for name in REPOSITORIES:
        if name != "app":
            ecr.delete_repository(repositoryName=name, force=True)
    kept = world.families[0].images
    client = Client(world, CLIENTS)
    for made in kept:
        for blob in made.blobs:
            assert client.push_blob("app", blob)
        client.put_image("app", made)
    for made in world.images.values():
        if made not in kept:
            client.timed(lambda it=made: client.v2.delete(f"/v2/app/manifests/{it.digest}"), 202)
    expected = len(world.families[0].blobs)
    until(lambda: cluster.count("blob") == expected, "only the used blobs have rows", seconds=120)
    until(lambda: is_tidy(cluster), "nothing is to be removed any more", seconds=120)
    assert cluster.count("segment") >= expected
    assert cluster.objects() == objects_of_segments(cluster)
    for made in kept:
        for blob in made.blobs:
            assert client.v2.get(f"/v2/app/blobs/{blob.digest}").content == blob.data


def is_tidy(cluster):
    """Whether nothing is left to be removed soon. A name that was registered for an append that
    never came stays for a day, and has no object."""
    soon = (time.time() + 3600) * 1_000_000
    due = cluster.count("object_removal", f"due < {soon:.0f}")
    return due == 0 and cluster.count("upload") == 0


def empty(world):
    cluster = world.cluster
    world.ecr[0].delete_repository(repositoryName="app", force=True)
    until(lambda: not cluster.objects(), "all objects are gone", seconds=120)
    until(lambda: is_tidy(cluster), "nothing is to be removed any more", seconds=120)
    until(
        lambda: not any(cluster.count(table) for table in TABLES),
        "all rows are gone",
        seconds=120,
    )
