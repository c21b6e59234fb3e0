// The GPUs: what each does now, and over the last hours as small charts drawn here as SVG.

import { el, svg } from './dom.js';
import { bytes, duration, hours } from './format.js';

const WIDTH = 320;
const HEIGHT = 72;
const MIB = 1048576;

// name, reading now, samples, how a value reads, what the axis ends at, a line not to be crossed
const READINGS = [
  { name: 'Utilisation', now: 'utilisation_percent', samples: 'utilisation_percent', say: (v) => `${Math.round(v)} %`, top: () => 100 },
  {
    name: 'Memory', now: 'memory_used_bytes', scale: MIB, samples: 'memory_used_mib', say: (v) => bytes(v * MIB),
    top: (gpu) => gpu.memory_total_bytes / MIB, of: (gpu) => `of ${bytes(gpu.memory_total_bytes)}`,
  },
  {
    name: 'Temperature', now: 'temperature_c', samples: 'temperature_c', say: (v) => `${Math.round(v)} °C`,
    top: (gpu) => Math.max(100, gpu.slowdown_temperature_c ?? 0), line: (gpu) => gpu.slowdown_temperature_c,
    of: (gpu) => gpu.slowdown_temperature_c && `slows at ${gpu.slowdown_temperature_c} °C`,
  },
  {
    name: 'Power', now: 'power_w', samples: 'power_w', say: (v) => `${Math.round(v)} W`, line: (gpu) => gpu.power_limit_w,
    top: (gpu, values) => Math.max((gpu.power_limit_w ?? 0) * 1.05, ...values, 1), of: (gpu) => gpu.power_limit_w && `limit ${Math.round(gpu.power_limit_w)} W`,
  },
];

export function gpuCard(gpu, history) {
  const past = history?.gpus?.find(({ uuid }) => uuid === gpu.uuid);
  const problems = gpu.shut ?? [];
  return el('article', { class: 'gpu', 'aria-label': `GPU ${gpu.index}` },
    el('header', { class: 'row gpu-head' },
      el('h3', {}, `GPU ${gpu.index}`), el('span', { class: 'muted' }, String(gpu.name).replace(/^NVIDIA (GeForce )?/, '')),
      gpu.jobs?.length ? el('span', { class: 'push small muted' }, `promised to ${gpu.jobs.join(', ')}`) : null),
    problems.map(({ reason }) => el('p', { class: 'bad small' }, reason)),
    gpu.throttle_reasons?.length ? el('p', { class: 'small warn' }, `Slowed down: ${gpu.throttle_reasons.join(', ')}`) : null,
    el('div', { class: 'readings' }, READINGS.map((reading) => readingOf(reading, gpu, past, history))));
}

function readingOf(reading, gpu, past, history) {
  const raw = gpu[reading.now];
  const now = typeof raw === 'number' ? raw / (reading.scale ?? 1) : null;
  const samples = past?.[reading.samples] ?? [];
  const known = samples.filter((value) => typeof value === 'number');
  const note = reading.of?.(gpu);
  return el('div', { class: 'reading' },
    el('p', { class: 'reading-name' }, reading.name),
    el('p', { class: 'reading-now' }, el('strong', {}, now === null ? '–' : reading.say(now)), el('span', { class: 'muted small' }, note || '')),
    known.length > 1
      ? chart(reading, gpu, samples, known, history)
      : el('p', { class: 'chart-empty muted small' }, now === null ? 'This GPU does not tell' : 'The chart begins in a minute'));
}

function chart(reading, gpu, samples, known, history) {
  const top = reading.top(gpu, known);
  const length = Math.max(samples.length, 2);
  const x = (index) => (index / (length - 1)) * WIDTH;
  const y = (value) => HEIGHT - 2 - (Math.min(value, top) / top) * (HEIGHT - 6);
  const limit = reading.line?.(gpu);
  const said = `${reading.name} of GPU ${gpu.index} over ${duration(samples.length * history.every_s)}: lowest ${reading.say(Math.min(...known))}, highest ${reading.say(Math.max(...known))}`;
  const readout = el('span', { class: 'readout small' });
  const cursor = svg('line', { class: 'chart-cursor', y1: 0, y2: HEIGHT, visibility: 'hidden' });
  const drawing = svg('svg', {
    class: 'chart', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': said,
    onpointermove: (event) => {
      const box = drawing.getBoundingClientRect();
      const index = Math.max(0, Math.min(samples.length - 1, Math.round(((event.clientX - box.left) / box.width) * (length - 1))));
      cursor.setAttribute('x1', x(index));
      cursor.setAttribute('x2', x(index));
      cursor.setAttribute('visibility', 'visible');
      const value = samples[index];
      readout.textContent = `${hours(history.from + index * history.every_s)}  ${typeof value === 'number' ? reading.say(value) : 'no reading'}`;
    },
    onpointerleave: () => { cursor.setAttribute('visibility', 'hidden'); readout.textContent = ''; },
  },
  svg('line', { class: 'chart-grid', x1: 0, x2: WIDTH, y1: y(top / 2), y2: y(top / 2) }),
  svg('line', { class: 'chart-base', x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }),
  limit ? svg('line', { class: 'chart-limit', x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit) }) : null,
  pieces(samples).map((piece) => [
    svg('path', { class: 'chart-area', d: `M${x(piece[0].index)} ${HEIGHT - 1} ${piece.map(({ index, value }) => `L${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join('')} L${x(piece.at(-1).index)} ${HEIGHT - 1}Z` }),
    svg('path', { class: 'chart-line', d: piece.map(({ index, value }, at) => `${at ? 'L' : 'M'}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join('') }),
  ]),
  cursor);
  return el('div', { class: 'chart-box' }, drawing,
    el('p', { class: 'chart-axis small muted' }, el('span', {}, hours(history.from)), readout, el('span', {}, 'now')));
}

// Runs of samples without a gap: a line is never drawn through a time in which nothing was read.
function pieces(samples) {
  const found = [];
  let current = null;
  samples.forEach((value, index) => {
    if (typeof value !== 'number') current = null;
    else if (current) current.push({ index, value });
    else found.push(current = [{ index, value }]);
  });
  return found;
}
