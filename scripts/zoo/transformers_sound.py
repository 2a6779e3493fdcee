"""Models of transformers that hear or speak: name, class, values of its config, calls. A second or ten, at each one's rate."""

from typing import Any

import torch

from zoo.model import Call, tokens, zeros

__all__ = ["SOUND"]

LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True,
}  # fmt: skip
TEN_SECONDS = zeros((1, 160_000))
MANY = zeros((8, 80_000))


def whisper(width: int, layers: int, heads: int, bins: int = 80) -> tuple[Any, ...]:
    values = {
        "d_model": width, "encoder_layers": layers, "encoder_attention_heads": heads, "decoder_layers": 1, "num_mel_bins": bins,
        "decoder_attention_heads": heads,
    }  # fmt: skip

    def encoded(batch: int) -> Call:
        return lambda module: module.encoder(torch.zeros(batch, bins, 3000))

    return ("WhisperModel", values, encoded(1), encoded(8))


def decoded(*codes: int) -> Call:
    return lambda module: module.decode(tokens(*codes))


def spoken(length: int, method: str = "") -> Call:
    return lambda module: (getattr(module, method) if method else module)(tokens(1, length))


SOUND: dict[str, tuple[Any, ...]] = {
    "wav2vec2_base": ("Wav2Vec2Model", {}, TEN_SECONDS, MANY),
    "wav2vec2_large": ("Wav2Vec2Model", LARGE, TEN_SECONDS, MANY),
    "wav2vec2_conformer": ("Wav2Vec2ConformerModel", {}, TEN_SECONDS),
    "wav2vec2_bert": ("Wav2Vec2BertModel", {}, zeros((1, 500, 160))),
    "hubert_base": ("HubertModel", {}, TEN_SECONDS, MANY),
    "hubert_large": ("HubertModel", LARGE, TEN_SECONDS),
    "wavlm_base": ("WavLMModel", {}, TEN_SECONDS, MANY),
    "wavlm_large": ("WavLMModel", LARGE, TEN_SECONDS),
    "unispeech": ("UniSpeechModel", {}, TEN_SECONDS),
    "unispeech_sat": ("UniSpeechSatModel", {}, TEN_SECONDS),
    "data2vec_audio": ("Data2VecAudioModel", {}, TEN_SECONDS),
    "sew": ("SEWModel", {}, TEN_SECONDS),
    "sew_d": ("SEWDModel", {}, TEN_SECONDS),
    "whisper_tiny": whisper(384, 4, 6),
    "whisper_base": whisper(512, 6, 8),
    "whisper_small": whisper(768, 12, 12),
    "whisper_medium": whisper(1024, 24, 16),
    "whisper_large_v3": whisper(1280, 32, 20, 128),
    "moonshine": ("MoonshineModel", {}, lambda module: module.encoder(torch.zeros(1, 160_000))),
    "speech_to_text": ("Speech2TextModel", {}, lambda module: module.encoder(torch.zeros(1, 1000, 80))),
    "audio_spectrogram": ("ASTModel", {}, zeros((1, 1024, 128))),
    "clap_audio": ("ClapAudioModel", {}, zeros((1, 1, 1001, 64), is_longer=(1, 1))),
    "parakeet_encoder": ("ParakeetEncoder", {}, zeros((1, 1000, 80))),
    "speecht5_hifigan": ("SpeechT5HifiGan", {}, zeros((1, 200, 80)), zeros((8, 200, 80)), zeros((1, 800, 80))),
    "audioldm_hifigan": (
        "SpeechT5HifiGan",
        {
            "model_in_dim": 64, "upsample_initial_channel": 1024, "upsample_rates": [5, 4, 2, 2, 2],
            "upsample_kernel_sizes": [16, 16, 8, 4, 4],
        },
        zeros((1, 512, 64)),
    ),
    "speecht5": ("SpeechT5ForSpeechToText", {}, lambda module: module.speecht5.encoder(torch.zeros(1, 160_000))),
    "fastspeech2_hifigan": ("FastSpeech2ConformerHifiGan", {}, zeros((1, 200, 80))),
    "fastspeech2_conformer": ("FastSpeech2ConformerModel", {}, spoken(100)),
    "vits": ("VitsModel", {}, spoken(100)),
    "vits_decoder": (
        "VitsModel", {}, zeros((1, 192, 200), method="decoder"), zeros((8, 192, 200), method="decoder"),
        zeros((1, 192, 800), method="decoder"),
    ),
    "vits_text_encoder": (
        "VitsModel", {}, lambda module: module.text_encoder(tokens(1, 100), torch.ones(1, 100, 1)),
    ),
    "vits_flow": (
        "VitsModel", {}, lambda module: module.flow(torch.zeros(1, 192, 200), torch.ones(1, 1, 200), reverse=True),
    ),
    "univnet": ("UnivNetModel", {}, zeros((1, 200, 100))),
    "encodec_24khz": (
        "EncodecModel", {}, zeros((1, 1, 240_000), method="encoder"), zeros((1, 128, 750), method="decoder"),
    ),
    "encodec_32khz_musicgen": (
        "EncodecModel",
        {"sampling_rate": 32000, "num_filters": 64, "upsampling_ratios": [8, 5, 4, 4], "codebook_size": 2048, "use_causal_conv": False},
        zeros((1, 1, 320_000), method="encoder"), zeros((1, 128, 500), method="decoder"),
    ),
    "encodec_48khz": (
        "EncodecModel",
        {"sampling_rate": 48000, "audio_channels": 2, "norm_type": "time_group_norm", "use_causal_conv": False, "normalize": True},
        zeros((1, 2, 48_000), method="encoder"), zeros((1, 128, 150), method="decoder"),
    ),
    "dac_16khz": ("DacModel", {}, zeros((1, 1, 160_000), method="encoder"), zeros((1, 1024, 500), method="decoder")),
    "dac_44khz": (
        "DacModel",
        {"downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9, "sampling_rate": 44100},
        zeros((1, 1, 440_832), method="encoder"), zeros((1, 1024, 861), method="decoder"),
    ),
    "mimi": ("MimiModel", {}, zeros((1, 1, 240_000), method="encoder"), zeros((1, 512, 250), method="decoder")),
    "mimi_decode": ("MimiModel", {}, decoded(1, 32, 125)),
    "xcodec": ("XcodecModel", {}, zeros((1, 1, 160_000))),
    "bigvgan_qwen2_5_omni": ("Qwen2_5OmniToken2WavBigVGANModel", {}, zeros((1, 80, 400))),
    "seamless_hifigan": ("SeamlessM4THifiGan:SeamlessM4TConfig", {}, zeros((1, 1792, 200))),
    "clvp_conditioning": ("ClvpEncoder", {}, spoken(100)),
    "granite_speech_encoder": ("GraniteSpeechCTCEncoder", {}, zeros((1, 500, 160))),
    "gemma3n_audio": ("Gemma3nAudioEncoder", {}, lambda module: module(torch.zeros(1, 500, 128), torch.zeros(1, 500, dtype=torch.bool))),
    "qwen2_audio_encoder": ("Qwen2AudioEncoder", {}, zeros((1, 128, 3000))),
}  # fmt: skip
