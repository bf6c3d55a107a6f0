"""What all methods that draw into photographs have in a manifest, and how their steps' graphs look."""

from __future__ import annotations

from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.signatures import FLOAT, FLOATS, Expected, Signature
from seas_runtime.manifest.types import DECODE_IMAGE, ENCODE_IMAGE, STEP, STEP_UNGUIDED, Manifest
from seas_runtime.methods.blending.inputs import BLENDED, REGIONS, blend_signature, check_blend
from seas_runtime.methods.placed.bounds import check_gates
from seas_runtime.methods.placed.normals import check_normals


def check_placing(fields: Fields) -> None:
    """Refuse, by a UserError, what a section `generation` says of placed pairs and is not right."""
    check_blend(fields)
    check_gates(fields)
    check_normals(fields)
    if fields.has(REGIONS) and not isinstance(fields.raw(REGIONS), bool):
        fields.fail(REGIONS, "true or false", fields.raw(REGIONS))


def step_signatures(manifest: Manifest, *, blends: bool) -> dict[str, tuple[Signature, Signature]]:
    """Return the inputs and outputs of a step, with guidance and without, and of both codecs.

    blends: whether the step draws into a background; bundles of earlier versions have steps that do not.
    """
    latent, image = manifest.latent, manifest.image
    latents = Expected(FLOAT, (None, latent.channels, latent.height, latent.width))
    tap = Expected(FLOATS, (None, None, None, None))
    context = Expected(FLOATS, (None, None, None))
    pixels = Expected(("uint8",), (None, image.height, image.width, 3))
    step = {
        "latents": latents,
        "previous_x0": latents,
        "schedule": Expected(FLOAT, (None, 10 if blends else 8)),
        "step_index": Expected(("int64",), (1,)),
        "context": context,
        "noise": Expected(latents.dtypes, latents.shape, optional=True),
        **(blend_signature(latent) if blends else {}),
    }
    guided = {**step, "guidance": Expected(FLOAT, (1,)), "negative_context": context}
    stepped = {"next_latents": latents, "x0": latents, "tap_coarse": tap, "tap_fine": tap}
    if blends:
        stepped[BLENDED] = latents
    return {
        STEP: (guided, stepped),
        STEP_UNGUIDED: (step, stepped),
        DECODE_IMAGE: ({"latents": latents}, {"image": pixels}),
        ENCODE_IMAGE: ({"image": pixels}, {"latents": latents}),
    }
