"""Starts a command, and ends it with everything it has started, whatever that has done to get away.

Run as ``python -I -S supervisor.py MEMORY_BYTES DESCRIPTOR COMMAND…``: the most memory the command's processes may have
each (0 for no limit), and the descriptor that it is left besides its output (-1 for none). When the command ends, or
standard input does, all its descendants are killed; so none outlives whoever started this, however that ended. Nothing
else that whoever started this has open reaches the command.
Exits as the command did, with 128 and the number of the signal that killed it. Runs with the standard library alone.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator

# See prctl(2).
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_NOT_STARTED = 127
"""What a shell exits with when there is no such command."""


def main() -> int:
    """Run the command, and return what to exit with."""
    memory_bytes, descriptor, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    _close_all_but(descriptor)
    # Whoever loses its parent becomes a child of this process, so that nobody can leave.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken = _signals_of_children()
    own = os.getpid()
    child = os.fork()
    if child == 0:
        _become(command, memory_bytes, descriptor, parent=own)
    if descriptor >= 0:
        os.close(descriptor)
    exit_code = _wait(child, woken)
    _end_all()
    return 128 - exit_code if exit_code < 0 else exit_code


def _close_all_but(descriptor: int) -> None:
    """Close all that came along unasked: what accepts connections for the server is not for the command.

    Whoever starts this may have inherited descriptors, or share them with other processes; and not every event loop
    closes them when it starts a process.
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != descriptor:
            # The one that this list was read by is closed already.
            with contextlib.suppress(OSError):
                os.close(int(name))


def _signals_of_children() -> int:
    """Return a descriptor that can be read whenever a child has ended."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return readable


def _become(command: list[str], memory_bytes: int, descriptor: int, *, parent: int) -> None:
    """Replace this process, a child of ``parent``, by the command."""
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(_NOT_STARTED)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory_bytes:
            # Of what it writes to, not of addresses: runtimes reserve many of those that they never use.
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        os.umask(0o077)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if descriptor >= 0:
            os.set_inheritable(descriptor, True)
        os.execvp(command[0], command)  # noqa: S606 - what it is here for
    except OSError as error:
        os.write(2, f"{command[0]} cannot be started: {error.strerror}.\n".encode())
    finally:
        os._exit(_NOT_STARTED)


def _wait(child: int, woken: int) -> int:
    """Return how ``child`` has ended, a negative number for a signal, or -9 when standard input has ended."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        for pid, exit_code in _reap():
            if pid == child:
                return exit_code
        if 0 in ready:
            return -signal.SIGKILL
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)


def _reap() -> Iterator[tuple[int, int]]:
    """Iterate over the children that have ended, with how."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _end_all() -> None:
    """Kill all descendants. Those that begin meanwhile are found the next time round."""
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for _ in _reap():
            pass
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        time.sleep(0.001)


def descendants(ancestor: int) -> list[int]:
    """Return the process IDs of a process's children, their children, and so on."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # Behind the name, which may contain anything: state, parent.
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found = [ancestor]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
