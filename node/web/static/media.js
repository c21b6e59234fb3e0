// A job's pictures and videos: the gateway's once they are published, before that the still from the job's folder.

import { el, jobUrl } from './dom.js';

export function fileUrl(job, path) {
  if (!/^[A-Za-z0-9]{8,128}$/.test(job.cid ?? '')) return null;
  const clean = String(path).split('/').filter((part) => part && part !== '.' && part !== '..');
  return `/ipfs/${job.cid}/${clean.map(encodeURIComponent).join('/')}`;
}

const KINDS = [
  ['still', /(^|\/)still_\d+_\.png$/i, 'Still'],
  ['mp4', /\.mp4$/i, 'MP4'],
  ['webp', /\.webp$/i, 'WebP'],
  ['apng', /(^|\/)output_\d+_\.png$/i, 'APNG'],
];

// {still: [path], mp4: [path], webp: [path], apng: [path]}, each in order; nothing before it is published
export function media(job) {
  const found = { still: [], mp4: [], webp: [], apng: [] };
  if (fileUrl(job, '') === null) return found;
  for (const output of job.outputs ?? []) {
    const kind = KINDS.find(([, pattern]) => pattern.test(output.path));
    if (kind) found[kind[0]].push(output.path);
  }
  for (const paths of Object.values(found)) paths.sort();
  return found;
}

// Videos play only while they can be seen: a gallery must not decode all of its videos at once.
const calm = matchMedia('(prefers-reduced-motion: reduce)');
const onScreen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !calm.matches) target.play().catch(() => {});
    else target.pause();
  }
}, { rootMargin: '80px' });

export function player(job, path, poster, { controls = false } = {}) {
  const video = el('video', {
    muted: true, loop: true, playsinline: true, preload: 'metadata', controls: controls || calm.matches,
    poster: poster ? fileUrl(job, poster) : null, src: fileUrl(job, path), 'aria-label': `Video of job ${job.job_id}`,
  });
  video.muted = true;
  onScreen.observe(video);
  return video;
}

export function picture(job, path) {
  return el('img', { src: fileUrl(job, path), alt: `Still picture of job ${job.job_id}`, loading: 'lazy', decoding: 'async' });
}

// The stills of a job that is still being rendered, as they come.
export function liveStills(job) {
  if (job.cid) return [];
  return (job.stills ?? []).map((number) => el('img', {
    src: `/api/v1${jobUrl(job.job_id)}/stills/${number}`, alt: `Still ${number} of job ${job.job_id}, not published yet`,
  }));
}

export function fileLinks(job) {
  const found = media(job);
  const links = KINDS.filter(([kind]) => found[kind].length)
    .map(([kind, , label]) => [label, fileUrl(job, found[kind][0])]);
  if (fileUrl(job, '') !== null) links.push(['Manifest', fileUrl(job, 'manifest.json')]);
  return el('p', { class: 'files' }, links.map(([label, href]) => el('a', { href, target: '_blank', rel: 'noopener' }, label)));
}
