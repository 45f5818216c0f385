"""A Bonded that runs for a test: its process, its data directory, its credentials."""

import base64
import configparser
import os
import signal
import socket
import subprocess

import boto3
import requests
from botocore.config import Config

from support import databases
from support.log import Log, keep_secret
from support.tools import bonded, environment
from support.wait import until

ACCOUNT = "123456789012"
OTHER_ACCOUNT = "210987654321"
REGION = "us-east-1"
OTHER_REGION = "eu-central-1"

# Every server that was started in this run: their logs are read after each test.
SERVERS = []


def free_port():
    """A port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """One deployment. `data` is its directory; `config` is TOML that is put before our own.

    `listeners` in `config` replaces the plain one on `port`. With `database` the deployment
    uses that one; by default it gets a fresh one of the engine under test.
    """

    def __init__(self, data, config="", *, database=None, port=None, tls=False, own_storage=True):
        self.data = data
        self.data.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.admin_port = free_port()
        self.scheme = "https" if tls else "http"
        self.database = database or databases.fresh(data)
        self.log = Log(data.parent / f"{data.name}.log")
        self.output = data.parent / f"{data.name}.out"
        self.config_file = data.parent / f"{data.name}.toml"
        self.process = None
        # Of the serving process alone: a test may put a library before libc's.
        self.more_environment = {}
        self.write_config(config, tls, own_storage)
        SERVERS.append(self)

    def write_config(self, config, tls, own_storage):
        """The keys that a test does not care for follow those that it gave."""
        text = f'database = "{self.database}"\n'
        if "default_region" not in config:
            text += f'default_region = "{REGION}"\n'
        text += f"{config}\n"
        if "[[listeners]]" not in config:
            text += f'[[listeners]]\naddress = "127.0.0.1:{self.port}"\n'
            text += 'tls = "self-signed"\n' if tls else ""
        if "[accounts" not in config:
            text += (
                f'[accounts.{ACCOUNT}]\nname = "main"\n[accounts.{OTHER_ACCOUNT}]\nname = "other"\n'
            )
        if own_storage:
            for region in (REGION, OTHER_REGION):
                text += f'[regions.{region}]\nstorage = "{self.data}/objects-{region}"\n'
        if "[admin]" not in config:
            text += f'[admin]\nlisten = "127.0.0.1:{self.admin_port}"\n'
        if "[log]" not in config:
            text += '[log]\nformat = "json"\nlevel = "info"\naccess = true\n'
        self.config_file.write_text(text)

    # --- its process

    def start(self):
        """Starts it and waits until it says that it is ready."""
        self.spawn()
        return self.wait_until_ready()

    def wait_until_ready(self):
        until(self.is_ready, f"the server is ready\n{self.log.text()[-3000:]}")
        return self

    def spawn(self):
        """Starts its process and waits for nothing."""
        with self.log.path.open("ab") as log, self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [bonded(), "serve", "--data", str(self.data), "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env=environment(
                    self.data.parent, RUST_BACKTRACE="1", **log_level(), **self.more_environment
                ),
            )

    def has_ended(self):
        return self.process.poll() is not None

    def is_ready(self):
        assert self.process.poll() is None, f"the server has ended:\n{self.log.text()[-3000:]}"
        try:
            return requests.get(f"{self.admin}/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self):
        """Ends it as an operator does, and waits. It must end well."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=60)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None
        assert code == 0, f"the server ended with {code}\n{self.log.text()[-3000:]}"

    def kill(self):
        """Ends it as a power cut does."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def command(self, *arguments, stdin=None):
        """Runs another command of the program on this deployment, to its end."""
        return subprocess.run(
            [bonded(), *arguments, "--data", str(self.data), "--config", str(self.config_file)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env=environment(self.data.parent, RUST_BACKTRACE="1"),
            check=False,
        )

    # --- where it is and who may use it

    @property
    def host(self):
        return f"localhost:{self.port}"

    @property
    def url(self):
        return f"{self.scheme}://{self.host}"

    @property
    def admin(self):
        return f"http://127.0.0.1:{self.admin_port}"

    def registry_host(self, account=ACCOUNT, region=REGION):
        """The host that names a registry of this deployment."""
        return f"{account}.dkr.ecr.{region}.localhost:{self.port}"

    def credentials(self, account=ACCOUNT):
        """The access key id and the secret of an account's root."""
        file = configparser.ConfigParser()
        file.read(self.data / "credentials")
        profile = file["default" if account == ACCOUNT else account]
        return profile["aws_access_key_id"], keep_secret(profile["aws_secret_access_key"])

    def client(self, account=ACCOUNT, region=REGION, service="ecr", **options):
        """A boto3 client of an account's root. It tries once: an error is to be seen."""
        key, secret = self.credentials(account)
        options = {"retries": {"total_max_attempts": 1, "mode": "standard"}, **options}
        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            verify=options.pop("verify", None),
            config=Config(**options),
        )

    def password(self, account=ACCOUNT, region=REGION):
        """A password for `/v2/`, as `aws ecr get-login-password` prints it."""
        answer = self.client(account, region).get_authorization_token()
        token = answer["authorizationData"][0]["authorizationToken"]
        return keep_secret(base64.b64decode(token).decode().split(":", 1)[1])

    def environment(self, home, account=ACCOUNT, region=REGION, **more):
        """The environment of an AWS client that uses this deployment."""
        key, secret = self.credentials(account)
        return environment(
            home,
            AWS_ACCESS_KEY_ID=key,
            AWS_SECRET_ACCESS_KEY=secret,
            AWS_REGION=region,
            AWS_DEFAULT_REGION=region,
            AWS_ENDPOINT_URL=self.url,
            AWS_PAGER="",
            AWS_EC2_METADATA_DISABLED="true",
            **more,
        )

    # --- what it keeps

    def rows(self, statement, *parameters):
        """The rows of a SELECT on the deployment's database."""
        return databases.rows(self.database, statement, *parameters)

    def expect_log(self, pattern):
        """Announces lines of level WARN or ERROR that the test provokes."""
        self.log.expect(pattern)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def log_level():
    """Lets the whole run change the log level of the servers without touching the tests."""
    level = os.environ.get("BONDED_TEST_LOG")
    return {"RUST_LOG": level} if level else {}
