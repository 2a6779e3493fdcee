"""Models of transformers that have convolutions: pictures, speech, sound, state spaces.

A model whose published config is the default of its class is made without values; of the others those that change a
convolution are written here.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from zoo.model import Call, Made, Model, configured
from zoo.transformers_sound import SOUND
from zoo.transformers_text import TEXT
from zoo.transformers_vision import VISION

__all__ = ["PACKAGES", "models"]

PACKAGES = ("transformers",)


def models() -> Iterable[Model]:
    for name, (kind, values, *calls) in {**VISION, **SOUND, **TEXT}.items():
        yield Model(f"transformers/{name}", partial(_made, kind, values, tuple(calls)))


def _made(kind: str, values: dict[str, Any], calls: tuple[Call, ...]) -> Made:
    """`kind` is a class of a model, or "class of a model: class of its config" where its own says nothing of it."""
    import transformers

    model, _, config = kind.partition(":")
    config = config or getattr(transformers, model).config_class.__name__
    return configured("transformers", model, config, values, *calls)
