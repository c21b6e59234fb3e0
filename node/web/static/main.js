// Holds what the page knows and draws it; asks for nothing but reading.

import { Detail } from './detail.js';
import { Feed, getJson } from './feed.js';
import { ago, amount, bytes, duration, integer, money, phase, plural, shortHex, words } from './format.js';
import { copyButton, el, finishedCard, queueRow, refusedRow, runningCard } from './jobs.js';

const NOT_TAKEN = new Set(['REFUSED', 'LAPSED']);
const PAGE = 50;
const FIRST_FINISHED = 12;
const FIRST_REFUSED = 5;
const KEEP = 2000; // a page left open for weeks must not grow without end

const byId = (id) => document.getElementById(id);
const jobs = new Map();
const drawn = new Map(); // container id -> what it shows now: Map of job_id -> {text, node}, for facts a list
let status = null;
let shownFinished = FIRST_FINISHED;
let shownRefused = FIRST_REFUSED;
let oldest = null; // where the next older page begins; null when there is none
let started = false;
let queued = false;
let announced = '';
let asked = ''; // the running job whose timeline was asked for
let connection = { state: 'waiting', heardAt: Date.now() };

const detail = new Detail(byId('detail'));
const open = (jobId) => detail.open(jobId);
const symbol = () => status?.chain?.symbol ?? '';

function learn(job) {
  const known = jobs.get(job.job_id);
  if (known && known.updated_at > job.updated_at) return;
  // Lists come without the story of each job; what the page knows of it stays.
  if (known && !job.timeline?.length) job = { ...job, timeline: known.timeline, transactions: known.transactions };
  jobs.set(job.job_id, job);
  detail.update(job, symbol());
}

function newestFirst() {
  return [...jobs.values()].sort((a, b) => b.seen_at - a.seen_at || (b.job_id > a.job_id ? 1 : -1));
}

function redraw() {
  if (queued) return;
  queued = true;
  setTimeout(() => { queued = false; draw(); }, 40);
}

function draw() {
  const all = newestFirst();
  for (const job of all.slice(KEEP)) jobs.delete(job.job_id);
  const active = all.filter((job) => !job.terminal);
  const finished = all.filter((job) => job.terminal && !NOT_TAKEN.has(job.phase));
  const refused = all.filter((job) => job.terminal && NOT_TAKEN.has(job.phase));
  if (status) drawStatus(status);
  drawNow(active);
  list('gallery', finished.slice(0, shownFinished), finishedCard);
  list('refused', refused.slice(0, shownRefused), refusedRow);
  byId('gallery-empty').hidden = !started || finished.length > 0;
  byId('refused-section').hidden = refused.length === 0;
  byId('more').hidden = !(finished.length > shownFinished || oldest);
  byId('more-refused').hidden = refused.length <= shownRefused;
  drawConnection();
}

// Keeps the nodes of unchanged jobs, so that videos play on and the focus stays where it is.
function list(id, items, make) {
  const before = drawn.get(id) ?? new Map();
  const now = new Map();
  const container = byId(id);
  const focused = container.contains(document.activeElement) ? document.activeElement.closest('[data-key]')?.dataset.key : null;
  let place = container.firstElementChild;
  for (const job of items) {
    const text = JSON.stringify(job) + symbol();
    const old = before.get(job.job_id);
    const node = old?.text === text ? old.node : make(job, symbol(), open);
    node.dataset.key = job.job_id;
    if (old && old.node !== node) old.node.replaceWith(node);
    if (place === old?.node) place = node;
    if (node === place) place = place.nextElementSibling;
    else container.insertBefore(node, place);
    now.set(job.job_id, { text, node });
  }
  for (const [jobId, { node }] of before) if (!now.has(jobId)) node.remove();
  drawn.set(id, now);
  if (focused && !container.contains(document.activeElement)) now.get(focused)?.node.querySelector('button, a')?.focus();
}

function drawNow(active) {
  const current = status?.worker?.current_job;
  const lead = active.find((job) => job.job_id === current) ?? active.find((job) => job.progress)
    ?? active.find((job) => phase(job.phase).tone === 'busy') ?? active[0];
  if (lead && !lead.timeline?.length && asked !== lead.job_id) {
    asked = lead.job_id;
    getJson(`/api/v1/jobs/${encodeURIComponent(lead.job_id)}`).then((job) => { learn(job); redraw(); }, () => { asked = ''; });
  }
  if (lead) {
    byId('idle')?.remove();
    drawLead(lead);
  } else if (started) {
    drawn.delete('running');
    byId('running').replaceChildren(el('div', { class: 'idle', id: 'idle' },
      el('p', {}, status?.accepting ? 'Waiting for a job' : 'Not taking jobs'),
      el('p', { class: 'muted' }, status?.accepting && status.price_wei ? `This node asks ${money(status.price_wei, symbol())} for a job with the usual settings.` : status?.accepting ? 'Jobs appear here as they are taken.' : 'The reasons are listed above.')));
  }
  list('queue', active.filter((job) => job !== lead).slice(0, 20), queueRow);
  const said = lead ? announcement(lead) : '';
  if (said !== announced) {
    announced = said;
    byId('announcer').textContent = said;
  }
}

// A step moves only the bar and the counter: pictures stay and the focus is not lost.
function drawLead(job) {
  const shape = JSON.stringify({ ...job, progress: null, updated_at: 0 }) + symbol() + (job.progress === null);
  const old = drawn.get('running')?.get(job.job_id);
  const fresh = runningCard(job, symbol(), open);
  if (old?.text === shape) {
    if (!job.progress) return;
    const bar = old.node.querySelector('.bar');
    const next = fresh.querySelector('.bar');
    for (const name of ['aria-valuenow', 'aria-valuetext']) {
      if (next.hasAttribute(name)) bar.setAttribute(name, next.getAttribute(name));
    }
    bar.firstChild.style.width = next.firstChild.style.width;
    old.node.querySelector('.progress-line').replaceChildren(...fresh.querySelector('.progress-line').childNodes);
    return;
  }
  const focused = byId('running').contains(document.activeElement);
  byId('running').replaceChildren(fresh);
  if (focused) fresh.querySelector('button')?.focus();
  drawn.set('running', new Map([[job.job_id, { text: shape, node: fresh }]]));
}

// Spoken at each stage and each quarter, not at each step.
function announcement(job) {
  const { progress } = job;
  if (!progress) return `Job ${job.job_id}: ${phase(job.phase).label}`;
  return `Job ${job.job_id}: ${words(progress.stage)}, ${Math.floor(progress.fraction * 4) * 25} percent`;
}

function fact(name, value, ...notes) {
  return el('div', { class: 'fact' }, el('p', { class: 'fact-name' }, name), el('p', { class: 'fact-value' }, value),
    notes.filter(Boolean).map((note) => el('p', { class: 'fact-note' }, note)));
}

function gpuFact(gpu, numbered) {
  const readings = [[gpu.utilisation_percent, '%'], [gpu.temperature_c, '°C'], [gpu.power_w, 'W']];
  const told = readings.filter(([value]) => value !== null && value !== undefined);
  return fact(numbered ? `GPU ${gpu.index}` : 'GPU', String(gpu.name).replace(/^NVIDIA (GeForce )?/, ''),
    `${bytes(gpu.memory_used_bytes)} of ${bytes(gpu.memory_total_bytes)}`,
    told.map(([value, unit]) => `${Math.round(value)} ${unit}`).join(' · '),
    ...(gpu.shut ?? []).map(({ reason }) => el('span', { class: 'bad' }, reason)));
}

// Facts that read the same stay: one of them has a button that may have the focus.
function drawFacts(...facts) {
  const before = drawn.get('facts') ?? [];
  const kept = facts.map((node, index) => {
    const text = node.textContent;
    return before[index]?.text === text ? before[index] : { text, node };
  });
  const container = byId('facts');
  kept.forEach(({ node }, index) => {
    const place = container.children[index];
    if (place === undefined) container.append(node);
    else if (place !== node) place.replaceWith(node);
  });
  drawn.set('facts', kept);
}

function drawStatus({ chain = {}, wallet = {}, worker = {}, gpus = [], earnings = {}, disk = {}, ...node }) {
  const busy = worker.current_job ?? null;
  const pill = byId('accepting');
  pill.textContent = node.accepting ? (busy ? 'Working, accepting jobs' : 'Accepting jobs') : 'Not accepting jobs';
  pill.dataset.tone = node.accepting ? 'good' : 'warn';
  const reasons = node.accepting ? [] : node.not_accepting_because ?? [];
  byId('banner').hidden = reasons.length === 0;
  byId('banner-title').textContent = 'This node takes no new jobs';
  byId('banner-reasons').replaceChildren(...reasons.map((reason) => el('li', {}, reason)));
  const workers = worker.slots ?? [];
  const paid = node.jobs?.by_phase?.PAID ?? 0;
  drawFacts(
    fact('Earned', `${amount(earnings.paid_wei)} ${chain.symbol ?? ''}`, `${amount(earnings.day_wei)} ${chain.symbol ?? ''} in the last day${earnings.locked_wei === undefined ? '' : `, ${amount(earnings.locked_wei)} locked in deals`}`, plural(paid, 'paid job')),
    fact('Chain head', chain.head === null || chain.head === undefined ? 'No block yet' : integer(chain.head),
      chain.rpc_ok ? el('span', {}, 'seen ', el('time', { 'data-at': chain.head_at }, ago(chain.head_at))) : el('span', { class: 'bad' }, chain.problem ?? 'The RPC endpoint does not answer'), `chain ${chain.chain_id ?? '–'}, read to ${integer(chain.cursor)}`),
    fact('Wallet', `${amount(wallet.token_wei)} ${chain.symbol ?? ''}`, `${amount(wallet.gas_wei)} for gas`,
      wallet.address ? copyButton(wallet.address, shortHex(wallet.address), 'the wallet address') : null),
    workers.length > 1 ? fact('Workers', `${workers.filter(({ ready }) => ready).length} of ${workers.length} ready`,
      `${workers.filter(({ rendering }) => rendering).length} rendering`, `profile ${worker.profile}`, worker.problem)
      : fact('Worker', worker.ready ? words(worker.state) || 'Ready' : words(worker.state) || 'Not ready', worker.profile && `profile ${worker.profile}`, worker.determinism_class && `class ${worker.determinism_class}`),
    ...(gpus.length ? gpus.map((gpu) => gpuFact(gpu, gpus.length > 1)) : [fact('GPU', 'None', node.gpu_problem ?? 'The processor renders')]),
  );
  drawCases(node.mediation?.cases ?? []);
  byId('version').textContent = `sdv-node ${node.version ?? ''} · up for ${duration(Date.now() / 1000 - node.started_at)} · ${bytes(disk.free_bytes)} free`;
  const counts = Object.entries(node.jobs?.by_phase ?? {});
  const total = (wanted) => counts.reduce((sum, [name, count]) => sum + (wanted(name) ? count : 0), 0);
  byId('done-count').textContent = plural(total((name) => ['PAID', 'FAILED', 'REJECTED', 'UNPAID'].includes(name)), 'job');
  byId('refused-count').textContent = plural(total((name) => NOT_TAKEN.has(name)), 'offer');
}

function drawCases(cases) {
  byId('cases-section').hidden = cases.length === 0;
  // Read by the same list as jobs are, which knows an entry by its id.
  list('cases', cases.map((found) => ({ ...found, job_id: found.deal_id })), caseRow);
}

function caseRow(found) {
  const ruling = found.decision ? `, ${found.decision === 'accept' ? 'for the provider' : 'against the provider'}` : '';
  return el('li', {}, el('span', { class: 'mono break' }, found.deal_id), el('span', {}, `${words(found.phase)}${ruling}`),
    el('span', { class: 'muted break', dir: 'auto' }, found.reason || found.waits || ''));
}

function drawConnection() {
  const { state, heardAt } = connection;
  const text = { live: 'Live', polling: 'Updating every few seconds', waiting: 'Connecting', stale: `No answer since ${ago(heardAt / 1000)}` }[state];
  const shown = byId('connection');
  shown.dataset.state = state;
  if (shown.lastElementChild.textContent !== text) shown.lastElementChild.textContent = text;
  document.body.classList.toggle('is-stale', state === 'stale');
  document.title = state === 'stale' ? 'No answer · sdv-node' : 'sdv-node';
}

async function more() {
  shownFinished += FIRST_FINISHED;
  await fill();
}

// Loads older pages until the gallery has what it should show; refused offers may fill whole pages.
async function fill() {
  const count = () => [...jobs.values()].filter((job) => job.terminal && !NOT_TAKEN.has(job.phase)).length;
  for (let page = 0; page < 10 && oldest && count() < shownFinished; page += 1) {
    const older = await getJson(`/api/v1/jobs?limit=${PAGE}&before=${encodeURIComponent(oldest)}`);
    older.jobs.forEach(learn);
    oldest = older.next_before;
  }
  redraw();
}

const feed = new Feed({
  onStatus: (next) => { status = next; redraw(); },
  onJob: (job) => { learn(job); redraw(); },
  onJobs: ({ jobs: page, next_before: next }) => {
    page.forEach(learn);
    if (!started) {
      started = true;
      oldest = next;
      fill().catch(() => redraw());
      detail.follow();
    }
    redraw();
  },
  onState: (state, heardAt) => { connection = { state, heardAt }; redraw(); },
});

byId('more').addEventListener('click', () => more().catch(() => redraw()));
byId('more-refused').addEventListener('click', () => { shownRefused = Infinity; redraw(); });
setInterval(() => {
  for (const time of document.querySelectorAll('time[data-at]')) time.textContent = ago(Number(time.dataset.at));
  drawConnection();
}, 1000);
feed.start();
