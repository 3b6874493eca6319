// Who spoke when, drawn: a line for each voice, and the turns, which play the recording.

import { ask } from "./api.js";
import { element } from "./dom.js";
import { number, t, told } from "./texts.js";

const FORMATS = ["srt", "vtt", "rttm", "csv"];
const TONES = 6; // of meeting.css

/** Show the result of a job in a place; `file` is the recording, `onProblem` told what fails. */
export function drawTurns(place, { id, result }, file, onProblem) {
  place.querySelector("audio")?.dispatchEvent(new Event("left"));
  const tones = new Map(result.speakers.map(({ label }, k) => [label, `tone-${k % TONES}`]));
  const player = playerOf(file);
  const all = result.speakers.reduce((sum, { time_s: time }) => sum + time, 0);
  const lines = result.speakers.map((voice) => {
    const turns = result.turns.filter(({ speaker }) => speaker === voice.label);
    const share = t("meeting.share", {
      time: clock(voice.time_s),
      share: number((100 * voice.time_s) / all),
    });
    return element(
      "li",
      { class: tones.get(voice.label) },
      element("strong", { text: told(voice.label) }),
      element("span", { class: "quiet", text: share }),
      lineOf(turns, result.duration_s),
    );
  });
  const turns = result.turns.map((turn) => turnOf(turn, tones.get(turn.speaker), player));
  const savers = FORMATS.map((format) =>
    element("button", {
      type: "button",
      class: "plain",
      text: format.toUpperCase(),
      on: { click: () => save(id, format, file.name).catch(onProblem) },
    }),
  );
  place.replaceChildren(
    ...result.notes.map((note) => element("p", { class: "quiet note", text: told(note) })),
    player,
    element("ul", { class: "voices" }, ...lines),
    element(
      "div",
      {},
      element("h3", { text: t("meeting.turns") }),
      element("p", { class: "quiet", text: t("meeting.hear") }),
    ),
    element("ol", { class: "turns", tabindex: "-1" }, ...turns),
    element("p", { class: "save" }, element("span", { text: t("meeting.save") }), ...savers),
  );
}

function playerOf(file) {
  const url = URL.createObjectURL(file);
  const player = element("audio", { controls: true, src: url });
  player.addEventListener("error", () => (player.hidden = true)); // of a format that the browser cannot play
  player.addEventListener("left", () => {
    player.pause();
    URL.revokeObjectURL(url);
  });
  return player;
}

/** A turn, from whose start the recording plays when it is pressed. */
function turnOf({ start_s: start, end_s: end, speaker, overlap }, tone, player) {
  const hear = () => {
    player.currentTime = start;
    player.play().catch(() => {});
  };
  const button = element(
    "button",
    { type: "button", on: { click: hear } },
    element("time", { text: clock(start) }),
    element("span", { text: told(speaker), dir: "auto" }),
    overlap && element("span", { class: "quiet", text: t("meeting.overlap") }),
  );
  player.addEventListener("timeupdate", () => {
    const isHeard = start <= player.currentTime && player.currentTime < end;
    button.toggleAttribute("data-heard", isHeard);
  });
  return element("li", { class: tone }, button);
}

function lineOf(turns, duration) {
  const line = element("div", { class: "line", "aria-hidden": "true" });
  for (const { start_s: start, end_s: end } of turns) {
    const part = element("i");
    part.style.setProperty("--from", start / duration);
    part.style.setProperty("--share", (end - start) / duration);
    line.append(part);
  }
  return line;
}

async function save(id, format, name) {
  const text = await ask(`/v1/jobs/${id}?format=${format}`, { as: "text" });
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  element("a", { href: url, download: `${name.replace(/\.\w+$/, "")}.${format}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** Seconds as 0:07 or 1:02:07. */
function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
