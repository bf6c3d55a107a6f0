"""What can be generated from and into: the bundles that are there, and the photographs that were uploaded."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from seas_runtime.bundle.archive import unpack_bundle
from seas_runtime.bundle.reading import MANIFEST_NAME, Bundle, read_manifest_file
from seas_runtime.bundle.signature import check_signature_file
from seas_runtime.errors import UserError
from seas_runtime.files import os_errors
from seas_runtime.manifest.fields import is_safe_name
from seas_runtime.manifest.types import ENCODE_IMAGE, Manifest
from seas_runtime.photographs.decode import FORMATS
from seas_runtime.photographs.quiet import quiet_decoders
from seas_runtime.photographs.reading import IMAGE_SUFFIXES, read_photograph
from seas_runtime.service.refusals import Conflict, NotThere
from seas_runtime.service.settings import ServiceSettings
from seas_runtime.service.state.folder import StateFolder

LEAST_SIDE = 16
"""Pixels of a photograph: nothing can be drawn into a smaller one."""
MOST_IN_A_SET = 10_000
_READ_BUNDLES = 2
_MOST_BUNDLES = 1000
_ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "DIB": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}


@dataclass(frozen=True)
class Found:
    """A bundle that is there; `refused` says why it is not used."""

    path: Path
    fingerprint: str
    manifest: Manifest
    refused: str | None

    def shown(self) -> dict[str, Any]:
        """Return what the API says of it."""
        manifest = self.manifest
        carried = sum(1 for name in manifest.files if name.startswith("backgrounds/"))
        return {
            "id": self.fingerprint,
            "product": manifest.product,
            "label": manifest.shown_product,
            "defects": [{"name": name, "label": manifest.label(name)} for name in manifest.defects],
            "size": [manifest.image.width, manifest.image.height],
            "method": manifest.method,
            "precision": manifest.precision,
            "sampler": {"name": manifest.sampler.name, "steps": manifest.sampler.steps},
            "guidance": manifest.sampler.guidance,
            "draws_into_photographs": ENCODE_IMAGE in manifest.graphs,
            "photographs": carried,
            "parity": dict(manifest.parity),
            "licences": [{"name": one.name, "of": one.applies_to} for one in manifest.licences],
            "refused": self.refused,
        }


class Bundles:
    """The bundles of `--bundles` and those that were uploaded, by fingerprint."""

    def __init__(self, settings: ServiceSettings, state: StateFolder) -> None:
        self._settings, self._state = settings, state
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[tuple[int, int, int], Found]] = {}
        self._read: OrderedDict[str, Bundle] = OrderedDict()

    def all(self) -> list[Found]:
        """Return all bundles that are there, by product."""
        found: dict[str, Found] = {}
        for path in self._folders():
            try:
                one = self._look(path)
            except UserError:
                continue  # half a build, or none of ours
            found.setdefault(one.fingerprint, one)
        return sorted(found.values(), key=lambda one: (one.manifest.product, one.fingerprint))

    def get(self, fingerprint: str) -> Found:
        """Return the bundle of a fingerprint; UserError where there is none or it is refused."""
        for one in self.all():
            if one.fingerprint == fingerprint:
                if one.refused:
                    raise UserError(one.refused)
                return one
        raise NotThere("bundle: there is none of that fingerprint here (any more)")

    def read(self, fingerprint: str) -> Bundle:
        """Return a bundle's content, without its hashes: who generates from it checks them."""
        found = self.get(fingerprint)
        with self._lock:
            content = self._read.pop(fingerprint, None) or Bundle.read(found.path, verify=False, every=False)
            if content.fingerprint != fingerprint:
                raise UserError("bundle: it is being written; ask again")
            self._read[fingerprint] = content
            while len(self._read) > _READ_BUNDLES:
                self._read.popitem(last=False)
            return content

    def take(self, archive: Path) -> Found:
        """Unpack and keep an uploaded bundle, checked as `unpack` does; UserError says what is wrong."""
        with self._state.scratch("bundle") as scratch:
            named = scratch / "upload.zip"
            archive.replace(named)
            try:
                content = unpack_bundle(
                    named, scratch / "bundle", require_signature=self._settings.require_signature
                )
            except UserError as error:
                raise UserError(str(error).replace(f"{scratch}{os.sep}", "")) from None
            target = self._state.bundles / content.fingerprint[:16]
            if not target.exists():
                with os_errors(target):
                    (scratch / "bundle").replace(target)
        return self._look(target)

    def _folders(self) -> Iterator[Path]:
        places = [
            self._settings.bundles,
            *_folders_in(self._settings.bundles),
            *_folders_in(self._state.bundles),
        ]
        for place in places[:_MOST_BUNDLES]:
            for folder in (place, place / "bundle"):
                if (folder / MANIFEST_NAME).is_file():
                    yield folder
                    break

    def _look(self, path: Path) -> Found:
        with os_errors(path, "read"):
            found = (path / MANIFEST_NAME).stat()
        stamp = found.st_mtime_ns, found.st_size, found.st_ino
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        manifest, fingerprint = read_manifest_file(path)
        one = Found(path, fingerprint, manifest, self._refused(path, manifest, fingerprint))
        with self._lock:
            self._known[path] = stamp, one
        return one

    def _refused(self, path: Path, manifest: Manifest, fingerprint: str) -> str | None:
        key = self._settings.require_signature
        if key is None:
            return None
        try:
            check_signature_file(path, manifest, fingerprint, key)
        except UserError as error:
            return f"bundle: {str(error).replace(str(path), manifest.product)}"
        return None


class Photographs:
    """Sets of normal photographs: a folder each."""

    def __init__(self, settings: ServiceSettings, state: StateFolder) -> None:
        self._settings, self._state = settings, state

    def sets(self) -> list[dict[str, Any]]:
        """Return the sets' names and how many photographs they hold."""
        folders = _folders_in(self._state.sets)
        return [{"name": folder.name, "photographs": len(_pictures(folder))} for folder in folders]

    def names(self, name: str) -> list[str]:
        """Return a set's photographs; UserError where there is none of that name."""
        folder = self._state.photographs(name)
        if not folder.is_dir():
            raise NotThere("photographs: there is no set of that name; upload some into it first")
        return [file.name for file in _pictures(folder)]

    def file(self, name: str, picture: str) -> Path:
        """Return a photograph's file; UserError where there is none of that name."""
        if picture not in self.names(name):
            raise NotThere("photograph: there is none of that name in the set")
        return self._state.photographs(name) / picture

    def sizes(self, name: str) -> dict[str, tuple[int, int]]:
        """Return width and height of a set's upright photographs by name; nothing but headers is read."""
        folder, found = self._state.photographs(name), {}
        for picture in self.names(name):
            with quiet_decoders(), Image.open(folder / picture, formats=list(FORMATS)) as opened:
                width, height = opened.size
                turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            found[picture] = (height, width) if turned else (width, height)
        return found

    def take(self, upload: Path, name: str, picture: str) -> dict[str, Any]:
        """Check an uploaded photograph and put it into a set; UserError says what is wrong with it."""
        folder = self._state.photographs(name)
        stem, ending = Path(picture).stem, Path(picture).suffix
        if (
            Path(picture).name != picture
            or not is_safe_name(stem)
            or stem.startswith(".")
            or ending.lower() not in IMAGE_SUFFIXES
        ):
            raise UserError(
                f"name: expected a plain file name with one of {', '.join(sorted(IMAGE_SUFFIXES))} at its end"
            )
        width, height = self.check(upload)
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if len(_pictures(folder)) >= MOST_IN_A_SET:
                raise UserError(f"photographs: a set holds {MOST_IN_A_SET} at most; begin another one")
            target = folder / picture
            if target.exists() and target.read_bytes() != upload.read_bytes():
                raise Conflict(
                    "name: there is another photograph of that name in the set; choose another name"
                )
            upload.replace(target)
        return {"set": name, "name": picture, "width": width, "height": height}

    def check(self, upload: Path) -> tuple[int, int]:
        """Return width and height of a photograph; UserError for none, and for one of a size out of bounds.

        Its size is looked at before anything is decoded.
        """
        limit = self._settings.max_megapixels
        try:
            with quiet_decoders(), Image.open(upload, formats=list(FORMATS)) as opened:
                width, height = opened.size
                kind = opened.format or ""
        except Image.DecompressionBombError:
            raise UserError(f"photograph: expected at most {limit:g} megapixels, found more") from None
        except Exception:  # Pillow raises nearly anything on files that are no pictures
            raise UserError(
                "photograph: expected a picture (PNG, JPEG, TIFF, BMP or WebP), found none"
            ) from None
        if kind not in _ENDINGS:
            raise UserError("photograph: expected PNG, JPEG, TIFF, BMP or WebP, found another format")
        if width * height > limit * 1e6:
            raise UserError(f"photograph: expected at most {limit:g} megapixels, found {width} x {height}")
        if min(width, height) < LEAST_SIDE:
            raise UserError(
                f"photograph: expected {LEAST_SIDE} x {LEAST_SIDE} pixels at least, found {width} x {height}"
            )
        try:
            whole = read_photograph(upload)
        except UserError as error:
            raise UserError(f"photograph: {str(error).partition(': ')[2]}") from None
        return whole.width, whole.height

    def link(self, name: str, target: Path) -> None:
        """Give a job the photographs of a set as they are now: hard links, or copies where there are none."""
        import shutil

        source = self._state.photographs(name)
        names = self.names(name)
        if not names:
            raise UserError("photographs: the set is empty; upload some into it first")
        with os_errors(target):
            target.mkdir()
            for picture in names:
                try:
                    os.link(source / picture, target / picture)
                except OSError:
                    shutil.copyfile(source / picture, target / picture)


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []
