"""Jobs through the API: the same bytes as `generate`, reviews, corrected masks, downloads, one photograph."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from seas_runtime import DatasetRequest, Generator, Placing, Sampling, write_dataset
from seas_runtime.dataset.formats.convert import Format, convert_dataset
from seas_runtime.outputs.kinds import MARKER
from seas_runtime.photographs.png import encode_png
from seas_runtime.photographs.reading import read_photograph
from seas_runtime.service.box import Box
from seas_runtime.service.state.folder import StateFolder
from tests.runtime.datasets import snapshot
from tests.runtime.placing.photographs import write_photographs
from tests.runtime.service.boxes import client, ended, running, wait_for


def whole(ids: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"bundle": ids["whole"], "defects": ["stain"], "count": 4, "gate": False, **more}


def test_a_job_gives_the_same_bytes_as_generate(
    box: Box, builds: Path, job: dict[str, Any], tmp_path: Path
) -> None:
    assert job["status"] == "done", job["message"]
    assert (job["done"], job["total"]) == (12, 12)
    request = DatasetRequest(("all",), 4, 3, 2, sampling=Sampling(gate=False))
    write_dataset(Generator.open(builds / "bottle/bundle", threads=1), request, tmp_path / "out")
    assert snapshot(box.state.job(job["id"]) / "dataset") == snapshot(tmp_path / "out")


def test_a_job_draws_into_uploaded_photographs_in_a_legal_area(
    box: Box, operator: TestClient, builds: Path, ids: dict[str, str], tmp_path: Path
) -> None:
    write_photographs(tmp_path / "line")
    legal = {"width": 120, "height": 90, "polygons": [[[20, 15], [60, 15], [60, 75], [20, 75]]]}
    new = {"bundle": ids["placed"], "defects": ["stain"], "count": 6, "gate": False, "onto": "line-3"}
    turned = (tmp_path / "line/turned.jpg").read_bytes()
    assert operator.put("/v1/photographs/turned/turned.jpg", content=turned).status_code == 201
    refused = operator.post("/v1/jobs", json={**new, "onto": "turned", "legal": legal})
    assert refused.status_code == 422
    assert "legal: expected the size of the photographs, 90 x 120 of turned.jpg" in refused.json()["error"]
    (tmp_path / "line/turned.jpg").unlink()
    for file in sorted((tmp_path / "line").iterdir()):
        answer = operator.put(f"/v1/photographs/line-3/{file.name}", content=file.read_bytes())
        assert answer.status_code == 201, answer.text
    assert {"name": "line-3", "photographs": 6} in operator.get("/v1/photographs").json()["sets"]
    made = operator.post("/v1/jobs", json={**new, "legal": legal, "seed": 5})
    assert made.status_code == 201, made.text
    operator.put("/v1/photographs/line-3/later.png", content=encode_png(np.zeros((90, 120), np.uint8)))
    done = ended(operator, made.json()["id"])
    assert done["status"] == "done", done["message"]
    folder = box.state.job(done["id"])
    records = [pair.record for pair in box.pairs_of(done["id"]).all()]
    assert len(records) == 6
    assert all(one["placement"]["left"] >= 20 for one in records)
    assert all(one["placement"]["left"] + one["placement"]["width"] <= 61 for one in records)
    generator = Generator.open(builds / "plate/bundle", threads=1)
    generator.draw_onto(tmp_path / "line")
    from seas_runtime import PlacementOptions

    placing = Placing(PlacementOptions(legal=str(folder / "legal.png")))
    asked = DatasetRequest(("stain",), 6, 5, 1, sampling=Sampling(gate=False), placing=placing)
    write_dataset(generator, asked, tmp_path / "out")
    mine, theirs = snapshot(tmp_path / "out"), snapshot(folder / "dataset")
    assert mine == theirs


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"defects": ["scratch"]}, "scratch"),
        ({"bundle": "0" * 64}, "none of that fingerprint"),
        ({"onto": "nowhere"}, "no set of that name"),
        ({"onto": "../etc"}, "small letters"),
        ({"onto": "bundle"}, "carries no photographs"),
        ({"count": 0}, "count"),
        ({"count": 900_000}, "100000 pairs at most"),
        ({"steps": 7}, "no schedule"),
        ({"mask_steps": 4}, "mask_steps"),
        ({"where": "foreground"}, "where: places are of pairs"),
        ({"per_background": [2, 2]}, "places are of pairs"),
        ({"per_background": [0, 2]}, "--per-background: expected NxM"),
        ({"oversample": 2.0}, "no score"),
        ({"surprise": 1}, "surprise"),
        ({"seed": "x"}, "seed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_made_is_refused_before_it_is_queued(
    operator: TestClient, ids: dict[str, str], changes: dict[str, Any], words: str
) -> None:
    before = operator.get("/v1/jobs").json()["counts"]
    answer = operator.post("/v1/jobs", json=whole(ids, **changes))
    assert answer.status_code in (404, 422), answer.text
    assert words in answer.json()["error"]
    assert operator.get("/v1/jobs").json()["counts"] == before


def test_a_job_may_read_fewer_masks(box: Box, operator: TestClient, ids: dict[str, str]) -> None:
    made = operator.post("/v1/jobs", json=whole(ids, count=2, seed=9, mask_steps=1))
    assert made.status_code == 201, made.text
    done = ended(operator, made.json()["id"])
    assert done["status"] == "done", done["message"]
    records = [pair.record for pair in box.pairs_of(done["id"]).all()]
    assert [record["options"] for record in records] == [{"mask_steps": 1}] * 2


def test_pairs_of_a_job_may_share_photograph_and_placement(
    box: Box, operator: TestClient, ids: dict[str, str]
) -> None:
    """[2, 3]: three pairs in a row of a placement, two placements in a row on a photograph."""
    new = {"bundle": ids["placed"], "defects": ["stain"], "count": 8, "gate": False}
    for name, grey in (("a.png", 90), ("b.png", 160)):
        picture = encode_png(np.full((90, 120), grey, np.uint8))
        assert operator.put(f"/v1/photographs/two/{name}", content=picture).status_code == 201
    made = operator.post("/v1/jobs", json={**new, "onto": "two", "per_background": [2, 3]})
    assert made.status_code == 201, made.text
    assert made.json()["request"]["per_background"] == [2, 3]
    done = ended(operator, made.json()["id"])
    assert done["status"] == "done", done["message"]
    records = [pair.record for pair in box.pairs_of(done["id"]).all()]
    placements = [json.dumps(record["placement"]) for record in records]
    assert placements == [placements[index - index % 3] for index in range(8)]
    assert len(set(placements)) == 3
    assert len({record["photograph"] for record in records[:6]}) == 1


def test_progress_is_told_by_events(operator: TestClient, ids: dict[str, str]) -> None:
    made = operator.post("/v1/jobs", json=whole(ids, count=6, seed=8)).json()
    told = []
    with operator.stream("GET", f"/v1/jobs/{made['id']}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert told[-1]["status"] == "done"
    assert [one["done"] for one in told] == sorted(one["done"] for one in told)
    assert len(told[-1]["recent"]) == 6


def test_pairs_are_reviewed_and_taken_away(box: Box, operator: TestClient, job: dict[str, Any]) -> None:
    base = f"/v1/jobs/{job['id']}/pairs"
    page = operator.get(base, params={"limit": 3, "offset": 2, "defect": "stain"}).json()
    assert (page["total"], [pair["index"] for pair in page["pairs"]]) == (4, [2, 3])
    mask = np.zeros((48, 48), np.uint8)
    mask[3:9, 5:20] = 255
    for index in range(4):
        answer = operator.put(f"{base}/stain/{index}/mask", content=encode_png(mask))
        assert answer.status_code == 200, answer.text
    first = read_photograph(box.state.job(job["id"]) / "dataset/ground_truth/stain/000000_mask.png").pixels
    given = operator.get(f"{base}/stain/0/mask").content
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(given))), mask)
    original = operator.get(f"{base}/stain/0/mask", params={"original": True}).content
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(original))), first)  # kept beside it
    for index, verdict in enumerate(["accepted", "rejected", "accepted"]):
        said = operator.put(f"{base}/stain/{index}/review", json={"verdict": verdict, "reason": "seen"})
        assert said.json()["verdict"] == verdict
    operator.put(f"{base}/stain/2/review", json={"verdict": None})
    operator.put(f"{base}/stain/2/review", json={"comment": "unsure"})
    shown = operator.get(f"{base}/stain/2").json()
    assert (shown["verdict"], shown["comment"], shown["reason"]) == (None, "unsure", "seen")
    assert operator.get(base, params={"verdict": "rejected"}).json()["total"] == 1
    names = _zip(operator, job["id"], "mvtec", "accepted")
    assert sorted(name for name in names if name.endswith(".png")) == [
        "ground_truth/stain/000000_mask.png",
        "test/stain/000000.png",
    ]
    taken = np.asarray(Image.open(io.BytesIO(names["ground_truth/stain/000000_mask.png"])))
    assert np.array_equal(taken, mask)
    record = json.loads(names["records.jsonl"].splitlines()[0])
    assert record["review"]["who"] == "operator"
    every = _zip(operator, job["id"], "mvtec", "all")
    assert "test/stain/000001.png" not in every  # rejected
    assert any(name.startswith("train/good/") for name in every)
    assert operator.delete(f"{base}/stain/0/mask").json()["corrected"] is False
    assert operator.put(f"{base}/good/0/mask", content=encode_png(mask)).status_code == 404


@pytest.mark.parametrize("format", [one.value for one in Format])
def test_pairs_come_in_every_format_and_the_same_bytes_each_time(
    operator: TestClient, job: dict[str, Any], format: str
) -> None:
    path = f"/v1/jobs/{job['id']}/download"
    first, second = (operator.get(path, params={"format": format}) for _ in range(2))
    assert first.status_code == 200, first.text
    assert first.content == second.content
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("about.json"))["format"] == format
    assert not list((Path(operator.app.state.box.state.incoming)).iterdir())  # type: ignore[attr-defined]


@pytest.mark.parametrize("emptied", [False, True])
def test_a_download_is_what_convert_writes(
    operator: TestClient, ids: dict[str, str], tmp_path: Path, emptied: bool
) -> None:
    id = operator.post("/v1/jobs", json=whole(ids, count=3, seed=12, defects=["all"])).json()["id"]
    ended(operator, id)
    dataset = operator.app.state.box.state.job(id) / "dataset"  # type: ignore[attr-defined]
    if emptied:  # as without gates, where nothing was drawn
        records = [json.loads(line) for line in (dataset / "records.jsonl").read_text().splitlines()]
        chosen = next(record for record in records if record["defect"] == "stain")
        chosen["attempts"][-1]["mask_area"] = 0
        (dataset / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        (dataset / chosen["files"]["mask"]).write_bytes(encode_png(np.zeros((48, 48), np.uint8)))
    for format in Format:
        out = tmp_path / format.value
        left_out = convert_dataset(dataset, format, out).left_out
        assert left_out == ({"with an empty mask": 1} if emptied else {})
        files = [path for path in out.rglob("*") if path.is_file()]
        expected = {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
        taken = _zip(operator, id, format.value, "all")
        del taken["records.jsonl"], expected[MARKER]
        assert taken == expected


def test_one_photograph_gives_one_pair(operator: TestClient, ids: dict[str, str], builds: Path) -> None:
    photograph = operator.get(f"/v1/bundles/{ids['placed']}/photographs/1").content
    asked = {"bundle": ids["placed"], "defect": "stain", "seed": 4}
    answer = operator.post("/v1/place", params=asked, content=photograph)
    assert answer.status_code == 200, answer.text
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["image"]))))
    pixels = np.asarray(Image.open(io.BytesIO(photograph)))
    expected = Generator.open(builds / "plate/bundle", threads=1).place(pixels, "stain", seed=4)
    assert np.array_equal(image, expected.image)
    wrong = operator.post("/v1/place", params={**asked, "defect": "scratch"}, content=photograph)
    assert wrong.status_code == 422
    assert "scratch" in wrong.json()["error"]


def test_a_running_job_is_paused_resumed_and_cancelled(operator: TestClient, ids: dict[str, str]) -> None:
    id = operator.post("/v1/jobs", json=whole(ids, count=20_000)).json()["id"]
    wait_for(lambda: operator.get(f"/v1/jobs/{id}").json()["done"] > 0, "for pairs")
    photograph = operator.get(f"/v1/bundles/{ids['placed']}/photographs/1").content
    placed = operator.post(
        "/v1/place", params={"bundle": ids["placed"], "defect": "stain"}, content=photograph
    )
    assert placed.status_code == 200, placed.text  # between two batches
    assert operator.post(f"/v1/jobs/{id}/pause").status_code == 200
    paused = ended(operator, id, "paused")
    assert operator.get(f"/v1/jobs/{id}/download").status_code == 200  # what is there
    assert operator.delete(f"/v1/jobs/{id}").status_code == 409
    assert operator.post(f"/v1/jobs/{id}/resume").status_code == 200
    wait_for(lambda: operator.get(f"/v1/jobs/{id}").json()["done"] > paused["done"], "for more pairs")
    assert operator.post(f"/v1/jobs/{id}/cancel").status_code == 200
    assert ended(operator, id)["status"] == "cancelled"
    assert operator.post(f"/v1/jobs/{id}/resume").status_code == 409
    assert operator.delete(f"/v1/jobs/{id}").status_code == 204
    assert operator.get(f"/v1/jobs/{id}").status_code == 404


def test_jobs_go_by_priority_then_in_their_order(operator: TestClient, ids: dict[str, str]) -> None:
    first = operator.post("/v1/jobs", json=whole(ids, count=3000)).json()["id"]
    others = [operator.post("/v1/jobs", json=whole(ids, count=1, priority=n)).json()["id"] for n in (0, 0, 5)]
    operator.post(f"/v1/jobs/{first}/cancel")
    found = [ended(operator, id) for id in others]
    begun = [others.index(job["id"]) for job in sorted(found, key=lambda job: job["started"])]
    assert begun == [2, 0, 1]


def test_a_job_that_is_cancelled_while_it_waits_is_told_too(
    builds: Path, tmp_path: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr("seas_runtime.service.box.send_later", lambda *sent: told.append(sent[2]))
    with running(builds, tmp_path / "state", webhook_url="http://line/", webhook_secret="s") as own:
        asking = client(own)
        first, second = (
            asking.post("/v1/jobs", json=whole(ids, count=20_000)).json()["id"] for _ in range(2)
        )
        wait_for(lambda: asking.get(f"/v1/jobs/{first}").json()["done"] > 0, "for pairs")
        for id in (second, first):
            assert asking.post(f"/v1/jobs/{id}/cancel").status_code == 200
        ended(asking, first)
        wait_for(lambda: len(told) > 1, "for the second message")
    assert [(one["job"], one["status"]) for one in told] == [(second, "cancelled"), (first, "cancelled")]


def test_a_full_disk_takes_no_job_and_begins_none(
    builds: Path, tmp_path: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [50e9]
    monkeypatch.setattr(StateFolder, "free_bytes", lambda self: int(free[0]))
    with running(builds, tmp_path / "state", min_free_gb=2.0) as own:
        asking = client(own)
        id = asking.post("/v1/jobs", json=whole(ids, count=20_000)).json()["id"]
        wait_for(lambda: asking.get(f"/v1/jobs/{id}").json()["done"] > 0, "for pairs")
        asking.post(f"/v1/jobs/{id}/pause")
        ended(asking, id, "paused")
        free[0] = 1e9
        answer = asking.post("/v1/jobs", json=whole(ids))
        assert answer.status_code == 507
        assert "min_free_gb" in answer.json()["error"]
        assert asking.put("/v1/photographs/a/a.png", content=b"x").status_code == 507
        assert asking.get("/readyz").status_code == 503
        asking.post(f"/v1/jobs/{id}/resume")
        assert asking.get("/v1/status").json()["waiting_for_room"]
        assert asking.get(f"/v1/jobs/{id}").json()["status"] == "queued"
        free[0] = 50e9
        ended(asking, id, "running")


def test_old_jobs_go_by_age_and_size(builds: Path, tmp_path: Path, ids: dict[str, str]) -> None:
    with running(builds, tmp_path / "state", keep_gb=0.001) as own:
        asking = client(own)
        made = [asking.post("/v1/jobs", json=whole(ids, seed=n)).json()["id"] for n in range(3)]
        for id in made:
            ended(asking, id)
        assert own.upkeep.sweep() == []
        for id in made:
            (own.state.job(id) / "dataset/large.bin").write_bytes(bytes(600_000))
        assert own.upkeep.sweep() == made[:2]
        assert [job["id"] for job in asking.get("/v1/jobs").json()["jobs"]] == made[2:]
        assert not own.state.job(made[0]).exists()


def _zip(asking: TestClient, job: str, format: str, pairs: str) -> dict[str, bytes]:
    answer = asking.get(f"/v1/jobs/{job}/download", params={"format": format, "pairs": pairs})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
