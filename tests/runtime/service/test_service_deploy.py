"""What `deploy/` and the documentation say of the service is so."""

from __future__ import annotations

import configparser
import re
from dataclasses import fields
from pathlib import Path

import pytest

from seas_runtime.service.settings import ServiceSettings, load_settings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
CONTAINERS = sorted(DEPLOY.glob("Containerfile.*"))
INSTRUCTIONS = {"FROM", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
INSTRUCTIONS |= {"ENTRYPOINT", "CMD"}


def test_the_settings_to_copy_are_settings() -> None:
    found = load_settings(DEPLOY / "seas-export.yaml", {}, {})
    assert (found.port, found.backends, found.keep_days) == (8470, ("cpu",), 90.0)


def test_the_documentation_names_every_setting_and_its_default() -> None:
    text = (ROOT / "docs/service.md").read_text(encoding="utf-8")
    table = text[text.index("## Settings") : text.index("## It stays up")]
    for field in fields(ServiceSettings):
        assert f"`{field.name}`" in table, field.name
    for number in ("8470", "8192", "100000", "200"):
        assert number in table


def test_the_unit_runs_the_service_and_knows_how_it_ends() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(DEPLOY / "seas-export.service")
    service = unit["Service"]
    assert " serve --config /etc/seas-export.yaml" in service["ExecStart"]
    assert service["SuccessExitStatus"] == "143"
    assert int(service["TimeoutStopSec"]) > 10
    assert unit["Install"]["WantedBy"]


@pytest.mark.parametrize("file", CONTAINERS, ids=lambda file: file.name)
def test_containerfiles_are_well_formed_and_install_what_there_is(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.M)).strip().splitlines()
    assert lines[0].startswith("FROM ")
    assert {line.split()[0] for line in lines} <= INSTRUCTIONS
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = re.findall(r"\)\[([\w,]+)\]|whl\)\"?\[([\w,]+)\]|\)\"\[([\w,]+)\]", text)
    named = {extra for found in extras for part in found for extra in part.split(",") if extra}
    assert {"verify"} < named
    for extra in named:
        assert re.search(rf"^{extra} = \[", project, re.M), extra
    assert any(line.startswith("USER seas") for line in lines)  # not root
    assert '"seas-export", "serve"' in text
