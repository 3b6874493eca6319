// The microphone: samples as they are, in memory, and a WAV of them in the end.

import { failure } from "./api.js";
import { encodeWav } from "./wav.js";

// What browsers do to please ears changes a voice.
const AS_IT_IS = {
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
  channelCount: 1,
};
const FAILURES = {
  NotAllowedError: "microphone.refused",
  SecurityError: "microphone.refused",
  NotFoundError: "microphone.none",
};

/**
 * Record from the microphone.
 *
 * @param seconds after which it ends by itself
 * @param onPiece called with the peak of each piece, 0 to 1, and the seconds so far
 * @returns {Promise<{stop: () => void, ended: Promise<{clip: Blob, seconds: number}>}>} as soon as it runs
 */
export async function record(seconds, onPiece) {
  if (!navigator.mediaDevices) throw failure("microphone.insecure");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
  } catch (error) {
    throw failure(FAILURES[error.name] ?? "microphone.busy");
  }
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule("/page/recorder_worklet.js");
    await context.resume();
  } catch {
    end(stream, context);
    throw failure("microphone.busy");
  }
  const tap = new AudioWorkletNode(context, "tap", {
    numberOfOutputs: 0,
    channelCount: 1,
    channelCountMode: "explicit",
  });
  const pieces = [];
  let count = 0;
  let stop;
  const ended = new Promise((resolve) => {
    stop = () => {
      end(stream, context);
      resolve({ clip: encodeWav(pieces, context.sampleRate), seconds: count / context.sampleRate });
    };
  });
  tap.port.onmessage = ({ data }) => {
    if (context.state === "closed") return;
    pieces.push(data);
    count += data.length;
    onPiece(
      data.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0),
      count / context.sampleRate,
    );
    if (count >= seconds * context.sampleRate) stop();
  };
  stream.getTracks()[0].addEventListener("ended", stop); // unplugged, or taken back
  context.createMediaStreamSource(stream).connect(tap);
  return { stop, ended };
}

function end(stream, context) {
  stream.getTracks().forEach((track) => track.stop());
  if (context.state !== "closed") context.close();
}
