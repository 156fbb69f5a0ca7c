"""What the tests of the expression transforms share: small real systems and drawn faces."""

from typing import ClassVar

import PIL.Image
import torch

from augment.systems.base import SystemInfo
from augment.systems.lssl import LSSL, LSSLSettings
from augment.transforms import RandomExpression
from tests.augment.tiny_translator import EXPRESSIONS, TinyTranslator, draw_face, tiny_translator

CLASSES = ["sad", "happy", "neutral"]
"""Not the order of the system's own names, which is happy, neutral, sad."""

SMALL_LSSL = LSSLSettings(size=32, depth=2, critic_depth=2, width=4, widest=8, residual_blocks=1, critic_width=4)


def small_lssl(seed=3):
    torch.manual_seed(seed)
    system = LSSL(EXPRESSIONS, SMALL_LSSL)
    # An untrained system hardly moves anything; these weights move and paint visibly.
    for parameter in system.decoder.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return system.eval().requires_grad_(False)


def face(label="neutral", seed=0, size=24):
    return draw_face(label, seed, size)


def tensor_face(**options):
    return torch.from_numpy(face(**options)).permute(2, 0, 1).contiguous()


def always(system, **options):
    return RandomExpression(system, **{"p": 1.0, "classes": CLASSES, "precision": "32-true", **options})


class Faces:
    """Drawn PIL faces with labels, as ImageFolder gives them."""

    classes: ClassVar = CLASSES

    def __init__(self, count=12, size=24):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        label = index % 3
        return PIL.Image.fromarray(draw_face(CLASSES[label], index, self.size)), label


def asked(translator):
    """A translator whose conditions are written down."""
    conditions = []
    plain = translator.translate
    translator.translate = lambda faces, condition: (conditions.append(condition.clone()), plain(faces, condition))[1]
    return conditions


class TinySampler(TinyTranslator):
    name = "tiny-sampler"
    info = SystemInfo("Tiny", "none", "labels", ("translate", "sample"))

    def sample(self, condition, generator):
        noise = torch.randn(len(condition), 3, self.size, self.size, generator=generator, device=condition.device)
        return self.translate(noise.tanh(), condition)


class Brighter(TinyTranslator):
    """Adds 0.2 to a square in the middle of the face."""

    def translate(self, faces, condition):
        out = faces.clone()
        out[:, :, 8:16, 8:16] += 0.4
        return out


def brighter():
    return Brighter(EXPRESSIONS, tiny_translator().settings).eval().requires_grad_(False)
