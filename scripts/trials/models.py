"""Which model a row's models are, under one name, and of which family: what is held out together."""

import re
from collections.abc import Iterable, Sequence

from trials.table import Row
from tunedb.distance import LAYER
from tunedb.problem import Problem

__all__ = ["family", "groups", "network", "of_networks", "weight_of"]

# Family: the models' names as suites have them begin so. One name for what is the same network, also in another variant.
FAMILIES = {
    "vocoder": {
        "HiFi-GAN": ("HiFi-GAN", "hifigan", "vits_decoder"),
        "MB-MelGAN": ("MB-MelGAN",),
        "Parallel WaveGAN": ("Parallel WaveGAN",),
        "Vocos": ("Vocos",),
        "StyleTTS2": ("StyleTTS2",),
    },
    "audio codec": {"EnCodec": ("EnCodec",), "Mimi": ("Mimi",)},
    "audio separation": {"Conv-TasNet": ("Conv-TasNet", "conv_tasnet"), "Wave-U-Net": ("Wave-U-Net",)},
    "stem": {
        "Whisper": ("Whisper",),
        "SAM": ("SAM",),
        "CLIP": ("CLIP",),
        "Wan patch embedding": ("Wan2.1 14B patch",),
        "Depth-Anything": ("Depth-Anything",),
    },
    "classifier": {
        "ResNet-50": ("ResNet-50", "resnet"),
        "EfficientNet": ("EfficientNet", "efficientnet"),
        "ConvNeXt": ("ConvNeXt", "convnext"),
    },
    "image decoder": {
        "SD VAE decoder": ("Stable Diffusion v1 VAE", "vae_decoder"),
        "Stable Cascade": ("Stable Cascade",),
    },
    "video": {"Wan decoder": ("wan_decoder",), "CogVideoX": ("CogVideoX",), "R3D-18": ("R3D-18",)},
    "diffusion U-Net": {"SD U-Net": ("unet_sd15",)},
    "segmentation": {
        "U-Net": ("U-Net",),
        "3-D U-Net": ("nnU-Net", "unet3d"),
        "FCN-32s": ("FCN-32s",),
        "Mask R-CNN": ("Mask R-CNN", "mask_head"),
        "YOLOv8": ("YOLOv8",),
        "pose": ("SimpleBaseline",),
    },
    "generator": {"DCGAN": ("DCGAN",), "FSRCNN": ("FSRCNN",), "CycleGAN": ("CycleGAN",)},
}
_BY_START = {
    start: (model, name)
    for name, models in FAMILIES.items()
    for model, starts in models.items()
    for start in starts
}


# What a variant of a network has before the network's name: who made it, or how a block was changed.
_VARIANT = re.compile(r"(tf|tu|gc|sk|se|ese|legacy|ssl|wide|basic|dm|cs|csp|eca)[_-]")


def network(model: str) -> str:
    """Return the network of a model of the zoo, as in "timm/tf_efficientnetv2_s": the letters that its variants share, "efficientnetv".

    A segmentation network of smp stands for its encoder, which has nearly all of its layers: "smp/Unet/resnet18" is "resnet".
    """
    package, _, name = model.partition("/")
    if package == "smp":
        name = name.rpartition("/")[2]
    letters = re.match(r"[a-z]+", _VARIANT.sub("", name.lower(), count=1))
    return letters[0] if letters else name


def weight_of(problem: Problem) -> tuple[object, ...]:
    """Return what a layer has at every size, in every dtype and layout."""
    return tuple(getattr(problem, name) for name in LAYER if name not in ("dtype", "precision", "layout"))


def groups(models: Iterable[str]) -> set[str]:
    """Return the networks that a layer belongs to; each problem of KernelBench is one of its own."""
    return {_known(name)[0] for name in models}


def of_networks(rows: Sequence[Row], models: Iterable[str]) -> set[Problem]:
    """Return the problems of what is the same network as one of these models, and of its layers at every other size, whoever has them."""
    named = groups(models)
    weights = {weight_of(row.problem) for row in rows if groups(row.models) & named}
    return {row.problem for row in rows if weight_of(row.problem) in weights}


def family(models: Iterable[str]) -> set[str]:
    """Return the families that a layer belongs to."""
    return {_known(name)[1] for name in models}


def _known(name: str) -> tuple[str, str]:
    found = max((start for start in _BY_START if name.startswith(start)), key=len, default="")
    return _BY_START[found] if found else (name, name.partition(" ")[0])
