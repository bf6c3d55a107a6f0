"""How long, and in how much memory, a checkpoint of the authors' at SD 1.4's size becomes a pair.

    python benchmarks/import_sd14.py models/sd14

Takes a base of SD 1.4's shapes (its weights may be random: memory and time do not depend on them), writes
from it what the authors' training leaves behind (U-Net and text encoder as `.bin`, added tokens, a mask
head), renders a few normals of the sample product at the base's size, and runs `import-seas`, `export` and
`generate` as commands of their own. Of each: seconds and the largest resident set of its process. Exits with
1 where a command fails or takes more than 24 GiB.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.packages import child_environment

ROOT = Path(__file__).resolve().parent.parent
BAR_GIB = 24.0
DEFECTS = ("broken_large", "broken_small")
STEPS = 4
NORMALS = 4
# Runs in a process of its own, so that its memory is not counted with any command's.
_WRITE = """
import json, shutil, sys, torch
from pathlib import Path
from seas_train.bases.base import load_base
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.taps import TapGeometry
source, target, words = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
base = load_base(source)
generation = target / "generation-checkpoint"
generation.mkdir(parents=True)
for name in ("scheduler", "tokenizer"):
    getattr(base, name).save_pretrained(generation / name)
base.tokenizer.add_tokens(list(words))
base.tokenizer.save_pretrained(generation / "tokenizer")
base.text_encoder.resize_token_embeddings(len(base.tokenizer))
for name, model, file in (
    ("unet", base.unet, "diffusion_pytorch_model.bin"),
    ("text_encoder", base.text_encoder, "pytorch_model.bin"),
):
    (generation / name).mkdir()
    torch.save(model.state_dict(), generation / name / file)
    if name == "unet":
        model.save_config(generation / name)
    else:
        model.config.save_pretrained(generation / name)
index = {"_class_name": "StableDiffusionPipeline"}
(generation / "model_index.json").write_text(json.dumps(index))
geometry = base.geometry
taps = TapGeometry.of(base.unet, base.vae)
head = MaskHead(MaskHeadArchitecture(taps.coarse, taps.fine, taps.vae))
(target / "mask-checkpoint").mkdir()
torch.save(head.state_dict(), target / "mask-checkpoint" / "rmp")
print(json.dumps({
    "image_size": geometry.image_size,
    "parameters": {name: sum(p.numel() for p in model.parameters()) for name, model in (
        ("unet", base.unet), ("vae", base.vae), ("text_encoder", base.text_encoder), ("mask_head", head))},
}))
"""


def main() -> int:
    """Measure, print and write the result."""
    parser = result_parser("import_sd14", __doc__)
    parser.add_argument("base", type=Path, help="folder of SD 1.4's shapes in diffusers' format")
    parser.add_argument("--work", type=Path, help="folder for about 15 GB of files; a temporary one else")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="import-sd14-", dir=arguments.work))
    try:
        result = measure(arguments.base, work)
    except (CheckFailed, UserError) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    write_result(arguments.out, result)
    print(json.dumps(result, indent=2))
    within = all(command["peak_gib"] <= BAR_GIB for command in result["commands"].values())
    return 0 if within else 1


def measure(base: Path, work: Path) -> dict[str, Any]:
    """Write the authors' files and the photographs, then run the three commands."""
    tokens = ["ob1", *(f"sks{number}" for number in range(1, 4 * len(DEFECTS) + 1))]
    written, _ = _timed([sys.executable, "-c", _WRITE, base, work, *tokens])
    about = json.loads(written.splitlines()[-1])
    _photographs(work / "data", about["image_size"])
    seas = [sys.executable, "-m", "seas_export"]
    named = [word for defect in DEFECTS for word in ("--defect", defect)]
    commands = {
        "import-seas": [
            *seas,
            "import-seas",
            *("--generation", work / "generation-checkpoint", "--mask", work / "mask-checkpoint" / "rmp"),
            *("--base", base, "--product", "bottle", "--data", work / "data", "--out", work / "checkpoint"),
            *named,
        ],
        "export": [
            *seas,
            "export",
            work / "checkpoint",
            *("--out", work / "bundle", "--steps", STEPS, "--no-parity"),
        ],
        "generate": [
            *seas,
            *("generate", work / "bundle", "--defect", DEFECTS[0], "--count", 1, "--steps", STEPS),
            *("--batch", 1, "--no-gate", "--out", work / "dataset"),
        ],
    }
    measured = {}
    for name, command in commands.items():
        _, measured[name] = _timed(command)
        print(f"{name}: {measured[name]}", file=sys.stderr)
    made = list((work / "dataset").glob(f"test/{DEFECTS[0]}/*.png"))
    if len(made) != 1:
        raise CheckFailed(f"generate: expected one picture, found {len(made)}")
    return {
        "base": about,
        "normals": NORMALS,
        "steps": STEPS,
        "parity": "not measured",
        "bar_gib": BAR_GIB,
        "disk_gb": {
            name: round(sum(f.stat().st_size for f in (work / name).rglob("*") if f.is_file()) / 1e9, 2)
            for name in ("checkpoint", "bundle")
        },
        "commands": measured,
    }


def _photographs(data: Path, size: int) -> None:
    """A few normals of the sample product, at the base's size."""
    code = (
        "import sys; from pathlib import Path; from seas_train.sample.write import write_sample\n"
        "write_sample(Path(sys.argv[1]), size=int(sys.argv[2]), train_good=int(sys.argv[3]), test_good=1, "
        "defective=3)"
    )
    _timed([sys.executable, "-c", code, data, size, NORMALS])


def _timed(command: list[object]) -> tuple[str, dict[str, float]]:
    """Run a command; what it printed, and its seconds and peak resident memory in GiB."""
    environment = child_environment()
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([str(word) for word in command], stdout=said, cwd=ROOT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        printed = said.read()
    if process.returncode != 0:
        words = " ".join(str(word) for word in command[1:4])
        raise CheckFailed(f"{words[:80]}: ended with {process.returncode}")
    figures = {"seconds": round(seconds, 1), "peak_gib": round(usage.ru_maxrss / 2**20, 2)}
    return printed, {**figures, "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1)}


if __name__ == "__main__":
    sys.exit(main())
