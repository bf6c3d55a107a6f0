"""How a service is set up: defaults, then a YAML file, then the environment, then the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import read_bytes
from seas_runtime.manifest.fields import describe

PREFIX = "SEAS_SERVE_"
"""Of variables of the environment: `SEAS_SERVE_PORT`."""
SECRETS = ("webhook_secret",)
_FILE_LIMIT = 1 << 20
_HOSTS_OF_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServiceSettings:
    """Raises UserError for a value that cannot be, naming it."""

    bundles: Path
    """A folder of bundles, or of builds: `out`, with `out/PRODUCT/bundle`."""
    state: Path = Path("seas-state")
    """Everything that the service writes lies in it."""
    host: str = "127.0.0.1"
    port: int = 8470
    backends: tuple[str, ...] = ("cpu",)
    """A worker each; `cuda:1` is the backend `cuda` on the second GPU."""
    threads: int | None = None
    """Of each worker; by default the backend's own choice."""
    open_localhost: bool = False
    """Whether this machine's own users are administrators without a token."""
    require_signature: Path | None = None
    """A public key (PEM): bundles that are not signed by its owner are refused."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    max_photograph_mb: float = 64.0
    max_bundle_mb: float = 8192.0
    max_megapixels: float = 64.0
    max_pairs: int = 100_000
    """Of a job, with all of its defects and what `oversample` makes besides."""
    requests_per_second: float = 100.0
    """Of one token or, without one, one address."""
    uploads: int = 8
    """At the same time."""
    streams: int = 200
    """Clients that follow jobs by events, and downloads, at the same time."""
    keep_days: float | None = None
    """Ended jobs are removed after that; None keeps them."""
    keep_gb: float | None = None
    """The oldest ended jobs are removed while all take more; None keeps them."""
    min_free_gb: float = 2.0
    """With less space on the disk no job is taken or goes on."""
    webhook_url: str | None = None
    """Is sent a signed message when a job ends."""
    webhook_secret: str | None = None

    def __post_init__(self) -> None:
        _require(self.host != "", "host", "a name or an address", self.host)
        _require(0 <= self.port <= 65535, "port", "0 to 65535", self.port)
        _require(len(self.backends) > 0, "backends", "one or more names", self.backends)
        _require(self.threads is None or 1 <= self.threads <= 1024, "threads", "1 to 1024", self.threads)
        for name, low, high in _RANGES:
            value = getattr(self, name)
            _require(value is None or low <= value <= high, name, f"{low:g} to {high:g}", value)
        both = (self.tls_certificate is None) == (self.tls_key is None)
        _require(both, "tls_certificate", "a certificate and its key, tls_key", self.tls_certificate)
        if self.webhook_url is not None:
            known = self.webhook_url.startswith(("http://", "https://"))
            _require(known, "webhook_url", "an address of http or https", self.webhook_url)
            _require(bool(self.webhook_secret), "webhook_secret", "a secret to sign with", None)
        if self.open_localhost:
            local = self.host in _HOSTS_OF_THIS_MACHINE
            _require(local, "open_localhost", "a host of this machine alone, such as 127.0.0.1", self.host)

    @property
    def address(self) -> str:
        """Where the page is, for a person on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self.host, self.host)
        return f"{'https' if self.tls_key else 'http'}://{host}:{self.port}"

    @property
    def readable_by_others(self) -> bool:
        """Whether tokens cross a network in the clear."""
        return self.host not in _HOSTS_OF_THIS_MACHINE and self.tls_key is None

    def shown(self) -> dict[str, Any]:
        """Return all settings as JSON values; of a secret only whether there is one."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in SECRETS:
                value = None if value is None else "set"
            elif field.name == "webhook_url" and value is not None:
                value = value.partition("?")[0]  # what follows may be a secret too
            values[field.name] = str(value) if isinstance(value, Path) else value
        return values


_RANGES = (
    ("max_photograph_mb", 0.001, 4096),
    ("max_bundle_mb", 0.001, 65536),
    ("max_megapixels", 0.001, 179),
    ("max_pairs", 1, 10_000_000),
    ("requests_per_second", 0.1, 100_000),
    ("uploads", 1, 1000),
    ("streams", 1, 10_000),
    ("keep_days", 0.001, 36500),
    ("keep_gb", 0.001, 1_000_000),
    ("min_free_gb", 0, 100_000),
)


def load_settings(
    file: Path | None, given: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> ServiceSettings:
    """Return the settings of a YAML file, the environment's variables, and what was `given`; later ones win.

    Raises UserError naming the file, the variable or the option that is wrong.
    """
    known = {field.name: str(field.type) for field in fields(ServiceSettings)}
    values: dict[str, Any] = {}
    if file is not None:
        for name, value in _read(file).items():
            _require(name in known, f"{file}", f"one of {', '.join(known)}", name)
            values[name] = _value(known[name], value, f"{file}: {name}")
    for variable, text in (os.environ if environment is None else environment).items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX):
            _require(name in known, variable, f"{PREFIX} and one of {', '.join(known)}", name)
            values[name] = _value(known[name], text, variable)
    for name, value in given.items():
        if value is not None:
            values[name] = _value(known[name], value, f"--{name.replace('_', '-')}")
    if "bundles" not in values:
        raise UserError("--bundles: expected a folder of bundles, found none; give it, such as --bundles out")
    return ServiceSettings(**values)


def _read(file: Path) -> dict[str, Any]:
    import yaml

    data = read_bytes(file, "configuration", _FILE_LIMIT)
    try:
        found = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{file}: expected YAML, found: {' '.join(str(error).split())[:300]}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UserError(f"{file}: expected settings such as `port: 8470`, found {describe(found)}")
    return found


def _value(kind: str, value: Any, where: str) -> Any:
    """Return a value as its setting has it: text of the environment is read as what is expected."""
    optional = kind.endswith(" | None")
    kind = kind.removesuffix(" | None")
    if value is None or (optional and value == ""):
        _require(optional, where, _WORDS[kind], value)
        return None
    if kind == "tuple[str, ...]":
        parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        fine = isinstance(parts, (list, tuple)) and all(isinstance(part, str) and part for part in parts)
        _require(fine, where, _WORDS[kind], value)
        return tuple(parts)
    if kind == "bool" and isinstance(value, str):
        value = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(
            value.lower(), value
        )
    elif kind in ("int", "float") and isinstance(value, str):
        try:
            value = int(value) if kind == "int" else float(value)
        except ValueError:
            _require(False, where, _WORDS[kind], value)
    elif kind == "Path" and isinstance(value, str) and value:
        value = Path(value)
    elif kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    types: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str, "Path": Path}
    right = isinstance(value, types[kind]) and not (isinstance(value, bool) and kind != "bool")
    _require(right and value == value, where, _WORDS[kind], value)
    return value


_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "Path": "a path",
    "tuple[str, ...]": "one or more names, with commas between them",
}


def _require(right: bool, where: str, expected: str, found: object) -> None:
    if not right:
        shown = "another value" if where.lower().replace("-", "_").endswith(SECRETS) else describe(found)
        raise UserError(f"{where}: expected {expected}, found {shown}")
