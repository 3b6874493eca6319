// Answers as cards: a verdict, or what went wrong.

import { element, icon } from "./dom.js";
import { number, t, told, toldProblem } from "./texts.js";

/** Put a card in the place of the one before, where it is seen. */
export function tell(place, shown) {
  place.replaceChildren(shown);
  place.scrollIntoView({ block: "nearest" });
}

/** A card with a picture, a heading, a sentence and whatever else. */
export function card(kind, heading, sentence, ...more) {
  return element(
    "article",
    { class: `card ${kind}` },
    icon(kind),
    element(
      "div",
      { class: "card-words" },
      element("h3", { text: heading }),
      sentence && element("p", { text: sentence }),
      ...more,
    ),
  );
}

export function busyCard(text) {
  return element(
    "article",
    { class: "card busy" },
    element("span", { class: "spinner" }),
    element("p", { text }),
  );
}

/** What failed and the cure; `retry` is offered where it may help. */
export function problemCard(problem, retry = null) {
  const [what, help] = toldProblem(problem);
  const mayPass =
    retry && (problem.code === "service.gone" || problem.status === 429 || problem.status >= 500);
  return card(
    "problem",
    what,
    help,
    reasonList(problem.reasons),
    problem.status >= 500 &&
      problem.id &&
      element("p", { class: "quiet", text: t("answer.request", { id: problem.id }) }),
    mayPass && element("button", { type: "button", text: t("answer.retry"), on: { click: retry } }),
  );
}

/** Kinds of cards, by the answer of a verdict. */
export const KINDS = { same: "same", different: "different", "cannot tell": "unsure" };

/** A verdict, with the similarity on a scale and what few ask for behind a word. */
export function verdictCard(verdict, heading, sentence, qualities) {
  const reason = verdict.reason ? t("answer.because", { reason: told(verdict.reason) }) : "";
  return card(
    KINDS[verdict.answer],
    heading,
    [sentence, reason].filter(Boolean).join(" "),
    scale(verdict),
    reasonList(verdict.reasons.filter((one) => one !== verdict.reason)),
    details(verdict, qualities),
  );
}

/** What a clip is worth, in words. */
export function qualityWords(quality, reasons) {
  if (reasons.length) return t("quality.weak", { speech: number(quality.speech_s, 1) });
  return t(quality.snr_db >= 25 ? "quality.good" : "quality.fair", {
    speech: number(quality.speech_s, 1),
  });
}

export function reasonList(reasons) {
  return (
    reasons?.length &&
    element("ul", { class: "reasons" }, ...reasons.map((one) => element("li", { text: told(one) })))
  );
}

function scale({ score, threshold }) {
  const digits =
    [2, 3, 4, 5].find((count) => score.toFixed(count) !== threshold.toFixed(count)) ?? 6;
  const words = t("answer.scale", {
    score: number(score, digits),
    threshold: number(threshold, digits),
  });
  const drawn = element(
    "div",
    { class: "scale", "aria-hidden": "true" },
    element("i"),
    element("b"),
  );
  drawn.style.setProperty("--score", Math.max(0, Math.min(1, score)));
  drawn.style.setProperty("--threshold", Math.max(0, Math.min(1, threshold)));
  return element("div", {}, drawn, element("p", { class: "quiet", text: words }));
}

/** A probability, which is never said to be certain. */
function percent(share) {
  if (share > 0.999) return `> ${number(99.9, 1)} %`;
  return share < 0.001 ? `< ${number(0.1, 1)} %` : `${number(100 * share, 1)} %`;
}

function details(verdict, qualities) {
  const rows = [[t("details.source"), told(verdict.threshold_source)]];
  if (verdict.probability !== null)
    rows.push([t("details.probability"), percent(verdict.probability)]);
  if (verdict.llr !== null) rows.push([t("details.llr"), number(verdict.llr, 2)]);
  qualities.forEach((quality, k) => {
    const values = {
      speech: number(quality.speech_s, 1),
      duration: number(quality.duration_s, 1),
      snr: number(quality.snr_db),
      band: number(quality.bandwidth_hz / 1000, 1),
    };
    rows.push([
      t(qualities.length > 1 ? ["clip.first", "clip.second"][k] : "details.clip"),
      t("details.quality", values),
    ]);
  });
  const list = element(
    "dl",
    {},
    ...rows.flatMap(([name, value]) => [
      element("dt", { text: name }),
      element("dd", { text: value }),
    ]),
  );
  return element("details", {}, element("summary", { text: t("details.more") }), list);
}
