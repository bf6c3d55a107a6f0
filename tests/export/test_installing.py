"""What is advised to install can be installed, and brings one ONNX Runtime."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from seas_export.machine.wheelhouse import collect
from seas_runtime.errors import UserError
from seas_runtime.installing import advice, hidden, hidden_package, install, one_onnxruntime

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli", reason="tomli is not installed")

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNTIMES = {"onnxruntime", "onnxruntime-gpu"}
ON_A_GPU = ("cuda", "gpu", "dev-gpu")
WITHOUT = ("runtime", "export", "engines", "dev")
BESIDE = ("openvino", "tensorrt", "rtx", "train", "lora", "verify", "sign", "report")


def resolve(*extras: str) -> set[str]:
    """The distributions that extras bring, those of ours from pyproject.toml, of others as installed here."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    pending = [Requirement(f"seas-export[{','.join(extras)}]")]
    while pending:
        need = pending.pop()
        name = canonicalize_name(need.name)
        for extra in ("", *need.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name == "seas-export":
                lines = EXTRAS[extra] if extra else PROJECT["dependencies"]
                pending += map(Requirement, lines)
                continue
            found.add(name)
            if name in RUNTIMES:  # of which one at most is installed here
                continue
            try:
                lines = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue
            inner = map(Requirement, lines)
            pending += [
                item for item in inner if item.marker is None or item.marker.evaluate({"extra": extra})
            ]
    return found


@pytest.mark.parametrize("first", ON_A_GPU)
@pytest.mark.parametrize("beside", [None, *ON_A_GPU, *BESIDE])
def test_extras_of_a_gpu_box_resolve_to_the_one_onnxruntime_that_uses_it(
    first: str, beside: str | None
) -> None:
    extras = (first,) if beside is None else (first, beside)
    assert resolve(*extras) & RUNTIMES == {"onnxruntime-gpu"}


@pytest.mark.parametrize("extras", itertools.combinations(WITHOUT, 2), ids=",".join)
def test_extras_of_other_boxes_resolve_to_the_other_one(extras: tuple[str, ...]) -> None:
    assert resolve(*extras) & RUNTIMES == {"onnxruntime"}


@pytest.mark.parametrize(("gpu", "cpu"), [("gpu", "export"), ("gpu", "engines"), ("dev-gpu", "dev")])
def test_a_gpu_box_lacks_nothing_that_the_others_have(gpu: str, cpu: str) -> None:
    assert resolve(cpu) - RUNTIMES <= resolve(gpu) - RUNTIMES


@pytest.mark.skipif(
    "SEAS_NETWORK_TESTS" not in os.environ, reason="needs a network: set SEAS_NETWORK_TESTS=1"
)
@pytest.mark.parametrize("extras", ["gpu", "gpu,rtx,openvino", "dev-gpu", "cuda,tensorrt", "runtime,jetson"])
@pytest.mark.parametrize("python", ["3.10", "3.12"])
def test_an_installer_resolves_them_to_one(extras: str, python: str) -> None:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--python-version", python]
    command += [
        "--extra",
        *",".join(extras.split(",")).replace(",", ",--extra,").split(","),
        "pyproject.toml",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^onnxruntime(?:-gpu)?==", done.stdout, re.M)) == 1


@pytest.mark.parametrize(
    "extras", [("export", "cuda"), ("engines", "gpu"), ("dev", "cuda"), ("runtime", "cuda")]
)
def test_a_wheelhouse_with_both_is_refused(extras: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--extras .*: expected one ONNX Runtime"):
        collect("linux-x86", tmp_path / "house", extras=extras)


# --- advice


def test_a_clone_is_told_to_install_from_itself() -> None:
    assert install("export", "rtx") == f"pip install -e '.[export,rtx]' in {ROOT}"
    assert one_onnxruntime("gpu").endswith(f"onnxruntime onnxruntime-gpu, then {install('gpu')}")


def test_elsewhere_the_wheel_is_named_that_a_clone_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "_SOURCE", Path("/usr/lib/python3/site-packages"))
    monkeypatch.setattr(metadata, "version", lambda name: "0.1.0")
    assert install("runtime").startswith(
        "pip install 'seas_export-0.1.0-py3-none-any.whl[runtime]' with the wheel"
    )
    assert "make wheel" in install("runtime")


def test_the_systems_python_is_told_to_make_an_environment_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "python3 -m venv" not in install("runtime")
    monkeypatch.setattr(advice, "is_externally_managed", lambda: True)
    assert "first make a virtual environment" in install("runtime")


def test_a_python_is_the_systems_where_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice.sysconfig, "get_path", lambda *_: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    assert not advice.is_externally_managed()
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert advice.is_externally_managed()
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert not advice.is_externally_managed()


def test_nothing_advises_a_package_that_no_index_has() -> None:
    """The one place where our name may stand after `pip install` is a folder of wheels."""
    found = []
    for folder in (
        "seas_export",
        "train",
        "engines",
        "runtime",
        "docs",
        "README.md",
        "CONTRIBUTING.md",
        "benchmarks",
    ):
        files = [ROOT / folder] if (ROOT / folder).is_file() else sorted((ROOT / folder).rglob("*"))
        for file in files:
            if file.suffix in (".py", ".md", ".j2", ".yaml") and file.is_file():
                for line in file.read_text(encoding="utf-8").splitlines():
                    if re.search(r"(pip|uv) install\b(?!.*--find-links).*seas-export", line):
                        found.append(f"{file.relative_to(ROOT)}: {line.strip()}")
    assert found == []


def test_the_wheels_name_in_the_pages_is_of_this_version() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        names = re.findall(r"seas_export-([\w.]+)-py3-none-any", page.read_text(encoding="utf-8"))
        assert set(names) <= {PROJECT["version"]}, page


@pytest.mark.parametrize("page", ["README.md", "docs/edge.md"])
def test_pages_install_into_an_environment(page: str) -> None:
    """pip outside of one fails where the system's Python is managed (PEP 668)."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    commands = [line.strip() for line in lines if line.startswith("    ") and "pip install" in line]
    assert commands
    assert [line for line in commands if not line.startswith("seas/bin/pip install")] == []


@pytest.mark.parametrize("target", ["jetson-jp6", "linux-arm64"])
def test_a_wheelhouses_instructions_let_a_jetson_see_its_own_tensorrt(target: str) -> None:
    from seas_export.machine.wheelhouse import TARGETS, _instructions

    text = _instructions(TARGETS[target], "seas-export[runtime]")
    assert ("-m venv --system-site-packages seas" in text) is (target == "jetson-jp6")
    assert "seas/bin/pip install" in text


# --- a system's packages that an environment does not see


def _system(root: Path, version: str) -> Path:
    folder = root / f"usr/lib/python{version}/dist-packages"
    (folder / "trtlike").mkdir(parents=True)
    return folder


OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_plain_environment_hides_what_the_system_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _system(tmp_path, OWN)
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    said = hidden_package("trtlike", tmp_path)
    assert f"in {folder} is hidden from this virtual environment" in said
    assert f"python{OWN} -m venv --system-site-packages" in said


def test_another_python_hides_it_too(tmp_path: Path) -> None:
    _system(tmp_path, "3.4")
    said = hidden_package("trtlike", tmp_path)
    assert f"is for Python 3.4, and this is {OWN}" in said
    assert "python3.4 -m venv --system-site-packages" in said


def test_what_can_be_imported_or_is_not_there_is_not_hidden(tmp_path: Path) -> None:
    assert hidden_package("trtlike", tmp_path) == ""
    _system(tmp_path, OWN)
    (tmp_path / f"usr/lib/python{OWN}/dist-packages/json").mkdir()
    assert hidden_package("json", tmp_path) == ""


def test_auto_and_engines_say_so_instead_of_advising_another_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    from seas_runtime.backends import auto
    from seas_runtime.backends.tensorrt import library

    monkeypatch.setattr(auto, "find_cuda_device", object)
    monkeypatch.setattr(library, "tensorrt_version", lambda target: None)
    monkeypatch.setattr(auto, "hidden_package", lambda name: f"{name} is hidden")
    assert auto._engines("tensorrt", None, None) == "tensorrt is hidden"
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr(library, "hidden_package", lambda name: f"{name} is hidden")
    with pytest.raises(UserError, match="tensorrt is hidden"):
        library.load_tensorrt("tensorrt")


def test_the_systems_folders_are_those_of_debian_and_of_others() -> None:
    assert "/usr/lib/python{version}/dist-packages" in hidden.SYSTEM_FOLDERS
