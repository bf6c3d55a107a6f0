"""A request with the bundle's defaults filled in, refused where the bundle has not what it asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.encoding import encode_prompts
from seas_runtime.manifest.fields import RESERVED_NAMES, describe, is_safe_name
from seas_runtime.manifest.types import ENCODE_IMAGE, GOOD, STEP, Manifest
from seas_runtime.methods.request import PLACED, REFINED, Placing, Request
from seas_runtime.methods.table import find_method


def find_defect(manifest: Manifest, wanted: str, *others: str) -> str:
    """Return the bundle's defect of a name or label, `good`, or one of the `others`.

    Raises UserError for what the bundle has not.
    """
    if wanted in others:
        return wanted
    found = manifest.find_defect(wanted)
    known = (*manifest.defects, GOOD)
    if found in known:
        return found
    labels = {name: f" ({label})" for name, label in manifest.labels.items()}
    names = [*(name + labels.get(name, "") for name in known), *others]
    raise UserError(
        f"defect {describe(wanted)}: the bundle does not have it; expected one of {', '.join(names)}"
    )


def resolve(request: Request, bundle: Bundle, measured: bool = False) -> Request:
    """Return `request` with every option given; `measured` where another bundle measures masks.

    Raises UserError for a defect, sampler or steps that the bundle has not, and options of another method.
    """
    manifest, sampling = bundle.manifest, request.sampling
    method = find_method(manifest.method)
    kind = method.options
    options = kind() if request.options is None else request.options
    if not isinstance(options, kind):
        raise UserError(
            f"options: expected {kind.__name__}, those of method {manifest.method}, found {describe(options)}"
        )
    defect = find_name(manifest, request.defect, options)
    schedule = bundle.schedule(sampling.sampler, sampling.steps)
    if schedule.noisy_steps and manifest.graphs[STEP].input("noise") is None:
        raise UserError(
            f"sampler {schedule.key!r} adds noise in its steps, which this bundle's step graph "
            "does not take; choose another sampler, or export the bundle with this one as its default"
        )
    filled = replace(
        sampling,
        sampler=schedule.sampler,
        steps=schedule.steps,
        guidance=float(manifest.sampler.guidance if sampling.guidance is None else sampling.guidance),
        tau=manifest.tau if sampling.tau is None else float(sampling.tau),
    )
    resolved = replace(request, defect=defect, sampling=filled, options=options)
    if resolved.placing is not None:
        _check_placing(bundle, resolved.placing, measured)
    method.check_options(bundle, resolved)
    encode_prompts(bundle, method.prompts(options))
    return resolved


def _check_placing(bundle: Bundle, placing: Placing, measured: bool) -> None:
    """Refuse placed pairs of a bundle that draws whole pictures alone, and masks that nothing measures."""
    if ENCODE_IMAGE not in bundle.manifest.graphs:
        raise UserError(
            f"{bundle.path}: this bundle draws whole pictures alone: a version of seas-export wrote it that "
            "had no placed pairs; export the checkpoint again, or make whole pictures with --from noise"
        )
    measures = measured or find_method(bundle.manifest.method).readouts(bundle.manifest, None)
    if placing.mask == REFINED and not measures:
        raise UserError(
            f"--mask {REFINED}: method {bundle.manifest.method} measures no masks; leave it out, give --mask "
            f"{PLACED}, or a SeaS bundle of the product, which measures them, with --mask-from"
        )


def find_name(manifest: Manifest, wanted: str, options: Any, *others: str) -> str:
    """Return what pairs are called: as `find_defect`, or, by a prompt of one's own, as a folder may be.

    Raises UserError for what is neither.
    """
    if not find_method(manifest.method).free_names(options):
        return find_defect(manifest, wanted, *others)
    found = manifest.find_defect(wanted) if isinstance(wanted, str) else wanted
    if found in (*manifest.defects, GOOD):
        return found
    if not isinstance(wanted, str) or not is_safe_name(wanted) or wanted.casefold() in RESERVED_NAMES:
        raise UserError(
            f"defect {describe(wanted)}: expected a name usable as a folder for the pairs of your prompt, "
            f"other than {', '.join(RESERVED_NAMES[1:])}"
        )
    return wanted
