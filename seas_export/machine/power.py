"""Power mode, clocks and temperatures while something is measured, as far as this machine tells them."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = Path("/")
_SLOW = 0.7
"""A GPU's clock under load below this share of its highest is worth a word."""
_GPU_QUERY = "clocks.sm,clocks.max.sm,temperature.gpu,power.draw,clocks_throttle_reasons.active"
# nvidia-smi's bits (nvml.h, nvmlClocksThrottleReason*): slowed by power or heat, not idle or by choice.
_THROTTLED = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "heat (software)",
    0x40: "heat (hardware)",
    0x80: "power brake",
}


@dataclass(frozen=True)
class PowerReading:
    """What was seen (None or empty: the machine does not tell). Clocks in MHz, temperatures in Celsius."""

    power_mode: str | None
    """nvpmodel's, on a Jetson."""
    cpu_clock: tuple[float, float] | None
    """The lowest and the highest seen."""
    cpu_clock_limit: float | None
    """The highest that the processor has."""
    gpu_clock: tuple[float, float] | None
    gpu_clock_limit: float | None
    temperatures: dict[str, float]
    throttled: int | None
    """How often a core was slowed for heat meanwhile."""
    warnings: tuple[str, ...]
    """What makes the figures doubtful."""

    def to_text(self) -> str | None:
        """One line for a person, or None where nothing is known."""
        words = []
        if self.power_mode is not None:
            words.append(f"power mode {self.power_mode}")
        for name, seen, limit in (
            ("CPU", self.cpu_clock, self.cpu_clock_limit),
            ("GPU", self.gpu_clock, self.gpu_clock_limit),
        ):
            if seen is not None:
                most = "" if limit is None else f" of {limit:.0f}"
                words.append(f"{name} {seen[0]:.0f} to {seen[1]:.0f}{most} MHz")
        if self.temperatures:
            name, hottest = max(self.temperatures.items(), key=lambda item: item[1])
            words.append(f"at most {hottest:.0f} °C ({name})")
        return "; ".join(words) or None


class PowerWatch:
    """Samples clocks and temperatures while its block runs; `reading` afterwards says what was seen."""

    def __init__(
        self, every: float = 1.0, root: Path = _SYSTEM, ask: Callable[[list[str]], str | None] | None = None
    ) -> None:
        self._root, self._every, self._ask = root, every, ask or _run
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._cpu: list[float] = []
        self._gpu: list[float] = []
        self._gpu_limit: float | None = None
        self._temperatures: dict[str, float] = {}
        self._reasons: set[str] = set()
        self._counts: tuple[int | None, int | None] = (None, None)

    def __enter__(self) -> PowerWatch:
        self._counts = (self._throttle_count(), None)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._counts = (self._counts[0], self._throttle_count())

    @property
    def reading(self) -> PowerReading:
        """What was seen, to be asked for after the block."""
        before, after = self._counts
        throttled = None if before is None or after is None else after - before
        mode = self._power_mode()
        limit = max(self._numbers("sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq"), default=None)
        return PowerReading(
            power_mode=mode,
            cpu_clock=(min(self._cpu), max(self._cpu)) if self._cpu else None,
            cpu_clock_limit=None if limit is None else limit / 1000,
            gpu_clock=(min(self._gpu), max(self._gpu)) if self._gpu else None,
            gpu_clock_limit=self._gpu_limit,
            temperatures=dict(sorted(self._temperatures.items())),
            throttled=throttled,
            warnings=tuple(self._warnings(mode, throttled)),
        )

    def _warnings(self, mode: str | None, throttled: int | None) -> list[str]:
        found = []
        if throttled:
            found.append(
                f"processor cores were slowed for heat {throttled} times: cool the box, measure again"
            )
        if self._reasons:
            found.append(f"the GPU was slowed: {', '.join(sorted(self._reasons))}")
        if self._gpu and self._gpu_limit and max(self._gpu) < _SLOW * self._gpu_limit:
            found.append(
                f"the GPU's clock stayed at {max(self._gpu):.0f} of {self._gpu_limit:.0f} MHz; "
                "on a Jetson: sudo jetson_clocks"
            )
        if mode is not None and "MAXN" not in mode.upper():
            found.append(f"power mode {mode} is not the board's fastest; sudo nvpmodel -m 0 chooses MAXN")
        for zone, trip in self._trips().items():
            if (seen := self._temperatures.get(zone, 0.0)) >= trip:
                found.append(f"{zone} reached {seen:.0f} °C, and is slowed from {trip:.0f} °C on")
        return found

    def _watch(self) -> None:
        while True:
            self._sample()
            if self._stop.wait(self._every):
                return

    def _sample(self) -> None:
        self._cpu += [v / 1000 for v in self._numbers("sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")]
        for zone in self._zones():
            name, value = _text(zone / "type"), _number(zone / "temp")
            if name is not None and value is not None and -40_000 < value < 200_000:
                self._temperatures[name] = max(self._temperatures.get(name, -273.0), value / 1000)
        self._sample_gpu()

    def _sample_gpu(self) -> None:
        """A discrete GPU through nvidia-smi, a Jetson's through its frequency device."""
        for folder in self._root.glob("sys/class/devfreq/*"):
            if re.search(r"gpu|gv11b|ga10b|gb10b", folder.name):
                now, limit = _number(folder / "cur_freq"), _number(folder / "max_freq")
                if now is not None:
                    self._gpu.append(now / 1e6)
                    self._gpu_limit = None if limit is None else limit / 1e6
                return
        said = self._ask(["nvidia-smi", f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader,nounits"])
        words = [word.strip() for word in (said or "").splitlines()[0].split(",")] if said else []
        if len(words) != 5:
            return
        with contextlib.suppress(ValueError):
            self._gpu.append(float(words[0]))
            self._gpu_limit = float(words[1])
            self._temperatures["GPU"] = max(self._temperatures.get("GPU", -273.0), float(words[2]))
            active = int(words[4], 16)
            self._reasons |= {text for bit, text in _THROTTLED.items() if active & bit}

    def _throttle_count(self) -> int | None:
        counts = self._numbers("sys/devices/system/cpu/cpu*/thermal_throttle/core_throttle_count")
        return int(sum(counts)) if counts else None

    def _zones(self) -> list[Path]:
        return sorted(self._root.glob("sys/class/thermal/thermal_zone*"))

    def _trips(self) -> dict[str, float]:
        """Where each zone begins to be slowed, in Celsius."""
        trips: dict[str, float] = {}
        for zone in self._zones():
            name = _text(zone / "type")
            for kind in zone.glob("trip_point_*_type"):
                value = _number(kind.with_name(kind.name.replace("_type", "_temp")))
                if name is not None and _text(kind) == "passive" and value is not None and value > 0:
                    trips[name] = min(trips.get(name, 1e9), value / 1000)
        return trips

    def _power_mode(self) -> str | None:
        said = self._ask(["nvpmodel", "-q"])
        match = re.search(r"NV Power Mode:\s*(\S+)", said or "")
        return match[1] if match else None

    def _numbers(self, pattern: str) -> list[float]:
        values = (_number(file) for file in self._root.glob(pattern))
        return [value for value in values if value is not None]


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def _run(command: list[str]) -> str | None:
    """What a command says; None where it is missing, fails or takes too long."""
    tool = shutil.which(command[0])
    if tool is None:
        return None
    try:
        done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
