// Where the page's data comes from: a live stream, and polling while the stream is down.
// States: "live" (stream), "polling" (stream down, requests answered), "stale" (nothing answers).

const POLL_MS = 4000;
const SILENCE_MS = 45000; // the node sends a beat every 15 s
const REOPEN_MS = 5000;

export async function getJson(path) {
  const response = await fetch(path, { headers: { Accept: 'application/json' }, cache: 'no-store' });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error ?? `the node answered ${response.status}`);
  return body;
}

export class Feed {
  constructor({ onStatus, onJob, onJobs, onState }) {
    this.handlers = { onStatus, onJob, onJobs, onState };
    this.state = 'waiting';
    this.heardAt = Date.now();
    this.stream = null;
  }

  start() {
    this.open();
    setInterval(() => this.watch(), 1000);
    setInterval(() => { if (this.state !== 'live') this.refresh(); }, POLL_MS);
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
      if (this.state === 'live' || this.state === 'waiting') this.move('polling');
      this.refresh();
    });
    stream.addEventListener('status', (event) => this.take(event, this.handlers.onStatus));
    stream.addEventListener('job', (event) => this.take(event, this.handlers.onJob));
    stream.addEventListener('beat', () => this.heard('live'));
  }

  take(event, handler) {
    this.heard('live');
    handler(JSON.parse(event.data));
  }

  // A refused stream (too many viewers, a restart) is closed for good by the browser; a silent one may be half open.
  watch() {
    const silent = Date.now() - this.heardAt > SILENCE_MS;
    const closed = this.stream.readyState === EventSource.CLOSED;
    if ((closed || silent) && Date.now() - this.openedAt > REOPEN_MS) this.open();
    if (silent && this.state === 'live') this.move('polling');
  }

  async refresh() {
    try {
      const [status, page] = await Promise.all([getJson('/api/v1/status'), getJson('/api/v1/jobs?limit=50')]);
      this.handlers.onStatus(status);
      this.handlers.onJobs(page);
      if (this.state !== 'live') this.heard('polling');
    } catch {
      if (this.state !== 'live') this.move('stale');
    }
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
