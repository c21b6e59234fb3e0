// One job's page: everything this node knows of it, live while it goes on.

import { badge, byId, el, jobUrl, redrawn } from './dom.js';
import { Refused, askJson } from './feed.js';
import { money, words } from './format.js';
import { fileUrl, liveStills, media, picture, player } from './media.js';
import { announcement, moveProgress, progressBar, shapeOf, track } from './running.js';
import { Shell, soon } from './shell.js';
import { deal, files, inputs, logLines, part, timeline, transactions } from './story.js';

const LOG_MS = 1000;
const jobId = decodeURIComponent(location.pathname.split('/').pop());
const address = `/api/v1${jobUrl(jobId)}`;
const page = byId('page');
const log = el('div', { class: 'log-box', tabindex: 0, role: 'region', 'aria-label': 'Log of this job' });
let job = null;
let missing = '';
let drawn = '';
let announced = '';

const redraw = soon(draw);
const readLog = () => askJson(`${address}/logs`).then(
  ({ lines }) => {
    const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    redrawn(log, logLines(lines));
    if (below) toNewest();
  },
  (error) => redrawn(log, el('p', { class: 'empty small' }, `The log cannot be read: ${error.message}`)),
);

// The box ends where its first whole line begins, so that none is cut through.
function toNewest() {
  log.style.maxHeight = '';
  log.scrollTop = log.scrollHeight;
  const { top } = log.getBoundingClientRect();
  const places = [...log.querySelectorAll('li')].map((line) => line.getBoundingClientRect());
  const cut = places.find((place) => place.top < top - 1 && place.bottom > top + 1);
  if (!cut || cut.bottom - top > log.clientHeight / 2) return;
  log.style.maxHeight = `${log.clientHeight - (cut.bottom - top)}px`;
  log.scrollTop = log.scrollHeight;
}

const shell = new Shell({
  title: `Job ${jobId} · sdv-node`,
  onStatus: redraw,
  onJob: (next) => { if (next.job_id === jobId) take(next); },
  onProgress: ({ job_id: moved, ...progress }) => {
    if (moved !== jobId || !job) return;
    job = { ...job, ...progress };
    redraw();
  },
  refresh: async () => {
    try {
      take(await askJson(address));
      missing = '';
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      missing = error.message;
      redraw();
    }
  },
});

let logIsOld = true; // steps come many at a time, and the node reads files for its answer
function take(next) {
  job = sized(next);
  measure();
  logIsOld = true;
  redraw();
}

// Housekeeping lets go of a job's folder once its result is in the store: the manifest there tells the sizes.
const sizes = new Map();
let measured = null; // the CID of the manifest that was asked for

function sized(next) {
  return { ...next, outputs: (next.outputs ?? []).map((output) => ({ ...output, bytes: output.bytes ?? sizes.get(output.path) ?? null })) };
}

async function measure() {
  const manifest = fileUrl(job, 'manifest.json');
  if (!manifest || measured === job.cid || job.outputs.every(({ bytes }) => bytes !== null)) return;
  measured = job.cid;
  try {
    const { outputs } = await askJson(manifest);
    for (const { path, bytes } of outputs) sizes.set(path, bytes);
  } catch {
    return; // the result is gone from the store as well
  }
  job = sized(job);
  redraw();
}

setInterval(() => {
  if (!logIsOld) return;
  logIsOld = false;
  readLog();
}, LOG_MS);

function draw() {
  if (missing && !job) {
    redrawn(page, el('div', { class: 'idle' }, el('h1', { id: 'job-title' }, 'No such job'), el('p', { class: 'muted' }, `${words(missing)}.`), el('p', {}, el('a', { href: '/jobs' }, 'All jobs'))));
    return;
  }
  if (!job) return;
  const said = announcement(job);
  if (said !== announced) {
    announced = said;
    byId('announcer').textContent = said;
  }
  const { explorer } = shell.status ?? {};
  const text = shapeOf(job) + shell.symbol + explorer;
  if (text === drawn) {
    if (job.progress) moveProgress(page, job);
    return;
  }
  drawn = text;
  redrawn(page,
    el('header', { class: 'job-head' },
      el('p', { class: 'row' }, badge(job), el('span', { class: 'muted mono' }, job.job_id),
        el('span', { class: 'push price' }, money(job.phase === 'PAID' ? job.paid_wei : job.price_wei, shell.symbol))),
      el('h1', { id: 'job-title', class: 'prompt', dir: 'auto' }, job.prompt || 'No prompt'),
      job.reason && !job.progress ? el('p', { class: 'note break', dir: 'auto' }, job.reason) : null),
    job.terminal ? el('div', { hidden: true }) : el('section', { class: 'panel', 'aria-label': 'Progress' }, progressBar(job), track(job)),
    gallery(),
    el('div', { class: 'columns' },
      el('div', { class: 'stack-parts' }, timeline(job, explorer), inputs(job)),
      el('div', { class: 'stack-parts' }, deal(job, shell.symbol, explorer), files(job))),
    transactions(job, explorer) ?? el('div', { hidden: true }),
    logPart);
}

function gallery() {
  const found = media(job);
  const shown = [
    ...found.mp4.map((path, index) => player(job, path, found.still[index], { controls: true })),
    ...found.still.map((path) => picture(job, path)),
    ...liveStills(job),
  ];
  if (!shown.length) return el('div', { hidden: true });
  return el('section', { class: 'job-media', 'aria-label': 'Pictures and videos' }, shown.map((item) => el('div', { class: 'frame' }, item)));
}

const logPart = part('Log', log);
shell.start();
