"""Power mode, clocks and temperatures, read from a tree that looks like a board's."""

from __future__ import annotations

from pathlib import Path

import pytest

from seas_export.machine.power import PowerReading, PowerWatch


def write(root: Path, name: str, text: object) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A Jetson's files, at ease."""
    for core in (0, 1):
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", 1_500_000 + core)
        write(tmp_path, f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq", 2_201_600)
    write(tmp_path, "sys/class/devfreq/17000000.gpu/cur_freq", 1_300_500_000)
    write(tmp_path, "sys/class/devfreq/17000000.gpu/max_freq", 1_300_500_000)
    for index, (name, heat) in enumerate((("cpu-thermal", 48_500), ("gpu-thermal", 51_250))):
        zone = f"sys/class/thermal/thermal_zone{index}"
        write(tmp_path, f"{zone}/type", name)
        write(tmp_path, f"{zone}/temp", heat)
        write(tmp_path, f"{zone}/trip_point_0_type", "critical")
        write(tmp_path, f"{zone}/trip_point_0_temp", 104_500)
        write(tmp_path, f"{zone}/trip_point_1_type", "passive")
        write(tmp_path, f"{zone}/trip_point_1_temp", 99_000)
    return tmp_path


def watch(root: Path, mode: str | None = None, smi: str | None = None) -> PowerReading:
    said = {"nvpmodel": mode, "nvidia-smi": smi}
    with PowerWatch(every=60, root=root, ask=lambda words: said[words[0]]) as found:
        pass
    return found.reading


def test_a_board_at_ease(board: Path) -> None:
    found = watch(board, "NV Power Mode: MAXN\n0\n")
    assert found.power_mode == "MAXN"
    assert found.cpu_clock == (1500.0, 1500.001)
    assert (found.cpu_clock_limit, found.gpu_clock_limit) == (2201.6, 1300.5)
    assert found.gpu_clock == (1300.5, 1300.5)
    assert found.temperatures == {"cpu-thermal": 48.5, "gpu-thermal": 51.25}
    assert found.warnings == ()
    said = found.to_text()
    assert said == (
        "power mode MAXN; CPU 1500 to 1500 of 2202 MHz; GPU 1300 to 1300 of 1300 MHz; "
        "at most 51 °C (gpu-thermal)"
    )


def test_a_slow_mode_heat_and_a_low_clock_are_warned_of(board: Path) -> None:
    write(board, "sys/class/devfreq/17000000.gpu/cur_freq", 306_000_000)
    write(board, "sys/class/thermal/thermal_zone1/temp", 99_500)
    warnings = " | ".join(watch(board, "NV Power Mode: MODE_15W\n2\n").warnings)
    assert "power mode MODE_15W is not the board's fastest" in warnings
    assert "the GPU's clock stayed at 306 of 1300 MHz" in warnings
    assert "gpu-thermal reached 100 °C" in warnings
    assert "cpu-thermal" not in warnings


def test_cores_that_were_slowed_meanwhile_are_counted(board: Path) -> None:
    counter = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    write(board, counter, 7)
    with PowerWatch(every=60, root=board, ask=lambda words: None) as found:
        write(board, counter, 10)
    assert found.reading.throttled == 3
    assert "slowed for heat 3 times" in found.reading.warnings[0]


def test_a_card_is_asked_through_nvidia_smi(tmp_path: Path) -> None:
    found = watch(tmp_path, smi="2520, 2610, 71, 240.51, 0x0000000000000024\n")
    assert found.gpu_clock == (2520.0, 2520.0)
    assert found.temperatures == {"GPU": 71.0}
    assert found.warnings == ("the GPU was slowed: heat (software), power cap",)
    idle = watch(tmp_path, smi="2520, 2610, 71, 240.51, 0x0000000000000001\n")
    assert idle.warnings == ()


@pytest.mark.parametrize("smi", [None, "", "[N/A], [N/A], 40, [N/A], 0x0\n", "no devices\n"])
def test_a_machine_that_tells_nothing(tmp_path: Path, smi: str | None) -> None:
    found = watch(tmp_path, smi=smi)
    assert found.to_text() is None
    assert found.warnings == ()
    assert found.throttled is None
