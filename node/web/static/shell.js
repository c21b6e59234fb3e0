// What every page has around it: the node's state, the connection, notices, drain and resume, signing in.

import { byId, el, redrawn } from './dom.js';
import { Feed, Refused, postJson } from './feed.js';
import { ago, bytes, duration } from './format.js';
import { publicView } from './public.js';

export class Shell {
  // title: the page's own name; handlers: what the page does with status, jobs and progress, and how it fills gaps
  constructor({ title, onStatus, onJob = () => {}, onProgress = () => {}, refresh }) {
    this.title = title;
    this.status = null;
    this.state = 'waiting';
    this.heardAt = Date.now();
    this.failed = '';
    this.handlers = { onStatus };
    this.feed = new Feed({
      onJob, onProgress, refresh,
      onStatus: (status) => {
        this.status = status;
        this.draw();
        if (status.view === 'public') this.showPublic();
        else this.handlers.onStatus(status);
      },
      onState: (state, heardAt) => { this.state = state; this.heardAt = heardAt; this.drawConnection(); },
    });
    byId('drain').addEventListener('click', () => (this.status?.draining ? this.order('resume') : this.askDrain()));
    setInterval(() => {
      for (const time of document.querySelectorAll('time[data-at]')) {
        const text = ago(Number(time.dataset.at));
        if (time.textContent !== text) time.textContent = text;
      }
      this.drawConnection();
    }, 1000);
  }

  start() {
    this.drawConnection();
    this.feed.start();
  }

  get symbol() {
    return this.status?.chain?.symbol ?? '';
  }

  draw() {
    const { accepting, draining, not_accepting_because: reasons = [], worker = {}, disk = {}, ...node } = this.status;
    const pill = byId('accepting');
    const [text, tone] = draining ? ['Draining', 'warn'] : accepting ? ['Accepting jobs', 'good'] : ['Not accepting', 'bad'];
    if (pill.textContent !== text) pill.textContent = text;
    pill.dataset.tone = tone;
    pill.hidden = false;
    const button = byId('drain');
    button.hidden = typeof draining !== 'boolean' || node.view === 'public';
    for (const link of document.querySelectorAll('[data-operator]')) link.hidden = node.view === 'public';
    button.textContent = draining ? 'Resume' : 'Drain';
    button.dataset.tone = draining ? 'main' : '';
    byId('version').textContent = [
      `sdv-node ${node.version ?? ''}`.trim(),
      node.started_at ? `up for ${duration(Date.now() / 1000 - node.started_at)}` : '',
      typeof disk.free_bytes === 'number' ? `${bytes(disk.free_bytes)} free` : '',
    ].filter(Boolean).join(' · ');
    this.drawNotices(accepting || !reasons.length ? [] : reasons, draining);
  }

  // Instead of the page, as long as nobody is signed in.
  showPublic() {
    byId('page').hidden = true;
    let view = byId('public');
    if (!view) byId('page').before(view = el('div', { id: 'public', class: 'public' }));
    publicView(view, this.status);
  }

  drawNotices(reasons, draining) {
    redrawn(byId('notices'),
      this.failed && el('section', { class: 'notice', 'data-tone': 'bad', role: 'alert' }, el('p', {}, this.failed)),
      reasons.length > 0 && el('section', { class: 'notice', id: 'banner', 'data-tone': draining && reasons.length === 1 ? 'quiet' : 'warn', role: 'status' },
        el('h2', {}, draining ? 'Draining: this node takes no new jobs' : 'This node takes no new jobs'),
        el('ul', {}, reasons.map((reason) => el('li', {}, reason)))));
  }

  drawConnection() {
    const text = {
      live: 'Live', polling: 'Updating every few seconds', waiting: 'Connecting', public: 'Signed out',
      stale: `No answer since ${ago(this.heardAt / 1000)}`,
    }[this.state];
    const shown = byId('connection');
    shown.dataset.state = this.state;
    if (shown.lastElementChild.textContent !== text) shown.lastElementChild.textContent = text;
    const stale = this.state === 'stale';
    document.body.classList.toggle('is-stale', stale);
    const title = stale ? `No answer · ${this.title}` : this.title;
    if (document.title !== title) document.title = title;
  }

  askDrain() {
    const dialog = el('dialog', { 'aria-labelledby': 'ask-title', class: 'ask', onclose: () => { dialog.remove(); byId('drain').focus(); } },
      el('h2', { id: 'ask-title' }, 'Drain this node?'),
      el('p', {}, 'It finishes what it agreed to, takes its offer back and accepts nothing new, also after a restart, until you resume it.'),
      el('div', { class: 'row ask-row' },
        el('button', { class: 'button', type: 'button', onclick: () => dialog.close() }, 'Cancel'),
        el('button', { class: 'button', type: 'button', 'data-tone': 'main', onclick: () => { dialog.close(); this.order('drain'); } }, 'Drain')));
    document.body.append(dialog);
    dialog.showModal();
  }

  async order(verb) {
    const button = byId('drain');
    button.disabled = true;
    this.failed = '';
    try {
      const told = await postJson(`/api/v1/${verb}`);
      this.status = { ...this.status, draining: told.draining };
    } catch (error) {
      this.failed = error instanceof Refused
        ? `The node did not ${verb}: ${error.message}`
        : `The node does not answer, so it was not told to ${verb}. Try again when the connection is back, or run sdv-node ${verb}.`;
    }
    button.disabled = false;
    this.draw();
    this.feed.refresh();
  }
}

// Draws at most once in 40 ms, however often it is asked to.
export function soon(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; draw(); }, 40);
  };
}
