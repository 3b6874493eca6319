import { ask, once, Problem, sendClips } from "./api.js";
import { busyCard, card, problemCard } from "./answers.js";
import { element } from "./dom.js";
import { drawTurns } from "./turns.js";
import { t } from "./texts.js";

const EACH_MS = 1000; // how often is asked how far it is
const MOST_VOICES = 12;

/** Who spoke when in a recording: a job of the service, which is asked for until it is done. */
export function start(section) {
  const form = section.querySelector("form");
  const files = section.querySelector("[type=file]");
  const chosen = section.querySelector("#meeting-file");
  const wrong = section.querySelector(".wrong");
  const voices = section.querySelector("select");
  const answers = section.querySelector(".answers");
  const result = section.querySelector(".meeting");
  let job = null; // {id, file, abort}: the one that is under way or shown

  const counts = Array.from({ length: MOST_VOICES }, (_, k) =>
    element("option", { value: k + 1, text: k + 1 }),
  );
  voices.append(element("option", { value: "", text: t("meeting.voices.unknown") }), ...counts);
  chosen.textContent = t("meeting.none");
  form.querySelector("button").addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    chosen.textContent = files.files[0]?.name ?? t("meeting.none");
    wrong.textContent = "";
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (files.files[0]) send(files.files[0]);
    else {
      wrong.textContent = t("meeting.fileless");
      form.querySelector("button").focus();
    }
  });
  window.addEventListener("pagehide", forget);

  /** Let the service delete what it holds of the job. */
  function forget() {
    job?.abort.abort();
    if (job?.id) once(`/v1/jobs/${job.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
    job = null;
  }

  async function send(file) {
    forget();
    const own = (job = { id: null, abort: new AbortController() });
    const isOurs = () => job === own;
    result.hidden = true;
    const bar = element("progress", { max: 1, "aria-label": t("meeting.progress") });
    const what = busyCard(t("meeting.sending"));
    const said = what.querySelector("p");
    what.append(
      bar,
      element("button", { type: "button", text: t("meeting.cancel"), on: { click: cancel } }),
    );
    answers.replaceChildren(what);
    try {
      const query = new URLSearchParams(voices.value ? { num_speakers: voices.value } : {});
      query.set("name", file.name.slice(0, 200));
      let found = await sendClips(
        `/v1/diarize?${query}`,
        { file },
        { signal: own.abort.signal },
        "maxRecording",
      );
      own.id = found.id;
      while (isOurs() && !["done", "failed"].includes(found.state)) {
        const text = t(`meeting.${found.state}`);
        if (said.textContent !== text) said.textContent = text; // and is not read out again
        if (found.progress === null) bar.removeAttribute("value");
        else bar.value = found.progress;
        await new Promise((resolve) => setTimeout(resolve, EACH_MS));
        found = await ask(`/v1/jobs/${own.id}`);
      }
      if (!isOurs()) return;
      if (found.state === "failed") throw new Problem(found.problem);
      const count = found.result.speakers.length;
      answers.replaceChildren(
        card("same", t(count ? "meeting.done" : "meeting.done.none", { n: count })),
      );
      drawTurns(result, found, file);
      result.hidden = false;
    } catch (problem) {
      if (isOurs()) answers.replaceChildren(problemCard(problem, () => send(file)));
    }
  }

  function cancel() {
    forget();
    answers.replaceChildren(card("different", t("meeting.cancelled")));
    form.querySelector(".main").focus();
  }
}
