"""Several processes of one deployment: one PostgreSQL database, one directory store.

SQLite belongs to one process, so there a cluster has one node.
"""

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from support import databases
from support.server import ACCOUNT, OTHER_REGION, REGION, Server
from support.v2 import V2
from support.wait import until

NODES = 3


class Node(Server):
    """A process with a data directory of its own, and the root key and store of the first."""

    def __init__(self, data, config, first=None):
        self.first = first or self
        own = data if first is None else first.data
        config += f'\n[keys]\nroot = ["{own}/keys/root.key"]\n'
        for region in (REGION, OTHER_REGION):
            config += f'[regions.{region}]\nstorage = "{own}/objects-{region}"\n'
        database = first.database if first else None
        super().__init__(data, config, database=database, own_storage=False)

    def credentials(self, account=ACCOUNT):
        """The first start made them, and the first node did that."""
        first = self.first
        return super().credentials(account) if first is self else first.credentials(account)

    def listens(self):
        """Whether it takes connections at the moment."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True

    def wait_until_it_listens(self):
        until(self.listens, f"{self.data.name} listens")


class Cluster:
    """The nodes of a deployment, and callers of any of them."""

    def __init__(self, folder, config=""):
        first = Node(folder / "node1", config)
        others = NODES - 1 if databases.is_postgres() else 0
        self.nodes = [first] + [
            Node(folder / f"node{number + 2}", config, first) for number in range(others)
        ]
        self.password = None

    @property
    def first(self):
        return self.nodes[0]

    def start(self):
        for node in self.nodes:
            node.start()
        self.password = self.first.password()
        return self

    def stop(self):
        for node in self.nodes:
            node.stop()

    def node(self, number):
        """One of the nodes for each number, in turn."""
        return self.nodes[number % len(self.nodes)]

    def v2(self, number):
        """A new caller of `/v2/` on one of the nodes."""
        return V2(self.node(number).url, self.password)

    def rows(self, statement, *parameters):
        return self.first.rows(statement, *parameters)

    def count(self, table, where="1 = 1"):
        """How many rows a table has."""
        return self.rows(f"SELECT COUNT(*) AS number FROM {table} WHERE {where}")[0]["number"]

    def objects(self):
        """The names of the objects in the store."""
        folder = self.first.data / f"objects-{REGION}"
        return {path.name for path in folder.rglob("*") if path.is_file()}

    def check(self):
        """`bonded check` finds nothing wrong. The nodes have ended."""
        done = self.first.command("check")
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running(folder, config=""):
    """A cluster that runs as long as the block, and leaves nothing behind."""
    cluster = Cluster(folder, config)
    try:
        yield cluster.start()
    finally:
        cluster.stop()
        databases.drop(cluster.first.database)


def at_once(works):
    """Runs functions at once, to their ends, and gives what they gave, or raises their error."""
    works = list(works)
    with ThreadPoolExecutor(len(works)) as threads:
        return [it.result() for it in [threads.submit(work) for work in works]]
