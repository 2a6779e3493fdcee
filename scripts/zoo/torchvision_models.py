"""Models of torchvision: pictures, segmentation, detection, video, optical flow."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from zoo.model import BATCHES, Made, Model, zeros

__all__ = ["PACKAGES", "models"]

PACKAGES = ("torchvision",)

# The larger side of COCO's pictures when their smaller one is 800, rounded as detection does.
DETECTION_SIZE = (800, 1216)
BOXES = 100


def models() -> Iterable[Model]:
    from torchvision import models as found

    makers = {
        found: _classifier, found.segmentation: _segmentation, found.detection: _detector,
        found.video: _video, found.optical_flow: _flow,
    }  # fmt: skip
    for module, maker in makers.items():
        for name in found.list_models(module=module):
            yield Model(f"torchvision/{name}", partial(maker, name))


def _model(name: str) -> Any:
    from torchvision import models as found

    # Not every builder has a backbone that could be loaded.
    options = {"weights_backbone": None} if "weights_backbone" in _arguments(name) else {}
    return found.get_model(name, weights=None, **options)


def _arguments(name: str) -> Iterable[str]:
    import inspect

    from torchvision import models as found

    return inspect.signature(found.get_model_builder(name)).parameters


def _published(name: str, what: str, otherwise: int) -> Any:
    """Return what the transforms of the published weights say, which are not loaded."""
    from torchvision import models as found

    transforms = found.get_model_weights(name).DEFAULT.transforms
    return getattr(transforms, "keywords", {}).get(what, otherwise)


def _classifier(name: str) -> Made:
    size = _published(name, "crop_size", 224)
    return Made(_model(name), tuple(zeros((batch, 3, size, size)) for batch in BATCHES))


def _segmentation(name: str) -> Made:
    size = _published(name, "resize_size", 520)
    return Made(_model(name), tuple(zeros((batch, 3, size, size)) for batch in BATCHES))


def _video(name: str) -> Made:
    height, width = (int(side) for side in _published(name, "crop_size", (112, 112)))
    frames = 32 if "swin" in name else 16
    return Made(_model(name), (zeros((1, 3, frames, height, width)),))


def _flow(name: str) -> Made:
    return Made(_model(name), (zeros((1, 3, 520, 960), (1, 3, 520, 960)),))


def _detector(name: str) -> Made:
    """Return what a detector computes with convolutions; boxes between them depend on pixels, so that meta tensors have none."""
    import torch

    module = _model(name)
    given = getattr(module.transform, "fixed_size", None)
    size = tuple(given) if given else ((320, 320) if "320" in name else DETECTION_SIZE)

    def call(found: Any) -> None:
        features = found.backbone(torch.zeros(1, 3, *size))
        maps = list(features.values()) if isinstance(features, dict) else [features]
        if hasattr(found, "rpn"):
            found.rpn.head(maps)
            for kind in ("box", "mask", "keypoint"):
                head = getattr(found.roi_heads, f"{kind}_head", None)
                if head is None:
                    continue
                side = getattr(found.roi_heads, f"{kind}_roi_pool").output_size[0]
                pooled = head(torch.zeros(BOXES, maps[0].shape[1], side, side))
                if kind != "box":
                    getattr(found.roi_heads, f"{kind}_predictor")(pooled)
        else:
            found.head(maps)

    return Made(module, (call,))
