// A job under way: its progress, how far it is, its still as soon as there is one. Also the rows of the queue.

import { badge, el, jobUrl } from './dom.js';
import { MILESTONES, clock, duration, milestoneTimes, money, phase, shortHex, words } from './format.js';
import { liveStills, media, picture, player } from './media.js';

function percentOf(job) {
  return job.progress ? Math.max(0, Math.min(100, job.progress.fraction * 100)) : null;
}

// how long the rendering still takes, as the node expects it
function left(job) {
  const seconds = job.estimate?.left_s;
  return typeof seconds === 'number' ? `, about ${duration(seconds)} left` : '';
}

function progressLine(job) {
  const { progress } = job;
  if (!progress) return [el('strong', {}, phase(job.phase).label), job.reason ? el('span', { class: 'break', dir: 'auto' }, job.reason) : null];
  return [
    el('strong', {}, words(progress.stage)), el('span', { class: 'muted' }, `step ${progress.step} of ${progress.steps}`),
    el('span', { class: 'push' }, `${Math.floor(percentOf(job))} %${left(job)}`),
  ];
}

export function progressBar(job) {
  const percent = percentOf(job);
  const { label, step } = phase(job.phase);
  const atWork = step > 0 && step < 4 && job.phase !== 'AGREED' && !job.terminal;
  if (percent === null && !atWork) return job.reason && !job.terminal ? el('div', { class: 'progress' }, el('p', { class: 'row progress-line' }, progressLine(job))) : null;
  const bar = el('div', {
    class: 'bar', role: 'progressbar', 'aria-label': `Progress of job ${job.job_id}`, 'aria-valuemin': 0, 'aria-valuemax': 100,
    'aria-valuenow': percent === null ? null : Math.round(percent),
    'aria-valuetext': job.progress ? `${words(job.progress.stage)}, step ${job.progress.step} of ${job.progress.steps}` : label,
    'data-indeterminate': percent === null,
  }, el('span', {}));
  if (percent !== null) bar.firstChild.style.width = `${percent}%`;
  return el('div', { class: 'progress' }, el('p', { class: 'row progress-line' }, progressLine(job)), bar);
}

export function track(job) {
  const { step } = phase(job.phase);
  const times = milestoneTimes(job);
  return el('ol', { class: 'track', 'aria-label': 'How far the job is' }, MILESTONES.map((name, index) => el(
    'li', { 'data-state': index < step || (index === step && times[index]) ? 'done' : 'ahead', 'aria-current': index === step ? 'step' : null },
    el('span', { class: 'track-name' }, name), el('span', { class: 'track-time' }, times[index] ? clock(times[index]) : ''),
  )));
}

function shownMedia(job) {
  const found = media(job);
  if (found.mp4.length) return player(job, found.mp4[0], found.still[0]);
  if (found.still.length) return picture(job, found.still[0]);
  const stills = liveStills(job);
  if (stills.length) return el('div', { class: 'stills', 'data-count': stills.length > 1 ? 'many' : null }, stills);
  return el('p', { class: 'no-media' }, phase(job.phase).step < 2 ? 'The still appears here as soon as it is rendered' : 'The video appears here once it is published');
}

export function runningCard(job, symbol) {
  const { step } = phase(job.phase);
  return el(
    'article', { class: 'running', 'data-job': job.job_id, 'aria-label': `Job ${job.job_id}` },
    el('div', { class: 'running-media frame' }, shownMedia(job)),
    el(
      'div', { class: 'running-body' },
      el('div', { class: 'row' }, badge(job), el('span', { class: 'muted mono' }, job.job_id), el('span', { class: 'push price' }, money(job.price_wei, symbol))),
      el('p', { class: 'prompt', dir: 'auto' }, job.prompt || 'No prompt'),
      progressBar(job),
      track(job),
      el('p', { class: 'row small muted' }, el('span', { class: 'break' }, job.module), el('span', {}, `from ${shortHex(job.requester)}`),
        job.deadline && step < 4 ? el('span', {}, `due ${clock(job.deadline)}`) : null,
        el('a', { class: 'push strong', href: jobUrl(job.job_id), 'aria-label': `Open job ${job.job_id}` }, 'Open job')),
    ),
  );
}

// Moves the bar and the counter of what is drawn already; everything else stays as it is.
export function moveProgress(container, job) {
  const old = container.querySelector('.progress');
  const fresh = progressBar(job);
  if (!old || !fresh || !old.querySelector('.bar') || !fresh.querySelector('.bar')) return false;
  const [bar, next] = [old.querySelector('.bar'), fresh.querySelector('.bar')];
  for (const name of ['aria-valuenow', 'aria-valuetext', 'data-indeterminate']) {
    if (next.hasAttribute(name)) bar.setAttribute(name, next.getAttribute(name));
    else bar.removeAttribute(name);
  }
  bar.firstChild.style.width = next.firstChild.style.width;
  old.querySelector('.progress-line').replaceChildren(...fresh.querySelector('.progress-line').childNodes);
  return true;
}

// What of a job makes its card look different; its progress does not.
export function shapeOf(job) {
  return JSON.stringify({ ...job, progress: job.progress === null, estimate: null, updated_at: 0 });
}

export function queueRow(job, symbol) {
  const told = job.phase === 'PROPOSED' ? job.reason ?? 'waits for agreement' : job.reason;
  const waits = phase(job.phase).tone === 'busy' ? null : told;
  return el('li', {}, el(
    'a', { class: 'queue-row', href: jobUrl(job.job_id) },
    badge(job), el('span', { class: 'muted nowrap push' }, money(job.price_wei, symbol)),
    el('span', { class: 'queue-prompt', dir: 'auto' }, job.prompt || 'No prompt'),
    waits && el('span', { class: 'small muted break queue-reason', dir: 'auto' }, waits),
  ));
}

// Spoken at each stage and each quarter, not at each step.
export function announcement(job) {
  const { progress } = job;
  if (!progress) return `Job ${job.job_id}: ${phase(job.phase).label}`;
  return `Job ${job.job_id}: ${words(progress.stage)}, ${Math.floor(progress.fraction * 4) * 25} percent`;
}
