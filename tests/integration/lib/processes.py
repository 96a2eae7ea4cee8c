"""What /proc says about processes: children, memory, descriptors. Linux only, as the broker is."""
import os
import time
from pathlib import Path


def wait_until(condition, timeout=10, what="a condition", step=0.01):
    """Polls until `condition()` is true and returns its value; fails at the deadline."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s for {what}")
        time.sleep(step)


def stat_fields(pid):
    """(comm, state, ppid) of a process, or None when it is gone."""
    try:
        data = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    comm = data[data.index("(") + 1:data.rindex(")")]
    rest = data[data.rindex(")") + 2:].split()
    return comm, rest[0], int(rest[1])


def alive(pid):
    fields = stat_fields(pid)
    return fields is not None and fields[1] not in "ZX"


def is_halted(pid):
    """Stopped by a signal, with all threads: at once, or as soon as a disk has answered."""
    try:
        threads = [path.read_text(errors="replace")
                   for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return not alive(pid)
    return all(thread[thread.rindex(")") + 2] in "TDZX" for thread in threads)


def children(parent):
    """{pid: comm} of the living children of a process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields and fields[2] == parent and fields[1] not in "ZX":
                found[int(name)] = fields[0]
    return found


def status(pid):
    """/proc/PID/status as a dict of strings."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def resident_bytes(pid):
    return int(status(pid)["VmRSS"].split()[0]) * 1024


def cpu_seconds(pid):
    """User and system time that a process has used."""
    data = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    rest = data[data.rindex(")") + 2:].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def wait_until_idle(pids, limit, interval, timeout=20):
    """Waits for an interval in which the processes together use at most `limit` seconds of CPU.
    What is left of earlier work does not count for ever, and what spins never stops."""
    def idle():
        before = sum(cpu_seconds(pid) for pid in pids)
        time.sleep(interval)
        return sum(cpu_seconds(pid) for pid in pids) - before <= limit
    wait_until(idle, timeout, f"{interval} s with at most {limit} s of CPU")


def descriptors(pid):
    """{descriptor: target} of a process."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            pass
    return found


def socket_owner(server_port, client_port, pids):
    """The process among `pids` that holds the server's end of a loopback TCP connection."""
    local, remote = f":{server_port:04X}", f":{client_port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[1].endswith(local) and columns[2].endswith(remote):
                target = f"socket:[{columns[9]}]"
                for pid in pids:
                    if target in descriptors(pid).values():
                        return pid
    return None
