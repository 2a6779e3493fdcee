"""Models of transformers that see pictures: name, class, values of its config, calls."""

from typing import Any

from zoo.model import BATCHES, Call, zeros

__all__ = ["VISION"]


def picture(size: int = 224) -> tuple[Call, ...]:
    return tuple(zeros((batch, 3, size, size)) for batch in BATCHES)


def one(*size: int) -> Call:
    return zeros((1, 3, *size))


def depths(*layers: int, sizes: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"depths": list(layers), **({"hidden_sizes": list(sizes)} if sizes else {})}


BASIC = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]}
MIT = {"hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}

VISION: dict[str, tuple[Any, ...]] = {
    "resnet18": ("ResNetModel", {"depths": [2, 2, 2, 2], **BASIC}, *picture()),
    "resnet34": ("ResNetModel", {"depths": [3, 4, 6, 3], **BASIC}, *picture()),
    "resnet50": ("ResNetModel", {}, *picture()),
    "resnet101": ("ResNetModel", depths(3, 4, 23, 3), *picture()),
    "resnet152": ("ResNetModel", depths(3, 8, 36, 3), *picture()),
    "rtdetr_resnet50": ("RTDetrResNetBackbone", {}, one(640, 640)),
    "convnext_tiny": ("ConvNextModel", {}, *picture()),
    "convnext_small": ("ConvNextModel", depths(3, 3, 27, 3), *picture()),
    "convnext_base": ("ConvNextModel", depths(3, 3, 27, 3, sizes=(128, 256, 512, 1024)), *picture()),
    "convnext_large": ("ConvNextModel", depths(3, 3, 27, 3, sizes=(192, 384, 768, 1536)), *picture()),
    "convnextv2_tiny": ("ConvNextV2Model", {}, *picture()),
    "convnextv2_base": ("ConvNextV2Model", depths(3, 3, 27, 3, sizes=(128, 256, 512, 1024)), *picture()),
    "dinov3_convnext_tiny": ("DINOv3ConvNextModel", {}, *picture()),
    "regnet_y_040": ("RegNetModel", {}, *picture()),
    "mobilenet_v1": ("MobileNetV1Model", {}, *picture()),
    "mobilenet_v2": ("MobileNetV2Model", {}, *picture()),
    "deeplabv3_mobilenet_v2": ("MobileNetV2ForSemanticSegmentation", {"output_stride": 16}, one(513, 513)),
    "mobilevit_small": ("MobileViTModel", {}, *picture(256)),
    "deeplabv3_mobilevit_small": ("MobileViTForSemanticSegmentation", {}, one(512, 512)),
    "mobilevitv2": ("MobileViTV2Model", {}, *picture(256)),
    "efficientnet_b7": ("EfficientNetModel", {}, one(600, 600)),
    "efficientnet_b0": (
        "EfficientNetModel", {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}, *picture(),
    ),
    "align_vision": ("AlignVisionModel", {}, one(289, 289)),
    "bit_50": ("BitModel", {}, *picture()),
    "focalnet_tiny": ("FocalNetModel", {}, *picture()),
    "hgnet_v2": ("HGNetV2Backbone", {}, *picture()),
    "textnet": ("TextNetModel", {}, one(640, 640)),
    "pplcnet": ("PPLCNetBackbone", {}, *picture()),
    "pplcnet_v3": ("PPLCNetV3Backbone", {}, *picture()),
    "swiftformer_xs": ("SwiftFormerModel", {}, *picture()),
    "poolformer_s12": ("PoolFormerModel", {}, *picture()),
    "pvt_tiny": ("PvtModel", {}, *picture()),
    "pvt_v2_b0": ("PvtV2Model", {}, *picture()),
    "cvt_13": ("CvtModel", {}, *picture()),
    "levit_128s": ("LevitModel", {}, *picture()),
    "segformer_b0": ("SegformerForSemanticSegmentation", {}, one(512, 512)),
    "segformer_b2": ("SegformerForSemanticSegmentation", {"depths": [3, 4, 6, 3], **MIT}, one(512, 512)),
    "segformer_b5": ("SegformerForSemanticSegmentation", {"depths": [3, 6, 40, 3], **MIT}, one(640, 640)),
    "glpn": ("GLPNForDepthEstimation", {}, one(480, 640)),
    "vit_base": ("ViTModel", {}, *picture()),
    "deit_base": ("DeiTModel", {}, *picture()),
    "beit_base": ("BeitModel", {}, *picture()),
    "dinov2_base": ("Dinov2Model", {"patch_size": 14}, *picture(518)),
    "clip_vision_base_32": ("CLIPVisionModel", {}, *picture()),
    "clip_vision_large_14": (
        "CLIPVisionModel",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14, "intermediate_size": 4096},
        *picture(),
    ),
    "siglip_vision_base": ("SiglipVisionModel", {}, *picture()),
    "swin_tiny": ("SwinModel", {}, *picture()),
    "swinv2_tiny": ("Swinv2Model", {}, *picture()),
    "hiera_tiny": ("HieraModel", {}, *picture()),
    "yolos": ("YolosModel", {}, one(512, 864)),
    "vit_det": ("VitDetModel", {}, one(224, 224)),
    "vitpose": ("VitPoseForPoseEstimation", {}, one(256, 192)),
    "dpt_large": ("DPTForDepthEstimation", {}, one(384, 384)),
    "depth_anything_small": ("DepthAnythingForDepthEstimation", {}, one(518, 518)),
    "zoedepth": ("ZoeDepthForDepthEstimation", {}, one(384, 512)),
    "depth_pro_encoder": ("DepthProModel", {}, one(1536, 1536)),
    "upernet_convnext": ("UperNetForSemanticSegmentation", {}, one(512, 512)),
    "superpoint": ("SuperPointForKeypointDetection", {}, one(480, 640)),
    "swin2sr": ("Swin2SRForImageSuperResolution", {}, one(64, 64)),
    "sam_vision": ("SamVisionModel", {}, one(1024, 1024)),
    "sam2_vision": ("Sam2VisionModel", {}, one(1024, 1024)),
    "sam_hq_vision": ("SamHQVisionModel", {}, one(1024, 1024)),
    "detr_resnet50": ("DetrModel", {"use_timm_backbone": True}, one(800, 1066)),
    "conditional_detr": ("ConditionalDetrModel", {}, one(800, 1066)),
    "deformable_detr": ("DeformableDetrModel", {}, one(800, 1066)),
    "table_transformer": ("TableTransformerModel", {}, one(800, 800)),
    "rt_detr": ("RTDetrModel", {}, one(640, 640)),
    "rt_detr_v2": ("RTDetrV2Model", {}, one(640, 640)),
    "d_fine": ("DFineModel", {}, one(640, 640)),
    "rf_detr": ("RfDetrModel", {}, one(560, 560)),
    "maskformer_swin": ("MaskFormerModel", {}, one(512, 512)),
    "mask2former_swin": ("Mask2FormerModel", {}, one(512, 512)),
    "eomt": ("EomtForUniversalSegmentation", {}, one(640, 640)),
    "timesformer": ("TimesformerModel", {}, zeros((1, 8, 3, 224, 224))),
    "videomae": ("VideoMAEModel", {}, zeros((1, 16, 3, 224, 224))),
    "vivit": ("VivitModel", {}, zeros((1, 32, 3, 224, 224))),
    "vjepa2": ("VJEPA2Model", {}, zeros((1, 16, 3, 256, 256))),
    "chameleon_vqvae": ("ChameleonVQVAE", {}, zeros((1, 3, 512, 512), method="encode")),
    "janus_vqvae": ("JanusVQVAE", {}, zeros((1, 3, 384, 384), method="encode")),
    "slanet": ("SLANetBackbone", {}, one(488, 488)),
}  # fmt: skip
