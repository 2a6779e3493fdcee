"""Models of MONAI in two and three dimensions, at windows that its tutorials use."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch

from zoo.model import Call, Made, Model, zeros

__all__ = ["PACKAGES", "models"]

PACKAGES = ("monai",)

WINDOWS = {2: (1, 1, 256, 256), 3: (1, 1, 96, 96, 96)}
# As nnU-Net plans it for such windows.
NNUNET: dict[str, Any] = {"in_channels": 1, "out_channels": 3, "deep_supervision": False}
UNET: dict[str, Any] = {"in_channels": 1, "out_channels": 2, "channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2)}  # fmt: skip
DIFFUSION: dict[str, Any] = {
    "in_channels": 1, "out_channels": 1, "num_res_blocks": 2, "channels": (128, 256, 256), "attention_levels": (False, True, True),
    "num_head_channels": 256,
}  # fmt: skip


def models() -> Iterable[Model]:
    for dims, window in WINDOWS.items():
        for name, (kind, values, *calls) in {**_segmentation(dims), **_others(dims)}.items():
            yield Model(
                f"monai/{name}_{dims}d", partial(_made, kind, values, tuple(calls) or (zeros(window),))
            )


def _made(kind: str, values: dict[str, Any], calls: tuple[Call, ...]) -> Made:
    from monai.networks import nets

    return Made(getattr(nets, kind)(**values), calls)


def _segmentation(dims: int) -> dict[str, tuple[Any, ...]]:
    both = {"spatial_dims": dims}
    size = WINDOWS[dims][2:]
    ins = {"in_channels": 1, "out_channels": 2}
    return {
        "unet": ("UNet", both | UNET | {"num_res_units": 2}, zeros(WINDOWS[dims]), zeros((1, 1, *(160,) * dims))),
        "unet_plain": ("UNet", both | UNET | {"num_res_units": 0}),
        "unet_wide": ("UNet", both | UNET | {"channels": (32, 64, 128, 256, 512), "num_res_units": 2}),
        "attention_unet": ("AttentionUnet", both | UNET),
        "basic_unet": ("BasicUNet", both | ins),
        "basic_unet_plus_plus": ("BasicUNetPlusPlus", both | ins),
        "dynunet": (
            "DynUNet",
            both | NNUNET | {
                "kernel_size": [3] * 6, "strides": [1, 2, 2, 2, 2, 2], "upsample_kernel_size": [2] * 5,
                "filters": [32, 64, 128, 256, 320, 320] if dims == 3 else [32, 64, 128, 256, 512, 512],
            },
            zeros((1, 1, *(128,) * dims)),
        ),
        "dynunet_res": (
            "DynUNet",
            both | NNUNET | {
                "kernel_size": [3] * 6, "strides": [1, 2, 2, 2, 2, 2], "upsample_kernel_size": [2] * 5, "res_block": True,
            },
            zeros((1, 1, *(128,) * dims)),
        ),
        "segresnet": ("SegResNet", both | ins | {"init_filters": 8}, zeros((1, 1, *(128,) * dims))),
        "segresnet_brats": (
            "SegResNet",
            both | {"in_channels": 4, "out_channels": 3, "init_filters": 16, "blocks_down": (1, 2, 2, 4), "blocks_up": (1, 1, 1)},
            zeros((1, 4, *(224,) * 2, *(144,) * (dims - 2))),
        ),
        "segresnet_ds": ("SegResNetDS", both | ins | {"init_filters": 32, "blocks_down": (1, 2, 2, 4, 4)}),
        "unetr": ("UNETR", both | ins | {"img_size": size, "feature_size": 16}),
        "swin_unetr": ("SwinUNETR", both | ins | {"feature_size": 48 if dims == 3 else 24}),
        "vnet": ("VNet", both | ins | {"dropout_dim": dims}),
        "mednext_small": ("MedNeXtS", both | ins),
        "mednext_base": ("MedNeXtB", both | ins),
        "highresnet": ("HighResNet", both | ins),
        "ahnet": ("AHNet", both | ins | {"upsample_mode": "transpose"}, zeros((1, 1, *(128,) * dims))),
        "flexible_unet_b0": ("FlexibleUNet", both | ins | {"backbone": "efficientnet-b0"}, zeros((1, 1, *(128,) * dims))),
        "flexible_unet_resnet34": ("FlexibleUNet", both | ins | {"backbone": "resnet34"}, zeros((1, 1, *(128,) * dims))),
        "vista3d_encoder": (
            "SegResNetDS2", both | {"in_channels": 1, "out_channels": 48, "blocks_down": (1, 2, 2, 4, 4), "init_filters": 48},
            zeros((1, 1, *(128,) * dims)),
        ),
    }  # fmt: skip


def _others(dims: int) -> dict[str, tuple[Any, ...]]:
    both = {"spatial_dims": dims}
    one = both | {"in_channels": 1, "out_channels": 2}
    resnet = both | {"n_input_channels": 1, "num_classes": 2}
    latent = (1, 1, *(64,) * dims) if dims == 2 else (1, 1, 32, 32, 32)

    def noisy(module: Any) -> Any:
        return module(torch.zeros(latent), torch.zeros(1))

    return {
        "densenet121": ("DenseNet121", one),
        "densenet201": ("DenseNet201", one),
        "efficientnet_b0": ("EfficientNetBN", {"model_name": "efficientnet-b0", "pretrained": False, "in_channels": 1, **both}),
        "resnet18": ("ResNet", resnet | {"block": "basic", "layers": [2, 2, 2, 2], "block_inplanes": [64, 128, 256, 512]}),
        "resnet50": ("ResNet", resnet | {"block": "bottleneck", "layers": [3, 4, 6, 3], "block_inplanes": [64, 128, 256, 512]}),
        "seresnet50": ("SEResNet50", both | {"in_channels": 1}),
        "vit": ("ViT", both | {"in_channels": 1, "img_size": WINDOWS[dims][2:], "patch_size": (16,) * dims}),
        "autoencoder": ("AutoEncoder", one | {"channels": (16, 32, 64, 128), "strides": (2, 2, 2, 2)}),
        "autoencoder_kl": (
            "AutoencoderKL",
            one | {
                "out_channels": 1, "channels": (64, 128, 256), "latent_channels": 3, "num_res_blocks": (2, 2, 2), "norm_num_groups": 32,
                "attention_levels": (False, False, False), "with_encoder_nonlocal_attn": False, "with_decoder_nonlocal_attn": False,
            },
        ),
        "vqvae": (
            "VQVAE",
            one | {
                "out_channels": 1, "channels": (256, 256), "num_res_channels": (256, 256), "num_res_layers": 2, "num_embeddings": 256,
                "embedding_dim": 32, "downsample_parameters": ((2, 4, 1, 1), (2, 4, 1, 1)),
                "upsample_parameters": ((2, 4, 1, 1, 0), (2, 4, 1, 1, 0)),
            },
        ),
        "diffusion_unet": ("DiffusionModelUNet", both | DIFFUSION, noisy),
        "regunet": (
            "RegUNet",
            both | {"in_channels": 2, "num_channel_initial": 32, "depth": 3, "out_channels": dims},
            zeros((1, 2, *WINDOWS[dims][2:])),
        ),
        "voxelmorph": (
            "VoxelMorphUNet",
            both | {"in_channels": 2, "unet_out_channels": 32, "channels": (16, 32, 32, 32, 32, 32), "final_conv_channels": (16, 16)},
            zeros((1, 2, *WINDOWS[dims][2:])),
        ),
        "patch_discriminator": ("PatchDiscriminator", both | {"in_channels": 1, "channels": 64, "num_layers_d": 3}),
    } | ({"hovernet": ("HoVerNet", {"mode": "fast", "out_classes": 7}, zeros((1, 3, 256, 256)))} if dims == 2 else {})  # fmt: skip
