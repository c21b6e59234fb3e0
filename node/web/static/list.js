// All jobs of the node, newest first, by state and page by page.

import { KeyedList, badge, byId, el, jobUrl } from './dom.js';
import { askJson } from './feed.js';
import { PHASES, ago, dateTime, integer, money, phase, shortHex } from './format.js';
import { Shell, soon } from './shell.js';

const PAGE = 50;
const chosen = new URLSearchParams(location.search).get('phase');
const only = PHASES[chosen] ? chosen : null;
const jobs = new Map();
let oldest = null; // where the next older page begins; null when there is none
let started = false;

const body = el('tbody', {});
const rows = new KeyedList(body);
const table = el('table', { class: 'jobs' },
  el('caption', { class: 'visually-hidden' }, 'Jobs, newest first'),
  el('thead', {}, el('tr', {}, ['Job', 'State', 'Prompt', 'Requester', 'Price', 'Changed'].map((name) => el('th', { scope: 'col' }, name)))), body);
const empty = el('p', { class: 'empty', hidden: true }, only ? 'No job is in this state.' : 'No job yet. Every offer this node answers appears here.');
byId('jobs').append(table, empty);

const query = (before) => `/api/v1/jobs?limit=${PAGE}${only ? `&phase=${only}` : ''}${before ? `&before=${encodeURIComponent(before)}` : ''}`;
const redraw = soon(draw);
const shell = new Shell({
  title: 'Jobs · sdv-node',
  onStatus: redraw,
  onJob: (job) => { learn(job); redraw(); },
  refresh: async () => {
    const { jobs: page, next_before: next } = await askJson(query(null));
    page.forEach(learn);
    if (!started) oldest = next;
    started = true;
    redraw();
  },
});

function learn(job) {
  if (only && job.phase !== only) jobs.delete(job.job_id);
  else jobs.set(job.job_id, job);
}

async function older() {
  const { jobs: page, next_before: next } = await askJson(query(oldest));
  page.forEach(learn);
  oldest = next;
  redraw();
}

function draw() {
  const all = [...jobs.values()].sort((a, b) => b.seen_at - a.seen_at || (b.job_id > a.job_id ? 1 : -1));
  rows.draw(all, (job) => job.job_id, row, (job) => JSON.stringify([job.phase, job.reason, job.paid_wei, job.updated_at, shell.symbol]));
  table.hidden = all.length === 0;
  empty.hidden = !started || all.length > 0;
  byId('more').hidden = !oldest;
  const counts = shell.status?.jobs?.by_phase ?? {};
  const known = Object.keys(PHASES).filter((name) => counts[name] || name === only);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const chips = [chip('All', '/jobs', total, !only), ...known.map((name) => chip(phase(name).label, `/jobs?phase=${name}`, counts[name] ?? 0, name === only))];
  const said = chips.map((node) => node.textContent).join();
  if (byId('phases').dataset.said === said) return;
  byId('phases').dataset.said = said;
  const focused = byId('phases').contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
  byId('phases').replaceChildren(...chips);
  if (focused) chips.find((node) => node.getAttribute('href') === focused)?.focus();
}

function chip(label, href, count, current) {
  return el('a', { href, class: 'chip', 'aria-current': current ? 'page' : null }, label, ' ', el('span', { class: 'chip-count' }, integer(count)));
}

function row(job) {
  return el('tr', {},
    el('td', { class: 'mono' }, job.job_id),
    el('td', {}, badge(job)),
    el('th', { scope: 'row' }, el('a', { href: jobUrl(job.job_id), class: 'clip2', dir: 'auto' }, job.prompt || 'No prompt'),
      job.reason ? el('span', { class: 'small muted clip2', dir: 'auto', title: job.reason }, job.reason) : null),
    el('td', { class: 'mono muted' }, shortHex(job.requester)),
    el('td', { class: 'number' }, job.phase === 'PAID' ? money(job.paid_wei, shell.symbol) : money(job.price_wei, shell.symbol) || '–'),
    el('td', { class: 'muted nowrap' }, el('time', { title: dateTime(job.updated_at), 'data-at': job.updated_at }, ago(job.updated_at))));
}

byId('more').addEventListener('click', () => older().catch((error) => { byId('announcer').textContent = error.message; }));
shell.start();
