// The level meter: a bar for each moment, as loud as it is to an ear.

const FLOOR_DB = -60;
const BAR = 3;
const STEP = 5;

/**
 * Draw peaks, 0 to 1: as many of the latest as have room, at the right end, or `all` of them.
 */
export function drawLevels(canvas, peaks, all = false) {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width) return;
  const scale = window.devicePixelRatio;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const room = Math.floor(width / STEP);
  const shown = all ? squeezed(peaks, room) : peaks.slice(-room);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.fillStyle = getComputedStyle(canvas).color;
  shown.forEach((peak, k) => {
    const loudness = Math.max(0, 1 - (20 * Math.log10(peak + 1e-9)) / FLOOR_DB);
    const tall = Math.max(BAR, Math.min(1, loudness) * height);
    pen.beginPath();
    pen.roundRect((room - shown.length + k) * STEP, (height - tall) / 2, BAR, tall, BAR / 2);
    pen.fill();
  });
}

/** So many values, each the largest of its share. */
function squeezed(peaks, count) {
  return Array.from({ length: count }, (_, k) => {
    const start = Math.floor((k * peaks.length) / count);
    return Math.max(
      ...peaks.slice(start, Math.max(start + 1, Math.floor(((k + 1) * peaks.length) / count))),
    );
  });
}
