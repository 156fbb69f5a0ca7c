"""One file a published system, and the register of them all."""

from emoaug import EmoaugError

from .base import Batch, Phase, Progress, SystemInfo, Translator
from .cdaae import CDAAE
from .cvae_gan import CVAEGAN
from .ip_gan import IPGAN
from .lssl import LSSL
from .reggan import RegGAN

SYSTEMS: dict[str, type[Translator]] = {system.name: system for system in (LSSL, CDAAE, RegGAN, CVAEGAN, IPGAN)}
"""Every system by its name on the command line."""


def get_system(name: str) -> type[Translator]:
    """The system of that name, or EmoaugError with the names there are."""
    if name not in SYSTEMS:
        raise EmoaugError(f'unknown system "{name}"; there are {", ".join(SYSTEMS)}')
    return SYSTEMS[name]


__all__ = ["SYSTEMS", "Batch", "Phase", "Progress", "SystemInfo", "Translator", "get_system"]
