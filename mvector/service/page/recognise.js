import { sendClips } from "./api.js";
import { KINDS, busyCard, problemCard, tell, verdictCard } from "./answers.js";
import { ClipInput } from "./clip_input.js";
import { element } from "./dom.js";
import { t } from "./texts.js";

const SHOWN = 3;

/** Who of the enrolled people is speaking? Asked as soon as there is a clip. */
export function start(section) {
  const answers = section.querySelector(".answers");
  const input = new ClipInput(section.querySelector(".clip"), identify);

  async function identify() {
    const { clip } = input;
    tell(answers, busyCard(t("recognise.busy")));
    let shown;
    try {
      shown = answerCard(await sendClips(`/v1/identify?top_k=${SHOWN}`, { file: clip }));
    } catch (problem) {
      shown = problemCard(problem, identify);
      if (problem.code === "library-empty")
        shown.lastChild.append(element("a", { href: "#enrol", text: t("recognise.enrol") }));
    }
    if (input.clip === clip) tell(answers, shown); // and not where another was recorded meanwhile
  }

  return { leave: () => input.leave() };
}

function answerCard(found) {
  const values = { n: found.num_people, name: found.name };
  const kind = KINDS[found.answer];
  const shown = verdictCard(
    found,
    found.name ?? t(`recognise.${kind}`),
    t(`recognise.${kind}.more`, values),
    [found.quality],
  );
  const [best] = found.candidates;
  if (!found.name && best) {
    const rows = shown.querySelector("dl");
    rows.append(element("dt", { text: t("details.nearest") }), element("dd", { text: best.name }));
  }
  return shown;
}
