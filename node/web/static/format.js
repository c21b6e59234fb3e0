// Words and numbers for people: amounts from wei without floats, times, sizes, and what each phase means.

// tone: how the phase looks; step: how far along the six milestones of a job it is
export const PHASES = {
  SEEN: { label: 'Offer seen', tone: 'quiet', step: 0 },
  PROPOSING: { label: 'Offering', tone: 'busy', step: 0 },
  PROPOSED: { label: 'Offer made', tone: 'quiet', step: 0 },
  AGREEING: { label: 'Agreeing', tone: 'busy', step: 0 },
  AGREED: { label: 'Deal agreed', tone: 'busy', step: 1 },
  RENDERING: { label: 'Rendering', tone: 'busy', step: 1 },
  RENDERED: { label: 'Rendered', tone: 'busy', step: 2 },
  PUBLISHING: { label: 'Publishing', tone: 'busy', step: 2 },
  PUBLISHED: { label: 'Published', tone: 'busy', step: 3 },
  SUBMITTING: { label: 'Submitting result', tone: 'busy', step: 3 },
  SUBMITTED: { label: 'Awaiting acceptance', tone: 'quiet', step: 4 },
  DISPUTED: { label: 'Disputed', tone: 'warn', step: 4 },
  CLAIMING: { label: 'Claiming payment', tone: 'busy', step: 4 },
  FAILING: { label: 'Reporting failure', tone: 'warn', step: 1 },
  WITHDRAWING: { label: 'Withdrawing offer', tone: 'quiet', step: 0 },
  PAID: { label: 'Paid', tone: 'good', step: 5 },
  REJECTED: { label: 'Rejected', tone: 'bad', step: 4 },
  UNPAID: { label: 'Unpaid', tone: 'bad', step: 4 },
  FAILED: { label: 'Failed', tone: 'bad', step: 1 },
  REFUSED: { label: 'Refused', tone: 'quiet', step: 0 },
  LAPSED: { label: 'Lapsed', tone: 'quiet', step: 0 },
};

export const MILESTONES = ['Seen', 'Agreed', 'Rendered', 'Published', 'Submitted', 'Paid'];
// the phases whose first entry in the timeline shows that the milestone was reached
const MILESTONE_PHASES = [['SEEN', 'PROPOSING'], ['AGREED'], ['RENDERED', 'PUBLISHING'], ['PUBLISHED', 'SUBMITTING'], ['SUBMITTED'], ['PAID']];

export function phase(name) {
  return PHASES[name] ?? { label: String(name ?? 'Unknown').toLowerCase(), tone: 'quiet', step: 0 };
}

// When each milestone was reached, in unix seconds, or null.
export function milestoneTimes(job) {
  return MILESTONE_PHASES.map((names) => {
    const entry = (job.timeline ?? []).find((line) => names.includes(line.phase));
    return entry ? entry.at : null;
  });
}

// "2000000000000000000" -> "2"; at most `digits` decimals, cut and never rounded up.
export function amount(wei, digits = 4) {
  if (wei === null || wei === undefined || !/^-?\d+$/.test(String(wei))) return '–';
  const value = BigInt(wei);
  const negative = value < 0n;
  const text = (negative ? -value : value).toString().padStart(19, '0');
  const whole = text.slice(0, -18).replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f');
  const fraction = text.slice(-18);
  const kept = fraction.slice(0, digits).replace(/0+$/, '');
  const tiny = whole === '0' && kept === '' && BigInt(fraction) !== 0n;
  if (tiny) return `< 0.${'0'.repeat(digits - 1)}1`;
  return (negative ? '−' : '') + whole + (kept ? `.${kept}` : '');
}

export function money(wei, symbol) {
  return wei === null || wei === undefined ? '' : `${amount(wei)} ${symbol}`.trim();
}

export function bytes(count) {
  if (typeof count !== 'number' || !Number.isFinite(count)) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let power = 0;
  let value = count;
  while (value >= 1024 && power < units.length - 1) {
    value /= 1024;
    power += 1;
  }
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

export function integer(value) {
  return typeof value === 'number' ? String(value).replace(/\B(?=(\d{3})+(?!\d))/g, '\u202f') : '–';
}

export function shortHex(text) {
  const value = String(text ?? '');
  return value.length > 16 ? `${value.slice(0, 6)}…${value.slice(-4)}` : value || '–';
}

export function shortCid(cid) {
  const value = String(cid ?? '');
  return value.length > 20 ? `${value.slice(0, 9)}…${value.slice(-6)}` : value;
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 129600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export function ago(unixSeconds, now = Date.now() / 1000) {
  if (typeof unixSeconds !== 'number') return '–';
  const passed = now - unixSeconds;
  return passed < 5 ? 'just now' : `${duration(passed)} ago`;
}

export function clock(unixSeconds) {
  if (typeof unixSeconds !== 'number') return '';
  return new Date(unixSeconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
}

// hours and minutes, for the axis of a chart
export function hours(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
}

export function dateTime(unixSeconds) {
  if (typeof unixSeconds !== 'number') return '–';
  const at = new Date(unixSeconds * 1000);
  return `${at.toLocaleDateString([], { day: 'numeric', month: 'short', year: 'numeric' })}, ${clock(unixSeconds)}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${integer(count)} ${count === 1 ? one : many}`;
}

// Why an offer was declined, by the name of the rule.
const RULES = {
  authentic: 'Not posted by the payer', bids: 'Too many open bids', bounded: 'Price out of bounds', capacity: 'No capacity',
  collateral: 'Too much collateral', crowded: 'Too many offers wait', deadline: 'Deadline too near', denied: 'Account is denied',
  disk: 'Disk is full', forged: 'Not posted by the payer', fresh: 'Too old', gas: 'Too little gas money', gas_cost: 'Gas is too dear',
  hire: 'Hire on other terms', inputs: 'Inputs not valid', insolvent: 'Requester cannot pay', judged: 'No mediator',
  matching: 'Proposes to nobody', module: 'Another module', movable: 'Token is paused', paid_before: 'Did not pay before',
  requester_limit: 'Too many of one requester', rival: 'Taken another way', served: 'Other models', solvent_provider: 'Own wallet too low',
  solvent_requester: 'Requester cannot pay', stale: 'Too old', unreadable: 'Not readable',
};

export function rule(name) {
  return RULES[name] ?? words(name);
}

// "load_still" -> "Load still"
export function words(name) {
  const text = String(name ?? '').replaceAll('_', ' ').trim();
  return text ? text[0].toUpperCase() + text.slice(1) : '';
}
