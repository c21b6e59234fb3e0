// Where a page's data comes from: a live stream, and polling while the stream is down.
// States: "live" (stream), "polling" (stream down, requests answered), "stale" (nothing answers), "public" (no
// session: the node tells only what everybody may know, and there is nothing to stream).

const POLL_MS = 4000;
const SILENCE_MS = 45000; // the node sends a beat every 15 s
const REOPEN_MS = 5000;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function askJson(path) {
  return answerOf(fetch(path, { headers: { Accept: 'application/json' }, cache: 'no-store' }));
}

export function postJson(path, document = {}) {
  return answerOf(fetch(path, {
    method: 'POST', headers: { Accept: 'application/json', 'Content-Type': 'application/json' }, body: JSON.stringify(document),
  }));
}

async function answerOf(asked) {
  const response = await asked;
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body.error ?? `the node answered ${response.status}`);
  return body;
}

export class Feed {
  // refresh: asks for everything the page shows, called whenever there may be a gap
  constructor({ onStatus, onJob, onProgress = () => {}, onState, refresh }) {
    this.handlers = { onStatus, onJob, onProgress, onState };
    this.fill = refresh;
    this.state = 'waiting';
    this.heardAt = Date.now();
    this.stream = null;
  }

  async start() {
    await this.enter();
    if (this.state !== 'public') this.open();
    setInterval(() => this.watch(), 1000);
    setInterval(() => { if (this.state !== 'live' && this.state !== 'public') this.refresh(); }, POLL_MS);
    setInterval(() => { if (this.state === 'public') this.refresh(); }, SILENCE_MS);
  }

  open() {
    this.stream?.close();
    const stream = new EventSource('/api/v1/events');
    this.stream = stream;
    this.openedAt = Date.now();
    stream.addEventListener('open', () => {
      this.heard('live');
      this.refresh();
    });
    stream.addEventListener('error', () => {
      if (this.state === 'live') this.move('polling');
      this.refresh();
    });
    stream.addEventListener('status', (event) => this.take(event, this.handlers.onStatus));
    stream.addEventListener('job', (event) => this.take(event, this.handlers.onJob));
    stream.addEventListener('progress', (event) => this.take(event, this.handlers.onProgress));
    stream.addEventListener('beat', () => this.heard('live'));
  }

  take(event, handler) {
    this.heard('live');
    handler(JSON.parse(event.data));
  }

  // A refused stream (too many viewers, a restart) is closed for good by the browser; a silent one may be half open.
  watch() {
    if (!this.stream || this.state === 'public') return;
    const silent = Date.now() - this.heardAt > SILENCE_MS;
    const closed = this.stream.readyState === EventSource.CLOSED;
    if ((closed || silent) && Date.now() - this.openedAt > REOPEN_MS) this.open();
    if (silent && this.state === 'live') this.move('polling');
  }

  async refresh() {
    try {
      // A stream begins with the status.
      if (this.state !== 'live' && !(await this.readStatus())) return;
      await this.fill();
      if (this.state !== 'live') this.heard('polling');
    } catch {
      if (this.state !== 'live') this.move('stale');
    }
  }

  // Before there is a stream: whether there can be one, and what can be shown already.
  async enter() {
    try {
      await this.readStatus();
    } catch {
      this.move('stale');
    }
  }

  // Returns whether the node told everything, as it tells its operator.
  async readStatus() {
    const status = await askJson('/api/v1/status');
    const all = status.view !== 'public';
    if (!all) this.lock();
    this.handlers.onStatus(status);
    return all;
  }

  lock() {
    this.stream?.close();
    this.stream = null;
    this.heard('public');
  }

  heard(state) {
    this.heardAt = Date.now();
    this.move(state);
  }

  move(state) {
    if (this.state === state) return;
    this.state = state;
    this.handlers.onState(state, this.heardAt);
  }
}
