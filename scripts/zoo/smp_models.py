"""Models of segmentation-models-pytorch: every architecture on encoders that people choose."""

from collections.abc import Iterable
from functools import partial

from zoo.model import Made, Model, zeros

__all__ = ["PACKAGES", "models"]

PACKAGES = ("segmentation-models-pytorch",)

SIZE = 512
ARCHITECTURES = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet", "Segformer",
)  # fmt: skip
ENCODERS = (
    "resnet18", "resnet34", "resnet50", "resnext50_32x4d", "se_resnet50", "efficientnet-b0", "efficientnet-b3", "mobilenet_v2",
    "densenet121", "vgg16_bn", "mit_b0", "mit_b2", "tu-convnext_tiny",
)  # fmt: skip


def models() -> Iterable[Model]:
    for architecture in ARCHITECTURES:
        for encoder in ENCODERS:
            yield Model(f"smp/{architecture}/{encoder}", partial(_made, architecture, encoder))


def _made(architecture: str, encoder: str) -> Made:
    import segmentation_models_pytorch as smp

    module = getattr(smp, architecture)(encoder_name=encoder, encoder_weights=None)
    return Made(module, (zeros((1, 3, SIZE, SIZE)),))
