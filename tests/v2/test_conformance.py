"""The OCI conformance program, version 2, with every API and every kind of data.

Sparse indexes (some of whose images were never pushed) are a setting: they are on for the run
on SQLite and off for the run on PostgreSQL, so both are seen.
"""

import xml.etree.ElementTree as ElementTree

from support import databases
from support.tools import run, tool


def test_nothing_fails_and_nothing_is_skipped(fresh_registry, tmp_path):
    sparse = not databases.is_postgres()
    registry = fresh_registry(f"[images]\nsparse_indexes = {str(sparse).lower()}\n")
    ecr = registry.client()
    for name in ("conformance/repo1", "conformance/repo2"):
        ecr.create_repository(repositoryName=name)
    results = tmp_path / "results"
    environment = registry.environment(
        tmp_path,
        OCI_REGISTRY=registry.host,
        OCI_TLS="disabled",
        OCI_VERSION="dev",
        OCI_USERNAME="AWS",
        OCI_PASSWORD=registry.password(),
        OCI_RESULTS_DIR=results,
        OCI_DATA_SPARSE=str(sparse).lower(),
    )
    done = run(tool("conformance"), env=environment, timeout=900)
    suite = ElementTree.parse(results / "junit.xml").getroot().find("testsuite")
    counts = {
        key: int(suite.get(key) or 0)
        for key in ("tests", "failures", "errors", "skipped", "disabled")
    }
    print(f"conformance, sparse {sparse}: {counts}")
    bad = [
        f"{case.get('classname')} {case.get('name')}: {case.get('status')} "
        + " ".join((part.get("message") or "") + (part.text or "") for part in case)[:400]
        for case in suite.findall("testcase")
        if case.get("status") in ("failure", "error", "skipped")
        and "isabled" not in "".join(part.get("message") or "" for part in case)
    ]
    assert done.returncode == 0, done.stdout[-3000:] + "\n".join(bad[:40])
    assert counts["failures"] == counts["errors"] == counts["skipped"] == 0, "\n".join(bad[:40])
    assert counts["tests"] > 900
    if sparse:
        assert counts["disabled"] == 0
