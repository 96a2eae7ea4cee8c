#!/usr/bin/python3
"""Writes ../seccomp.json, the profile that the container engine lays around the whole broker.

usage: compose/image/seccomp.py [--check]

It lists every call that any of policy/seccomp/*.policy allows, and what the engine itself needs to
start a program in the container. The processes' own filters, which are narrower and look at
arguments, come on top. --check only says whether the file is what this would write.
"""
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "compose" / "seccomp.json"

# runc and the Go runtime, between the loading of this profile and the start of our program
ENGINE = """
    capget capset chdir clone clone3 close close_range dup3 epoll_create1 epoll_ctl epoll_pwait
    eventfd2 execve exit exit_group faccessat faccessat2 fchdir fchown fcntl fstat fstatfs futex
    getcwd getdents64 getegid geteuid getgid getpid getppid getrandom gettid getuid ioctl kill
    lseek madvise mincore mmap mprotect munmap nanosleep newfstatat openat openat2 pipe2 poll ppoll
    prctl pread64 prlimit64 read readlinkat rt_sigaction rt_sigprocmask rt_sigreturn
    sched_getaffinity sched_yield seccomp setgid setgroups setpgid setresgid setresuid setsid
    setuid sigaltstack statfs statx tgkill umask uname unlinkat wait4 waitid write
"""
# the master before its own filter: listeners, the data directory, files of other owners, the
# passphrase as a file in memory; and bulkheadctl, which has no filter: status, backups, passwords
START = """
    accept accept4 bind chmod chown connect fchmod fchown fdatasync fsync ftruncate getpeername
    getrlimit getsockname getsockopt linkat listen lstat memfd_create mkdir pselect6 pwrite64
    recvfrom recvmsg rename rmdir sendfile sendmsg sendto setfsgid setfsuid setrlimit setsockopt
    shutdown socket stat unlink writev
"""
# takes CAP_SYS_ADMIN, which the container does not have
NEVER = {"unshare"}


def policy_calls():
    for path in sorted((ROOT / "policy" / "seccomp").glob("*.policy")):
        for line in path.read_text().splitlines():
            match = re.match(r"([a-z_0-9]+):\s*(.*)", line)
            # a call that is answered with an error is as good as one that is not listed
            if match and not match.group(2).startswith("return "):
                yield match.group(1)


def profile():
    names = sorted({*policy_calls(), *ENGINE.split(), *START.split()} - NEVER)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": []},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []},
        ],
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
        ],
    }


def main(arguments):
    text = json.dumps(profile(), indent=1) + "\n"
    if arguments == ["--check"]:
        if PROFILE.read_text() == text:
            return 0
        print(f"{PROFILE} is not what {Path(__file__).name} writes: run it", file=sys.stderr)
        return 1
    PROFILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
