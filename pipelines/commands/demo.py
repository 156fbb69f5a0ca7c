"""`emoaug demo`: the whole way on rendered faces."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pipelines.demo import DemoSettings, run_demo


@dataclass(frozen=True)
class Options:
    """Simulate a small world, train, make faces, and measure the gain, without any data; a stopped demo goes on."""

    out: Path = Path("demo")
    """Folder to write."""
    settings: Annotated[DemoSettings, tyro.conf.arg(name="")] = field(default_factory=DemoSettings)


def run(options: Options) -> None:
    """Run the demo."""
    run_demo(options.out, options.settings)
