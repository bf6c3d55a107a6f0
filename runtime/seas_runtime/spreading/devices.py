"""Which devices of this machine make pairs: a GPU each, or a group of the processor's cores."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from seas_runtime.backends.cores import usable_cores
from seas_runtime.backends.cuda.device import count_cuda_devices
from seas_runtime.errors import UserError

ALL = "all"
ON_PROCESSOR = ("cpu", "openvino")
EXPECTED = "expected all, GPUs such as 0,1,3, or cores:2 for two groups of the processor's cores"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Device:
    """What one worker runs on."""

    name: str
    gpu: str | None = None
    """As `CUDA_VISIBLE_DEVICES` names it."""
    cores: tuple[int, ...] = ()
    """Logical cores that it is kept to, where they are shared out."""
    threads: int | None = None

    def take(self) -> None:
        """Keep this process to the device; before anything of CUDA is used."""
        if self.gpu is not None:
            os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
            os.environ[_VISIBLE] = self.gpu
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)


def find_devices(asked: str, backend: str, threads: int | None = None) -> list[Device]:
    """Return the devices that `--devices` asks for, of a backend that is no longer `auto`.

    Raises UserError for words that name none, and devices that the backend or this machine has not.
    """
    words = asked.strip().lower()
    on_processor = backend.partition(":")[0] in ON_PROCESSOR
    if groups := re.fullmatch(r"cores:([0-9]{1,4})", words):
        if not on_processor:
            raise UserError(f"--devices {asked}: backend {backend} runs on GPUs; give all, or some as 0,1,3")
        return _groups(int(groups[1]), asked, threads)
    if words == ALL and on_processor:
        return [Device("processor", threads=threads)]
    if words != ALL and not re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", words):
        raise UserError(f"--devices {asked}: {EXPECTED}")
    if on_processor:
        raise UserError(
            f"--devices {asked}: numbers name GPUs, and backend {backend} runs on the processor; give "
            "--devices cores:2 for two groups of its cores, or another --backend"
        )
    return _gpus(words, asked, threads)


def _gpus(words: str, asked: str, threads: int | None) -> list[Device]:
    count = count_cuda_devices()
    wanted = list(range(count)) if words == ALL else [int(word) for word in words.split(",")]
    missing = [number for number in wanted if number >= count]
    if missing or not wanted:
        found = f"{count} GPUs, 0 to {count - 1}" if count > 1 else "one GPU, 0" if count else "none"
        raise UserError(f"--devices {asked}: expected GPUs of this machine, found {found}; choose among them")
    if len(set(wanted)) != len(wanted):
        raise UserError(f"--devices {asked}: expected each GPU once; one process fills it")
    names = _visible(count)
    return [Device(f"GPU {number}", names[number], threads=threads) for number in wanted]


def _visible(count: int) -> Sequence[str]:
    """Return what this process calls its GPUs, which others may be hidden from."""
    given = [name for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()]
    return given if len(given) >= count else [str(number) for number in range(count)]


def _groups(count: int, asked: str, threads: int | None) -> list[Device]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    most = usable_cores()
    if not 1 <= count <= most:
        raise UserError(
            f"--devices {asked}: expected 1 to {most} groups, as many as this machine has cores for us; "
            "give fewer"
        )
    shares = [tuple(cores[len(cores) * i // count : len(cores) * (i + 1) // count]) for i in range(count)]
    return [
        Device(f"cores {i}", cores=share, threads=threads or max(1, most // count))
        for i, share in enumerate(shares)
    ]
