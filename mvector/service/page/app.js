import { ask, once } from "./api.js";
import * as compare from "./compare.js";
import * as enrol from "./enrol.js";
import * as key from "./key.js";
import * as meeting from "./meeting.js";
import * as people from "./people.js";
import * as recognise from "./recognise.js";
import { fill, loadTexts, t } from "./texts.js";

const PARTS = { recognise, enrol, compare, meeting, people };

await loadTexts();
fill(document);
key.start();

const parts = Object.fromEntries(
  Object.entries(PARTS).map(([name, part]) => {
    const section = document.querySelector(`[data-section="${name}"]`);
    return [name, { section, ...part.start(section, { onChange: count }) }];
  }),
);

/** Show the part that the address names. */
function show(isMove) {
  const asked = location.hash.slice(1);
  const name = asked in parts ? asked : "recognise";
  for (const [own, { section, leave }] of Object.entries(parts)) {
    if (own !== name && !section.hidden) leave?.();
    section.hidden = own !== name;
    const link = document.querySelector(`nav [href="#${own}"]`);
    if (own === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const { section, enter } = parts[name];
  document.title = `${t(`${name}.nav`)} – mvector`;
  enter?.();
  if (isMove) {
    section.querySelector("h2").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

async function count() {
  try {
    const { num_people: n } = await once("/v1/ready");
    document.getElementById("count").textContent = t("people.count", { n });
  } catch {
    document.getElementById("count").textContent = ""; // whoever asks for more is told why
  }
}

window.addEventListener("hashchange", () => show(true));
show(false);
count();
if (location.hash !== "#people") ask("/v1/people?limit=1").catch(() => {}); // asks for a key at once
