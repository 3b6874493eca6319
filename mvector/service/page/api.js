// Asking the service. The key stays in this tab, and is gone when it is closed.

import { t } from "./texts.js";

const PLACE = "mvector-key";
const PATIENCE_MS = 60_000;

let key = sessionStorage.getItem(PLACE);
let askForKey = async () => false;

/** A failure: of the service with its code, or one that this page noticed. */
export class Problem extends Error {
  constructor({ code, detail, cure = "", status = 0, reasons = [], request_id: id = "" }) {
    super(detail);
    Object.assign(this, { code, detail, cure, status, reasons, id });
  }
}

/** A failure that this page noticed, by the key of its text. */
export function failure(name, values = {}) {
  return new Problem({ code: name, detail: t(name, values), cure: t(`${name}.cure`, values) });
}

export function onKeyNeeded(ask) {
  askForKey = ask;
}

export function setKey(given) {
  key = given;
  if (given) sessionStorage.setItem(PLACE, given);
  else sessionStorage.removeItem(PLACE);
}

export function hasKey() {
  return Boolean(key);
}

/** The path of a person; a name may hold anything. */
export function personPath(name) {
  // browsers take these two for steps in a path, however they are written
  if ([".", ".."].includes(name)) throw failure("name.dots");
  return `/v1/people/${encodeURIComponent(name)}`;
}

/** Send clips (`{field: Blob}`) and give the answer; `more` is what `ask` takes. */
export function sendClips(path, clips, more = {}, bound = "maxBody") {
  const body = new FormData();
  const most = Number(document.documentElement.dataset[bound]);
  if (Object.values(clips).reduce((sum, clip) => sum + clip.size, 4096) > most) {
    throw failure("file.large", { n: Math.floor(most / 2 ** 20) });
  }
  for (const [field, clip] of Object.entries(clips)) body.append(field, clip, "clip");
  return ask(path, { method: "POST", body, ...more });
}

/** The JSON of an answer, or its text; a key is asked for where the service wants one. */
export async function ask(path, request = {}) {
  try {
    return await once(path, request);
  } catch (problem) {
    if (problem.status === 401 && (await askForKey())) return once(path, request);
    throw problem;
  }
}

/** The same, without asking for a key. */
export async function once(
  path,
  { headers = {}, signal = AbortSignal.timeout(PATIENCE_MS), as = "json", ...more } = {},
) {
  const own = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
  let answer;
  let content;
  try {
    answer = await fetch(path, { ...more, headers: own, signal });
    content = await (answer.ok ? answer[as]() : answer.json());
  } catch {
    throw failure("service.gone");
  }
  if (!answer.ok) throw new Problem(content);
  return content;
}
