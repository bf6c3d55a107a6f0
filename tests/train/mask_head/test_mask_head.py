from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from seas_runtime.errors import UserError
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.head import (
    MaskHead,
    load_mask_head,
    load_state,
    save_mask_head,
)
from tests.train.mask_head.tiny_heads import TINY, inputs, tiny_head

SD14 = MaskHeadArchitecture(tap_coarse_channels=1280, tap_fine_channels=640, vae_tap_channels=(512, 512, 256))


def authors_shapes() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the authors' `mask-checkpoint/rmp` for SD 1.4, as issue 4 lists them."""
    norm = ("gain", "bias", "stored_mean", "stored_var")
    shapes: dict[str, tuple[int, ...]] = {
        "low_feature_conv.0.weight": (128, 1280, 1, 1),
        "mid_feature_conv.0.weight": (64, 640, 1, 1),
    }
    attention = "mid_attn_block.attentions.0"
    for name in ("norm.weight", "norm.bias", "proj_in.bias", "proj_out.bias"):
        shapes[f"{attention}.{name}"] = (192,)
    for name in ("proj_in.weight", "proj_out.weight"):
        shapes[f"{attention}.{name}"] = (192, 192, 1, 1)
    for layer in range(4):
        block = f"{attention}.transformer_blocks.{layer}"
        for name in ("norm1.weight", "norm1.bias", "norm3.weight", "norm3.bias", "attn1.to_out.0.bias"):
            shapes[f"{block}.{name}"] = (192,)
        for name in ("to_q", "to_k", "to_v", "to_out.0"):
            shapes[f"{block}.attn1.{name}.weight"] = (192, 192)
        shapes[f"{block}.ff.net.0.proj.weight"] = (1536, 192)
        shapes[f"{block}.ff.net.0.proj.bias"] = (1536,)
        shapes[f"{block}.ff.net.2.weight"] = (192, 768)
        shapes[f"{block}.ff.net.2.bias"] = (192,)
    for module, channels in (("MRM1", 512), ("MRM2", 512), ("MRM3", 256)):
        for number in range(1, 10):
            kernel = 3 if number in (3, 6, 8) else 1
            inputs = channels if number == 1 else 192
            shapes[f"{module}.conv{number}.0.weight"] = (192, inputs, kernel, kernel)
            shapes |= {f"{module}.conv{number}.1.{name}": (192,) for name in norm}
    shapes |= {f"out_layer.0.{name}": (192,) for name in norm}
    shapes |= {"out_layer.2.weight": (2, 192, 3, 3), "out_layer.2.bias": (2,)}
    return shapes


def test_sd14_has_the_authors_keys_shapes_and_parameter_count() -> None:
    head = MaskHead(SD14)
    assert {name: tuple(tensor.shape) for name, tensor in head.state_dict().items()} == authors_shapes()
    assert sum(parameter.numel() for parameter in head.parameters()) == 6_448_258


def test_transformer_equals_diffusers() -> None:
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    theirs = Transformer2DModel(
        num_attention_heads=2, attention_head_dim=6, in_channels=12, num_layers=2, norm_num_groups=3
    )
    ours = tiny_head().mid_attn_block.attentions[0]
    # diffusers' layers without a cross-attention still count their last norm as norm3.
    assert set(theirs.state_dict()) == set(ours.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 12, 4, 6)
    torch.testing.assert_close(ours(x), theirs(x).sample, atol=1e-5, rtol=1e-5)


def test_forward_is_the_published_one() -> None:
    """Against a reference written from issue 4's text alone, on the state dict."""
    head = tiny_head().eval()
    state = head.state_dict()
    coarse, fine, vae_taps = inputs(2)

    def normed(x: torch.Tensor, key: str) -> torch.Tensor:
        def column(name: str) -> torch.Tensor:
            return state[f"{key}.{name}"].view(1, -1, 1, 1)

        unit = (x - column("stored_mean")) / torch.sqrt(column("stored_var") + 1e-5)
        return torch.relu(unit * column("gain") + column("bias"))

    def conv(x: torch.Tensor, key: str) -> torch.Tensor:
        weight = state[f"{key}.0.weight"]
        return normed(nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2), f"{key}.1")

    low = nn.functional.conv2d(coarse, state["low_feature_conv.0.weight"])
    low = nn.functional.interpolate(low, size=(4, 4), mode="bilinear", align_corners=False)
    x = torch.cat([low, nn.functional.conv2d(fine, state["mid_feature_conv.0.weight"])], dim=1)
    x = head.mid_attn_block(x)
    for number, tap in enumerate(vae_taps, start=1):
        key = f"MRM{number}.conv"
        x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        s = conv(conv(conv(x, f"{key}2"), f"{key}3"), f"{key}4")
        y = s + conv(x, f"{key}5") + conv(conv(conv(s, f"{key}7"), f"{key}8"), f"{key}9")
        x = conv(tap, f"{key}1") * y + x
    x = normed(x, "out_layer.0")
    logits = nn.functional.conv2d(x, state["out_layer.2.weight"], state["out_layer.2.bias"], padding=1)
    torch.testing.assert_close(
        head(coarse, fine, vae_taps), torch.softmax(logits, dim=1)[:, 1], atol=1e-5, rtol=0
    )


def test_shapes_of_both_paths() -> None:
    head = tiny_head()
    coarse, fine, vae_taps = inputs(3)
    features = head.features(coarse, fine)
    assert features.shape == (3, 12, 4, 4)
    assert head.coarse_logits(features).shape == (3, 2, 4, 4)
    assert head.logits(head.refine(features, vae_taps)).shape == (3, 2, 32, 32)
    probability = head.predict(coarse, fine, vae_taps)
    assert probability.shape == (3, 32, 32)
    assert probability.min() >= 0
    assert probability.max() <= 1


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    head = tiny_head()
    coarse, fine, vae_taps = inputs(3)
    together = head.predict(coarse, fine, vae_taps)
    alone = head.predict(coarse[1:2], fine[1:2], [tap[1:2] for tap in vae_taps])
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=0)
    assert head.training, "predict must leave the mode as it was"


def test_stored_statistics_are_the_refined_paths_alone() -> None:
    head = tiny_head().train()
    before = {name: buffer.clone() for name, buffer in head.named_buffers()}
    coarse, fine, vae_taps = inputs(2)
    features = head.features(coarse, fine)
    head.coarse_logits(features)
    assert all(torch.equal(before[name], buffer) for name, buffer in head.named_buffers())
    head.logits(head.refine(features, vae_taps))
    moved = {name for name, buffer in head.named_buffers() if not torch.equal(before[name], buffer)}
    assert moved == {name for name in before if ".conv6." not in name}


def test_unused_convolution_is_frozen_and_all_else_is_trained() -> None:
    head = tiny_head().train()
    coarse, fine, vae_taps = inputs(2)
    features = head.features(coarse, fine)
    loss = head.logits(head.refine(features, vae_taps)).square().mean() + head.coarse_logits(features).mean()
    loss.backward()
    for name, parameter in head.named_parameters():
        assert (parameter.grad is None) == (".conv6." in name), name
        assert parameter.requires_grad == (".conv6." not in name), name


def test_save_and_load(tmp_path: Path) -> None:
    head = tiny_head().to(memory_format=torch.channels_last)
    save_mask_head(head, tmp_path / "mask_head")
    again = load_mask_head(tmp_path / "mask_head")
    assert again.architecture == TINY
    assert not again.training
    for name, tensor in head.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    written = sorted(path.name for path in (tmp_path / "mask_head").iterdir())
    assert written == ["config.json", "model.safetensors"]


def test_wrong_states_are_listed_by_key(tmp_path: Path) -> None:
    state = tiny_head().state_dict()
    state["out_layer.2.bias"] = torch.zeros(3)
    state["surplus"] = torch.zeros(1)
    del state["MRM2.conv4.0.weight"]
    with pytest.raises(UserError) as caught:
        load_state(MaskHead(TINY), state, tmp_path / "rmp")
    message = str(caught.value)
    assert "missing MRM2.conv4.0.weight (12, 12, 1, 1)" in message
    assert "extra surplus (1,)" in message
    assert "out_layer.2.bias: expected (2,), found (3,)" in message
    assert "rmp" in message


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"not what it should be"])
def test_broken_files_are_named(tmp_path: Path, broken: str, content: bytes | None) -> None:
    save_mask_head(tiny_head(), tmp_path)
    if content is None:
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_bytes(content)
    with pytest.raises(UserError, match=broken.replace(".", r"\.")):
        load_mask_head(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "heads: expected a divisor of the width"),
        ({"groups": 7}, "groups: expected a divisor of the width"),
        ({"depth": 0}, "depth: expected whole numbers"),
        ({"coarse_width": 8.0}, "coarse_width: expected whole numbers"),
        ({"vae_tap_channels": [6, 6]}, "vae_tap_channels: expected three numbers"),
        ({"vae_tap_channels": 6}, "vae_tap_channels: expected a list"),
        ({"wings": 2}, "wings"),
    ],
)
def test_impossible_architectures_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MaskHeadArchitecture.from_dict({**TINY.to_dict(), **change})


def test_architecture_survives_json() -> None:
    assert MaskHeadArchitecture.from_dict(TINY.to_dict()) == TINY
    missing = TINY.to_dict()
    del missing["heads"]
    with pytest.raises(UserError, match=r"missing \['heads'\]"):
        MaskHeadArchitecture.from_dict(missing)
