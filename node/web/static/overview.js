// The first page: money, what runs now, the GPUs, the offers, the last results, and the node's parts.

import { gpuCard } from './charts.js';
import { KeyedList, badge, byId, copyButton, el, jobUrl, redrawn } from './dom.js';
import { moneyCells, nodeFacts } from './facts.js';
import { askJson } from './feed.js';
import { ago, dateTime, duration, money, phase, plural, shortCid, words } from './format.js';
import { fileLinks, fileUrl, media, picture, player } from './media.js';
import { lastDeclined, offerSummary } from './offers.js';
import { announcement, moveProgress, queueRow, runningCard, shapeOf } from './running.js';
import { Shell, soon } from './shell.js';

const NOT_TAKEN = new Set(['REFUSED', 'LAPSED']);
const NEWEST = 20; // jobs asked for at first: all of them would be most of what the page weighs
const SHOWN_FINISHED = 6;
const SHOWN_DECLINED = 6;
const SHOWN_QUEUE = 20;
const KEEP = 300; // a page left open for weeks must not grow without end
const HISTORY_MS = 60000;

const jobs = new Map();
const lists = { queue: new KeyedList(byId('queue')), gallery: new KeyedList(byId('gallery')), cases: new KeyedList(byId('cases')) };
let status = null;
let history = null;
let started = false;
let announced = '';
let asked = ''; // the running job whose timeline was asked for
let lead = null; // {jobId, shape} of the card that is drawn

const redraw = soon(draw);
const shell = new Shell({
  title: 'sdv-node',
  onStatus: (next) => { status = next; redraw(); },
  onJob: (job) => { learn(job); redraw(); },
  onProgress: ({ job_id: jobId, ...moved }) => {
    const job = jobs.get(jobId);
    if (job) jobs.set(jobId, { ...job, ...moved });
    redraw();
  },
  refresh: async () => {
    const { jobs: page } = await askJson(`/api/v1/jobs?limit=${NEWEST}`);
    page.forEach(learn);
    if (!started) await findFinished(page);
    started = true;
    readHistory();
    redraw();
  },
});

function learn(job) {
  const known = jobs.get(job.job_id);
  if (known && known.updated_at > job.updated_at) return;
  // Lists come without the story of each job; what the page knows of it stays.
  if (known && !job.timeline?.length) job = { ...job, timeline: known.timeline, transactions: known.transactions };
  jobs.set(job.job_id, job);
}

// Many declined offers may fill the newest page: the last paid jobs are asked for by their phase then.
async function findFinished(page) {
  const finished = page.filter((job) => job.terminal && !NOT_TAKEN.has(job.phase));
  if (finished.length >= SHOWN_FINISHED || page.length < NEWEST) return;
  const { jobs: paid } = await askJson(`/api/v1/jobs?limit=${SHOWN_FINISHED}&phase=PAID`);
  paid.forEach(learn);
}

async function readHistory() {
  if (!status?.gpus?.length && history) return;
  try {
    history = await askJson('/api/v1/gpus/history');
    redraw();
  } catch { /* the charts stay as they are until the next minute */ }
}

function draw() {
  const all = [...jobs.values()].sort((a, b) => b.seen_at - a.seen_at || (b.job_id > a.job_id ? 1 : -1));
  for (const job of all.slice(KEEP)) jobs.delete(job.job_id);
  const finished = all.filter((job) => job.terminal && !NOT_TAKEN.has(job.phase));
  const declined = all.filter((job) => job.terminal && NOT_TAKEN.has(job.phase));
  if (status) drawStatus(declined);
  drawNow(all.filter((job) => !job.terminal));
  lists.gallery.draw(finished.slice(0, SHOWN_FINISHED), (job) => job.job_id, finishedCard, (job) => JSON.stringify(job) + shell.symbol);
  byId('gallery-empty').hidden = !started || finished.length > 0;
}

function drawStatus(declined) {
  const { earnings = {}, gpus = [], offers = {}, mediation, skipped = [] } = status;
  redrawn(byId('money'), moneyCells(earnings, shell.symbol));
  byId('gpu-section').hidden = gpus.length === 0 && (status.gpu_gate?.needed_bytes ?? null) === null;
  byId('gpus').hidden = gpus.length === 0;
  byId('gpu-note').textContent = gpus.length ? '' : status.gpu_problem ?? '';
  byId('gpu-title').textContent = gpus.length > 1 ? 'GPUs' : 'GPU';
  drawGpus(gpus);
  byId('offers-note').textContent = offers.since ? `since the node started, ${ago(offers.since)}` : '';
  redrawn(byId('offers'), offerSummary(offers), lastDeclined(declined.slice(0, SHOWN_DECLINED), skipped.slice(0, Math.max(0, SHOWN_DECLINED - declined.length)), shell.symbol));
  redrawn(byId('facts'), ...nodeFacts(status));
  const cases = mediation?.cases ?? [];
  byId('cases-section').hidden = cases.length === 0;
  lists.cases.draw(cases, (found) => found.deal_id, caseRow);
  const counts = Object.entries(status.jobs?.by_phase ?? {});
  const done = counts.filter(([name]) => ['PAID', 'FAILED', 'REJECTED', 'UNPAID'].includes(name)).reduce((sum, [, count]) => sum + count, 0);
  byId('done-count').textContent = done ? plural(done, 'job') : '';
}

let drawnGpus = '';
function drawGpus(gpus) {
  const text = JSON.stringify([gpus, history]);
  if (text === drawnGpus || byId('gpus').matches(':hover')) return; // somebody reads a chart
  drawnGpus = text;
  byId('gpus').replaceChildren(...gpus.map((gpu) => gpuCard(gpu, history)));
}

function drawNow(active) {
  const current = status?.worker?.current_job;
  const agreed = active.filter((job) => phase(job.phase).step > 0);
  const first = agreed.find((job) => job.job_id === current) ?? agreed.find((job) => job.progress)
    ?? agreed.find((job) => phase(job.phase).tone === 'busy') ?? agreed[0];
  if (first && !first.timeline?.length && asked !== first.job_id) {
    asked = first.job_id;
    askJson(`/api/v1${jobUrl(first.job_id)}`).then((job) => { learn(job); redraw(); }, () => { asked = ''; });
  }
  if (first) drawLead(first);
  else if (started) {
    lead = null;
    redrawn(byId('running'), idle(active.length));
  }
  const queue = active.filter((job) => job !== first);
  byId('queue-part').hidden = queue.length === 0;
  byId('queue-count').textContent = queue.length || '';
  lists.queue.draw(queue.slice(0, SHOWN_QUEUE), (job) => job.job_id, (job) => queueRow(job, shell.symbol), (job) => shapeOf(job) + shell.symbol);
  const said = first ? announcement(first) : '';
  if (said !== announced) {
    announced = said;
    byId('announcer').textContent = said;
  }
}

function drawLead(job) {
  const shape = shapeOf(job) + shell.symbol;
  if (lead?.jobId === job.job_id && lead.shape === shape) {
    if (job.progress) moveProgress(byId('running'), job);
    return;
  }
  lead = { jobId: job.job_id, shape };
  redrawn(byId('running'), runningCard(job, shell.symbol));
}

function idle(offered) {
  const words = offered ? ['Nothing to render', 'The jobs in the queue are not agreed yet.'] : status?.accepting
    ? ['Waiting for a job', status.price_wei ? `This node asks ${money(status.price_wei, shell.symbol)} for a job with the usual settings.` : 'Jobs appear here as they are taken.']
    : status?.draining ? ['Drained', 'All that was agreed is delivered: the node can be stopped, or resumed.'] : ['Not taking jobs', 'The reasons are listed above.'];
  return el('div', { class: 'idle', id: 'idle' }, el('p', { class: 'idle-title' }, words[0]), el('p', { class: 'muted' }, words[1]));
}

function finishedCard(job) {
  const found = media(job);
  const shown = found.mp4.length ? player(job, found.mp4[0], found.still[0])
    : found.still.length ? picture(job, found.still[0])
      : el('p', { class: 'no-media' }, job.reason || 'This job has no files');
  return el(
    'article', { class: 'card', 'data-job': job.job_id, 'aria-label': `Job ${job.job_id}` },
    el('div', { class: 'frame' }, shown, found.mp4.length && found.still.length
      ? el('a', { class: 'inset', href: fileUrl(job, found.still[0]), target: '_blank', rel: 'noopener', 'aria-label': `Open the still of job ${job.job_id}` }, picture(job, found.still[0])) : null),
    el(
      'div', { class: 'card-body' },
      el('div', { class: 'row' }, badge(job), el('span', { class: 'push paid' }, job.phase === 'PAID' ? money(job.paid_wei, shell.symbol) : '')),
      el('h3', {}, el('a', { class: 'title', dir: 'auto', href: jobUrl(job.job_id) }, job.prompt || 'No prompt')),
      job.cid && job.reason ? el('p', { class: 'small muted break', dir: 'auto' }, job.reason) : null,
      el('p', { class: 'row small muted' }, el('span', { class: 'mono' }, job.job_id), el('time', { title: dateTime(job.updated_at), 'data-at': job.updated_at }, ago(job.updated_at)),
        job.run_time ? el('span', {}, `rendered in ${duration(job.run_time.taken_s)}`) : null, job.cid ? copyButton(job.cid, shortCid(job.cid), 'the CID') : null),
      fileLinks(job),
    ),
  );
}

function caseRow(found) {
  const ruling = found.decision ? `, ${found.decision === 'accept' ? 'for the provider' : 'against the provider'}` : '';
  return el('li', {}, el('span', { class: 'mono break' }, found.deal_id), el('span', {}, `${words(found.phase)}${ruling}`),
    el('span', { class: 'muted break', dir: 'auto' }, found.reason || found.waits || ''));
}

setInterval(readHistory, HISTORY_MS);
shell.start();
