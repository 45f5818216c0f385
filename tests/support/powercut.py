"""A disk that forgets what was not synced: a FUSE file system with a power switch.

Run as a program it loads a folder, mounts itself over it, and keeps everything in memory. On
the line `cut SEED TARGET` on its standard input it fails every operation from then on, and
writes what a real disk might hold to the new folder TARGET. `Disk` starts it for a test.

Why FUSE: it sits below the system calls, so it sees whatever the program and SQLite do, by
libc or without it, `pwritev`, `ftruncate` and written mappings too. The kernel's page cache is
above it, without write-back, so every `write` has come here when it returns, and the kernel
sends a mapping's dirty pages before it asks for `fsync`.

What is promised, and nothing more:

* The bytes of a file are durable when `fsync` or `fdatasync` of it was begun after they were
  written and has returned. A sync of one file does nothing for another.
* A name (of a new file or folder, a removal, a rename) is durable when `fsync` of its folder
  was begun after the change and has returned. Syncing a file does nothing for its name.

Of all else a cut keeps a part by chance. Of a file, each sector (512 bytes or 4 KiB) is as it
was at some moment since the last sync, each by itself: writes are torn and in no order. Its
length is that of some moment too; what lies in it and was never written is zeros or rubbish, as
after a journal that orders no data. Of a folder, each change since its last sync stays or goes
by itself. A rename within a folder happens or does not; a kept one may show a file whose bytes
were never synced. So a cut is harder than on ext4 or XFS, which order more than POSIX says.
Permissions and times are kept at once; owners, links and extended attributes are not offered.

With `slow`, a sync takes a while, as on a disk, and covers only what came before it began. With
`lying`, a sync changes nothing: a test that finds no loss then would find none ever.
"""

import errno
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from support.wait import until

SECTORS = (512, 4096)
HIDDEN = ".fuse_hidden"


class Entry:
    """What files and folders have in common: changes since the last sync, in order."""

    def __init__(self, mode):
        self.mode = mode
        self.modified = time.time_ns()
        self.pending = []

    def change(self, change):
        self.pending.append(change)
        self.modified = time.time_ns()
        self.apply(self.live, change)

    def sync(self, count):
        """The first `count` of the pending changes are durable now."""
        for change in self.pending[:count]:
            self.apply(self.durable, change)
        del self.pending[:count]


class File(Entry):
    """Bytes. A change is (offset, bytes), or (length, None) for a new length."""

    def __init__(self, mode, data=b""):
        super().__init__(mode)
        self.live, self.durable = bytearray(data), bytearray(data)

    @staticmethod
    def apply(data, change):
        offset, written = change
        if written is None:
            del data[offset:]
        if len(data) < offset:
            data.extend(bytes(offset - len(data)))
        if written is not None:
            data[offset : offset + len(written)] = written

    def survivor(self, chance):
        """The bytes that a disk may hold after a cut."""
        way = chance.choice(("nothing", "everything", "some in order", "torn", "torn"))
        if way == "nothing" or not self.pending:
            return bytes(self.durable)
        if way == "everything":
            return bytes(self.live)
        if way == "some in order":
            data = bytearray(self.durable)
            for change in self.pending[: chance.randrange(len(self.pending) + 1)]:
                self.apply(data, change)
            return bytes(data)
        return self.torn(chance)

    def torn(self, chance):
        """Every sector as it was at some moment, and the length of some moment."""
        size = chance.choice(SECTORS)
        versions, lengths = self.history(size)
        length = chance.choice(lengths)
        data = bytearray(self.durable[:length])
        grown = length - len(data)
        data.extend(chance.randbytes(grown) if chance.random() < 0.5 else bytes(grown))
        kept = chance.random()
        for sector, contents in versions.items():
            if chance.random() < kept and sector * size < length:
                data[sector * size : (sector + 1) * size] = chance.choice(contents)
        return bytes(data[:length])

    def history(self, size):
        """What each changed sector held after each change, filled up with zeros; and lengths."""
        data, versions, lengths = bytearray(self.durable), {}, [len(self.durable)]
        for change in self.pending:
            offset, written = change
            end = max(len(data), offset) if written is None else offset + len(written)
            self.apply(data, change)
            for sector in range(offset // size, -(-end // size)):
                content = bytes(data[sector * size : (sector + 1) * size]).ljust(size, b"\0")
                versions.setdefault(sector, []).append(content)
            lengths.append(len(data))
        return versions, lengths


class Folder(Entry):
    """Names. A change is a list of (name, entry), with None for a name that goes."""

    def __init__(self, mode):
        super().__init__(mode)
        self.live, self.durable = {}, {}
        # Removed files that are still open: libfuse gives them a name until they are closed.
        self.hidden = {}

    @staticmethod
    def apply(names, change):
        for name, entry in change:
            names.pop(name, None)
            if entry is not None:
                names[name] = entry

    def survivor(self, chance):
        """The names that a disk may hold after a cut."""
        kept = chance.choice((0, 0.5, 0.9, 1))
        names = dict(self.durable)
        for change in self.pending:
            if chance.random() < kept:
                self.apply(names, change)
        return names


def load(path):
    """A folder of the machine with all that is in it, as durable entries."""
    folder = Folder(stat.S_IFDIR | stat.S_IMODE(path.stat().st_mode))
    for child in path.iterdir():
        if child.is_dir():
            entry = load(child)
        else:
            entry = File(stat.S_IFREG | stat.S_IMODE(child.stat().st_mode), child.read_bytes())
        folder.live[child.name] = folder.durable[child.name] = entry
    return folder


def write_survivor(folder, target, chance):
    """Writes what survives of a folder to a new folder of the machine."""
    target.mkdir()
    for name, entry in sorted(folder.survivor(chance).items()):
        if isinstance(entry, Folder):
            write_survivor(entry, target / name, chance)
        else:
            (target / name).write_bytes(entry.survivor(chance))
            (target / name).chmod(stat.S_IMODE(entry.mode))
    target.chmod(stat.S_IMODE(folder.mode))


class PowerCut:
    """The file system's operations, as mfusepy calls them. All but a slow sync hold one lock."""

    use_ns = True

    def __init__(self, root, *, slow, lying):
        self.root, self.slow, self.lying = root, slow, lying
        self.guard = threading.Lock()
        self.chance = random.Random()
        self.handles = {}
        self.next_handle = 1
        self.without_power = False

    def init_with_config(self, _connection, config):
        # Nothing changes behind the kernel's back, so it may keep what it knows.
        config.kernel_cache = 1
        config.entry_timeout = config.attr_timeout = 3600.0
        config.negative_timeout = 0.0

    def cut(self, seed, target):
        with self.guard:
            self.without_power = True
        write_survivor(self.root, target, random.Random(seed))

    # --- finding things; the lock is held

    def power(self):
        if self.without_power:
            raise OSError(errno.EIO, "there is no power")

    def entry(self, path):
        entry = self.root
        for name in path.split("/"):
            if name:
                found = None
                if isinstance(entry, Folder):
                    found = entry.live.get(name) or entry.hidden.get(name)
                if found is None:
                    raise OSError(errno.ENOENT, path)
                entry = found
        return entry

    def place(self, path):
        folder, _, name = path.rpartition("/")
        return self.entry(folder), name

    def opened(self, path, handle):
        return self.handles[handle] if handle in self.handles else self.entry(path)

    def handle(self, entry):
        handle, self.next_handle = self.next_handle, self.next_handle + 1
        self.handles[handle] = entry
        return handle

    # --- reading

    def getattr(self, path, fh=None):
        with self.guard:
            self.power()
            entry = self.opened(path, fh)
            return {
                "st_mode": entry.mode,
                "st_nlink": 1,
                "st_size": len(entry.live) if isinstance(entry, File) else 0,
                "st_mtime": entry.modified,
                "st_ctime": entry.modified,
                "st_atime": entry.modified,
                "st_uid": os.getuid(),
                "st_gid": os.getgid(),
            }

    def readdir(self, path, fh):
        with self.guard:
            self.power()
            return [".", "..", *self.opened(path, fh).live]

    def open(self, path, _flags):
        with self.guard:
            self.power()
            return self.handle(self.entry(path))

    def opendir(self, path):
        return self.open(path, 0)

    def read(self, path, size, offset, fh):
        with self.guard:
            self.power()
            return bytes(self.opened(path, fh).live[offset : offset + size])

    def statfs(self, _path):
        blocks = 1 << 22
        return {
            "f_bsize": 4096,
            "f_frsize": 4096,
            "f_blocks": blocks,
            "f_bfree": blocks,
            "f_bavail": blocks,
            "f_files": blocks,
            "f_ffree": blocks,
            "f_namemax": 255,
        }

    # --- changing

    def create(self, path, mode, _fi=None):
        with self.guard:
            self.power()
            folder, name = self.place(path)
            entry = File(stat.S_IFREG | stat.S_IMODE(mode))
            folder.change([(name, entry)])
            return self.handle(entry)

    def mkdir(self, path, mode):
        with self.guard:
            self.power()
            folder, name = self.place(path)
            folder.change([(name, Folder(stat.S_IFDIR | stat.S_IMODE(mode)))])

    def unlink(self, path):
        with self.guard:
            self.power()
            folder, name = self.place(path)
            if folder.hidden.pop(name, None) is None:
                folder.change([(name, None)])

    def rmdir(self, path):
        with self.guard:
            self.power()
            if self.entry(path).live:
                raise OSError(errno.ENOTEMPTY, path)
            folder, name = self.place(path)
            folder.change([(name, None)])

    def rename(self, old, new):
        with self.guard:
            self.power()
            (source, name), (target, new_name) = self.place(old), self.place(new)
            entry = self.entry(old)
            if new_name.startswith(HIDDEN):
                source.change([(name, None)])
                target.hidden[new_name] = entry
            elif source is target:
                source.change([(name, None), (new_name, entry)])
            else:
                target.change([(new_name, entry)])
                source.change([(name, None)])

    def write(self, path, data, offset, fh):
        with self.guard:
            self.power()
            self.opened(path, fh).change((offset, data))
            return len(data)

    def truncate(self, path, length, fh=None):
        with self.guard:
            self.power()
            self.opened(path, fh).change((length, None))

    def chmod(self, path, mode):
        with self.guard:
            self.power()
            entry = self.entry(path)
            entry.mode = stat.S_IFMT(entry.mode) | stat.S_IMODE(mode)

    def chown(self, _path, _uid, _gid):
        return 0

    def utimens(self, path, times=None):
        with self.guard:
            self.power()
            self.entry(path).modified = times[1] if times else time.time_ns()

    # --- syncing

    def fsync(self, path, _datasync, fh):
        with self.guard:
            self.power()
            entry = self.opened(path, fh)
            last = entry.pending[-1] if entry.pending else None
        if self.slow:
            time.sleep(self.chance.random() * self.slow)
        with self.guard:
            self.power()
            if last is None or self.lying == type(entry).__name__.lower():
                return 0
            # Two syncs may overlap: then the later one may find its work done.
            count = next((at + 1 for at, change in enumerate(entry.pending) if change is last), 0)
            entry.sync(count)
            return 0

    def fsyncdir(self, path, datasync, fh):
        return self.fsync(path, datasync, fh)

    def flush(self, _path, _fh):
        return 0

    def release(self, _path, fh):
        with self.guard:
            self.handles.pop(fh, None)
        return 0

    releasedir = release


class Disk:
    """The file system over a folder, as a process of its own; for `with`. `slow` is the longest
    time of a sync in seconds; `lying` says of what syncs do nothing, `file` or `folder`."""

    def __init__(self, folder, *, slow=0.0, lying=None):
        self.folder = folder
        self.options = ["--slow", str(slow), *(["--lying", lying] if lying else [])]
        self.process = None

    def mount(self):
        """Mounts it: what is in the folder now is on the disk, synced."""
        before = self.folder.stat().st_dev
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.powercut", str(self.folder), *self.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        until(lambda: self.has_ended() or self.folder.stat().st_dev != before, "it is mounted")
        assert not self.has_ended(), "the file system has ended: is FUSE there, and libfuse3?"

    def has_ended(self):
        return self.process.poll() is not None

    def cut(self, seed):
        """Cuts the power. Everything fails from now on, until `replace`."""
        self.process.stdin.write(f"cut {seed} {self.survivor}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    @property
    def survivor(self):
        return self.folder.with_name(self.folder.name + ".survivor")

    def replace(self):
        """Takes the disk away; the folder is a plain one with what survived the cut."""
        self.unmount()
        shutil.rmtree(self.folder)
        self.survivor.rename(self.folder)

    def unmount(self):
        """Whoever has a file of it open has ended."""
        if self.process is None:
            return
        subprocess.run(["umount", str(self.folder)], check=True)
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0
        self.process.stdout.close()
        self.process = None

    def __enter__(self):
        self.mount()
        return self

    def __exit__(self, *_):
        if self.process is not None:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)
            self.process.kill()
            self.process.wait()
            self.process = None


def listen(system):
    """Obeys the lines of the standard input."""
    for line in sys.stdin:
        _, seed, target = line.rstrip("\n").split(" ", 2)
        system.cut(int(seed), Path(target))
        print("done", flush=True)


def main():
    import argparse

    import mfusepy

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--lying", choices=("file", "folder"))
    options = parser.parse_args()
    system = PowerCut(load(options.folder), slow=options.slow, lying=options.lying)
    threading.Thread(target=listen, args=(system,), daemon=True).start()
    try:
        mfusepy.FUSE(system, str(options.folder), foreground=True, fsname="powercut", max_threads=8)
    except RuntimeError:
        # The kernel may break off the last request when it unmounts: that matters no more.
        if not system.without_power:
            raise
    # Without the interpreter's own end, for which a thread that reads is in the way.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
