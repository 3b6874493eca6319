/** Samples in [-1, 1], in pieces, as a 16-bit mono WAV. */
export function encodeWav(pieces, rate) {
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const ascii = (place, text) =>
    [...text].forEach((c, k) => view.setUint8(place + k, c.charCodeAt(0)));
  ascii(0, "RIFF");
  view.setUint32(4, 36 + 2 * count, true);
  ascii(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  ascii(36, "data");
  view.setUint32(40, 2 * count, true);
  let place = 44;
  for (const piece of pieces) {
    for (const sample of piece) {
      const bounded = Math.max(-1, Math.min(1, sample));
      view.setInt16(place, Math.round(bounded * 32767), true);
      place += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
