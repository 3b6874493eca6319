import { failure, hasKey, onKeyNeeded, once, setKey } from "./api.js";
import { toldProblem } from "./texts.js";

const KEY = /^[\w-]+$/;

/** The question for a key: asked where the service wants one, and answered once it is right. */
export function start() {
  const dialog = document.getElementById("key-dialog");
  const form = dialog.querySelector("form");
  const input = dialog.querySelector("input");
  const wrong = document.getElementById("key-wrong");
  const forget = document.getElementById("key-button");
  let asked = null; // one question at a time, whoever asks

  const show = () => (forget.hidden = !hasKey());
  forget.addEventListener("click", () => {
    setKey(null);
    location.reload(); // what the key has shown is gone too
  });
  form.querySelector("button").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = input.value.trim();
    try {
      if (!KEY.test(given)) throw failure("key.wrong"); // other characters cannot be sent
      setKey(given);
      await once("/v1/people?limit=1");
      dialog.close("right");
    } catch (problem) {
      setKey(null);
      wrong.textContent = toldProblem(problem.status === 401 ? failure("key.wrong") : problem).join(
        " ",
      );
      input.focus();
      input.select();
    }
  });

  onKeyNeeded(() => {
    asked ??= new Promise((resolve) => {
      setKey(null);
      dialog.returnValue = "";
      dialog.addEventListener(
        "close",
        () => {
          input.value = wrong.textContent = "";
          asked = null;
          show();
          resolve(dialog.returnValue === "right");
        },
        { once: true },
      );
      dialog.showModal();
    });
    return asked;
  });
  show();
}
