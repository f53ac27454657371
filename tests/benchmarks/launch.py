"""Start one command and print what it used as JSON; small, since a child inherits our peak."""

import json
import os
import sys
import time

POLL_SECONDS = 0.004
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def descendants(root: int) -> list[int]:
    """List a process and everything below it, where /proc tells."""
    found = [root]
    for pid in found:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as lines:
                    found += [int(word) for word in lines.read().split()]
        except OSError:
            continue
    return found


def peak_of(pid: int) -> tuple[str, int]:
    """Read a process's command line and the peak of its resident memory in bytes."""
    with open(f"/proc/{pid}/cmdline", "rb") as line:
        command = line.read().replace(b"\0", b" ").decode(errors="replace").strip()
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as fields:
        for field in fields:
            if field.startswith("VmHWM:"):
                return command, int(field.split()[1]) * 1024
    return command, 0


def sample(root: int, peaks: dict[int, tuple[str, int]]) -> None:
    """Take the peaks of the tree below `root` into `peaks`."""
    for pid in descendants(root):
        try:
            command, peak = peak_of(pid)
        except OSError:
            continue
        if not peak:  # already ended
            continue
        before = peaks.get(pid, (command, 0))
        # Between fork and exec a child shows its parent's memory: a new command starts anew.
        peaks[pid] = (command, max(peak, before[1]) if before[0] == command else peak)


def busy() -> float:
    """Give the CPU seconds all processes have used since the start, where /proc tells."""
    try:
        with open("/proc/stat", encoding="ascii") as lines:
            user, nice, system, _, _, *interrupts = lines.readline().split()[1:8]
    except OSError:
        return 0.0
    ticks = sum(map(int, (user, nice, system, *interrupts)))
    return ticks / os.sysconf("SC_CLK_TCK")


def wait(pid: int, sampling: bool) -> tuple[int, float, int, dict[int, tuple[str, int]]]:
    """Wait for the end: exit code, CPU seconds of the tree, its largest process, the peaks."""
    peaks: dict[int, tuple[str, int]] = {}
    done = 0
    while not done:
        if sampling:
            sample(pid, peaks)
            time.sleep(POLL_SECONDS)
        done, status, used = os.wait4(pid, os.WNOHANG if sampling else 0)
    peak = used.ru_maxrss * MAXRSS_UNIT
    code = os.waitstatus_to_exitcode(status)
    return code, used.ru_utime + used.ru_stime, peak, peaks


def main() -> None:
    """Run `launch.py LOG SAMPLE COMMAND...` with the command's output going to LOG."""
    log, sampling, argv = sys.argv[1], sys.argv[2] == "1", sys.argv[3:]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    start, before = time.perf_counter(), busy()
    try:
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    except OSError as error:
        sys.stdout.write(json.dumps({"error": str(error)}))
        return
    code, cpu, peak, peaks = wait(pid, sampling)
    wall = time.perf_counter() - start
    other = max(0.0, busy() - before - cpu)
    own = peaks.pop(pid, ("", 0))[1]
    child = max((amount for _, amount in peaks.values()), default=0)
    report = {"code": code, "wall": wall, "cpu": cpu, "other": other, "peak": peak}
    sys.stdout.write(json.dumps({**report, "own": own, "child": child}))


if __name__ == "__main__":
    main()
