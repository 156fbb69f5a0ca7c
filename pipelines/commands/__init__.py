"""One file a command: `Options`, a frozen dataclass that is its command line, and `run`."""
