// Runs where the browser computes sound: hands on the samples of the microphone.

const PIECE = 2048;

class Tap extends AudioWorkletProcessor {
  #piece = new Float32Array(PIECE);
  #filled = 0;

  process([input]) {
    const samples = input[0];
    if (samples) {
      this.#piece.set(samples, this.#filled); // 128 of them, of which PIECE is a multiple
      this.#filled += samples.length;
      if (this.#filled === PIECE) {
        this.port.postMessage(this.#piece.slice());
        this.#filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("tap", Tap);
