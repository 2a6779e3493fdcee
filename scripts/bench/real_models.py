"""The models that bench_models measures: real ones, from packages that others write, with random weights.

Packages that the machine with the GPU lacks are carried there as pure-Python wheels (WHEELS) and installed with
`pip install --no-deps`. They work with torch 2.11, transformers 5.17 and huggingface-hub 1.33.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

__all__ = ["FAKE", "KINDS", "MODELS", "WHEELS", "Model"]

# importlib_metadata and zipp are what diffusers imports and Python does not have.
WHEELS = ("diffusers==0.42.1", "importlib_metadata==10.2.0", "zipp==4.1.2", "monai==1.6.1", "timm==1.0.31")

KINDS = ("audio", "image", "video", "volume")

Made = tuple[nn.Module, tuple[torch.Tensor, ...]]


class Model(NamedTuple):
    """A model: `make` returns it and its inputs, in float32, on torch's default device."""

    name: str
    package: str  # distribution whose version belongs to a result
    kind: str  # one of KINDS
    decoder: bool  # a vocoder or the decoder of a VAE
    make: Callable[[], Made]

    @property
    def layouts(self) -> tuple[str, ...]:
        """The layouts that people run such a model in."""
        both = self.kind in {"image", "video"}
        return ("channels_first", "channels_last") if both else ("channels_first",)


class First(nn.Module):
    """The first result of a model of diffusers, or of one of its methods, as a plain tensor."""

    def __init__(self, model: nn.Module, method: str = "") -> None:
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *inputs: torch.Tensor) -> Any:
        call = getattr(self.model, self.method) if self.method else self.model
        return call(*inputs, return_dict=False)[0]


def vae_decoder(latent: int) -> Made:
    """Stable Diffusion's: a latent of 64 is a picture of 512 pixels."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )
    return vae.decoder, (torch.randn(1, 4, latent, latent),)


def wan_decoder() -> Made:
    """Wan 2.1's with its cache of frames, as pipelines call it: 3 latent frames are 9 of 256 x 256."""
    from diffusers import AutoencoderKLWan

    vae = AutoencoderKLWan()
    vae.encoder = None  # decoding needs none
    return First(vae, "decode"), (torch.randn(1, 16, 3, 32, 32),)


def unet() -> Made:
    """Stable Diffusion 1.5's, with guidance: a batch of 2."""
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    return First(model), (torch.randn(2, 4, 64, 64), torch.tensor(500), torch.randn(2, 77, 768))


def hifigan() -> Made:
    """200 frames: 3.2 seconds. With the default's random weights the sound is 6e-6, which float16 hardly knows."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig(initializer_range=0.03)
    return SpeechT5HifiGan(config), (torch.randn(1, 200, 80),)


def vits_decoder() -> Made:
    """200 frames: 3.2 seconds."""
    from transformers import VitsConfig, VitsModel

    return VitsModel(VitsConfig()).decoder, (torch.randn(1, 192, 200),)


def resnet50() -> Made:
    import torchvision

    return torchvision.models.resnet50(weights=None), (torch.randn(8, 3, 224, 224),)


def mask_head() -> Made:
    """What Mask R-CNN computes for 100 boxes."""
    import torchvision

    heads = torchvision.models.detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).roi_heads
    return nn.Sequential(heads.mask_head, heads.mask_predictor), (torch.randn(100, 256, 14, 14),)


def classifier(name: str) -> Made:
    """A model of timm, at the size of its own training."""
    import timm

    model = timm.create_model(name, pretrained=False)
    return model, (torch.randn(8, *model.default_cfg["input_size"]),)


def unet3d() -> Made:
    """The network and the window of MONAI's tutorial on the spleen."""
    from monai.networks.nets import UNet

    model = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        channels=(16, 32, 64, 128, 256),
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="batch",
    )
    return model, (torch.randn(1, 1, 160, 160, 160),)


def conv_tasnet() -> Made:
    """Four seconds at 8 kHz. HDemucs would run in float32 only: its short-time Fourier transform knows no bfloat16."""
    import torchaudio

    return torchaudio.models.conv_tasnet_base(), (torch.randn(1, 1, 32000),)


MODELS = (
    Model("hifigan", "transformers", "audio", True, hifigan),
    Model("vits_decoder", "transformers", "audio", True, vits_decoder),
    Model("vae_decoder_512", "diffusers", "image", True, lambda: vae_decoder(64)),
    Model("vae_decoder_1024", "diffusers", "image", True, lambda: vae_decoder(128)),
    Model("wan_decoder", "diffusers", "video", True, wan_decoder),
    Model("unet_sd15", "diffusers", "image", False, unet),
    Model("mask_head", "torchvision", "image", False, mask_head),
    Model("resnet50", "torchvision", "image", False, resnet50),
    Model("convnext_base", "timm", "image", False, lambda: classifier("convnext_base")),
    Model("efficientnetv2_s", "timm", "image", False, lambda: classifier("efficientnetv2_s")),
    Model("unet3d", "monai", "volume", False, unet3d),
    Model("conv_tasnet", "torchaudio", "audio", False, conv_tasnet),
)


def tiny_image() -> Made:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2, stride=2))
    return model, (torch.randn(2, 3, 8, 8),)


def tiny_audio() -> Made:
    return nn.Sequential(nn.Conv1d(2, 4, 3), nn.Tanh(), nn.ConvTranspose1d(4, 1, 4, stride=2)), (
        torch.randn(1, 2, 32),
    )


# What --fake measures on a CPU, to try the script.
FAKE = (
    Model("tiny_image", "torch", "image", False, tiny_image),
    Model("tiny_audio", "torch", "audio", True, tiny_audio),
)
