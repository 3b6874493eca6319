import { ask, personPath } from "./api.js";
import { card, problemCard, tell } from "./answers.js";
import { element, say } from "./dom.js";
import { locale, t } from "./texts.js";

const PAGE = 50;

/** Who is enrolled; each can be removed, after a question. */
export function start(section, { onChange }) {
  const list = section.querySelector(".people");
  const more = section.querySelector(".more");
  const answers = section.querySelector(".answers");
  const title = section.querySelector("h2");
  const dialog = document.getElementById("remove-dialog");
  let after = "";

  more.addEventListener("click", load);
  dialog.querySelector("form button").addEventListener("click", () => dialog.close());

  async function enter() {
    after = "";
    answers.replaceChildren();
    await load();
  }

  async function load() {
    try {
      const query = new URLSearchParams({ after, limit: PAGE });
      const found = await ask(`/v1/people?${query}`);
      const rows = found.people.map(row);
      if (after) list.append(...rows);
      else list.replaceChildren(...rows);
      if (!list.children.length) tell(answers, nobody());
      if (after) rows[0]?.querySelector("button").focus();
      after = found.next_after ?? "";
      more.hidden = !found.next_after;
    } catch (problem) {
      tell(answers, problemCard(problem, load));
    }
  }

  function nobody() {
    const link = element("a", { href: "#enrol", text: t("recognise.enrol") });
    return element(
      "article",
      { class: "card" },
      element("div", { class: "card-words" }, element("h3", { text: t("people.nobody") }), link),
    );
  }

  function row(person) {
    const since = new Date(person.enrolled_at).toLocaleDateString(locale, { dateStyle: "medium" });
    const about = [
      t("people.clips", { n: person.num_clips }),
      t("people.since", { date: since }),
      ...person.groups,
    ];
    if (!person.has_voiceprint) about.push(t("people.unknown"));
    const remove = element("button", {
      type: "button",
      class: "plain",
      text: t("people.remove"),
      "aria-label": t("people.remove.who", { name: person.name }),
      on: { click: () => confirm(person, made) },
    });
    const made = element(
      "li",
      {},
      element("span", {
        class: "initial",
        "aria-hidden": "true",
        text: [...person.name][0].toLocaleUpperCase(locale),
      }),
      element(
        "div",
        {},
        element("strong", { text: person.name, dir: "auto" }),
        element("p", { class: "quiet", text: about.join(" · ") }),
      ),
      remove,
    );
    return made;
  }

  function confirm(person, its) {
    dialog.querySelector("h2").textContent = t("people.sure", { name: person.name });
    dialog.querySelector("#remove-text").textContent = t("people.sure.more", {
      n: person.num_clips,
    });
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      dialog.close();
      remove(person, its);
    };
    dialog.showModal();
  }

  async function remove(person, its) {
    try {
      await ask(personPath(person.name), { method: "DELETE" });
    } catch (problem) {
      tell(
        answers,
        problemCard(problem, () => remove(person, its)),
      );
      return;
    }
    its.remove();
    tell(
      answers,
      list.children.length
        ? card("same", t("people.removed", { name: person.name }), "")
        : nobody(),
    );
    say(t("people.removed", { name: person.name }));
    title.focus();
    onChange();
  }

  return { enter };
}
