"""What every part of emoaug shares: its version and its one family of errors."""

__version__ = "0.1.0"


class EmoaugError(Exception):
    """A problem that the user can mend.

    The message has the value, what is allowed, and what to do. The command prints it on one line and exits with 2.
    """
