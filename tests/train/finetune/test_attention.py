from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.methods.seas.finetune.attention import AttentionRecorder, cross_attention_layers
from seas_train.methods.seas.finetune.config import AttentionMaps, FinetuneConfig
from seas_train.methods.seas.finetune.stage import FinetuneStage


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 4, 8, 8, generator=generator),
        torch.tensor([10, 700]),
        torch.randn(2, 16, 16, generator=generator),
    )


def test_paper_reads_all_layers_of_the_two_resolutions(tiny_base: Base) -> None:
    layers = cross_attention_layers(tiny_base.unet, AttentionMaps.PAPER)
    blocks = sorted((name.split(".attentions")[0], reduction) for name, reduction in layers.items())
    down = [("down_blocks.1", 2), ("down_blocks.2", 4)]
    up = [("up_blocks.1", 4)] * 2 + [("up_blocks.2", 2)] * 2
    assert blocks == sorted(down + up)
    assert all(".attn2." in name for name in layers)
    authors = cross_attention_layers(tiny_base.unet, AttentionMaps.AUTHORS)
    assert sorted(name.split(".attentions")[0] for name in authors) == ["down_blocks.1", "down_blocks.2"]


@pytest.mark.parametrize("maps", AttentionMaps)
def test_maps_equal_a_reference_softmax(tiny_base: Base, maps: AttentionMaps) -> None:
    unet = copy.deepcopy(tiny_base.unet)
    layers = cross_attention_layers(unet, maps)
    probabilities: dict[str, Tensor] = {}

    def watch(name: str, module: torch.nn.Module) -> None:
        def hook(_module: object, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
            query, key = module.to_q(args[0]), module.to_k(kwargs["encoder_hidden_states"])
            heads, width = module.heads, query.shape[-1] // module.heads
            maps_of_heads = []
            for head in range(heads):
                channels = slice(head * width, (head + 1) * width)
                scores = torch.einsum("bqd,bkd->bqk", query[..., channels], key[..., channels]) / math.sqrt(
                    width
                )
                maps_of_heads.append(torch.softmax(scores, dim=2 if maps is AttentionMaps.PAPER else 1))
            probabilities[name] = torch.stack(maps_of_heads).mean(0)

        module.register_forward_pre_hook(hook, with_kwargs=True)

    for name in layers:
        watch(name, unet.get_submodule(name.removesuffix(".processor")))
    recorder = AttentionRecorder(unet, maps)
    with torch.no_grad():
        recorder.start()
        unet(*inputs())
        recorded = recorder.stop()
    for reduction, side in ((2, 4), (4, 2)):
        expected = torch.stack([probabilities[name] for name, r in layers.items() if r == reduction]).mean(0)
        assert recorded[reduction].shape == (2, side, side, 16)
        assert torch.allclose(recorded[reduction].flatten(1, 2), expected, atol=1e-6)


def test_recording_does_not_change_the_prediction(tiny_base: Base) -> None:
    unet = copy.deepcopy(tiny_base.unet)
    with torch.no_grad():
        expected = unet(*inputs()).sample
        recorder = AttentionRecorder(unet, AttentionMaps.PAPER)
        assert torch.allclose(unet(*inputs()).sample, expected, atol=1e-5)
        recorder.remove()
        assert torch.equal(unet(*inputs()).sample, expected)


def test_attention_in_the_open_is_the_same_and_is_taken_back(tiny_base: Base) -> None:
    unet = copy.deepcopy(tiny_base.unet)
    own = dict(unet.attn_processors)
    recorder = AttentionRecorder(unet, AttentionMaps.PAPER)

    def run() -> tuple[Tensor, dict[int, Tensor]]:
        recorder.start()
        with torch.no_grad():
            return unet(*inputs()).sample, recorder.stop()

    fused, fused_maps = run()
    recorder.compute_openly()
    kinds = {type(processor).__name__ for processor in unet.attn_processors.values()}
    assert kinds == {"AttnProcessor", "_Capture"}
    opened, opened_maps = run()
    torch.testing.assert_close(opened, fused, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(opened_maps, fused_maps, rtol=1e-4, atol=1e-5)
    recorder.remove()
    assert unet.attn_processors == own


def test_gradient_checkpointing_gives_the_same_gradients(tiny_base: Base) -> None:
    gradients = []
    for checkpointing in (False, True):
        unet = copy.deepcopy(tiny_base.unet).train()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        recorder = AttentionRecorder(unet, AttentionMaps.AUTHORS)
        recorder.start()
        eps = unet(*inputs()).sample
        maps = recorder.stop()
        (eps.square().mean() + sum(m[..., 1].square().mean() for m in maps.values())).backward()
        gradients.append({name: p.grad for name, p in unet.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.allclose(gradients[0][n], gradients[1][n], atol=1e-7) for n in gradients[0])


def test_a_unet_without_cross_attention_is_refused() -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    with pytest.raises(UserError, match="found none at 1/4"):
        cross_attention_layers(unet, AttentionMaps.PAPER)


@pytest.mark.parametrize(
    ("half", "native", "opened"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_small_base_in_bfloat16_on_a_cpu_computes_attention_in_the_open(
    tiny_base: Base,
    tiny_product: Product,
    monkeypatch: pytest.MonkeyPatch,
    half: bool,
    native: bool,
    opened: bool,
) -> None:
    monkeypatch.setattr("seas_train.methods.seas.finetune.stage.computes_bfloat16", lambda: native)
    stage = FinetuneStage(
        tiny_product, tiny_base, FinetuneConfig(half_precision=half, normal_augmentations=1)
    )
    stage.prepare(torch.device("cpu"), progress=False)
    kinds = {type(processor).__name__ for processor in stage.module.unet.attn_processors.values()}
    assert ("AttnProcessor" in kinds) == opened
