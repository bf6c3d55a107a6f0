"""What doctor finds, and what it says to install."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import seas_export.machine.doctor as doctor
import seas_export.machine.machine as machine
from seas_export.machine.imports import broken_imports
from seas_runtime.installing import command, install
from tests.export.commands import Run


def _with(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], requires: list[str]) -> doctor.Diagnosis:
    """A diagnosis of an environment that holds these distributions."""

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    return doctor.diagnose(quick=True)


def _job(found: doctor.Diagnosis, commands: str) -> doctor.Job:
    return next(job for job in found.jobs if commands in job.commands)


def test_an_edge_box_can_generate_and_is_told_how_to_train(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _with(monkeypatch, {"onnxruntime": "1.20.0"}, ['onnxruntime>=1.18; extra == "runtime"'])
    assert _job(found, "generate").ready
    train = _job(found, "train")
    assert not train.ready
    assert "torch" in train.missing
    assert train.install == command("train")


def test_a_package_that_is_too_old_is_named_with_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _with(monkeypatch, {"onnxruntime": "1.9.1"}, ['onnxruntime>=1.18; extra == "runtime"'])
    assert _job(found, "generate").old == ("onnxruntime 1.9.1 (needs 1.18)",)


def test_nvidias_builds_of_torch_are_as_new_as_their_base(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ['torch>=2.8; extra == "train"']
    found = _with(monkeypatch, {"torch": "2.8.0a0+34c6371d24.nv25.08"}, requires)
    assert _job(found, "train").old == ()
    found = _with(monkeypatch, {"torch": "2.7.1+cu128"}, requires)
    assert _job(found, "train").old == ("torch 2.7.1+cu128 (needs 2.8)",)


def test_an_edge_box_without_our_libraries_is_diagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("packaging", "packaging.requirements", "pip._vendor.packaging.requirements", "psutil"):
        monkeypatch.setitem(sys.modules, name, None)
    found = _with(monkeypatch, {"onnxruntime": "1.9.1"}, ['onnxruntime>=1.18; extra == "runtime"'])
    assert _job(found, "generate").ready
    assert (found.machine.memory or 0) > 2**28
    assert found.machine.memory_available is None


def test_onnxruntime_under_another_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _with(monkeypatch, {"onnxruntime-gpu": "1.20.0"}, [])
    assert _job(found, "generate").ready
    assert found.backends == {"onnxruntime-gpu": "1.20.0"}


def test_two_onnxruntimes_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _with(monkeypatch, {"onnxruntime-gpu": "1.20.0", "onnxruntime": "1.20.0"}, [])
    (line,) = (line for line in found.advice if "More than one ONNX Runtime" in line)
    assert "onnxruntime 1.20.0, onnxruntime-gpu 1.20.0" in line
    assert f"pip uninstall --yes onnxruntime onnxruntime-gpu, then {install('runtime')}" in line


def test_a_machine_with_a_gpu_is_told_of_the_extras_that_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = machine.Gpu("NVIDIA RTX 4090", 24564, "550.54", "8.9")
    monkeypatch.setattr(machine, "_gpus", lambda: (gpu,))
    found = _with(monkeypatch, {"onnxruntime-gpu": "1.20.0", "onnxruntime": "1.20.0"}, [])
    assert _job(found, "build").install == command("gpu")
    assert _job(found, "engine --target rtx").install == command("gpu", "rtx")
    assert any(f"then {install('gpu')}" in line for line in found.advice)


def test_doctor_says_why_it_does_not_see_the_systems_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "the system's tensorrt in /usr/lib/python3.10/dist-packages is hidden from this environment"
    monkeypatch.setattr(doctor, "hidden_package", lambda name: why if name == "tensorrt" else "")
    assert any(why in line for line in _with(monkeypatch, {}, []).advice)


def test_doctor_says_that_the_systems_python_takes_no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "is_externally_managed", lambda: True)
    assert any("PEP 668" in line for line in _with(monkeypatch, {}, []).advice)


def test_gpus_are_read_from_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    def smi(*args: Any, **options: Any) -> Any:
        return subprocess.CompletedProcess(args, 0, "NVIDIA RTX 4090, 24564, 550.54, 8.9\nbroken line\n")

    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(machine.subprocess, "run", smi)
    assert machine.describe_machine().gpus == (machine.Gpu("NVIDIA RTX 4090", 24564, "550.54", "8.9"),)


def test_a_failing_nvidia_smi_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def smi(*args: Any, **options: Any) -> Any:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(machine.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(machine.subprocess, "run", smi)
    assert machine.describe_machine().gpus == ()


def test_disk_is_measured_where_a_folder_will_be(tmp_path: Path) -> None:
    found = machine.describe_machine(tmp_path / "not" / "yet").disk_free
    assert found is not None
    assert found > 0


def test_the_command_reports_both_ways(run: Run) -> None:
    facts = run("doctor", "--quick", "--json").json
    assert facts["machine"]["cores"] >= facts["machine"]["usable_cores"] >= 1
    said = run("doctor", "--quick").out
    assert facts["machine"]["python"] in said
    assert "generate, bench, verify, inspect" in said


def _package(folder: Path, name: str, text: str) -> None:
    """An installed package whose import does what `text` does."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)


def test_a_package_that_breaks_crashes_or_hangs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told, and what comes after it is looked at all the same."""
    _package(tmp_path, "broken_one", f"raise RuntimeError('{'x' * 2000} undefined symbol: at_its_end')")
    _package(tmp_path, "crashing", "import os; print('noise'); os.kill(os.getpid(), 11)")
    _package(tmp_path, "hanging", "import time; time.sleep(600)")
    _package(tmp_path, "leaving", "raise SystemExit('go away')")
    _package(tmp_path, "whole", "value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["broken_one", "crashing", "hanging", "leaving", "whole", "whole:value", "whole:nothing"]
    found = broken_imports(names, seconds=5)
    assert list(found) == ["broken_one", "crashing", "hanging", "leaving", "whole:nothing"]
    assert found["broken_one"].endswith("undefined symbol: at_its_end")
    assert "code -11" in found["crashing"]
    assert "does not end within 5 s" in found["hanging"]
    assert "go away" in found["leaving"]


def test_who_imports_a_broken_package_is_not_broken_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As diffusers does xformers: training hides it."""
    _package(
        tmp_path,
        "host_of_it",
        "import importlib.util as u\nif u.find_spec('broken_thing'): import broken_thing",
    )
    _package(tmp_path, "broken_thing", "raise RuntimeError('built for another torch')")
    _package(tmp_path, "crashing_thing", "import os; os.kill(os.getpid(), 11)")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["host_of_it", "broken_thing", "crashing_thing"]
    assert list(broken_imports(names, names[1:])) == names[1:]
    assert "host_of_it" in broken_imports(names)


@pytest.mark.parametrize(
    ("module", "distribution", "ready"),
    [
        ("torchvision", "torchvision", True),
        ("xformers.ops", "xformers", True),
        ("torch.utils.tensorboard", "tensorboard", True),
        ("onnx", "onnx", False),
        ("diffusers:UNet2DConditionModel", "diffusers", False),
    ],
)
def test_what_is_broken_is_told_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, module: str, distribution: str, ready: bool
) -> None:
    """A job is ready without what it can do without."""
    monkeypatch.setattr(doctor, "installed", lambda name: "1.0")
    monkeypatch.setattr(metadata, "requires", lambda name: [])
    monkeypatch.setattr(
        doctor, "broken_imports", lambda modules, dispensable: {module: "RuntimeError: no operator nms"}
    )
    found = doctor.diagnose()
    job = _job(found, "export")
    assert job.ready is ready
    assert job.broken == (() if ready else (distribution,))
    (advice,) = [line for line in found.advice if "broken" in line]
    assert advice.startswith(f"{distribution} is installed but broken (RuntimeError: no operator nms). ")
    assert f"pip install --force-reinstall --no-deps {distribution}" in advice
    assert ("go on without" in advice) is ready


def test_a_backend_that_is_broken_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: "1.0")
    monkeypatch.setattr(
        doctor, "broken_imports", lambda modules, dispensable: {"onnxruntime": "ImportError: libx.so"}
    )
    before = sys.modules.get("onnxruntime")
    found = doctor.diagnose()
    cpu = next(item for item in found.auto if item.backend == "cpu")
    assert (cpu.usable, cpu.why) == (False, "onnxruntime is broken")
    assert sys.modules.get("onnxruntime") is before
    assert not _job(found, "generate").ready
