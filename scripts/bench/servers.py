"""The registries under load: how each is started, reached, looked at and ended."""

import configparser
import contextlib
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

ACCOUNT = "123456789012"
REGION = "us-east-1"
DATABASE = "bonded_bench"

# What a server does after its answer (queued records, log lines, background writing) counts too.
SETTLE_SECONDS = 1.5


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def process_cpu_ns(pid):
    """Processor time of a process in nanoseconds, of its ended threads too.

    It is CLOCK_PROCESS_CPUTIME_ID of another process, what clock_getcpuclockid(3) gives: the
    same sum as utime and stime of /proc/PID/stat, which only counts in hundredths of a second.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def postgres_cpu_ns():
    """Processor time of each process on this machine that serves our database of PostgreSQL."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            title = (folder / "cmdline").read_text() if folder.name.isdigit() else ""
            if title.startswith("postgres: ") and f" {DATABASE} " in title:
                found[folder.name] = process_cpu_ns(int(folder.name))
        except OSError:
            continue  # it has just ended
    return found


class Server:
    """A registry that is run by a command. `{port}` and `{data}` are replaced in it."""

    has_tag_folders = False

    def __init__(self, name, command, work, load):
        self.name = name
        self.template = command
        self.folder = work / name
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.load_program = load
        self.process = None
        self.port = 0
        self.credentials = None
        self.clear()

    def clear(self):
        """A deployment that has never run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.data.mkdir(parents=True)

    def command(self):
        values = {"port": str(self.port), "data": str(self.data)}
        return [word.format(**values) for word in shlex.split(self.template)]

    def environment(self):
        return os.environ

    def start(self):
        """Starts it and waits for its first answer. Returns wall and processor time in ms."""
        self.port = free_port()
        command = self.command()
        with self.log.open("ab") as log:
            began = time.perf_counter()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
            )
        while not self.answers():
            if self.process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit(f"{self.name} does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.0005)
        wall = (time.perf_counter() - began) * 1e3
        cpu = self.cpu_ns() / 1e6
        self.is_up()
        return wall, cpu

    def is_up(self):
        """What is to be done after a start."""

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return connection.recv(12).startswith(b"HTTP/1.1 ")
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def cpu_ns(self):
        return process_cpu_ns(self.process.pid)

    def database_cpu_ns(self):
        """Of each process of the database, by its id."""
        return {}

    def memory(self):
        """Resident memory now and at its highest, in MB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        lines = dict(line.split(":", 1) for line in text.splitlines())
        return tuple(int(lines[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))

    def create_repository(self, name):
        """Most registries make a repository when something is pushed."""

    def load_command(self, *arguments, clients):
        command = [self.load_program, "--address", f"127.0.0.1:{self.port}"]
        command += ["--clients", str(clients)]
        if self.credentials:
            command += ["--credentials", str(self.credentials)]
        return [*command, *map(str, arguments)]

    def run(self, *arguments, clients=1):
        """Runs the load generator without measuring the server."""
        command = self.load_command(*arguments, clients=clients)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.name}, {arguments[0]}: {done.stderr}")
        return json.loads(done.stdout)

    def measure(self, *arguments, clients=1):
        """Runs the load generator. Its report, with the processor time of the server in ms."""
        # What earlier work left to be written would be counted as this one's time.
        os.sync()
        command = self.load_command("--wait", *arguments, clients=clients)
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as generator:
            ready = generator.stdout.readline()
            before, database = self.cpu_ns(), self.database_cpu_ns()
            output, error = generator.communicate("go\n" if ready else None)
        if generator.returncode:
            raise SystemExit(f"{self.name}, {arguments[0]}: {error}{self.last_log()}")
        time.sleep(SETTLE_SECONDS)
        report = json.loads(output)
        report["cpu_ms"] = (self.cpu_ns() - before) / 1e6
        after = self.database_cpu_ns().items()
        report["database_cpu_ms"] = sum(ns - database.get(it, 0) for it, ns in after) / 1e6
        return report

    def last_log(self):
        return self.log.read_text(errors="replace")[-2000:]

    def version(self):
        return ""


class Distribution(Server):
    """The registry of the distribution project with its own example's settings."""

    has_tag_folders = True

    def __init__(self, program, work, load):
        self.program = program
        super().__init__("distribution", "", work, load)

    def command(self):
        config = self.folder / "config.yml"
        config.write_text(
            "version: 0.1\n"
            "storage:\n"
            "  cache:\n    blobdescriptor: inmemory\n"
            f"  filesystem:\n    rootdirectory: {self.data}\n"
            "  delete:\n    enabled: true\n"
            f"http:\n  addr: 127.0.0.1:{self.port}\n"
        )
        return [self.program, "serve", str(config)]

    def environment(self):
        # It would look for a collector of traces otherwise.
        return {**os.environ, "OTEL_TRACES_EXPORTER": "none"}

    def repository_folder(self, repository):
        return self.data / "docker/registry/v2/repositories" / repository

    def write_tags(self, repository, first, count):
        """Makes what a list of tags reads: their names, in its folder.

        Of a real tag the name is a folder with two more and two files. They are left out, because
        making and removing millions of them takes hours, and neither a list nor the put of
        another tag looks into them.
        """
        folder = self.repository_folder(repository) / "_manifests/tags"
        for number in range(first, first + count):
            (folder / f"t{number:07}").touch()

    def version(self):
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True)
        return done.stdout.split()[-1].split("+")[0] if done.stdout else ""


class Bonded(Server):
    """Ours with its defaults: access, audit, sealing, syncs and the access log are on."""

    def __init__(self, program, work, load, database=None, seed=None):
        self.program = program
        self.postgres = database
        self.seed_program = seed
        self.more_config = ""
        super().__init__("bonded", "", work, load)

    @property
    def database(self):
        if not self.postgres:
            return f"sqlite:{self.data}/bonded.db"
        return urlunsplit(urlsplit(self.postgres)._replace(path=f"/{DATABASE}"))

    def clear(self):
        super().clear()
        self.clear_database()

    def clear_database(self):
        if not self.postgres:
            for file in self.data.glob("bonded.db*"):
                file.unlink()
            return
        drop = f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"
        create = f"CREATE DATABASE {DATABASE} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        for statement in (drop, create):
            subprocess.run(["psql", "-q", "-c", statement, self.postgres], check=True)

    @property
    def config(self):
        return self.folder / "config.toml"

    def command(self):
        self.write_config()
        return [self.program, "serve", *self.place()]

    def write_config(self):
        self.config.write_text(
            f'database = "{self.database}"\n'
            f'[[listeners]]\naddress = "127.0.0.1:{self.port}"\n'
            f"[accounts.{ACCOUNT}]\n[regions.{REGION}]\n{self.more_config}"
        )

    def place(self):
        return ["--data", str(self.data), "--config", str(self.config)]

    def is_up(self):
        command = [self.program, "get-login-password", *self.place()]
        password = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.credentials = self.folder / "password"
        self.credentials.touch(mode=0o600)
        self.credentials.write_text(f"AWS:{password.strip()}")

    def create_repository(self, name):
        self.call("CreateRepository", {"repositoryName": name})

    def seed(self, *arguments):
        """Fills the stopped deployment without requests.

        On PostgreSQL each of the many statements is a round trip, so there it is done in an
        SQLite file: a backup moves a deployment from one engine to the other.
        """
        command = [str(self.seed_program), *self.place(), *map(str, arguments)]
        if not self.postgres:
            subprocess.run(command, check=True)
            return
        postgres = self.postgres
        self.offline("backup")
        self.move_to(None)
        subprocess.run(command, check=True)
        self.offline("backup")
        self.move_to(postgres)

    def move_to(self, postgres):
        self.postgres = postgres
        self.write_config()
        self.clear_database()
        self.offline("restore")

    def offline(self, what):
        command = [self.program, what, *self.place(), str(self.folder / "backup")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def execute(self, statement):
        """A statement on the database of the stopped deployment."""
        if self.postgres:
            subprocess.run(["psql", "-q", "-c", statement, self.database], check=True)
            return
        file = self.database.removeprefix("sqlite:")
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)

    def call(self, operation, body):
        """One operation of ECR's API, as the account's root."""
        with contextlib.closing(self.connect()) as connection:
            return self.call_on(connection, operation, body)

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def call_on(self, connection, operation, body):
        file = configparser.ConfigParser()
        file.read(self.data / "credentials")
        profile = file["default"]
        keys = profile["aws_access_key_id"], profile["aws_secret_access_key"]
        payload = json.dumps(body)
        headers = signed(operation, f"127.0.0.1:{self.port}", payload, *keys)
        connection.request("POST", "/", payload, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{operation}: {answer.status} {text.decode()}")
        return json.loads(text)

    def database_cpu_ns(self):
        return postgres_cpu_ns() if self.postgres else {}

    def version(self):
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True)
        return done.stdout.strip().removeprefix("bonded ")


def signed(operation, host, payload, key, secret):
    """The headers of a request to ECR's API, signed with Signature Version 4."""
    now = datetime.datetime.now(datetime.UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {
        "content-type": "application/x-amz-json-1.1",
        "host": host,
        "x-amz-date": stamp,
        "x-amz-target": f"AmazonEC2ContainerRegistry_V20150921.{operation}",
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    body = hashlib.sha256(payload.encode()).hexdigest()
    canonical = f"POST\n/\n\n{lines}\n{names}\n{body}"
    scope = f"{day}/{REGION}/ecr/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    signing = f"AWS4{secret}".encode()
    for part in (day, REGION, "ecr", "aws4_request"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    signature = hmac.digest(signing, text.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers
