"""A request with the bundle's defaults filled in, refused where the bundle has not what it asks for."""

from __future__ import annotations

from dataclasses import replace

from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import describe
from seas_runtime.manifest.types import GOOD, STEP
from seas_runtime.methods.request import Request
from seas_runtime.methods.table import find_method


def resolve(request: Request, bundle: Bundle) -> Request:
    """Return `request` with every option given.

    Raises UserError for a defect, sampler or steps that the bundle has not, and options of another method.
    """
    manifest, sampling = bundle.manifest, request.sampling
    known = (*manifest.defects, GOOD)
    if request.defect not in known:
        raise UserError(
            f"defect {describe(request.defect)}: the bundle does not have it; "
            f"expected one of {', '.join(known)}"
        )
    kind = find_method(manifest.method).options
    options = kind() if request.options is None else request.options
    if not isinstance(options, kind):
        raise UserError(
            f"options: expected {kind.__name__}, those of method {manifest.method}, found {describe(options)}"
        )
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
    return replace(request, sampling=filled, options=options)
