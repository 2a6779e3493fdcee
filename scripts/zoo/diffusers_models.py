"""Models of diffusers: UNets, ControlNets, autoencoders, and transformers with convolutions, at usual latent sizes.

A model whose published config is the default of its class is made without arguments; of the others the arguments that change
a convolution are written here.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch

from zoo.model import Call, Made, Model, zeros

__all__ = ["PACKAGES", "models"]

PACKAGES = ("diffusers",)

SD_VAE: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
}  # fmt: skip
SDXL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280), "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20), "cross_attention_dim": 2048,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}  # fmt: skip
SDXL_UP = {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}
SD15: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8}
SD21: dict[str, Any] = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}  # fmt: skip
UPSCALER: dict[str, Any] = {
    "in_channels": 7, "block_out_channels": (256, 512, 512, 1024), "cross_attention_dim": 1024, "attention_head_dim": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "only_cross_attention": (True, True, True, False), "num_class_embeds": 1000, "use_linear_projection": True,
}  # fmt: skip
DDPM: dict[str, Any] = {
    "block_out_channels": (128, 128, 256, 256, 512, 512), "layers_per_block": 2,
    "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
}  # fmt: skip
SANA: dict[str, Any] = {
    "encoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
    "decoder_block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
    "encoder_block_out_channels": (128, 256, 512, 512, 1024, 1024), "decoder_block_out_channels": (128, 256, 512, 512, 1024, 1024),
    "encoder_layers_per_block": (2, 2, 2, 3, 3, 3), "decoder_layers_per_block": (3, 3, 3, 3, 3, 3),
    "encoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)), "decoder_qkv_multiscales": ((), (), (), (5,), (5,), (5,)),
    "downsample_block_type": "Conv", "upsample_block_type": "interpolate", "latent_channels": 32,
}  # fmt: skip


def models() -> Iterable[Model]:
    for name, (kind, values, *calls) in ROWS.items():
        yield Model(f"diffusers/{name}", partial(_made, kind, values, tuple(calls)))


def _made(kind: str, values: dict[str, Any], calls: tuple[Call, ...]) -> Made:
    import diffusers

    return Made(getattr(diffusers, kind)(**values), calls)


def step(*shape: int, text: int = 0, length: int = 77, **more: tuple[int, ...]) -> Call:
    """Return a call with a noisy latent, a time and, where it takes one, a text of such an embedding."""

    def call(module: Any) -> Any:
        words = [torch.zeros(shape[0], length, text)] if text else []
        named = {name: torch.zeros(size) for name, size in more.items() if not name.startswith("added_")}
        added = {name.removeprefix("added_"): torch.zeros(size) for name, size in more.items() if name.startswith("added_")}  # fmt: skip
        if added:
            named["added_cond_kwargs"] = added
        return module(torch.zeros(shape), torch.zeros(shape[0]), *words, **named)

    return call


def xl(size: int, **more: tuple[int, ...]) -> Call:
    return step(2, 4, size, size, text=2048, added_text_embeds=(2, 1280), added_time_ids=(2, 6), **more)


def upscaled(module: Any) -> Any:
    return module(torch.zeros(2, 7, 128, 128), torch.zeros(2), torch.zeros(2, 77, 1024), class_labels=torch.zeros(2, dtype=torch.long))  # fmt: skip


def video_diffusion(frames: int) -> Call:
    def call(module: Any) -> Any:
        return module(torch.zeros(2, frames, 8, 72, 128), torch.zeros(2), torch.zeros(2, 1, 1024), torch.zeros(2, 3))  # fmt: skip

    return call


def frames_decoded(module: Any) -> Any:
    return module.decode(torch.zeros(8, 4, 72, 128), num_frames=8)


def vae(*latent: int, pixels: tuple[int, ...] = ()) -> tuple[Call, ...]:
    """Return the calls of an autoencoder: its decoder at a size of latents, and its encoder at a size of pixels."""
    decoded = zeros(latent, method="decode")
    return (decoded, zeros(pixels, method="encode")) if pixels else (decoded,)


def picture(channels: int) -> tuple[Call, ...]:
    """Return what an autoencoder of pictures with latents of an eighth is called with: 512 and 1024 pixels."""
    return tuple(
        call
        for size in (512, 1024)
        for call in vae(1, channels, size // 8, size // 8, pixels=(1, 3, size, size))
    )


ROWS: dict[str, tuple[Any, ...]] = {
    "unet_sd15": ("UNet2DConditionModel", SD15, step(2, 4, 64, 64, text=768), step(2, 4, 96, 96, text=768)),
    "unet_sd15_inpaint": ("UNet2DConditionModel", SD15 | {"in_channels": 9}, step(2, 9, 64, 64, text=768)),
    "unet_sd21": ("UNet2DConditionModel", SD21, step(2, 4, 64, 64, text=1024), step(2, 4, 96, 96, text=1024)),
    "unet_instruct_pix2pix": ("UNet2DConditionModel", SD15 | {"in_channels": 8}, step(3, 8, 64, 64, text=768)),
    "unet_sd_x4_upscaler": ("UNet2DConditionModel", UPSCALER, upscaled),
    "unet_sdxl": ("UNet2DConditionModel", SDXL | SDXL_UP, xl(128), xl(96)),
    "unet_sdxl_refiner": (
        "UNet2DConditionModel",
        SDXL | {
            "block_out_channels": (384, 768, 1536, 1536), "attention_head_dim": (6, 12, 24, 24), "cross_attention_dim": 1280,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": 4, "projection_class_embeddings_input_dim": 2560,
        },
        step(2, 4, 128, 128, text=1280, added_text_embeds=(2, 1280), added_time_ids=(2, 5)),
    ),
    "unet_ssd_1b": ("UNet2DConditionModel", SDXL | SDXL_UP | {"transformer_layers_per_block": (1, 2, 4)}, xl(128)),
    "unet_kandinsky3": ("Kandinsky3UNet", {}, step(2, 4, 128, 128, text=4096)),
    "unet_ddpm_256": ("UNet2DModel", DDPM | {"sample_size": 256}, step(1, 3, 256, 256)),
    "unet_ddpm_cifar10": (
        "UNet2DModel",
        {
            "sample_size": 32, "block_out_channels": (128, 256, 256, 256), "layers_per_block": 2, "attention_head_dim": None,
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        },
        step(1, 3, 32, 32), step(64, 3, 32, 32),
    ),
    "unet_ldm_256": (
        "UNet2DModel",
        {
            "sample_size": 64, "block_out_channels": (224, 448, 672, 896), "attention_head_dim": 32,
            "down_block_types": ("DownBlock2D",) + ("AttnDownBlock2D",) * 3,
            "up_block_types": ("AttnUpBlock2D",) * 3 + ("UpBlock2D",),
        },
        step(1, 3, 64, 64),
    ),
    "unet_svd": ("UNetSpatioTemporalConditionModel", {"num_attention_heads": (5, 10, 20, 20)}, video_diffusion(14), video_diffusion(25)),
    "unet_text_to_video": ("UNet3DConditionModel", {}, step(2, 4, 16, 32, 32, text=1024)),
    "unet_animatediff": (
        "UNetMotionModel", {"cross_attention_dim": 768, "num_attention_heads": 8}, step(2, 4, 16, 64, 64, text=768),
    ),
    "unet_stable_cascade_decoder": (
        "StableCascadeUNet",
        {
            "in_channels": 4, "out_channels": 4, "timestep_ratio_embedding_dim": 64, "patch_size": 2, "conditioning_dim": 1280,
            "block_out_channels": (320, 640, 1280, 1280), "num_attention_heads": (0, 0, 20, 20),
            "down_num_layers_per_block": (2, 4, 14, 4), "up_num_layers_per_block": (4, 14, 4, 2), "dropout": (0.1,) * 4,
            "down_blocks_repeat_mappers": (1, 1, 1, 1), "up_blocks_repeat_mappers": (3, 3, 2, 2),
            "block_types_per_layer": (("SDCascadeResBlock", "SDCascadeTimestepBlock"),) * 2
            + (("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),) * 2,
            "clip_text_pooled_in_channels": 1280, "clip_seq": 4, "effnet_in_channels": 16, "pixel_mapper_in_channels": 3,
            "self_attn": True, "timestep_conditioning_type": ("sca",),
        },
        lambda module: module(
            torch.zeros(2, 4, 256, 256), torch.zeros(2), clip_text_pooled=torch.zeros(2, 1, 1280), effnet=torch.zeros(2, 16, 24, 24)
        ),
    ),
    "controlnet_sd15": (
        "ControlNetModel", SD15, step(2, 4, 64, 64, text=768, controlnet_cond=(2, 3, 512, 512)),
    ),
    "controlnet_sd21": (
        "ControlNetModel", SD21, step(2, 4, 64, 64, text=1024, controlnet_cond=(2, 3, 512, 512)),
    ),
    "controlnet_sdxl": ("ControlNetModel", SDXL, xl(128, controlnet_cond=(2, 3, 1024, 1024))),
    "t2i_adapter_sd15": ("T2IAdapter", {"adapter_type": "full_adapter"}, zeros((1, 3, 512, 512))),
    "t2i_adapter_sdxl": ("T2IAdapter", {"adapter_type": "full_adapter_xl", "downscale_factor": 16}, zeros((1, 3, 1024, 1024))),
    "vae_sd15": ("AutoencoderKL", SD_VAE | {"latent_channels": 4}, *picture(4)),
    "vae_sdxl_1024": ("AutoencoderKL", SD_VAE | {"latent_channels": 4}, *vae(1, 4, 128, 128, pixels=(1, 3, 1024, 1024))),
    "vae_sd3_flux": (
        "AutoencoderKL", SD_VAE | {"latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}, *picture(16),
    ),
    "vae_flux2": ("AutoencoderKLFlux2", {}, *picture(32)),
    "vae_svd_temporal": ("AutoencoderKLTemporalDecoder", {name: value for name, value in SD_VAE.items() if name != "up_block_types"}, frames_decoded),
    "vae_tiny": ("AutoencoderTiny", {}, *picture(4)),
    "vae_asymmetric": (
        "AsymmetricAutoencoderKL",
        {
            "down_block_types": ("DownEncoderBlock2D",) * 4, "down_block_out_channels": (128, 256, 512, 512), "layers_per_down_block": 2,
            "up_block_types": ("UpDecoderBlock2D",) * 4, "up_block_out_channels": (192, 384, 768, 768), "layers_per_up_block": 3,
        },
        *vae(1, 4, 64, 64),
    ),
    "vq_ldm_256": (
        "VQModel",
        {
            "down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3, "latent_channels": 3,
            "block_out_channels": (128, 256, 512), "layers_per_block": 2, "num_vq_embeddings": 8192,
        },
        zeros((1, 3, 256, 256), method="encode"), zeros((1, 3, 64, 64), method="decoder"),
    ),
    "vae_dc_sana": ("AutoencoderDC", SANA, *vae(1, 32, 32, 32, pixels=(1, 3, 1024, 1024))),
    "vae_oobleck": ("AutoencoderOobleck", {}, *vae(1, 64, 215, pixels=(1, 2, 440320))),
    "vae_wan21": ("AutoencoderKLWan", {}, *vae(1, 16, 5, 60, 104, pixels=(1, 3, 17, 480, 832))),
    "vae_wan22": (
        "AutoencoderKLWan",
        {
            "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "in_channels": 12, "out_channels": 12,
            "patch_size": 2, "scale_factor_spatial": 16, "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48,
        },
        *vae(1, 48, 5, 44, 80, pixels=(1, 3, 17, 704, 1280)),
    ),
    "vae_qwen_image": ("AutoencoderKLQwenImage", {}, *vae(1, 16, 1, 128, 128, pixels=(1, 3, 1, 1024, 1024))),
    "vae_cogvideox": (
        "AutoencoderKLCogVideoX",
        {
            "down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4,
            "block_out_channels": (128, 256, 256, 512), "layers_per_block": 3,
        },
        *vae(1, 16, 5, 60, 90, pixels=(1, 3, 17, 480, 720)),
    ),
    "vae_hunyuan_video": ("AutoencoderKLHunyuanVideo", {}, *vae(1, 16, 5, 68, 120, pixels=(1, 3, 17, 544, 960))),
    "vae_hunyuan_image": ("AutoencoderKLHunyuanImage", {
        "in_channels": 3, "out_channels": 3, "latent_channels": 64, "block_out_channels": (128, 256, 512, 512, 1024, 1024),
        "layers_per_block": 2, "spatial_compression_ratio": 32, "sample_size": 384,
    }, *vae(1, 64, 64, 64, pixels=(1, 3, 2048, 2048))),
    "vae_ltx_video": ("AutoencoderKLLTXVideo", {}, *vae(1, 128, 7, 16, 24, pixels=(1, 3, 49, 512, 768))),
    "vae_mochi": ("AutoencoderKLMochi", {}, *vae(1, 12, 4, 60, 106, pixels=(1, 3, 19, 480, 848))),
    "vae_allegro": ("AutoencoderKLAllegro", {
        "down_block_types": ("AllegroDownBlock3D",) * 4, "up_block_types": ("AllegroUpBlock3D",) * 4,
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2,
        "temporal_downsample_blocks": (True, True, False, False), "temporal_upsample_blocks": (False, True, True, False),
    }, zeros((1, 4, 6, 40, 40), method="decoder"), zeros((1, 3, 24, 320, 320), method="encoder")),
    "vae_cosmos": ("AutoencoderKLCosmos", {}, *vae(1, 16, 3, 88, 160, pixels=(1, 3, 17, 704, 1280))),
    "vae_magvit": ("AutoencoderKLMagvit", {}, *vae(1, 16, 5, 48, 84, pixels=(1, 3, 17, 384, 672))),
    "transformer_sana": ("SanaTransformer2DModel", {}, lambda module: module(torch.zeros(2, 32, 32, 32), torch.zeros(2, 300, 2304), torch.zeros(2))),
    "transformer_sd3": (
        "SD3Transformer2DModel", {"sample_size": 128, "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536},
        lambda module: module(torch.zeros(2, 16, 128, 128), torch.zeros(2, 154, 4096), torch.zeros(2, 2048), torch.zeros(2)),
    ),
    "transformer_pixart": (
        "PixArtTransformer2DModel", {"sample_size": 128, "cross_attention_dim": 1152, "caption_channels": 4096, "use_additional_conditions": False},
        lambda module: module(torch.zeros(2, 4, 128, 128), torch.zeros(2, 120, 4096), torch.zeros(2)),
    ),
    "transformer_dit_xl": (
        "DiTTransformer2DModel", {"out_channels": 8, "sample_size": 32},
        lambda module: module(torch.zeros(2, 4, 32, 32), torch.zeros(2), torch.zeros(2, dtype=torch.long)),
    ),
    "transformer_cogvideox_2b": (
        "CogVideoXTransformer3DModel", {},
        lambda module: module(torch.zeros(2, 13, 16, 60, 90), torch.zeros(2, 226, 4096), torch.zeros(2)),
    ),
    "transformer_wan_1.3b": (
        "WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30},
        lambda module: module(torch.zeros(1, 16, 21, 60, 104), torch.zeros(1), torch.zeros(1, 512, 4096)),
    ),
    "transformer_hunyuan_video": (
        "HunyuanVideoTransformer3DModel", {"num_layers": 2, "num_single_layers": 2, "num_refiner_layers": 2},
        lambda module: module(
            torch.zeros(1, 16, 9, 68, 120), torch.zeros(1), torch.zeros(1, 256, 4096), torch.zeros(1, 256), torch.zeros(1, 768), torch.zeros(1)
        ),
    ),
}  # fmt: skip
