"""Classification models of timm, at the size of its own training: some of each of its modules."""

from collections.abc import Iterable
from functools import partial

from zoo.model import BATCHES, Made, Model, zeros

__all__ = ["PACKAGES", "models"]

PACKAGES = ("timm",)

# Of those of a module that have published weights, evenly spread over its list: vision_transformer alone has 145, whose only
# convolution is the one that cuts a picture into patches.
MOST = 6


def models() -> Iterable[Model]:
    import timm

    published = {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    for module in timm.list_modules():
        names = [name for name in timm.list_models(module=module) if name in published]
        few = names if len(names) <= MOST else [names[index * len(names) // MOST] for index in range(MOST)]
        for name in few:
            yield Model(f"timm/{name}", partial(_made, name))


def _made(name: str) -> Made:
    import timm

    module = timm.create_model(name, pretrained=False)
    size = module.default_cfg["input_size"]
    return Made(module, tuple(zeros((batch, *size)) for batch in BATCHES))
