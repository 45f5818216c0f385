"""Reading a server's log: what went wrong, and whether a secret got into it."""

import json
import re

# Everything that must never be in a log: keys, passwords, signatures, sealed links. Tests
# that are handed one put it here, and all logs are searched for all of them.
SECRETS = set()


def keep_secret(text):
    """Remembers a secret, so that every log is searched for it. Returns it."""
    assert len(text) >= 12, "too short to search for"
    SECRETS.add(text)
    return text


class Log:
    """A log file of one server, which is read as it grows."""

    def __init__(self, path):
        self.path = path
        self.expected = []
        self.offset = 0

    def expect(self, pattern):
        """Announces lines of level WARN or ERROR: they are no failure from now on."""
        self.expected.append(re.compile(pattern))

    def text(self):
        return self.path.read_text(errors="replace") if self.path.exists() else ""

    def lines(self):
        """The lines that are JSON, as objects."""
        found = []
        for line in self.text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def new_complaints(self):
        """The unannounced WARN and ERROR lines, and panics, since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        # A line that is still being written is left for the next time.
        end = data.rfind(b"\n") + 1
        self.offset += end
        lines = data[:end].decode(errors="replace").splitlines()
        return [line for line in lines if is_complaint(line) and not self.is_expected(line)]

    def is_expected(self, line):
        return any(pattern.search(line) for pattern in self.expected)

    def secrets(self):
        """Where a secret stands in the log: the line with the secret cut short."""
        text = self.text()
        return [
            f"{self.path}: holds a secret that begins with {secret[:6]}…"
            for secret in SECRETS
            if secret in text
        ]


def is_complaint(line):
    if "panicked at" in line:
        return True
    try:
        return json.loads(line).get("level") in ("WARN", "ERROR")
    except (ValueError, AttributeError):
        return bool(re.search(r"\b(WARN|ERROR)\b", line))
