"""What figures are calculated from: EfficientNet-Lite0, which is at hand, and the papers' networks."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seas_export.proof.evaluate.formulas import layer_distances
from seas_runtime.errors import UserError
from seas_runtime.files import sha256_file

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's InceptionV3, as its releases have it."""
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"
"""torchvision's AlexNet, which LPIPS looks through."""
SIDE = 128
"""Pixels that EfficientNet-Lite0 sees, and LPIPS."""
_BATCH = 16

UInt8Array = NDArray[np.uint8]
FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Described:
    """Features [N, D] and logits [N, K] of pictures."""

    pooled: FloatArray
    logits: FloatArray


class Network(ABC):
    """Describes pictures for IS and KID, or gives distances for IC-LPIPS, or both."""

    name: str
    """Of the figures, in brackets: `kid[efficientnet-lite0]`; empty for the papers' own."""
    weights: dict[str, str]
    """SHA-256 of the files that it was read from, by their names."""

    def describe(self, pictures: Sequence[UInt8Array]) -> Described | None:
        """Return features and logits of pictures [S, S, 3]; None where this network is not for that."""
        return None

    def distances(self, ours: Sequence[UInt8Array], theirs: Sequence[UInt8Array]) -> FloatArray | None:
        """Return distances [N, M] of pictures [S, S, 3]; None where this network is not for that."""
        return None


class Lite0(Network):
    """EfficientNet-Lite0 with its ImageNet weights."""

    name = "efficientnet-lite0"

    def __init__(self) -> None:
        from seas_train.proof.segmenters.lite0 import classifier, weights_file

        self._network = classifier()
        self.weights = {weights_file().name: sha256_file(weights_file())}

    def describe(self, pictures: Sequence[UInt8Array]) -> Described:
        """Return the 1,280 features before the classifier, and its 1,000 logits."""
        import torch

        pooled, logits = [], []
        with torch.inference_mode():
            for batch in _batches(pictures):
                last = self._network.forward_features(batch)
                pooled.append(self._network.forward_head(last, pre_logits=True).numpy())
                logits.append(self._network.forward_head(last).numpy())
        return Described(np.concatenate(pooled), np.concatenate(logits))

    def distances(self, ours: Sequence[UInt8Array], theirs: Sequence[UInt8Array]) -> FloatArray:
        """Return distances by the five scales of its features, as LPIPS has them, with weights of one."""
        return layer_distances(self._layers(ours), self._layers(theirs))

    def _layers(self, pictures: Sequence[UInt8Array]) -> list[FloatArray]:
        import torch

        made: list[list[FloatArray]] = []
        with torch.inference_mode():
            for batch in _batches(pictures):
                found = self._network.forward_intermediates(batch, intermediates_only=True)
                made.append([layer.numpy() for layer in found])
        return [np.concatenate(layers) for layers in zip(*made, strict=True)]


class Inception(Network):
    """InceptionV3 as torch-fidelity has it, for the papers' IS and KID."""

    name = ""

    def __init__(self, file: Path) -> None:
        from seas_train.proof.segmenters.vision_ops import declare_vision_ops, not_installed

        declare_vision_ops()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise not_installed("torch-fidelity", error) from error
        try:
            self._network = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(file)
            )
        except Exception as error:  # a file of anything else
            raise _not_weights(file, "torch-fidelity's InceptionV3", error) from error
        self.weights = {file.name: sha256_file(file)}

    def describe(self, pictures: Sequence[UInt8Array]) -> Described:
        """Return the 2,048 features and the logits without their bias."""
        import torch

        pooled, logits = [], []
        with torch.inference_mode():
            for start in range(0, len(pictures), _BATCH):
                batch = torch.from_numpy(np.stack(pictures[start : start + _BATCH])).permute(0, 3, 1, 2)
                first, second = self._network(batch)
                pooled.append(first.numpy())
                logits.append(second.numpy())
        return Described(np.concatenate(pooled), np.concatenate(logits))


class Lpips(Network):
    """LPIPS (version 0.1) through AlexNet, for the papers' IC-LPIPS."""

    name = ""

    def __init__(self, file: Path) -> None:
        import torch

        from seas_train.proof.segmenters.vision_ops import declare_vision_ops, not_installed

        declare_vision_ops()
        try:
            import lpips
        except ImportError as error:
            raise not_installed("lpips", error) from error
        self._network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
        own = self._network.net.state_dict()
        try:
            found = torch.load(file, map_location="cpu", weights_only=True)
            # slice2.3.weight is features.3.weight
            self._network.net.load_state_dict(
                {name: found[f"features.{name.partition('.')[2]}"] for name in own}
            )
        except Exception as error:  # a file of anything else
            raise _not_weights(file, "torchvision's AlexNet", error) from error
        linear = Path(lpips.__file__).parent / "weights" / "v0.1" / "alex.pth"
        self.weights = {file.name: sha256_file(file), "lpips v0.1 alex.pth": sha256_file(linear)}

    def distances(self, ours: Sequence[UInt8Array], theirs: Sequence[UInt8Array]) -> FloatArray:
        """Return LPIPS of each pair."""
        import torch

        first, second = (torch.cat(list(_batches(side))) for side in (ours, theirs))
        made = np.zeros((len(ours), len(theirs)))
        with torch.inference_mode():
            for row, one in enumerate(first):
                for start in range(0, len(second), _BATCH):
                    there = second[start : start + _BATCH]
                    made[row, start : start + _BATCH] = self._network(
                        one[None].expand_as(there), there
                    ).flatten()
        return made


def networks(weights: Path | None) -> tuple[list[Network], list[str]]:
    """Return the networks that are at hand, and what is not measured without the others, in words."""
    found: list[Network] = [Lite0()]
    missing = []
    if weights is not None and not weights.is_dir():
        raise UserError(f"--weights {weights}: expected a folder of weights, found none")
    for file, make, figures in ((INCEPTION_FILE, Inception, "is, kid"), (ALEXNET_FILE, Lpips, "ic-lpips")):
        if weights is not None and (weights / file).is_file():
            found.append(make(weights / file))
        else:
            where = "--weights was not given" if weights is None else f"{weights} has no {file}"
            missing.append(f"{figures}: not measured, for {where}")
    return found, missing


def _batches(pictures: Sequence[UInt8Array]) -> Any:
    """Yield batches [B, 3, 128, 128] of -1 to 1."""
    import torch
    from PIL import Image

    for start in range(0, len(pictures), _BATCH):
        there = [
            np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
            for picture in pictures[start : start + _BATCH]
        ]
        yield torch.from_numpy(np.stack(there)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _not_weights(file: Path, what: str, error: Exception) -> UserError:
    words = " ".join(str(error).split())[:200]
    return UserError(
        f"--weights: {file}: expected the weights of {what}, found a file that is none ({words})"
    )
