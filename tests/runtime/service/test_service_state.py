"""What outlasts the service: a damaged state is repaired or refused in words; the clock decides nothing."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.dataset.record_file import parse_record
from seas_runtime.errors import UserError
from seas_runtime.service.settings import ServiceSettings, load_settings
from seas_runtime.service.state.folder import StateFolder
from seas_runtime.service.state.pairs import JobPairs
from seas_runtime.service.state.queue import Queue, Status
from seas_runtime.service.state.reviews import Reviews
from seas_runtime.service.work.measures import Measures
from seas_runtime.service.work.webhook import sign
from tests.runtime.service.boxes import client, ended, running


def _state(tmp_path: Path) -> StateFolder:
    state = StateFolder(tmp_path / "state")
    with state.opened():
        pass
    return state


def _add(queue: Queue, state: StateFolder, **request: Any) -> str:
    name = queue.new_name()
    state.job(name).mkdir()
    return queue.add({"n": 1, **request}, "me", 0, name, 10).id


@pytest.mark.parametrize("damage", ["zeros", "cut", "text", "middle"])
def test_a_damaged_table_is_put_aside_and_its_jobs_read_again(
    builds: Path, tmp_path: Path, ids: dict[str, str], damage: str
) -> None:
    with running(builds, tmp_path / "state") as own:
        asking = client(own)
        new = {"bundle": ids["whole"], "defects": ["stain"], "count": 2, "gate": False}
        done = asking.post("/v1/jobs", json=new).json()["id"]
        ended(asking, done)
        asking.put(f"/v1/jobs/{done}/pairs/stain/1/review", json={"verdict": "accepted"})
        waiting = asking.post("/v1/jobs", json={**new, "count": 20_000}).json()["id"]
        asking.post(f"/v1/jobs/{waiting}/pause")
        ended(asking, waiting, "paused")
        file = own.state.database
    data = file.read_bytes()
    file.write_bytes(
        {
            "zeros": bytes(len(data)),
            "cut": data[: len(data) // 2 + 100],
            "text": b"this is no table\n" * 100,
            "middle": data[:4096] + b"\xff" * 4000 + data[8096:],
        }[damage]
    )
    with running(builds, tmp_path / "state") as own:
        asking = client(own)
        found = {job["id"]: job["status"] for job in asking.get("/v1/jobs").json()["jobs"]}
        assert found == {done: "done", waiting: "paused"}
        assert "2 jobs were read again" in asking.get("/v1/me").json()["notice"]
        assert asking.get(f"/v1/jobs/{done}/pairs").json()["verdicts"]["accepted"] == 1
        assert list(own.state.root.glob("jobs.sqlite.damaged-*"))


def test_a_table_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    state = _state(tmp_path)
    table = sqlite3.connect(state.database)
    table.execute("PRAGMA user_version=9")
    table.close()
    with pytest.raises(UserError, match="expected version 1, found 9"):
        Queue(state)


def test_one_service_at_a_time(builds: Path, tmp_path: Path) -> None:
    with (
        running(builds, tmp_path / "state"),
        pytest.raises(UserError, match="another service is using it"),
        running(builds, tmp_path / "state"),
    ):
        pass
    with (
        pytest.raises(UserError, match="expected a folder of bundles"),
        running(tmp_path / "no", tmp_path / "s"),
    ):
        pass


def test_a_clock_set_back_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = _state(tmp_path)
    queue = Queue(state)
    first = _add(queue, state)
    monkeypatch.setattr(time, "time", lambda: 86400.0)
    second = _add(queue, state)
    taken = [queue.take("cpu", "cpu"), queue.take("cpu", "cpu"), queue.take("cpu", "cpu")]
    assert [job.id if job else None for job in taken] == [first, second, None]
    queue.end(first, Status.DONE)
    assert [job.id for job in queue.newest()] == [second, first]
    queue.close()


def test_what_was_running_waits_again_for_the_backend_that_it_was_begun_on(tmp_path: Path) -> None:
    state = _state(tmp_path)
    queue = Queue(state)
    id = _add(queue, state)
    assert queue.take("cuda:1", "cuda") is not None
    queue.close()
    queue = Queue(state)
    job = queue.get(id)
    assert job is not None
    assert (job.status, job.device) == (Status.QUEUED, None)
    assert queue.take("cpu", "cpu") is None
    again = queue.take("cuda:0", "cuda")
    assert again is not None
    assert again.id == id
    queue.close()


def test_reviews_outlast_a_cut_line(tmp_path: Path) -> None:
    reviews = Reviews(tmp_path)
    reviews.say(("stain", 1), "me", verdict="accepted")
    reviews.say(("stain", 2), "me", comment="Grüße")
    file = tmp_path / "reviews.jsonl"
    file.write_bytes(file.read_bytes() + b'{"defect": "stain", "in')
    again = Reviews(tmp_path)
    assert set(again.all()) == {("stain", 1), ("stain", 2)}
    again.say(("stain", 3), "you", verdict="rejected")
    assert all(json.loads(line) for line in file.read_bytes().splitlines())
    assert set(Reviews(tmp_path).all()) == {("stain", 1), ("stain", 2), ("stain", 3)}
    with pytest.raises(UserError, match="verdict"):
        again.say(("stain", 3), "you", verdict="perhaps")
    with pytest.raises(UserError, match="2000 characters"):
        again.say(("stain", 3), "you", reason="x" * 2001)


def test_metrics_count_whole_lines(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    file = tmp_path / "dataset/records.jsonl"
    record = {"defect": 'a"b', "index": 0, "accepted": True, "times": {"step": 0.25, "total": 0.5}}
    record["attempts"] = [{"rejected": "visible seam: 9 levels"}, {"rejected": None}]
    line = json.dumps(record).encode() + b"\n"
    file.write_bytes(line + line[:20])
    measures = Measures()
    measures.look("job", tmp_path)
    file.write_bytes(line + line)
    measures.look("job", tmp_path)
    measures.look("job", tmp_path)
    text = measures.text([("seas_x", "X.", {"zone": "a"}, 1.5)])
    assert 'seas_pairs_total{defect="a\\"b",outcome="accepted"} 2' in text
    assert 'seas_rejected_attempts_total{reason="visible seam"} 2' in text
    assert 'seas_pair_seconds_sum{graph="step"} 0.500000' in text
    assert 'seas_x{zone="a"} 1.5' in text
    assert measures.recent("job") == [0.5, 0.5]


def test_settings_come_from_file_environment_and_options(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("bundles: out\nport: 1\nhost: 0.0.0.0\nkeep_days: 7\nbackends: [cpu, 'cuda:1']\n")
    environment = {"SEAS_SERVE_PORT": "2", "SEAS_SERVE_WEBHOOK_SECRET": "hush", "OTHER": "x"}
    found = load_settings(file, {"port": 3, "threads": None}, environment)
    assert (found.port, found.host, found.keep_days) == (3, "0.0.0.0", 7.0)
    assert found.backends == ("cpu", "cuda:1")
    assert found.shown()["webhook_secret"] == "set"
    assert "hush" not in json.dumps(found.shown())
    assert found.readable_by_others


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("prot: 1", {}, "expected one of bundles, state"),
        ("port: many", {}, "port: expected a whole number, found 'many'"),
        ("port: 70000", {}, "port: expected 0 to 65535"),
        ("[1, 2]", {}, "expected settings such as"),
        ("a: b: c", {}, "expected YAML"),
        ("port: true", {}, "port: expected a whole number"),
        ("tls_key: a.pem", {}, "tls_certificate: expected a certificate and its key"),
        ("webhook_url: ftp://x", {}, "webhook_url: expected an address"),
        ("webhook_url: http://x", {}, "webhook_secret: expected a secret"),
        ("open_localhost: true\nhost: 0.0.0.0", {}, "open_localhost: expected a host of this machine alone"),
        ("", {"SEAS_SERVE_PROT": "1"}, "SEAS_SERVE_PROT: expected SEAS_SERVE_ and one of"),
        ("", {"SEAS_SERVE_KEEP_DAYS": "nan"}, "SEAS_SERVE_KEEP_DAYS: expected a number"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, environment: dict[str, str], words: str) -> None:
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        load_settings(tmp_path / "serve.yaml", {"bundles": Path("out")}, environment)
    assert words in str(refused.value)
    with pytest.raises(UserError, match="--bundles: expected a folder"):
        load_settings(None, {}, {})


def test_a_secret_is_not_said_where_it_is_wrong() -> None:
    with pytest.raises(UserError) as refused:
        load_settings(None, {"bundles": Path("out"), "webhook_secret": 5}, {})
    assert "5" not in str(refused.value)
    assert (
        ServiceSettings(Path("a"), webhook_url="https://x/y?key=1", webhook_secret="s").shown()["webhook_url"]
        == "https://x/y"
    )


def test_the_webhooks_signature_is_hmac_sha256() -> None:
    # HMAC-SHA256 of `1700000000.{"job": "x"}` under the key `secret`, by OpenSSL.
    import subprocess

    body = b'{"job": "x"}'
    made = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", "secret"], input=b"1700000000." + body, capture_output=True
    )
    if made.returncode:
        pytest.skip("openssl is not installed")
    assert sign("secret", 1_700_000_000, body) == f"t=1700000000,v1={made.stdout.decode().split()[-1]}"


def _line(index: int, total: float = 1.0) -> bytes:
    record = {"defect": "stain", "index": index, "accepted": True, "attempts": [], "times": {"total": total}}
    return json.dumps(record).encode() + b"\n"


def _seconds(pairs: JobPairs) -> dict[int, float]:
    return {pair.key[1]: pair.record["times"]["total"] for pair in pairs.all()}


def test_records_are_followed_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is appended is read alone, a torn line when it is whole, and another file from its start."""
    parsed: list[bytes] = []
    monkeypatch.setattr(
        "seas_runtime.service.state.pairs.parse_record",
        lambda line: parsed.append(line) or parse_record(line),
    )
    pairs = JobPairs(tmp_path, Reviews(tmp_path))
    assert pairs.all() == []
    file = tmp_path / "dataset" / "records.jsonl"
    file.parent.mkdir()
    file.write_bytes(_line(0) + _line(1) + _line(2)[:20])
    assert _seconds(pairs) == {0: 1.0, 1: 1.0}
    with file.open("ab") as appended:
        appended.write(_line(2)[20:] + b"no record\n" + _line(1, 2.0))
    parsed.clear()
    assert _seconds(pairs) == {0: 1.0, 1: 2.0, 2: 1.0}
    assert len([line for line in parsed if line]) == 3
    parsed.clear()
    assert _seconds(pairs) == {0: 1.0, 1: 2.0, 2: 1.0}
    assert not any(parsed)
    with pytest.raises(UserError, match="none of that"):
        pairs.get("stain", 3)
    fresh = file.with_name("fresh")
    fresh.write_bytes(_line(0) + _line(3, 3.0) + _line(4) + _line(5))
    fresh.replace(file)
    assert _seconds(pairs) == {0: 1.0, 3: 3.0, 4: 1.0, 5: 1.0}
    assert pairs.get("stain", 3).record["times"]["total"] == 3.0
    file.write_bytes(_line(7))
    assert _seconds(pairs) == {7: 1.0}
    file.unlink()
    assert pairs.all() == []
