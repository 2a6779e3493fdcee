"""Models of transformers that read text and have convolutions: state spaces with short causal ones, and a few encoders."""

from typing import Any

from zoo.model import Call, tokens

__all__ = ["TEXT"]

FEW = {
    "num_hidden_layers": 4
}  # every layer asks for the same convolutions; all of them would need tens of gigabytes on a CPU


def read(batch: int = 1, length: int = 2048) -> Call:
    return lambda module: module(tokens(batch, length))


TEXT: dict[str, tuple[Any, ...]] = {
    "mamba_2.8b": ("MambaModel", {"hidden_size": 2560, **FEW}, read(), read(8, 512)),
    "mamba_790m": ("MambaModel", {"hidden_size": 1536, **FEW}, read(), read(8, 512)),
    "mamba_130m": ("MambaModel", FEW, read(), read(8, 512)),
    "mamba2_2.7b": ("Mamba2Model", {"hidden_size": 2560, "num_heads": 80, "n_groups": 1, **FEW}, read()),
    "falcon_mamba_7b": ("FalconMambaModel", {"hidden_size": 4096, **FEW}, read()),
    "recurrent_gemma_2b": ("RecurrentGemmaModel", {"num_hidden_layers": 3}, read()),
    "lfm2_1.2b": ("Lfm2Model", {"hidden_size": 2048, **FEW}, read()),
    "qwen3_next": ("Qwen3NextModel", {"num_hidden_layers": 4, "num_experts": 4, "num_experts_per_tok": 2}, read()),
    "jamba": ("JambaModel", {"num_hidden_layers": 4, "num_experts": 2}, read()),
    "zamba2": ("Zamba2Model", {"num_hidden_layers": 6}, read()),
    "conv_bert_base": ("ConvBertModel", {}, read(1, 512), read(8, 128)),
    "squeeze_bert": ("SqueezeBertModel", {}, read(1, 512), read(8, 128)),
    "canine": ("CanineModel", {}, read(1, 2048)),
}  # fmt: skip
