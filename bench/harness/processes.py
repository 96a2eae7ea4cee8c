"""What a broker's whole process tree holds, from /proc."""
import os
from pathlib import Path


def parents():
    """{pid: parent} of everything that runs."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                data = Path(f"/proc/{name}/stat").read_text(errors="replace")
            except OSError:
                continue
            found[int(name)] = int(data[data.rindex(")") + 2:].split()[1])
    return found


def tree(root):
    """The process and all its descendants."""
    up = parents()
    found = [root]
    for pid in found:
        found += [child for child, parent in up.items() if parent == pid]
    return found


def resident(root):
    """Resident bytes of the tree; pages that processes share count for each."""
    total = 0
    for pid in tree(root):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                total += int(line.split()[1]) * 1024
    return total
