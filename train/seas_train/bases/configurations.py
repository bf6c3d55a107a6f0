"""Configurations of others, read by an allow-list: what is not named here reaches no library.

Libraries do what a configuration asks for: run code that lies beside it, fetch a kernel from the hub, read a
file elsewhere. So each is read here, its values are held against rules, and what a library gets is written
anew from them.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import read_json
from seas_train.bases.values import (
    Rule,
    either,
    flag,
    mapping,
    number,
    one_of,
    one_or_several,
    several,
    whole,
)
from seas_train.foreign_files import TEXT_LIMIT, check_file
from seas_train.optional_packages import hide_broken_packages

logger = logging.getLogger(__name__)

CONFIG_FILES = {
    "scheduler": "scheduler_config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
    "unet": "config.json",
    "vae": "config.json",
}
CLASSES = {
    "scheduler": "DDPMScheduler",
    "text_encoder": "CLIPTextModel",
    "tokenizer": "CLIPTokenizer",
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
}
"""What each component is loaded as."""
# Keys by which a library runs, fetches or unpacks something, and the values of them that ask for nothing.
_REACHING_OUT = re.compile(
    r"auto_map|trust_remote_code|custom_\w+|\w*attn_implementation(_internal)?|\w*quanti[sz]ation\w*"
    r"|use_kernels|\w*kernel_config|adapter_\w+|base_model_name_or_path|code_revision"
)
_NOTHING_ASKED = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_CHANNELS, _SIDE = whole(1, 16_384), whole(1, 4096)
_ACTIVATION = one_of("silu", "swish", "mish", "gelu", "relu")
_TOKEN_PARTS = {"__type", "content", "lstrip", "normalized", "rstrip", "single_word", "special"}
_TOKEN = Rule(
    "a token",
    lambda value: (
        isinstance(value, str)
        or (isinstance(value, dict) and set(value) <= _TOKEN_PARTS and isinstance(value.get("content"), str))
    ),
)
_TOKENS: dict[str, Rule] = {
    **{f"{name}_token": _TOKEN for name in ("bos", "eos", "unk", "pad", "sep", "cls", "mask")},
    "additional_special_tokens": several(_TOKEN, 10_000),
    "extra_special_tokens": either(several(_TOKEN, 10_000), mapping(_TOKEN)),
}
RULES: dict[str, dict[str, Rule]] = {
    "unet": {
        "sample_size": _SIDE,
        "in_channels": _CHANNELS,
        "out_channels": _CHANNELS,
        "center_input_sample": flag(),
        "flip_sin_to_cos": flag(),
        "freq_shift": number(-10, 10),
        "down_block_types": several(one_of("CrossAttnDownBlock2D", "DownBlock2D")),
        "mid_block_type": one_of("UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
        "up_block_types": several(one_of("CrossAttnUpBlock2D", "UpBlock2D")),
        "only_cross_attention": one_or_several(flag()),
        "block_out_channels": several(_CHANNELS),
        "layers_per_block": one_or_several(whole(1, 16)),
        "downsample_padding": whole(0, 4),
        "mid_block_scale_factor": number(-100, 100),
        "dropout": number(0, 1),
        "act_fn": _ACTIVATION,
        "norm_num_groups": _CHANNELS,
        "norm_eps": number(0, 1),
        "cross_attention_dim": _CHANNELS,
        "transformer_layers_per_block": one_or_several(whole(1, 16)),
        "attention_head_dim": one_or_several(_SIDE),
        "num_attention_heads": one_or_several(_SIDE),
        "use_linear_projection": flag(),
        "upcast_attention": flag(),
        "resnet_time_scale_shift": one_of("default", "scale_shift"),
    },
    "vae": {
        "in_channels": _CHANNELS,
        "out_channels": _CHANNELS,
        "down_block_types": several(one_of("DownEncoderBlock2D")),
        "up_block_types": several(one_of("UpDecoderBlock2D")),
        "block_out_channels": several(_CHANNELS),
        "layers_per_block": whole(1, 16),
        "act_fn": _ACTIVATION,
        "latent_channels": _CHANNELS,
        "norm_num_groups": _CHANNELS,
        "sample_size": _SIDE,
        "scaling_factor": number(1e-6, 1e6),
        "force_upcast": flag(),
        "use_quant_conv": flag(),
        "use_post_quant_conv": flag(),
        "mid_block_add_attention": flag(),
    },
    "text_encoder": {
        "model_type": one_of("clip_text_model"),
        "vocab_size": whole(1, 1_000_000),
        "hidden_size": _CHANNELS,
        "intermediate_size": whole(1, 65_536),
        "projection_dim": _CHANNELS,
        "num_hidden_layers": whole(1, 128),
        "num_attention_heads": _SIDE,
        "max_position_embeddings": _SIDE,
        "hidden_act": one_of(
            "quick_gelu", "gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu"
        ),
        "layer_norm_eps": number(0, 1),
        "attention_dropout": number(0, 1),
        "initializer_range": number(0, 100),
        "initializer_factor": number(0, 100),
        "pad_token_id": whole(0, 1_000_000),
        "bos_token_id": whole(0, 1_000_000),
        "eos_token_id": whole(0, 1_000_000),
    },
    "scheduler": {
        "num_train_timesteps": whole(1, 100_000),
        "beta_start": number(0, 1),
        "beta_end": number(0, 1),
        "beta_schedule": one_of("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"),
        "trained_betas": several(number(0, 1), 100_000),
        "variance_type": one_of(
            "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"
        ),
        "clip_sample": flag(),
        "clip_sample_range": number(0, 1e6),
        "prediction_type": one_of("epsilon", "v_prediction", "sample"),
        "thresholding": flag(),
        "dynamic_thresholding_ratio": number(0, 1),
        "sample_max_value": number(0, 1e6),
        "timestep_spacing": one_of("leading", "trailing", "linspace"),
        "steps_offset": whole(0, 1000),
        "rescale_betas_zero_snr": flag(),
    },
    "tokenizer": {
        **_TOKENS,
        "tokenizer_class": one_of("CLIPTokenizer", "CLIPTokenizerFast"),
        "model_max_length": number(1, 1e31),
        "do_lower_case": flag(),
        "add_prefix_space": flag(),
        "clean_up_tokenization_spaces": flag(),
        "errors": one_of("replace", "strict", "ignore"),
        "added_tokens_decoder": mapping(_TOKEN),
    },
    "special_tokens_map": _TOKENS,
}
"""The keys that are read of each component's configuration, and what each may be."""
_INDEX = {
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "tokenizer": ("transformers", ("CLIPTokenizer", "CLIPTokenizerFast")),
    "unet": ("diffusers", ("UNet2DConditionModel",)),
    "vae": ("diffusers", ("AutoencoderKL",)),
}


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of someone else's.

    Raises:
        UserError: there is none, or it asks a library to reach out: for code, kernels, other files.
    """
    check_file(path, f"{path.parent.name}/{path.name}", TEXT_LIMIT)
    values = read_json(path, f"{path.parent.name}/{path.name}")
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a JSON object, found {json.dumps(values)[:40]}")
    for key, value in values.items():
        if _REACHING_OUT.fullmatch(key) and value and value not in _NOTHING_ASKED:
            raise UserError(
                f"{path}: {key}: expected nothing that asks for code, kernels, quantised weights or files of "
                f"others, found {_short(value)}; nothing was loaded. Remove the key, or use another copy"
            )
    return values


def read_index(path: Path) -> str:
    """The class that a `model_index.json` names for the whole.

    Raises:
        UserError: it is broken, or names a class of its own for a component.
    """
    index = read_object(path)
    for component, (library, classes) in _INDEX.items():
        entry = index.get(component)
        known = isinstance(entry, list) and len(entry) == 2 and entry[0] == library and entry[1] in classes
        if entry not in (None, [None, None]) and not known:
            raise UserError(
                f"{path}: {component}: expected {library}'s {' or '.join(classes)}, found {_short(entry)}; "
                "use a Stable Diffusion 1.x model"
            )
    return str(index.get("_class_name", "nothing"))


def read_configuration(component: str, folder: Path, what: str) -> dict[str, Any]:
    """A component's configuration: its known keys, each within its rule, and `_class_name` as it is there.

    Raises:
        UserError: naming the key, what was expected, and what was found.
    """
    file = folder / CONFIG_FILES[component]
    read, unknown = _by_rules(component, read_object(file), file, what)
    defaults = _defaults(component)
    others = {key: value for key, value in unknown.items() if key in defaults and value != defaults[key]}
    for key, value in others.items():
        raise UserError(
            f"{what}: {file}: {key}: expected {json.dumps(defaults[key])}, found {_short(value)}: "
            "the model takes more than a prompt (as SDXL's does), or is of another kind; "
            "use a Stable Diffusion 1.x model"
        )
    left = sorted(
        key for key, value in unknown.items() if key not in defaults and not key.startswith("_") and value
    )
    if left:
        logger.log(
            logging.WARNING if defaults else logging.DEBUG,
            "%s: keys that are not known here are not read: %s",
            file,
            ", ".join(left)[:300],
        )
    return read


def read_special_tokens(file: Path, what: str) -> dict[str, Any]:
    """The tokens of a tokenizer's `special_tokens_map.json`.

    Raises:
        UserError: one is no token.
    """
    return _by_rules("special_tokens_map", read_object(file), file, what)[0]


def _by_rules(
    kind: str, values: Mapping[str, Any], file: Path, what: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that rules know, and those that none does; null is a value left out."""
    read, unknown = {}, {}
    for key, value in values.items():
        rule = RULES[kind].get(key)
        if key == "_class_name":
            read[key] = str(value)
        elif rule is None:
            unknown[key] = value
        elif value is None and key != "mid_block_type":  # where null means that there is none
            continue
        elif value is not None and not rule.accepts(value):
            raise UserError(f"{what}: {file}: {key}: expected {rule.words}, found {_short(value)}")
        else:
            read[key] = value
    return read, unknown


def _defaults(component: str) -> dict[str, Any]:
    """The values that a model's class has where its configuration is silent; none for other components."""
    if component not in ("unet", "vae"):
        return {}
    hide_broken_packages()
    import diffusers

    parameters = inspect.signature(getattr(diffusers, CLASSES[component]).__init__).parameters
    return {name: value.default for name, value in parameters.items() if name != "self"}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
