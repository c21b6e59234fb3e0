// The parts of a job's page: what happened when, with its transactions, what was asked for, the files, the log.

import { copyButton, el, onChain, pairs } from './dom.js';
import { amount, bytes, clock, dateTime, duration, integer, money, phase, shortCid, words } from './format.js';
import { fileUrl } from './media.js';

export function part(title, ...content) {
  return el('section', { class: 'panel part', 'aria-label': title }, el('h2', {}, title), content);
}

// What a step did, where that says more than the phase that it led to.
const STEPS = { Rendered: 'Rendered', Published: 'Published' };

export function timeline(job, explorer) {
  const lines = job.timeline ?? [];
  if (!lines.length) return part('Timeline', el('p', { class: 'empty small' }, 'Nothing is recorded of this job.'));
  const mined = new Map((job.transactions ?? []).filter(({ block_number: block }) => block).map((sent) => [sent.block_number, sent]));
  return part('Timeline', el('ol', { class: 'story' }, lines.map((line, index) => {
    const hash = line.tx_hash ?? mined.get(line.block_number)?.tx_hash;
    const took = index ? line.at - lines[index - 1].at : 0;
    return el('li', { 'data-tone': phase(line.phase).tone },
      el('time', { class: 'muted', title: dateTime(line.at), datetime: new Date(line.at * 1000).toISOString() }, clock(line.at)),
      el('div', { class: 'story-body' },
        el('p', {}, el('strong', {}, STEPS[line.event] ?? phase(line.phase).label), took >= 1 ? el('span', { class: 'muted small' }, ` after ${duration(took)}`) : null),
        line.detail ? el('p', { class: 'small muted break', dir: 'auto' }, shortened(line.detail)) : null,
        hash ? el('p', { class: 'small' }, onChain('tx', hash, explorer)) : null));
  })));
}

// The CID stands in full with the result.
function shortened(detail) {
  return String(detail).replace(/\bbaf[a-z2-7]{50,}/g, shortCid);
}

export function transactions(job, explorer) {
  if (!job.transactions?.length) return null;
  return part('Transactions', el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Transactions of this job' }, el('table', { class: 'grid' },
    el('thead', {}, el('tr', {}, ['What', 'State', 'Hash', 'Block', 'Nonce', 'Gas', 'Fee'].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, job.transactions.map((sent) => el('tr', {},
      el('td', { class: 'wraps' }, sent.what, sent.reason ? el('span', { class: 'small muted', dir: 'auto' }, ` ${sent.reason}`) : null), [
        ['State', words(sent.status)], ['Hash', onChain('tx', sent.tx_hash, explorer)], ['Block', integer(sent.block_number)], ['Nonce', integer(sent.nonce)],
        ['Gas', sent.gas_used ? integer(sent.gas_used) : '–'], ['Fee', amount(sent.fee_wei, 6)],
      ].map(([name, value]) => el('td', { 'data-name': name }, value))))))));
}

export function deal(job, symbol, explorer) {
  const { money: sums = {} } = job;
  const zero = (wei) => !/[1-9]/.test(String(wei ?? '0'));
  return part('Deal', pairs([
    ['Price', money(job.price_wei, symbol)],
    ['Received', zero(job.paid_wei) ? null : money(job.paid_wei, symbol)],
    ['Gas', zero(job.gas_wei) ? null : `${amount(job.gas_wei, 6)} of the gas token`],
    ['Locked', zero(sums.locked_wei) ? null : money(sums.locked_wei, symbol)],
    ['Slashed', zero(sums.slashed_wei) ? null : money(sums.slashed_wei, symbol)],
    ['Requester', job.requester && onChain('address', job.requester, explorer)],
    ['Deal id', job.deal_id && copyButton(job.deal_id, job.deal_id, 'the deal id')],
    ['Seen', dateTime(job.seen_at)],
    ['Due', job.deadline && !job.terminal ? dateTime(job.deadline) : null],
    ['Rendering', rendering(job)],
    ['Class', job.determinism_class],
  ]));
}

function rendering(job) {
  if (job.run_time) return `took ${duration(job.run_time.taken_s)}, ${duration(job.run_time.expected_s)} expected`;
  return job.estimate ? `${duration(job.estimate.expected_s)} expected, ${duration(job.estimate.upper_s)} at most` : '';
}

export function inputs(job) {
  const told = Object.entries(job.inputs ?? {}).filter(([name]) => name !== 'Prompt' && name !== 'prompt');
  return part('Inputs as understood', pairs([['Module', job.module], ...told]),
    (job.notes ?? []).map((note) => el('p', { class: 'small note', dir: 'auto' }, note)));
}

export function files(job) {
  if (!job.cid) return null;
  const total = (job.outputs ?? []).reduce((sum, { bytes: size }) => sum + (size ?? 0), 0);
  return part('Result', pairs([
    ['CID', copyButton(job.cid, job.cid, 'the CID')],
    ['Manifest', el('a', { href: fileUrl(job, 'manifest.json'), target: '_blank', rel: 'noopener' }, 'manifest.json')],
  ]), el('ul', { class: 'plain' }, (job.outputs ?? []).map((output) => el('li', { class: 'row' },
    el('a', { href: fileUrl(job, output.path), target: '_blank', rel: 'noopener', class: 'break' }, output.path),
    el('span', { class: 'muted push nowrap' }, typeof output.bytes === 'number' ? bytes(output.bytes) : '')))),
  total ? el('p', { class: 'small muted row total' }, el('span', {}, 'Together'), el('span', { class: 'push' }, bytes(total))) : null,
  (job.copies ?? []).length ? copies(job.copies) : null);
}

function copies(found) {
  return el('ul', { class: 'plain copies', 'aria-label': 'Copies of the result' }, found.map((copy) => el('li', {},
    el('span', {}, copy.place), ' ', el('span', { class: 'muted small break', dir: 'auto' },
      copy.read_at ? `read back ${dateTime(copy.read_at)}` : copy.stored_at ? `stored ${dateTime(copy.stored_at)}` : copy.problem ?? 'not yet'))));
}

const USUAL = new Set(['event', 'level', 'timestamp', 'logger', 'job_id']);

export function logLines(lines) {
  if (!lines.length) return el('p', { class: 'empty small' }, 'No line of the log names this job. The node keeps the newest 40 MiB of its log: sdv-node logs --from journal may have older lines.');
  return el('ol', { class: 'log' }, lines.map((line) => el('li', { 'data-level': String(line.level ?? 'info') },
    el('time', { class: 'muted', title: String(line.timestamp ?? '') }, logTime(line.timestamp)),
    el('span', { class: 'log-level' }, String(line.level ?? '')),
    el('span', { class: 'log-text', dir: 'auto' }, el('strong', {}, line.event),
      Object.entries(line).filter(([name]) => !USUAL.has(name) && name !== 'exception').map(([name, value]) => [' ', el('span', { class: 'muted' }, `${name}=`), String(value)]),
      line.exception ? el('span', { class: 'log-trace' }, String(line.exception)) : null))));
}

function logTime(text) {
  const at = Date.parse(text);
  return Number.isFinite(at) ? clock(at / 1000) : '';
}
