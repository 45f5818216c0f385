"""What is measured: groups of rows, each run on every server in turn, round by round.

In every round each server gets the very same requests, one server running at a time.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

GIB = 1 << 30
KIB = 1 << 10
CLIENTS = (1, 8, 32)
TAG_PUTS = 200
REPOSITORY = "bench/app"
SYNCS = "fsync,fdatasync,sync_file_range,msync,syncfs,sync"


@dataclass
class Bench:
    """The servers, the options, and what was measured so far."""

    servers: list
    rounds: int
    pattern: object
    quick: bool
    way: str
    records: list = field(default_factory=list)

    def wanted(self, *rows):
        return any(self.pattern.search(row) for row in rows)

    def add(self, row, server, unit, report):
        if self.wanted(row):
            self.records.append({"row": row, "server": server.name, "unit": unit, **report})

    def turns(self, what):
        """Each server in turn, round by round."""
        for number in range(self.rounds):
            for server in self.servers:
                print(f"[{time.strftime('%H:%M:%S')}] {what}: round {number + 1}, {server.name}")
                yield number, server


@contextlib.contextmanager
def running(server, *, fresh=False):
    if fresh:
        server.clear()
    server.start()
    if fresh:
        server.create_repository(REPOSITORY)
    try:
        yield server
    finally:
        server.stop()


def size_name(size):
    return f"{size >> 30} GiB" if size >= GIB else f"{size >> 20} MiB"


def with_clients(number):
    return "1 client" if number == 1 else f"{number} clients"


def transfers(bench, total, count, size, clients):
    """Pushes and pulls `total` bytes in `count` blobs."""
    large = size >= 1 << 20
    what = size_name(total) if large else f"{count:,} × {size >> 10} KiB"
    unit = "MB" if large else "blob"
    rows = {verb: f"{verb} {what}, {with_clients(clients)}" for verb in ("push", "pull")}
    memory = f"memory after {what}, {with_clients(clients)}"
    if not bench.wanted(*rows.values(), memory):
        return
    for number, server in bench.turns(f"{what}, {with_clients(clients)}"):
        # New content in every round, the same for each server.
        blobs = ["--repository", REPOSITORY, "--count", count, "--size", size]
        blobs += ["--seed", number * 100 + clients]
        with running(server, fresh=True):
            pushed = server.measure("push", *blobs, "--way", bench.way, clients=clients)
            bench.add(rows["push"], server, unit, pushed)
            if number == 0:
                server.run("pull", *blobs, "--verify", clients=clients)
            bench.add(rows["pull"], server, unit, server.measure("pull", *blobs, clients=clients))
            now, highest = server.memory()
            bench.add(memory, server, "memory", {"rss_mb": now, "highest_mb": highest})
        server.clear()


def all_transfers(bench):
    total = 64 << 20 if bench.quick else GIB
    count = 200 if bench.quick else 1_000
    for clients in CLIENTS:
        transfers(bench, total, clients, total // clients, clients)
    for clients in CLIENTS:
        transfers(bench, count * 64 * KIB, count, 64 * KIB, clients)


def reads(bench):
    """Small requests that change nothing."""
    seconds = 1 if bench.quick else 4
    rows = {}
    for what in ("manifest GET", "manifest HEAD", "blob HEAD"):
        for clients in (1, 32):
            rows[f"{what}, {with_clients(clients)}"] = (what, clients)
    if not bench.wanted(*rows):
        return
    images = {}
    for number, server in bench.turns("small requests"):
        with running(server, fresh=number == 0):
            if number == 0:
                images[server] = server.run("image", "--repository", REPOSITORY, "--tag", "v1")
            layer = images[server]["layer"]
            for row, (what, clients) in rows.items():
                if not bench.wanted(row):
                    continue
                path = "manifests/v1" if "manifest" in what else f"blobs/{layer}"
                ask = ["get", "--path", f"/v2/{REPOSITORY}/{path}"]
                ask += ["--head"] if "HEAD" in what else []
                # The first requests fill caches, which is not what is measured here.
                server.run(*ask, "--requests", 100)
                ask += ["--seconds", seconds]
                bench.add(row, server, "request", server.measure(*ask, clients=clients))
    for server in bench.servers:
        server.clear()


def tags(bench):
    """Tags are put into, and listed from, a repository that has many."""
    counts = (100, 2_000) if bench.quick else (100, 2_000, 10_000, 100_000, 1_000_000)
    rows = {count: (f"tag put at {count:,}", f"first 100 of {count:,} tags") for count in counts}
    if not bench.wanted(*sum(rows.values(), ())):
        return
    for server in bench.servers:
        with running(server, fresh=True):
            server.run("image", "--repository", REPOSITORY, "--tag", "v1")
    have = 0
    for count, (put, listed) in rows.items():
        if not bench.wanted(put, listed):
            continue
        for server in bench.servers:
            print(f"[{time.strftime('%H:%M:%S')}] {count:,} tags for {server.name}")
            add_tags(server, have, count)
        have = count
        for number, server in bench.turns(f"{count:,} tags"):
            with running(server):
                ask = ["get", "--path", f"/v2/{REPOSITORY}/tags/list?n=100"]
                ask += ["--requests", 500, "--seconds", 3]
                if bench.wanted(listed):
                    bench.add(listed, server, "request", server.measure(*ask))
                if bench.wanted(put):
                    # After all others in the order of names, so that the list stays the same.
                    ask = ["tags", "--repository", REPOSITORY, "--count", TAG_PUTS]
                    ask += ["--tag", f"z{count}-{number}-"]
                    bench.add(put, server, "request", server.measure(*ask))
    for server in bench.servers:
        server.clear()


def add_tags(server, have, count):
    """Fills a repository up to `count` tags: by the fastest way that the server has."""
    if server.has_tag_folders and count > 2_000:
        server.write_tags(REPOSITORY, have, count - have)
    elif getattr(server, "seed_program", None) and count > 2_000:
        server.seed("tags", "--repository", REPOSITORY, "--first", have, "--count", count - have)
    else:
        with running(server):
            ask = ["tags", "--repository", REPOSITORY, "--tag", "t", "--first", have]
            server.run(*ask, "--count", count - have, clients=32)


def starts(bench):
    """Starts of a deployment that has been started before, and what it takes when idle."""
    start, idle = "cold start", "memory idle"
    if not bench.wanted(start, idle):
        return
    for server in bench.servers:
        with running(server, fresh=True):
            server.run("image", "--repository", REPOSITORY, "--tag", "v1")
    for _, server in bench.turns("starts"):
        for _ in range(5):
            wall, cpu = server.start()
            report = {"items": 1, "p50_ms": wall, "seconds": wall / 1e3, "cpu_ms": cpu}
            bench.add(start, server, "start", report)
            time.sleep(1)
            now, highest = server.memory()
            bench.add(idle, server, "memory", {"rss_mb": now, "highest_mb": highest})
            server.stop()
    for server in bench.servers:
        server.clear()


def syncs(bench):
    """How often a server asks the kernel to make something durable, as strace sees it."""
    plans = [(1, 20 if bench.quick else 100), (32, 200 if bench.quick else 1_000)]
    rows = {
        (clients, count): f"syncs per 64 KiB blob, {with_clients(clients)}"
        for clients, count in plans
    }
    if not bench.wanted(*rows.values()):
        return
    if not shutil.which("strace"):
        print("strace is missing (Debian: apt-get install strace), so syncs are not counted")
        return
    for server in bench.servers:
        for (clients, count), row in rows.items():
            with running(server, fresh=True):
                blobs = ["--repository", REPOSITORY, "--count", count, "--size", 64 * KIB]
                with traced(server) as calls:
                    server.run("push", *blobs, "--seed", 1, "--way", bench.way, clients=clients)
                bench.add(row, server, "syncs", {"items": count, "syncs": sum(calls.values())})
        server.clear()


@contextlib.contextmanager
def traced(server):
    """Counts the calls of a server that sync; they are known when the block has ended."""
    calls = {}
    file = server.folder / "trace"
    command = ["strace", "-f", "-qq", "-e", f"trace={SYNCS}", "-o", str(file)]
    tracer = subprocess.Popen([*command, "-p", str(server.process.pid)])
    status = Path(f"/proc/{server.process.pid}/status")
    while f"TracerPid:\t{tracer.pid}\n" not in status.read_text():
        if tracer.poll() is not None:
            raise SystemExit("strace cannot attach to the server")
        time.sleep(0.01)
    try:
        yield calls
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    for line in file.read_text().splitlines():
        name = line.split(None, 1)[1].split("(", 1)[0]
        # A call that another thread interrupts in the log has a second line for its end.
        if name in SYNCS.split(","):
            calls[name] = calls.get(name, 0) + 1


GROUPS = (starts, reads, tags, syncs, all_transfers)


def run(bench):
    for group in GROUPS:
        group(bench)
    os.sync()
