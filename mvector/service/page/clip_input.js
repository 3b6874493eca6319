// A clip from the microphone or a file: one round button that records, stops, and plays it again.

import { element, icon, say } from "./dom.js";
import { drawLevels } from "./levels.js";
import { record } from "./recorder.js";
import { number, t, toldProblem } from "./texts.js";

const SECONDS = 5;
const JUDGED_S = 1; // of the latest sound, for what is said of its level
const QUIET = 0.01; // peaks of a voice that is too far away
const LOUD = 0.985;

const ICONS = { idle: "mic", asking: "mic", recording: "stop", ready: "play", playing: "stop" };

export class ClipInput {
  /** @param onClip called when there is a clip, recorded or chosen */
  constructor(place, onClip = () => {}) {
    this.place = place;
    this.onClip = onClip;
    const button = (properties, act) =>
      element("button", { type: "button", ...properties, on: { click: act } });
    this.round = button({ class: "round" }, () => this.press());
    this.again = button({ class: "plain", text: t("clip.again") }, () => this.start());
    this.other = button({ class: "plain", text: t("clip.choose") }, () => this.files.click());
    this.files = element("input", {
      type: "file",
      accept: "audio/*,video/mp4,video/webm",
      hidden: true,
      on: { change: () => this.choose() },
    });
    this.heading = element("p", { class: "clip-heading" });
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.hint = element("p", { class: "clip-hint" });
    this.wrong = element("p", { class: "wrong", role: "alert" });
    place.setAttribute("role", "group");
    place.setAttribute("aria-label", t(place.dataset.clip));
    place.append(
      this.round,
      element(
        "div",
        { class: "clip-words" },
        this.heading,
        this.canvas,
        this.hint,
        element("div", { class: "clip-choices" }, this.again, this.other, this.files),
      ),
      this.wrong,
    );
    this.clear();
  }

  /** Forget the clip. */
  clear() {
    this.player?.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.clip = this.url = this.player = this.recording = null;
    this.levels = [];
    this.wrong.textContent = "";
    this.enter("idle", t("clip.speak", { n: SECONDS }), t("clip.how"));
  }

  /** Say what is wrong with the clip, and lead there. */
  complain(text) {
    this.wrong.textContent = text;
    this.round.focus();
  }

  enter(state, heading, hint) {
    this.state = this.place.dataset.state = state;
    this.round.replaceChildren(icon(ICONS[state]));
    this.round.setAttribute("aria-label", t(`clip.do.${state}`));
    this.heading.textContent = heading;
    this.hint.textContent = hint;
    this.canvas.hidden = !this.levels.length;
    this.heading.hidden = !this.canvas.hidden;
    this.again.hidden = !["ready", "playing"].includes(state);
    this.other.hidden = ["asking", "recording"].includes(state);
  }

  press() {
    const act = { idle: "start", recording: "stop", ready: "play", playing: "pause" }[this.state];
    if (act) this[act]();
  }

  async start() {
    this.clear();
    this.enter("asking", t("clip.asking"), "");
    let recording;
    try {
      recording = await record(SECONDS, (peak, seconds) => this.hear(peak, seconds));
    } catch (problem) {
      this.clear();
      this.complain(toldProblem(problem).join(" "));
      return;
    }
    if (this.state !== "asking") {
      recording.stop(); // the user went elsewhere before the browser was answered
      return;
    }
    this.recording = recording;
    this.levels = [0];
    this.enter("recording", "", t("clip.left", { n: SECONDS }));
    this.round.focus(); // who pressed "record again" stops by the same key
    say(t("clip.speak", { n: SECONDS }));
    const { clip, seconds } = await recording.ended;
    if (this.state !== "recording") return; // left meanwhile
    this.keep(clip, "", t("clip.seconds", { n: number(seconds, 1) }));
  }

  stop() {
    this.recording.stop();
  }

  /** Be silent and hear nothing while other parts of the page are shown. */
  leave() {
    this.player?.pause();
    if (!["asking", "recording"].includes(this.state)) return;
    const { recording } = this;
    this.clear();
    recording?.stop();
  }

  hear(peak, seconds) {
    this.levels.push(peak);
    drawLevels(this.canvas, this.levels);
    this.round.style.setProperty("--done", Math.min(1, seconds / SECONDS));
    const lately = Math.max(
      ...this.levels.slice(-Math.ceil((JUDGED_S * this.levels.length) / seconds)),
    );
    let hint = t("clip.left", { n: Math.max(1, Math.ceil(SECONDS - seconds)) });
    if (seconds > JUDGED_S && lately < QUIET) hint = t("clip.quiet");
    else if (lately >= LOUD) hint = t("clip.loud");
    this.hint.textContent = hint;
  }

  choose() {
    const [file] = this.files.files;
    if (!file) return;
    this.clear();
    this.keep(file, file.name, "");
    this.files.value = ""; // the same file can be chosen again
  }

  keep(clip, heading, hint) {
    this.clip = clip;
    this.url = URL.createObjectURL(clip);
    this.enter("ready", heading, hint);
    if (this.levels.length) drawLevels(this.canvas, this.levels, true);
    say(t("clip.ready"));
    this.onClip();
  }

  play() {
    const about = [this.heading.textContent, this.hint.textContent];
    const back = (hint = about[1]) => this.player === player && this.enter("ready", about[0], hint);
    const player = (this.player = new Audio(this.url));
    player.addEventListener("ended", () => back());
    player.addEventListener("pause", () => back());
    this.enter("playing", ...about);
    player.play().catch(() => back(t("clip.unplayable")));
  }

  pause() {
    this.player.pause();
  }
}
