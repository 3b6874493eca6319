import { sendClips } from "./api.js";
import { KINDS, busyCard, problemCard, tell, verdictCard } from "./answers.js";
import { ClipInput } from "./clip_input.js";
import { t } from "./texts.js";

/** Are two clips of the same person? Asked as soon as there are both. */
export function start(section) {
  const answers = section.querySelector(".answers");
  const inputs = [...section.querySelectorAll(".clip")].map(
    (place) => new ClipInput(place, compare),
  );

  async function compare() {
    const clips = inputs.map((input) => input.clip);
    if (!clips.every(Boolean)) {
      answers.replaceChildren();
      return;
    }
    tell(answers, busyCard(t("compare.busy")));
    let shown;
    try {
      const found = await sendClips("/v1/compare", { file1: clips[0], file2: clips[1] });
      const kind = KINDS[found.answer];
      shown = verdictCard(found, t(`compare.${kind}`), t(`compare.${kind}.more`), found.quality);
    } catch (problem) {
      shown = problemCard(problem, compare);
    }
    if (inputs.every((input, k) => input.clip === clips[k])) tell(answers, shown);
  }

  return { leave: () => inputs.forEach((input) => input.leave()) };
}
