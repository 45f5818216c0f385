"""Measures registries side by side: see scripts/bench.sh."""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

import rows
import table
from servers import Bonded, Distribution, Server


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument(
        "--rows", default="", metavar="PATTERN", help="only rows that match this regular expression"
    )
    parser.add_argument(
        "--rounds", type=int, help="how often each row is measured on each server [default: 3]"
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another registry; {port} and {data} are replaced",
    )
    parser.add_argument(
        "--no-distribution", action="store_true", help="do not measure distribution"
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="ours on PostgreSQL; its database bonded_bench is made anew",
    )
    parser.add_argument(
        "--way",
        choices=("put", "patch", "pieces"),
        default="put",
        help="how blobs are pushed [default: put]",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="all that was measured, as JSON")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help="where the servers' data goes [default: a temporary directory]",
    )
    for program in ("bonded", "load", "seed", "registry"):
        parser.add_argument(f"--{program}", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def machine():
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(memory.group(1)) * 1024 / 1e9),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }


def servers(options, work):
    load = str(options.load)
    found = [Bonded(str(options.bonded), work, load, options.database, options.seed)]
    if not options.no_distribution:
        found.append(Distribution(str(options.registry), work, load))
    for peer in options.peer:
        name, command = peer.split("=", 1)
        found.append(Server(name, command, work, load))
    return found


def main():
    options = arguments()
    work = Path(tempfile.mkdtemp(prefix="bonded-bench.", dir=options.work))
    began = datetime.datetime.now(datetime.UTC)
    facts = {"date": began.isoformat(timespec="seconds"), "machine": machine()}
    try:
        found = servers(options, work)
        facts["versions"] = {server.name: server.version() for server in found}
        rounds = options.rounds or (1 if options.quick else 3)
        bench = rows.Bench(found, rounds, re.compile(options.rows), options.quick, options.way)
        facts |= {"rounds": rounds, "quick": options.quick, "way": options.way}
        facts["database"] = "PostgreSQL" if options.database else "SQLite"
        try:
            rows.run(bench)
        finally:
            report(facts, bench.records, options.out)
    finally:
        for server in found:
            if server.process:
                server.process.kill()
                server.process.wait()
        shutil.rmtree(work, ignore_errors=True)


def report(facts, records, out):
    """Prints what there is, also when a row has failed."""
    if out:
        out.write_text(json.dumps({**facts, "records": records}, indent=1) + "\n")
    box = facts["machine"]
    versions = ", ".join(f"{name} {version}".strip() for name, version in facts["versions"].items())
    print()
    print(
        f"{facts['date']}; {versions}; ours on {facts['database']}; {box['processor']}, "
        f"{box['cores']} cores, {box['memory_gb']} GB, Linux {box['kernel']}; "
        f"load {box['load_before']:.1f} before; {facts['rounds']} rounds. "
        "Two figures: minimum / median (of rates: maximum / median)."
    )
    print()
    print(table.markdown(records))


main()
