"""The page in Chromium, whose microphone plays clips, and a service with the model in the box."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from served import listening
from small_settings import ROOT

from mvector.recognition.predictor import MVectorPredictor
from mvector.service.app import build_app
from mvector.service.keys import KeyFile
from mvector.service.service import Service
from mvector.service.settings import ServiceSettings

browsers = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium: apt-get install chromium", allow_module_level=True)

Page = browsers.Page
SAMPLES = ROOT / "dataset" / "samples"
RATE = 16_000  # of the samples
PATIENCE_MS = 120_000
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def token(place: Path) -> str:
    return KeyFile(place / "keys.json", must_exist=False).add("the page", "admin")


@pytest.fixture(scope="module")
def service(place: Path, token: str) -> Service:
    predictor = MVectorPredictor("box", audio_db_path=place / "people")
    return Service(predictor, ServiceSettings(), KeyFile(place / "keys.json"))


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with listening(build_app(service)) as address:
        yield address


class Microphone:
    """What the browser takes for one: it plays a file, which it opens anew for each recording."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def hears(self, clip: str | None) -> None:
        """A sample clip; ``None``: nothing."""
        samples = soundfile.read(SAMPLES / f"{clip}.flac")[0] if clip else np.zeros(4 * RATE)
        new = self.path.with_suffix(".new")
        soundfile.write(new, samples, RATE, format="WAV", subtype="PCM_16")
        os.replace(new, self.path)


@pytest.fixture(scope="module")
def microphone(place: Path) -> Microphone:
    return Microphone(place / "microphone.wav")


@pytest.fixture(scope="module")
def browser(microphone: Microphone) -> Iterator[browsers.Browser]:
    with browsers.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone.path}",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: browsers.Browser, address: str, service: Service) -> Iterator[Open]:
    """Opens the page; nobody is enrolled. In the end no page may have complained."""
    for name in service.library.names():
        service.library.remove(name)
    contexts: list[browsers.BrowserContext] = []
    complaints: list[str] = []

    def start(key: str | None = None, part: str = "", **more: object) -> Page:
        context = browser.new_context(**{"locale": "en-GB", "base_url": address, **more})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                said.type == "error"
                # that the service refuses something is told so, too
                and not said.text.startswith("Failed to load resource: ")
                and complaints.append(said.text)
            ),
        )
        page.goto(f"/#{part}")
        if key is not None:
            page.locator("#key").fill(key)
            page.keyboard.press("Enter")
            page.locator("#key-dialog").wait_for(state="hidden")
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []


def record(page: Page, seconds: float = 3.0) -> None:
    """Record the only clip that is shown, and end it early: not all need be heard."""
    page.get_by_role("button", name="Record", exact=True).click()
    stop = page.get_by_role("button", name="Stop recording")
    stop.wait_for()
    page.wait_for_timeout(1000 * seconds)
    stop.click()


def answer(page: Page) -> str:
    """The lines of the card that comes."""
    shown = page.locator("section:visible .card:not(.busy)")
    shown.wait_for()
    return "\n".join(line for line in shown.inner_text().splitlines() if line)


# ---- with the microphone -------------------------------------------------------------------------


def test_a_voice_is_enrolled_recognised_and_forgotten_and_a_stranger_is_none(
    opened: Open, token: str, microphone: Microphone, service: Service
) -> None:
    page = opened(token, "enrol")
    microphone.hears("voice_a/1")
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_text(re.compile(r"Speak: \d seconds? left")).wait_for()
    page.get_by_role("button", name="Listen to it").click()  # as soon as five seconds are over
    page.get_by_role("button", name="Stop playing").click()
    page.get_by_role("button", name="Enrol", exact=True).click()
    told = answer(page)
    assert told.startswith("Ada Lovelace is enrolled")
    assert "s of speech, and little noise" in told
    page.get_by_text("1 person enrolled").wait_for()
    assert service.library.person("Ada Lovelace").num_clips == 1

    page.get_by_role("link", name="Recognise").click()
    microphone.hears("voice_a/2")
    record(page)
    assert answer(page).startswith("Ada Lovelace\n")
    microphone.hears("voice_b/1")
    page.get_by_role("button", name="Record again").click()
    page.get_by_role("button", name="Stop recording").wait_for()
    page.get_by_text("Nobody who is enrolled").wait_for()  # ended by itself

    page.get_by_role("link", name="People").click()
    page.get_by_role("button", name="Remove Ada Lovelace").click()
    page.keyboard.press("Enter")  # the question stands on Cancel
    page.get_by_role("button", name="Remove Ada Lovelace").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_text("Nobody yet").wait_for()
    assert service.library.names() == []


def test_silence_is_told_in_the_language_of_the_browser(
    opened: Open, token: str, microphone: Microphone
) -> None:
    page = opened(token, locale="zh-CN")
    assert page.locator("html").get_attribute("lang") == "zh-CN"
    assert page.get_by_role("heading", level=2).inner_text() == "是谁在说话？"
    assert page.title() == "识别 – mvector"
    microphone.hears(None)
    page.get_by_role("button", name="录音", exact=True).click()
    page.get_by_text("几乎听不到").wait_for()
    page.get_by_role("button", name="停止录音").click()
    assert answer(page) == "只录到了静音。\n请检查麦克风，然后重新录音。"


def test_the_keyboard_is_enough(
    opened: Open, token: str, microphone: Microphone, service: Service
) -> None:
    page = opened(token)
    microphone.hears("voice_c/1")

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    def stands_on(label: str) -> None:
        page.locator(f'*:focus[aria-label="{label}"], *:focus:text-is("{label}")').wait_for()

    page.locator("body").press("Tab")
    while page.evaluate("document.activeElement.hash") != "#enrol":
        press("Tab")
    press("Enter")
    stands_on("Enrol a voice")
    press("Tab", *"Bob", "Tab")
    stands_on("Record")
    press("Space")
    stands_on("Stop recording")
    page.wait_for_timeout(3000)
    press("Space")
    stands_on("Listen to it")
    press("Tab", "Tab", "Tab")
    stands_on("Enrol")
    press("Enter")
    assert answer(page).startswith("Bob is enrolled")
    assert service.library.names() == ["Bob"]


def test_a_microphone_that_is_not_allowed_is_told_with_the_cure(opened: Open, token: str) -> None:
    page = opened(token)
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => {"
        " throw new DOMException('no', 'NotAllowedError') } }"
    )
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_text("The microphone is not allowed. Allow it in").wait_for()


# ---- with files ----------------------------------------------------------------------------------


def test_two_files_are_compared(opened: Open, token: str) -> None:
    page = opened(token, "compare")
    first, second = page.locator("section:visible input[type=file]").all()
    first.set_input_files(SAMPLES / "voice_a" / "1.flac")
    second.set_input_files(SAMPLES / "voice_a" / "2.flac")
    told = answer(page)
    assert told.startswith("The same person")
    assert "it counts as the same person" in told
    second.set_input_files(SAMPLES / "voice_d" / "1.flac")
    page.get_by_text("Two people").wait_for()
    second.set_input_files({"name": "x.wav", "mimeType": "audio/wav", "buffer": b"no audio" * 99})
    page.get_by_text("The second clip ").wait_for()


def test_it_is_told_who_spoke_when(
    opened: Open, token: str, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.predictor.register(SAMPLES / "voice_a" / "1.flac", "Ada")
    first, second = (soundfile.read(SAMPLES / f"voice_{name}" / "2.flac")[0] for name in "ab")
    pause = np.zeros(RATE)
    soundfile.write(tmp_path / "talk.wav", np.concatenate([first, pause, second]), RATE)
    page = opened(token, "meeting")
    page.get_by_role("button", name="Find out").click()
    page.get_by_text("Choose a recording first.").wait_for()
    page.locator("section:visible input[type=file]").set_input_files(tmp_path / "talk.wav")
    with monkeypatch.context() as nobody_works:
        nobody_works.setattr(service.jobs, "claim", lambda: None)
        page.get_by_role("button", name="Find out").click()
        page.get_by_text("Waiting for others").wait_for()
        page.get_by_role("button", name="Cancel").click()
        assert answer(page).startswith("Cancelled")
    page.get_by_label("How many people speak?").select_option("2")
    with page.expect_response("**/v1/diarize*") as sent:
        page.get_by_role("button", name="Find out").click()
    job = sent.value.headers["location"]
    assert answer(page) == "2 voices"
    turns = page.locator(".turns button").all_inner_texts()
    assert [turn.split()[:2] for turn in turns] == [["0:00", "Ada"], ["0:05", "Speaker"]]
    with page.expect_download() as download:
        page.get_by_role("button", name="SRT").click()
    assert download.value.suggested_filename == "talk.srt"
    assert "\nAda\n" in Path(download.value.path()).read_text(encoding="utf-8")
    page.get_by_role("button", name="0:05 Speaker 1").click()
    page.wait_for_function("document.querySelector('audio').currentTime >= 5")
    page.goto("about:blank")  # who leaves leaves nothing behind
    key = {"Authorization": f"Bearer {token}"}
    until = time.monotonic() + 60
    while page.context.request.get(job, headers=key).status != 404:
        assert time.monotonic() < until


def test_a_name_is_data(opened: Open, token: str, service: Service) -> None:
    page = opened(token, "enrol")
    name = '../a/b?<img src=x onerror="alert(1)">#艾达%2F'
    page.get_by_role("button", name="Enrol", exact=True).click()
    page.get_by_text("Whose voice is it?").wait_for()
    page.get_by_label("Name").fill("..")
    page.get_by_role("button", name="Enrol", exact=True).click()
    page.get_by_text("Record the voice or choose a file first.").wait_for()
    page.locator("section:visible input[type=file]").set_input_files(SAMPLES / "voice_a" / "1.flac")
    page.get_by_role("button", name="Enrol", exact=True).click()
    page.get_by_text("A name of one or two dots").wait_for()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Enrol", exact=True).click()
    assert answer(page).startswith(f"{name} is enrolled")
    assert service.library.names() == [name]
    page.get_by_role("link", name="People").click()
    page.get_by_role("button", name=f"Remove {name}").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_text("Nobody yet").wait_for()
    assert service.library.names() == []


def test_a_service_that_went_away_is_told_and_the_clip_kept(opened: Open, token: str) -> None:
    page = opened(token)
    page.context.set_offline(True)
    page.locator("section:visible input[type=file]").set_input_files(SAMPLES / "voice_a" / "1.flac")
    assert answer(page).startswith("The service does not answer.\n")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Nobody is enrolled yet.").wait_for()
    page.get_by_role("link", name="Enrol somebody").click()
    page.get_by_role("heading", name="Enrol a voice").wait_for()


# ---- what is kept, and what is not ---------------------------------------------------------------


def test_a_key_is_asked_for_until_it_is_right_and_kept_in_the_tab_alone(
    opened: Open, token: str
) -> None:
    page = opened(part="people")
    for wrong in ("mv_00000000_wrong", f"{token}x", "密钥"):
        page.locator("#key").fill(wrong)
        page.get_by_role("button", name="Use this key").click()
        page.get_by_text("The service does not know this key.").wait_for()
    page.locator("#key").fill(token)
    page.get_by_role("button", name="Use this key").click()
    page.get_by_text("Nobody yet").wait_for()
    kept = "[localStorage.length, document.cookie, {...sessionStorage}]"
    assert page.evaluate(kept) == [0, "", {"mvector-key": token}]
    assert page.evaluate("Promise.all([indexedDB.databases(), caches.keys()])") == [[], []]
    page.reload()
    page.get_by_text("Nobody yet").wait_for()
    page.get_by_role("button", name="Forget the key").click()
    page.get_by_text("A key is needed").wait_for()
    assert page.evaluate("sessionStorage.length") == 0


def test_nothing_that_a_page_was_made_to_hold_is_run(
    browser: browsers.Browser, address: str
) -> None:
    page = browser.new_page()
    page.goto(address)
    for hostile in (
        "document.body.innerHTML = '<img src=x onerror=\"window.hit = 1\">'",
        "document.createElement('script').src = 'data:text/javascript,window.hit = 1'",
        "document.createElement('b').setAttribute('onclick', 'window.hit = 1')",
        "fetch('https://example.org/')",
    ):
        with pytest.raises(browsers.Error, match=r"requires 'Trusted|Failed to fetch"):
            page.evaluate(hostile)
    assert page.evaluate("window.hit") is None
    page.close()
