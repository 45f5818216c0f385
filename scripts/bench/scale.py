"""Measures ours with very many tags, images and repositories: see scripts/scale.sh."""

import argparse
import base64
import contextlib
import functools
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from servers import SETTLE_SECONDS, Bonded

REPOSITORY = "bench/app"
# How often each request is made for one figure.
TIMES = 100
PAGE = 100
JOB_SECONDS = 10

LIMITS = """
[limits]
images_per_repository = 1000000
repositories_per_registry = 1000000
"""
SHORT_GRACE = """
[testing]
allow = true
job_interval = "1s"
garbage_grace = "1s"
[garbage]
grace = "1s"
"""


@dataclass
class Scale:
    """The figures of one engine: of a row, at a size, wall and processor time in ms."""

    engine: str
    figures: dict = field(default_factory=dict)

    def add(self, row, size, wall, cpu):
        print(
            f"[{time.strftime('%H:%M:%S')}] {self.engine}, {size:,}: {row} {wall:.2f} ms, {cpu:.2f} CPU-ms"
        )
        self.figures.setdefault(row, {})[size] = (wall, cpu)


def each(scale, server, row, size, calls):
    """Makes each call once, and takes the median of their times."""
    walls = []
    before = server.cpu_ns()
    for call in calls:
        began = time.perf_counter()
        call()
        walls.append((time.perf_counter() - began) * 1e3)
    time.sleep(SETTLE_SECONDS)
    scale.add(row, size, median(walls), (server.cpu_ns() - before) / 1e6 / len(walls))


def load(scale, server, row, size, *arguments):
    report = server.measure(*arguments)
    scale.add(row, size, report["p50_ms"], report["cpu_ms"] / report["items"])


class Plane:
    """One connection to `/v2/`."""

    def __init__(self, server):
        self.connection = server.connect()
        text = base64.b64encode(server.credentials.read_bytes()).decode()
        self.headers = {"Authorization": f"Basic {text}"}

    def ask(self, method, path, status, body=None, **headers):
        self.connection.request(method, path, body, {**self.headers, **headers})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != status:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
        return text


def pages(scale, server, size, operation, body):
    """The first page, one in the middle and the last of a list of the API."""
    connection = server.connect()

    def ask(token, most):
        more = {"nextToken": token} if token else {}
        return server.call_on(connection, operation, {**body, "maxResults": most, **more})

    tokens = [None]
    while token := ask(tokens[-1], 1000).get("nextToken"):
        tokens.append(token)
    places = {"first": tokens[0], "middle": tokens[len(tokens) // 2], "last": tokens[-1]}
    for place, token in places.items():
        calls = itertools.repeat(lambda token=token: ask(token, PAGE), TIMES)
        each(scale, server, f"{operation}, {place} page", size, calls)


def listed(scale, server, size, what, path, names):
    for place, after in names.items():
        ask = ["get", "--path", f"{path}?n={PAGE}&last={after}", "--requests", TIMES]
        load(scale, server, f"{what}, {place} page", size, *ask)


def in_repository(scale, server, size):
    """What is done in a repository, however much there is in it."""
    put = ["tags", "--repository", REPOSITORY, "--count", TIMES]
    load(scale, server, "tag put", size, *put, "--tag", f"z{size}-")
    plane = Plane(server)
    path = f"/v2/{REPOSITORY}/manifests"
    tags = [f"{path}/z{size}-{number:07}" for number in range(TIMES)]
    calls = [lambda tag=tag: plane.ask("DELETE", tag, 202) for tag in tags]
    each(scale, server, "tag delete", size, calls)
    accept = "application/vnd.oci.image.manifest.v1+json"
    like = json.loads(plane.ask("GET", f"{path}/v1", 200, Accept=accept))
    digests = []

    def push(number):
        like["annotations"] = {"number": f"{size} {number}"}
        text = json.dumps(like)
        plane.ask("PUT", f"{path}/y{number}", 201, text, **{"Content-Type": accept})
        digests.append(f"sha256:{hashed(text)}")

    each(scale, server, "image put", size, [lambda it=it: push(it) for it in range(TIMES)])
    connection = server.connect()

    def delete(digest):
        body = {"repositoryName": REPOSITORY, "imageIds": [{"imageDigest": digest}]}
        server.call_on(connection, "BatchDeleteImage", body)

    each(scale, server, "image delete", size, [lambda it=it: delete(it) for it in digests])


def hashed(text):
    return hashlib.sha256(text.encode()).hexdigest()


def jobs(scale, server, size):
    """What the jobs take of each second, with a short grace and all of them due every second."""
    server.execute("UPDATE job SET due = 0")
    server.more_config = LIMITS + SHORT_GRACE
    server.start()
    before = server.cpu_ns()
    time.sleep(JOB_SECONDS)
    taken = (server.cpu_ns() - before) / 1e6 / JOB_SECONDS
    scale.add("all jobs, each second", size, 0, taken)
    server.stop()
    server.more_config = LIMITS
    # Not at the next start: there they would run beside what is measured.
    server.execute("UPDATE job SET due = due + 3600000000")


@contextlib.contextmanager
def running(server, database):
    server.start()
    try:
        yield
    finally:
        server.stop()
    if server.database.startswith("sqlite:"):
        database[0] = (server.data / "bonded.db").stat().st_size


def begin(server):
    server.clear()
    server.start()
    server.create_repository(REPOSITORY)
    server.run("image", "--repository", REPOSITORY, "--tag", "v1")
    server.stop()


def seed(scale, server, what, have, size, *more):
    began = time.perf_counter()
    server.seed(what, *more, "--first", have, "--count", size - have)
    print(f"{scale.engine}: {size - have:,} {what} seeded in {time.perf_counter() - began:.0f} s")


def tags(scale, server, sizes):
    begin(server)
    have, file = 0, [0]
    for size in sizes:
        seed(scale, server, "tags", have, size, "--repository", REPOSITORY)
        have = size
        with running(server, file):
            names = {"first": "", "middle": f"t{size // 2:07}", "last": f"t{size - PAGE:07}"}
            listed(scale, server, size, "tags/list", f"/v2/{REPOSITORY}/tags/list", names)
            pages(scale, server, size, "ListImages", {"repositoryName": REPOSITORY})
            ask = ["get", "--path", f"/v2/{REPOSITORY}/manifests/t{{}}", "--names", size]
            load(scale, server, "manifest GET", size, *ask, "--requests", 2_000)
            in_repository(scale, server, size)
        jobs(scale, server, size)
    return file[0]


def images(scale, server, sizes):
    begin(server)
    have, file = 0, [0]
    for size in sizes:
        seed(scale, server, "images", have, size, "--repository", REPOSITORY)
        have = size
        with running(server, file):
            pages(scale, server, size, "DescribeImages", {"repositoryName": REPOSITORY})
            ask = ["get", "--path", f"/v2/{REPOSITORY}/manifests/v1", "--requests", 2_000]
            load(scale, server, "manifest GET", size, *ask)
            in_repository(scale, server, size)
        jobs(scale, server, size)
    return file[0]


def repositories(scale, server, sizes):
    begin(server)
    have, file = 0, [0]
    for size in sizes:
        seed(scale, server, "repositories", have, size)
        have = size
        with running(server, file):
            names = {
                "first": "",
                "middle": f"seed/{size // 2:07}",
                "last": f"seed/{size - PAGE:07}",
            }
            listed(scale, server, size, "_catalog", "/v2/_catalog", names)
            pages(scale, server, size, "DescribeRepositories", {})
            ask = ["get", "--path", f"/v2/{REPOSITORY}/manifests/v1", "--requests", 2_000]
            load(scale, server, "manifest GET", size, *ask)
            in_repository(scale, server, size)
            connection = server.connect()
            bodies = [{"repositoryName": f"new/{size}-{it}"} for it in range(TIMES)]
            for operation in ("CreateRepository", "DeleteRepository"):
                call = functools.partial(server.call_on, connection, operation)
                calls = [functools.partial(call, body) for body in bodies]
                each(scale, server, operation, size, calls)
        jobs(scale, server, size)
    return file[0]


PARTS = {
    "tags": (tags, (1_000, 1_000_000), (1_000, 20_000)),
    "images": (images, (1_000, 100_000), (1_000, 5_000)),
    "repositories": (repositories, (1_000, 100_000), (1_000, 5_000)),
}


def table(scale):
    """Wall and processor time in ms at the smaller and the larger size, and by what they differ."""
    for row, figures in scale.figures.items():
        cells = " | ".join(f"{wall:.2f} | {cpu:.2f}" for _, (wall, cpu) in sorted(figures.items()))
        small, large = figures[min(figures)][1], figures[max(figures)][1]
        yield f"| {row} | {cells} | {large / small if small else 0:.1f} |"


def main():
    parser = argparse.ArgumentParser(prog="scripts/scale.sh")
    parser.add_argument("--quick", action="store_true", help="20,000 tags, 5,000 of the others")
    parser.add_argument("--database", metavar="URL", help="PostgreSQL instead of SQLite")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the figures as JSON")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where the data goes")
    for program in ("bonded", "load", "seed"):
        parser.add_argument(f"--{program}", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bonded-scale.", dir=options.work))
    server = Bonded(
        str(options.bonded), work, str(options.load), options.database, str(options.seed)
    )
    server.more_config = LIMITS
    found, files, scales = {}, {}, {}
    engine = "PostgreSQL" if options.database else "SQLite"
    try:
        for part in options.part or PARTS:
            run, large, quick = PARTS[part]
            scale = scales[part] = Scale(engine)
            files[part] = run(scale, server, quick if options.quick else large)
            found[part] = scale.figures
    finally:
        if server.process:
            server.process.kill()
            server.process.wait()
        shutil.rmtree(work, ignore_errors=True)
        if options.out:
            options.out.write_text(
                json.dumps({"engine": engine, "figures": found}, indent=1) + "\n"
            )
        for part, scale in scales.items():
            sizes = sorted({size for row in scale.figures.values() for size in row})
            size = f"; database file of {files[part] / 1e6:.0f} MB" if files.get(part) else ""
            print(f"\n{engine}, {part}{size}\n")
            heads = " | ".join(f"wall ms at {size:,} | CPU-ms" for size in sizes)
            print(f"| | {heads} | CPU, larger : smaller |\n|{'---|' * (2 * len(sizes) + 2)}")
            print("\n".join(table(scale)))
        os.sync()


main()
