// Everything about one job, in a dialog that has its own address (#job=j17).

import { getJson } from './feed.js';
import { amount, clock, dateTime, duration, money, phase, shortHex } from './format.js';
import { badge, copyButton, el, fileUrl, media, picture, player, sizeOf } from './jobs.js';

export class Detail {
  constructor(dialog) {
    this.dialog = dialog;
    this.jobId = null;
    this.drawn = '';
    dialog.addEventListener('close', () => {
      this.jobId = null;
      if (location.hash.startsWith('#job=')) history.replaceState(null, '', location.pathname);
    });
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
    addEventListener('hashchange', () => this.follow());
  }

  follow() {
    const match = /^#job=([A-Za-z0-9_-]{1,64})$/.exec(location.hash);
    if (match) this.open(match[1]);
    else if (this.dialog.open) this.dialog.close();
  }

  async open(jobId) {
    this.jobId = jobId;
    this.drawn = '';
    if (location.hash !== `#job=${jobId}`) history.replaceState(null, '', `#job=${jobId}`);
    try {
      const job = await getJson(`/api/v1/jobs/${encodeURIComponent(jobId)}`);
      if (this.jobId !== jobId) return;
      this.show(job);
    } catch (error) {
      this.dialog.replaceChildren(head('Job not found', this.dialog), el('p', {}, String(error.message)));
    }
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  update(job, symbol) {
    this.symbol = symbol;
    if (this.dialog.open && job.job_id === this.jobId) this.show(job);
  }

  show(job) {
    const text = JSON.stringify(job);
    if (text === this.drawn) return; // an unchanged job must not restart its video
    this.drawn = text;
    const symbol = this.symbol ?? '';
    const found = media(job);
    const shown = [
      ...found.mp4.map((path, index) => player(job, path, found.still[index], { controls: true })),
      ...found.still.map((path) => picture(job, path)),
    ];
    this.dialog.replaceChildren(
      head(`Job ${job.job_id}`, this.dialog, badge(job)),
      el('p', { class: 'prompt', dir: 'auto' }, job.prompt || 'No prompt'),
      job.reason ? el('p', { class: 'note' , dir: 'auto' }, job.reason) : '',
      shown.length ? el('div', { class: 'detail-media' }, shown.map((item) => el('div', { class: 'frame' }, item))) : '',
      el('div', { class: 'columns' },
        part('Deal', table([
          ['Price', money(job.price_wei, symbol)], ['Received', money(job.paid_wei, symbol)],
          ['Deal', job.deal_id && copyButton(job.deal_id, job.deal_id, 'the deal id')],
          ['Requester', job.requester && copyButton(job.requester, shortHex(job.requester), 'the address')],
          ['Module', job.module], ['Class', job.determinism_class], ['Seen', dateTime(job.seen_at)],
          ['Rendering', rendering(job)],
          ['CID', job.cid && copyButton(job.cid, job.cid, 'the CID')],
        ])),
        part('Inputs', table(Object.entries(job.inputs ?? {}).filter(([name]) => name !== 'Prompt' && name !== 'prompt')),
          ...(job.notes ?? []).map((note) => el('p', { class: 'small note' , dir: 'auto' }, note))),
        part('Timeline', el('ol', { class: 'events' }, (job.timeline ?? []).map((line) => el('li', {},
          el('time', { class: 'mono muted', title: dateTime(line.at) }, clock(line.at)),
          el('span', {}, phase(line.phase).label, line.detail ? el('span', { class: 'muted break', dir: 'auto' }, ` ${line.detail}`) : ''))))),
        job.outputs?.length ? part('Files', el('ul', { class: 'plain' }, job.outputs.map((output) => el('li', { class: 'row' },
          el('a', { href: fileUrl(job, output.path), target: '_blank', rel: 'noopener', class: 'break' }, output.path),
          el('span', { class: 'muted push nowrap' }, sizeOf(output))))) ) : '',
      ),
      job.transactions?.length ? part('Transactions', el('div', { class: 'scroll' }, el('table', { class: 'grid' },
        el('thead', {}, el('tr', {}, ['What', 'State', 'Hash', 'Nonce', 'Gas', 'Fee'].map((name) => el('th', { scope: 'col' }, name)))),
        el('tbody', {}, job.transactions.map((sent) => el('tr', {},
          el('td', {}, sent.what), el('td', {}, sent.status),
          el('td', {}, sent.tx_hash ? copyButton(sent.tx_hash, shortHex(sent.tx_hash), 'the hash') : '–'),
          el('td', {}, String(sent.nonce ?? '–')), el('td', {}, String(sent.gas_used ?? '–')), el('td', {}, amount(sent.fee_wei, 6)))))))) : '',
    );
  }
}

function rendering(job) {
  if (job.run_time) return `took ${duration(job.run_time.taken_s)}, ${duration(job.run_time.expected_s)} expected`;
  return job.estimate ? `${duration(job.estimate.expected_s)} expected, ${duration(job.estimate.upper_s)} at most` : '';
}

function head(title, dialog, ...extra) {
  return el('header', { class: 'row detail-head' }, el('h2', { id: 'detail-title' }, title), extra,
    el('button', { class: 'text push', type: 'button', onclick: () => dialog.close() }, 'Close'));
}

function part(title, ...content) {
  return el('section', { class: 'part' }, el('h3', {}, title), content);
}

function table(rows) {
  return el('dl', { class: 'pairs' }, rows.filter(([, value]) => value !== null && value !== undefined && value !== '')
    .map(([name, value]) => [el('dt', {}, name), el('dd', { class: 'break', dir: 'auto' }, value instanceof Node ? value : String(value))]));
}
