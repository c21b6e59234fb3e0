// The cards of jobs: the running one, the finished ones, the ones not taken. Text goes in as text, never as markup.

import { MILESTONES, ago, bytes, clock, dateTime, duration, milestoneTimes, money, phase, shortCid, shortHex, words } from './format.js';

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') node.className = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

export function fileUrl(job, path) {
  if (!/^[A-Za-z0-9]{8,128}$/.test(job.cid ?? '')) return null;
  const clean = String(path).split('/').filter((part) => part && part !== '.' && part !== '..');
  return `/ipfs/${job.cid}/${clean.map(encodeURIComponent).join('/')}`;
}

const KINDS = [
  ['still', /(^|\/)still_\d+_\.png$/i, 'Still'],
  ['mp4', /\.mp4$/i, 'MP4'],
  ['webp', /\.webp$/i, 'WebP'],
  ['apng', /(^|\/)output_\d+_\.png$/i, 'APNG'],
];

// {still: [path], mp4: [path], webp: [path], apng: [path]}, each in order
export function media(job) {
  const found = { still: [], mp4: [], webp: [], apng: [] };
  for (const output of job.outputs ?? []) {
    const kind = KINDS.find(([, pattern]) => pattern.test(output.path));
    if (kind) found[kind[0]].push(output.path);
  }
  for (const paths of Object.values(found)) paths.sort();
  return found;
}

// Videos play only while they can be seen: a gallery of hundreds must not decode hundreds at once.
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const onScreen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !calm.matches) target.play().catch(() => {});
    else target.pause();
  }
}, { rootMargin: '80px' });

export function player(job, path, poster, { controls = false } = {}) {
  const video = el('video', {
    muted: true, loop: true, playsinline: true, preload: 'metadata', controls: controls || calm.matches,
    poster: poster ? fileUrl(job, poster) : null, src: fileUrl(job, path), 'aria-label': 'Rendered video',
  });
  video.muted = true;
  onScreen.observe(video);
  return video;
}

export function picture(job, path) {
  return el('img', { src: fileUrl(job, path), alt: 'Rendered still picture', loading: 'lazy', decoding: 'async' });
}

export function badge(job) {
  const { label, tone } = phase(job.phase);
  return el('span', { class: 'pill', 'data-tone': tone }, label);
}

export function copyButton(text, shown, what) {
  const label = el('span', {}, shown);
  const button = el('button', {
    class: 'copy', type: 'button', title: text, 'aria-label': `Copy ${what}`,
    onclick: async (event) => {
      event.stopPropagation();
      try {
        await navigator.clipboard.writeText(text);
        label.textContent = 'Copied';
      } catch {
        label.textContent = text; // no clipboard over plain HTTP from another machine: show it to be selected
      }
      setTimeout(() => { label.textContent = shown; }, 2500);
    },
  }, label);
  return button;
}

export function fileLinks(job) {
  const found = media(job);
  const links = KINDS.filter(([kind]) => found[kind].length)
    .map(([kind, , label]) => el('a', { href: fileUrl(job, found[kind][0]), target: '_blank', rel: 'noopener' }, label));
  if (job.cid) links.push(el('a', { href: fileUrl(job, 'manifest.json'), target: '_blank', rel: 'noopener' }, 'Manifest'));
  return el('p', { class: 'files' }, links);
}

// how long the rendering still takes, as the node expects it
export function left(job) {
  const seconds = job.estimate?.left_s;
  return typeof seconds === 'number' ? `, about ${duration(seconds)} left` : '';
}

export function runningCard(job, symbol, open) {
  const found = media(job);
  const progress = job.progress;
  const percent = progress ? Math.max(0, Math.min(100, progress.fraction * 100)) : null;
  const { label, step } = phase(job.phase);
  const times = milestoneTimes(job);
  const track = el('ol', { class: 'track', 'aria-label': 'How far the job is' }, MILESTONES.map((name, index) => el(
    'li', { 'data-state': index < step || (index === step && times[index]) ? 'done' : 'ahead', 'aria-current': index === step ? 'step' : null },
    el('span', { class: 'track-name' }, name), el('span', { class: 'track-time' }, times[index] ? clock(times[index]) : ''),
  )));
  const bar = el('div', {
    class: 'bar', role: 'progressbar', 'aria-label': 'Progress of the job', 'aria-valuemin': 0, 'aria-valuemax': 100,
    'aria-valuenow': percent === null ? null : Math.round(percent),
    'aria-valuetext': progress ? `${words(progress.stage)}, step ${progress.step} of ${progress.steps}` : label,
    'data-indeterminate': percent === null && step < 4,
  }, el('span', {}));
  if (percent !== null) bar.firstChild.style.width = `${percent}%`;
  bar.hidden = percent === null && step >= 4; // only waiting for others is left
  const line = progress
    ? [el('strong', {}, words(progress.stage)), el('span', {}, `step ${progress.step} of ${progress.steps}`), el('span', { class: 'push' }, `${Math.floor(percent)} %${left(job)}`)]
    : [el('strong', {}, label), job.reason ? el('span', {}, job.reason) : null];
  const shown = found.mp4.length ? player(job, found.mp4[0], found.still[0]) : found.still.length ? picture(job, found.still[0]) : null;
  return el(
    'article', { class: 'running', 'data-job': job.job_id },
    shown ? el('div', { class: 'running-media frame' }, shown) : null,
    el(
      'div', { class: 'running-body' },
      el('div', { class: 'row' }, badge(job), el('span', { class: 'muted mono' }, job.job_id), el('span', { class: 'push price' }, money(job.price_wei, symbol))),
      el('p', { class: 'prompt', dir: 'auto' }, job.prompt || 'No prompt'),
      bar.hidden && !job.reason ? null : el('div', { class: 'progress' }, el('p', { class: 'row progress-line' }, line), bar),
      track,
      el('p', { class: 'row small muted' }, el('span', {}, job.module), el('span', {}, `from ${shortHex(job.requester)}`), job.deadline && step < 4 ? el('span', {}, `due ${clock(job.deadline)}`) : null, el('button', { class: 'text push', type: 'button', onclick: () => open(job.job_id) }, 'Details')),
    ),
  );
}

export function queueRow(job, symbol, open) {
  return el('li', {}, el(
    'button', { type: 'button', class: 'queue-row', onclick: () => open(job.job_id) },
    badge(job), el('span', { class: 'one-line', dir: 'auto' }, job.prompt || 'No prompt'),
    el('span', { class: 'muted nowrap' }, money(job.price_wei, symbol)),
  ));
}

export function finishedCard(job, symbol, open) {
  const found = media(job);
  const shown = found.mp4.length ? player(job, found.mp4[0], found.still[0])
    : found.still.length ? picture(job, found.still[0])
      : el('p', { class: 'no-media' }, job.reason || 'This job has no files');
  const paid = job.phase === 'PAID' ? money(job.paid_wei, symbol) : '';
  return el(
    'article', { class: 'card', 'data-job': job.job_id },
    el('div', { class: 'frame' }, shown, found.mp4.length && found.still.length
      ? el('a', { class: 'inset', href: fileUrl(job, found.still[0]), target: '_blank', rel: 'noopener', 'aria-label': 'Open the still picture' }, picture(job, found.still[0])) : null),
    el(
      'div', { class: 'card-body' },
      el('div', { class: 'row' }, badge(job), el('span', { class: 'push paid' }, paid)),
      el('h3', {}, el('button', { class: 'title', type: 'button', dir: 'auto', title: 'Open details', onclick: () => open(job.job_id) }, job.prompt || 'No prompt')),
      job.cid && job.reason ? el('p', { class: 'small reason', dir: 'auto' }, job.reason) : null,
      el('p', { class: 'row small muted' }, el('span', { class: 'mono' }, job.job_id), el('time', { title: dateTime(job.updated_at), 'data-at': job.updated_at }, ago(job.updated_at)), job.cid ? copyButton(job.cid, shortCid(job.cid), 'the CID') : null),
      fileLinks(job),
    ),
  );
}

export function refusedRow(job, symbol) {
  return el(
    'li', {},
    el('span', { class: 'mono muted' }, job.job_id),
    el('span', { class: 'one-line', dir: 'auto', title: job.prompt }, job.prompt || 'No prompt'),
    el('span', { class: 'reason', dir: 'auto' }, job.reason || phase(job.phase).label),
    el('span', { class: 'muted nowrap' }, money(job.price_wei, symbol)),
    el('time', { class: 'muted nowrap', title: dateTime(job.updated_at), 'data-at': job.updated_at }, ago(job.updated_at)),
  );
}

export function sizeOf(output) {
  return typeof output.bytes === 'number' ? bytes(output.bytes) : '';
}
