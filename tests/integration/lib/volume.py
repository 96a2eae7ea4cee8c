"""Volumes of a test's own, which run full and lose power. Takes root and a kernel that lets it mount."""
import errno
import fcntl
import os
import struct
import subprocess

import pytest

from .processes import wait_until

# ext4 (and XFS) stop at once and drop what has not been written; the journal is not flushed.
GOING_DOWN = 0x8004587d
WITHOUT_FLUSH = 2


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


class Volume:
    """Mounted on a directory until close()."""

    def __init__(self, directory):
        self.directory = directory
        self.mounted = False
        if os.geteuid() != 0:
            pytest.skip("takes root")

    def _mount(self, *options):
        try:
            _run("mount", *options, self.directory)
        except OSError as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        self.mounted = True

    def close(self):
        """Threads of a process that was killed may use it for a moment longer than the process."""
        if self.mounted:
            wait_until(self._unmounted, 20, f"{self.directory} to be let go", step=0.05)
        self.mounted = False

    def _unmounted(self):
        try:
            _run("umount", self.directory)
        except OSError as error:
            if "busy" not in str(error):
                raise
            return False
        return True


class SmallVolume(Volume):
    """A tmpfs of so many megabytes."""

    def __init__(self, directory, megabytes):
        super().__init__(directory)
        self._mount("-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "none")

    @property
    def filler(self):
        return self.directory / "filler"

    def fill(self):
        """Takes all the room that is left."""
        try:
            with open(self.filler, "ab", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error

    def make_room(self):
        self.filler.unlink()


class PowerVolume(Volume):
    """An ext4 file system in a file, whose power can be cut. Its loop device is its own from first
    to last: one that is given back at each repair may come back as another test's."""

    def __init__(self, directory, file, megabytes=64):
        super().__init__(directory)
        with open(file, "wb") as image:
            image.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", file)
        try:
            self.device = _run("losetup", "--find", "--show", file)
        except OSError as error:
            pytest.skip(f"there are no loop devices here: {error}")
        self._mount(self.device)

    def cut(self):
        """Nothing can be read or written from now on; what was not synced is gone."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, GOING_DOWN, struct.pack("I", WITHOUT_FLUSH))
        finally:
            os.close(descriptor)

    def repair(self):
        """What a start of the machine does. Nobody uses the volume."""
        super().close()
        self._mount(self.device)

    def close(self):
        super().close()
        _run("losetup", "--detach", self.device)
