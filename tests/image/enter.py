"""Runs a command in a folder as if it were a container: `python enter.py SETTINGS COMMAND...`.

It is started in namespaces of its own for mounts, processes and the network, and does what
`docker run --read-only --cap-drop ALL --security-opt no-new-privileges --tmpfs /tmp -v DATA:/data
-u USER` asks for. It needs nothing of the image, and imports nothing but Python's own modules.
"""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

DEVICES = ("null", "zero", "full", "random", "urandom")
TEMPORARY = "mode=1777,nosuid,nodev,noexec"
NO_NEW_PRIVILEGES, DROP_CAPABILITY = 38, 24  # of prctl


def mount(*words: object) -> None:
    """Call mount, which says itself what is wrong."""
    subprocess.run(["mount", *map(str, words)], check=True)


def mount_all(root: Path, data: Path, read_only: bool) -> None:
    """Make the folder a root: read-only if asked for, with what every container has."""
    mount("--bind", root, root)
    if read_only:
        mount("-o", "remount,bind,ro", root)
    mount("-t", "tmpfs", "-o", TEMPORARY, "tmpfs", root / "tmp")
    mount("--bind", data, root / "data")
    mount("-t", "proc", "proc", root / "proc")
    mount("-t", "sysfs", "-o", "ro", "sysfs", root / "sys")
    mount("-t", "tmpfs", "-o", "mode=755,nosuid", "tmpfs", root / "dev")
    for name in DEVICES:
        (root / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", root / "dev" / name)
    (root / "dev" / "shm").mkdir()
    mount("-t", "tmpfs", "-o", TEMPORARY, "tmpfs", root / "dev" / "shm")
    mount("-o", "remount,ro", root / "dev")


def become(user: int) -> None:
    """Give up everything but a number: capabilities, groups, ways to get more."""
    control = ctypes.CDLL(None, use_errno=True).prctl
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_bytes())
    for capability in range(last + 1):
        if control(DROP_CAPABILITY, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "cannot drop a capability")
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    if control(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot refuse new privileges")


def main() -> None:
    """Enter the folder and become the command."""
    settings = json.loads(sys.argv[1])
    root = Path(settings["root"])
    mount_all(root, Path(settings["data"]), settings["read_only"])
    os.chroot(root)
    os.chdir(settings["folder"])
    become(settings["user"])
    os.environ["PATH"] = settings["environment"]["PATH"]
    os.execvpe(sys.argv[2], sys.argv[2:], settings["environment"])


if __name__ == "__main__":
    main()
