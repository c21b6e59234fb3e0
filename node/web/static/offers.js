// The offers this node saw: how many it proposed a deal for, how many were agreed, why it declined the others, and the last ones it declined.

import { el, jobUrl } from './dom.js';
import { ago, dateTime, integer, money, rule } from './format.js';

const SHOWN_REASONS = 8;

export function offerSummary(offers) {
  const declined = Object.entries(offers.declined ?? {}).sort((a, b) => b[1] - a[1]);
  const total = declined.reduce((sum, [, count]) => sum + count, 0);
  const most = declined[0]?.[1] ?? 1;
  const shown = declined.slice(0, SHOWN_REASONS);
  const rest = declined.slice(SHOWN_REASONS).reduce((sum, [, count]) => sum + count, 0);
  if (rest) shown.push(['others', rest]);
  return el('div', { class: 'panel' },
    el('dl', { class: 'counts' }, [['Seen', offers.seen], ['Proposed', offers.proposed], ['Agreed', offers.agreed], ['Declined', total]].map(([name, count]) => el('div', {},
      el('dt', {}, name), el('dd', {}, integer(count))))),
    shown.length
      ? el('table', { class: 'reasons' }, el('caption', { class: 'visually-hidden' }, 'Offers declined, by reason'),
        el('tbody', {}, shown.map(([name, count]) => {
          const bar = el('span', { class: 'reason-bar' });
          bar.style.width = `${Math.max(2, (count / most) * 100)}%`;
          return el('tr', {}, el('th', { scope: 'row' }, rule(name), bar), el('td', {}, integer(count)));
        })))
      : el('p', { class: 'empty small' }, 'No offer was declined since the node started.'));
}

// The newest of both kinds: jobs that were refused or lapsed, and offers that never became a job.
export function lastDeclined(jobs, skipped, symbol) {
  const rows = [
    ...jobs.map((job) => el('li', {},
      el('a', { class: 'mono', href: jobUrl(job.job_id) }, job.job_id),
      el('span', { class: 'break', dir: 'auto' }, job.reason || 'The requester did not answer in time'),
      el('span', { class: 'muted small clip', dir: 'auto', title: job.prompt }, [job.prompt, money(job.price_wei, symbol)].filter(Boolean).join(' · ')),
      el('time', { class: 'muted small nowrap', title: dateTime(job.updated_at), 'data-at': job.updated_at }, ago(job.updated_at)))),
    ...skipped.map((log) => el('li', {},
      el('span', { class: 'mono muted' }, log.job_number === null ? '–' : `j${log.job_number}`),
      el('span', { class: 'break', dir: 'auto' }, log.reason), el('span', {}),
      el('span', { class: 'muted small nowrap' }, `block ${integer(log.block_number)}`))),
  ];
  return el('div', { class: 'panel' },
    el('h3', {}, 'Last declined'),
    rows.length ? el('ul', { class: 'rows declined', id: 'declined' }, rows) : el('p', { class: 'empty small' }, 'Nothing yet. Each offer that is not taken is listed here with its reason.'));
}
