"""The command `emoaug`."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from emoaug import EmoaugError, __version__

COMMANDS = {
    "preview": "a first look: your photographs with every expression that weights know",
    "audit": "what is in a dataset: counts, unreadable files, duplicates, duplicates across splits",
    "align": "find, turn and crop the faces of a dataset",
    "simulate": "make a dataset of rendered faces with exact labels",
    "refine": "make simulated faces look real",
    "systems": "list the systems that change expressions",
    "train": "train a system that changes expressions",
    "generate": "make a bigger dataset with a trained system",
    "compare": "train several systems and measure them side by side on people they never saw",
    "score": "judge every made face, and reject the bad ones",
    "verify": "re-check a dataset folder that emoaug wrote",
    "demo": "the whole way on a small world of rendered faces",
    "gain": "measure whether synthetic faces make a classifier better",
}
"""Every command, and what it does."""


def usage() -> str:
    """What `emoaug --help` prints."""
    lines = [f"  emoaug {name:<10} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            f"emoaug {__version__}: make a small facial expression dataset bigger, and prove that it helped.",
            "",
            *lines,
            "",
            "emoaug COMMAND --help lists a command's options.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when all is well, 1 when `verify` found problems, 2 for an error the user can mend, 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if given[0] in ("-V", "--version"):
        print(__version__)
        return 0
    if any(not text or (text.startswith("--") and text.endswith("=")) for text in given):
        return _fail("an argument is empty, as that of a variable that is not set; give a value, or leave it out")
    if given[0] not in COMMANDS:
        import difflib

        near = "".join(f"did you mean {name}? " for name in difflib.get_close_matches(given[0], COMMANDS, 1))
        return _fail(f'unknown command "{given[0]}"; {near}there are {", ".join(COMMANDS)}')
    # tqdm reads them when it is imported. In a file, a line now and then is enough, and no bar can stand under another.
    terminal = sys.stderr.isatty()
    os.environ.setdefault("TQDM_MININTERVAL", "0.5" if terminal else "30")
    if not terminal:
        os.environ.setdefault("TQDM_POSITION", "0")
    try:
        with _leaving_at_once():
            import tyro

            # Only now, and only this one: torch alone takes seconds to import, and --help must not.
            module = importlib.import_module(f"pipelines.commands.{given[0]}")
        options = tyro.cli(module.Options, args=given[1:], prog=f"emoaug {given[0]}")
        from augment.interruption import interruption_cleared_up
        from augment.workers import keep_freed_memory

        keep_freed_memory()
        with interruption_cleared_up():
            return int(module.run(options) or 0)
    except EmoaugError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename or 'the disk'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print(
            f"\nemoaug: stopped. The same command again goes on from what is done: emoaug {shlex.join(given)}",
            file=sys.stderr,
        )
        return 130


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Within, Ctrl-C ends the process: libraries swallow its exception in the middle of their imports, and go on."""
    import signal

    def leave(number: int, frame: object) -> None:
        os.write(2, b"\nemoaug: stopped before it had begun\n")
        os._exit(130)

    # Elsewhere, or where whoever began this process has Ctrl-C ignored, it is not ours to change.
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _fail(message: str) -> int:
    # Names of files and labels come from the data: what a terminal would obey, or write backwards, is shown as a code.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message.replace("\n", " "))
    print(f"emoaug: {shown}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
