"""Where the programs are that scripts/tools.sh has installed. A missing one is an error."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "scripts" / "tools.sh"


def folder():
    """The folder that scripts/tools.sh keeps its tools in."""
    answer = subprocess.run([SCRIPT, "path"], capture_output=True, text=True, check=True)
    return Path(answer.stdout.strip())


def tool(name):
    """The path of a Go tool."""
    return existing(folder() / "bin" / name)


def debian(name):
    """The path of a program of Debian's: another one may stand before it on PATH."""
    for place in ("/usr/bin", "/usr/sbin", "/bin", "/sbin"):
        if (Path(place) / name).exists():
            return str(Path(place) / name)
    raise FileNotFoundError(f"{name} is missing: run scripts/tools.sh apt")


def node():
    """A Node.js: the one that scripts/tools.sh fetched, or the machine's own."""
    own = folder() / "nodejs" / "bin" / "node"
    found = str(own) if own.exists() else shutil.which("node")
    if not found:
        raise FileNotFoundError("node is missing: run scripts/tools.sh node")
    return found


def existing(path):
    """The path as text, if there is such a file."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run scripts/tools.sh")
    return str(path)


def bonded():
    """The program under test: BONDED_BINARY, or the debug build of this tree."""
    return existing(Path(os.environ.get("BONDED_BINARY", ROOT / "target" / "debug" / "bonded")))


def run(*command, env=None, cwd=None, stdin=None, timeout=300):
    """Runs a program to its end and returns it with its output as text."""
    return subprocess.run(
        [str(part) for part in command],
        env=env,
        cwd=cwd,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def check(*command, **options):
    """Runs a program that must succeed, and returns what it wrote to its output."""
    done = run(*command, **options)
    assert done.returncode == 0, (
        f"{command[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    )
    return done.stdout


def environment(home, **more):
    """A small environment of its own for a client: nothing of the machine's settings."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        **{name: str(value) for name, value in more.items()},
    }
