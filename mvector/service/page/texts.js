// The page's texts, in the first language of the browser that the page knows.

const KNOWN = ["en", "zh"];

/** The first tag that is of a known language, such as en-GB, for numbers and dates. */
export const locale =
  navigator.languages.find((tag) => KNOWN.includes(tag.slice(0, 2).toLowerCase())) ?? "en";
const language = locale.slice(0, 2).toLowerCase();

let texts = { page: {}, problems: {}, sentences: [] };

export async function loadTexts() {
  texts = await (await fetch(`/page/${language}.json`)).json();
  document.documentElement.lang = language === "zh" ? "zh-CN" : language;
}

/** The text of a key, with values in the places of `{names}`; `.one` where `n` is 1. */
export function t(key, values = {}) {
  const text = (values.n === 1 ? texts.page[`${key}.one`] : undefined) ?? texts.page[key];
  return text.replace(/\{(\w+)\}/g, (_, name) =>
    typeof values[name] === "number" ? number(values[name]) : values[name],
  );
}

export function number(value, digits = 0) {
  return value.toLocaleString(locale, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** A sentence of the service in the page's language, as far as the page knows it. */
export function told(sentence) {
  return texts.sentences.reduce((text, [from, to]) => text.replace(new RegExp(from), to), sentence);
}

/** What went wrong and what to do, of a failure that the service or this page named. */
export function toldProblem({ code, detail, cure }) {
  if (!(code in texts.problems)) {
    const what = told(detail);
    const help = cure ?? "";
    // a cure that the sentence ends with is not said twice
    return [what, what.toLowerCase().endsWith(help.toLowerCase()) ? "" : help];
  }
  const [what, help] = texts.problems[code];
  const [, place] = /^'file([12])' /.exec(detail) ?? []; // of two clips, which
  const clip = place && t(place === "1" ? "clip.first" : "clip.second");
  return [clip ? t("answer.about", { clip, what }) : what, help];
}

/** Put the texts into a part of the page that names them. */
export function fill(root) {
  for (const node of root.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const node of root.querySelectorAll("[data-label]"))
    node.setAttribute("aria-label", t(node.dataset.label));
}
