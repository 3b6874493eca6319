"""The page: what a browser is given and may do, and its texts in both languages."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from served import Serving, problem
from small_settings import ROOT

from mvector.audio.clip_report import QualityLimits, measure_clip
from mvector.demo.voices import random_voice, synthesise
from mvector.service import problems

PAGE = ROOT / "mvector" / "service" / "page"
FILES = sorted(path for path in PAGE.iterdir() if path.name != "index.html")
STYLES = [path.read_text(encoding="utf-8") for path in PAGE.glob("*.css")]
SCRIPTS = {path.name: path.read_text(encoding="utf-8") for path in PAGE.glob("*.js")}
HTML = (PAGE / "index.html").read_text(encoding="utf-8")
EN, ZH = (json.loads((PAGE / f"{one}.json").read_text(encoding="utf-8")) for one in ("en", "zh"))
Texts = dict[str, Any]


# ---- what is served ------------------------------------------------------------------------------


def test_the_page_may_load_nothing_but_its_own_files(serving: Serving) -> None:
    answer = serving(max_body_bytes=12345, max_recording_bytes=67890).client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"unsafe|http|\*", " ".join(policy.values()))
    assert answer.headers["permissions-policy"].startswith("microphone=(self)")
    assert 'data-max-body="12345" data-max-recording="67890"' in answer.text


def test_each_file_is_served_as_what_it_is_and_nothing_else(client: TestClient) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for path in FILES:
        answer = client.get(f"/page/{path.name}")
        assert answer.content == path.read_bytes()
        kind = kinds.get(path.suffix, "application/json")
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
    for other in ("/page/index.html", "/page/none.js", "/page/..%2Fapp.py", "/page/", "/page"):
        problem(client.get(other), 404, "no-such-path")


def test_it_can_be_switched_off(serving: Serving) -> None:
    client = serving(has_page=False).client
    problem(client.get("/"), 404, "no-such-path")
    problem(client.get("/page/app.js"), 404, "no-such-path")
    assert client.get("/v1/docs").status_code == 200


def test_it_needs_no_other_host_and_no_script_within() -> None:
    text = "".join([HTML, *SCRIPTS.values(), *STYLES])
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", HTML)
    linked = re.findall(r'"/page/([\w.]+)"', HTML) + [
        name
        for script in SCRIPTS.values()
        for name in re.findall(r"\"(?:\./|/page/)(\w+\.js)\"", script)
    ]
    assert {*linked, "en.json", "zh.json"} == {path.name for path in FILES}


# ---- texts ---------------------------------------------------------------------------------------


def test_both_languages_say_the_same_things() -> None:
    assert list(EN["page"]) == list(ZH["page"])
    for key, text in EN["page"].items():
        assert text
        assert ZH["page"][key]
        assert placeholders(ZH["page"][key]) == placeholders(text), key


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{\w+\}", text))


def test_each_text_is_used_and_each_that_is_used_is_there() -> None:
    keys = {key.removesuffix(".one") for key in EN["page"]}
    named = set(re.findall(r'data-(?:text|label|clip)="([\w.]+)"', HTML))
    used = named | {
        key for script in SCRIPTS.values() for key in re.findall(r'"([a-z]+\.[a-z.]+)"', script)
    }
    assert named <= keys
    # those that are put together of a name and what it is about
    composed = re.compile(
        r"(recognise|compare)\.(same|different|unsure)(\.more)?|clip\.do\.\w+|\w+\.nav|\S+\.cure"
        r"|meeting\.(queued|running)|cancel"
    )
    assert {key for key in keys - used if not composed.fullmatch(key)} == set()
    for name in (key for key in used if f"{key}.cure" in keys):
        assert name in keys


def test_failures_that_users_meet_are_told_in_chinese() -> None:
    told = {*problems._TOLD, *problems._CURES, *problems._OF_REQUESTS, "internal", "key-invalid"}
    assert told <= set(ZH["problems"])
    assert all(len(one) == 2 for one in ZH["problems"].values())


def test_what_a_clip_falls_short_of_is_told_in_chinese() -> None:
    voice = synthesise(random_voice(0), 1.0, 16_000, seed=0).astype(np.float32)
    report = measure_clip(voice, 16_000)
    limits = QualityLimits(60.0, 99.0, -1.0, 9e9, 99.0, -1.0)
    beyond_noise = QualityLimits(min_snr_db=None, min_bandwidth_hz=9e9)
    reasons = {*limits.reasons(report), *beyond_noise.reasons(report)}
    assert len(reasons) == 6
    for reason in reasons:
        assert re.search("[一-鿿]", translated(reason, ZH)), reason
        assert not re.search("speech|level|clipped|noisy|band", translated(reason, ZH))


def translated(sentence: str, texts: Texts) -> str:
    """As texts.js does it."""
    for pattern, instead in texts["sentences"]:
        sentence = re.sub(pattern, re.sub(r"\$(\d)", r"\\\1", instead), sentence)
    return sentence


def test_clips_are_called_what_they_are() -> None:
    told = "'file2' is silent (level below -80 dB); record it again."
    assert translated(told, EN).startswith("The second clip is silent")
