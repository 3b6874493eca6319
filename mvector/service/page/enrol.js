import { personPath, sendClips } from "./api.js";
import { busyCard, card, problemCard, qualityWords, reasonList, tell } from "./answers.js";
import { ClipInput } from "./clip_input.js";
import { element } from "./dom.js";
import { t, toldProblem } from "./texts.js";

/** A name and a clip of a new or known person. */
export function start(section, { onChange }) {
  const form = section.querySelector("form");
  const name = section.querySelector("#name");
  const wrong = section.querySelector("#name-wrong");
  const answers = section.querySelector(".answers");
  const input = new ClipInput(section.querySelector(".clip"), () => answers.replaceChildren());
  let sent = {}; // the last clip and the key under which it is enrolled once, however often it is sent

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!form.dataset.busy) send();
  });
  name.addEventListener("input", () => (wrong.textContent = ""));

  async function send() {
    const who = name.value.trim();
    if (!who) {
      wrong.textContent = t("enrol.nameless");
      name.focus();
      return;
    }
    if (!input.clip) {
      input.complain(t("enrol.clipless"));
      return;
    }
    if (sent.clip !== input.clip || sent.who !== who)
      sent = { clip: input.clip, who, once: newId() };
    form.dataset.busy = "yes";
    tell(answers, busyCard(t("enrol.busy")));
    try {
      const path = `${personPath(who)}/clips`;
      const { enrolled, name: stored } = await sendClips(
        path,
        { file: input.clip },
        { headers: { "Idempotency-Key": sent.once } },
      );
      input.clear();
      tell(answers, doneCard(stored, enrolled[0]));
      onChange();
    } catch (problem) {
      if (["name.dots", "name-invalid"].includes(problem.code)) {
        answers.replaceChildren();
        wrong.textContent = toldProblem(problem).join(" ");
        name.focus();
      } else tell(answers, problemCard(problem, send));
    } finally {
      delete form.dataset.busy;
    }
  }

  function doneCard(who, { quality, reasons }) {
    const again = (text, clearsName) =>
      element("button", {
        type: "button",
        text: t(text),
        on: {
          click: () => {
            answers.replaceChildren();
            if (clearsName) name.value = "";
            (clearsName ? name : input.round).focus();
          },
        },
      });
    return card(
      "same",
      t("enrol.done", { name: who }),
      qualityWords(quality, reasons),
      reasonList(reasons),
      element("p", { class: "quiet", text: t("enrol.more") }),
      element("div", { class: "buttons" }, again("enrol.again"), again("enrol.next", true)),
    );
  }

  return { leave: () => input.leave() };
}

function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
