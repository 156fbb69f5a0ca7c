"""Take sockets away from this process and its children, so that a test can prove that nobody needs them.

Run as a script, it does so and then runs commands of emoaug, one an argument, and prints what was tried in vain.
"""

import ctypes
import platform
import shlex
import struct
import sys

EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind")

# The numbers of the system calls connect, bind, sendto, sendmsg and sendmmsg.
_CALLS = {"x86_64": (42, 49, 44, 46, 307), "aarch64": (203, 200, 206, 211, 269)}


def watch() -> list[str]:
    """Note what Python's own sockets are asked for, in this process, on any system."""
    seen: list[str] = []
    sys.addaudithook(lambda event, arguments: seen.append(f"{event} {arguments}") if event in EVENTS else None)
    return seen


def forbid() -> bool:
    """Have the kernel end this process, or any child, that uses a socket of any kind, in C++ too; False if it cannot.

    A seccomp filter on the calls without which nothing leaves a process by a socket. To make one is allowed: when it is
    loaded, MediaPipe's library makes one, to see whether there is IPv4, and closes it.
    """
    calls = _CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None:
        return False
    load, equal, give = 0x20, 0x15, 0x06
    end, allow = 0x8000_0000, 0x7FFF_0000
    lines = [(load, 0, 0, 0)]
    lines += [(equal, len(calls) - place, 0, call) for place, call in enumerate(calls)]
    lines += [(give, 0, 0, allow), (give, 0, 0, end)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    return libc.prctl(no_new_privileges, 1, 0, 0, 0) == 0 and libc.prctl(set_seccomp, filter_mode, program, 0, 0) == 0


if __name__ == "__main__":
    attempts = watch()
    forbidden = forbid()
    from pipelines.cli import main

    for command in sys.argv[1:]:
        code = main(shlex.split(command))
        if code:
            sys.exit(f"emoaug {command} ended with {code}")
    print(f"forbidden: {forbidden}, attempts: {attempts}")
