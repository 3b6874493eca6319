import { ask, once, Problem, sendClips } from "./api.js";
import { busyCard, card, problemCard, tell } from "./answers.js";
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
    job = { id: null, file, abort: new AbortController() };
    result.hidden = true;
    await attempt(job, async (own) => {
      const query = new URLSearchParams({ name: file.name.slice(0, 200) });
      if (voices.value) query.set("num_speakers", voices.value);
      const more = { signal: own.abort.signal };
      own.id = (await sendClips(`/v1/diarize?${query}`, { file }, more, "maxRecording")).id;
      await follow(own);
    });
  }

  /** Ask for a job until it is done, and show its result. */
  async function follow(own) {
    for (;;) {
      const found = await ask(`/v1/jobs/${own.id}`);
      if (job !== own) return;
      if (found.state === "failed") throw new Problem(found.problem);
      if (found.state === "done") {
        show(own, found);
        return;
      }
      busy(t(`meeting.${found.state}`), found.progress);
      await new Promise((resolve) => setTimeout(resolve, EACH_MS));
    }
  }

  /** Do something for a job, and tell how it failed; to try again goes on where it can. */
  async function attempt(own, act) {
    answers.replaceChildren();
    busy(t("meeting.sending"), null);
    try {
      await act(own);
    } catch (problem) {
      const again = () => (own.id ? attempt(own, follow) : send(own.file));
      if (job === own) tell(answers, problemCard(problem, again));
    }
  }

  function busy(text, progress) {
    if (!answers.querySelector("progress")) {
      const bar = element("progress", { max: 1, "aria-label": t("meeting.progress") });
      const stop = { type: "button", text: t("meeting.cancel"), on: { click: cancel } };
      const waiting = busyCard("");
      waiting.append(bar, element("button", stop));
      tell(answers, waiting);
    }
    const said = answers.querySelector("p");
    if (said.textContent !== text) said.textContent = text; // and is not read out again
    const bar = answers.querySelector("progress");
    if (progress === null) bar.removeAttribute("value");
    else bar.value = progress;
  }

  function show(own, found) {
    const count = found.result.speakers.length;
    const heading = t(count ? "meeting.done" : "meeting.done.none", { n: count });
    tell(answers, card("same", heading));
    drawTurns(result, found, own.file, (problem) => tell(answers, problemCard(problem)));
    result.hidden = false;
  }

  function cancel() {
    forget();
    tell(answers, card("different", t("meeting.cancelled")));
    form.querySelector(".main").focus();
  }
}
