// Building blocks of every page. Text goes in as text, never as markup.

import { phase, shortHex } from './format.js';

const serializer = new XMLSerializer();
const SVG = 'http://www.w3.org/2000/svg';

export const byId = (id) => document.getElementById(id);

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false && child !== '') node.append(child);
  }
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

export function badge(job) {
  const { label, tone } = phase(job.phase);
  return el('span', { class: 'pill', 'data-tone': tone }, label);
}

export function jobUrl(jobId) {
  return `/jobs/${encodeURIComponent(jobId)}`;
}

export function copyButton(text, shown, what) {
  const label = el('span', {}, shown);
  return el('button', {
    class: 'copy', type: 'button', title: text, 'aria-label': `Copy ${what} ${shown}`,
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(text);
        label.textContent = 'Copied';
      } catch {
        label.textContent = text; // no clipboard over plain HTTP from another machine: show it to be selected
      }
      setTimeout(() => { label.textContent = shown; }, 2500);
    },
  }, label);
}

// A transaction or an account: a link where the network has a block explorer, else something to copy.
export function onChain(kind, value, explorer) {
  if (!value) return '–';
  const what = kind === 'tx' ? 'the transaction hash' : 'the address';
  const copy = copyButton(value, shortHex(value), what);
  if (!/^https?:\/\//.test(explorer ?? '') || !/^0x[0-9a-fA-F]{40,64}$/.test(value)) return copy;
  return el('span', { class: 'chain-link' }, copy, el('a', {
    href: `${explorer.replace(/\/+$/, '')}/${kind}/${value}`, target: '_blank', rel: 'noopener noreferrer',
    'aria-label': `${kind === 'tx' ? 'Transaction' : 'Account'} ${shortHex(value)} in the block explorer`,
  }, '↗'));
}

export function pairs(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== '' && value !== false);
  return el('dl', { class: 'pairs' }, shown.map(([name, value]) => [
    el('dt', {}, name), el('dd', { class: 'break', dir: 'auto' }, value instanceof Node ? value : String(value)),
  ]));
}

// Draws a keyed list and keeps the nodes that did not change, so that videos play on and the focus stays.
export class KeyedList {
  constructor(container) {
    this.container = container;
    this.drawn = new Map();
  }

  draw(items, key, make, text = JSON.stringify) {
    const now = new Map();
    const active = document.activeElement;
    const focused = this.container.contains(active) ? active.closest('[data-key]')?.dataset.key : null;
    let place = this.container.firstElementChild;
    for (const item of items) {
      const id = String(key(item));
      const said = text(item);
      const old = this.drawn.get(id);
      const node = old?.said === said ? old.node : make(item);
      node.dataset.key = id;
      if (old && old.node !== node) old.node.replaceWith(node);
      if (place === old?.node) place = node;
      if (node === place) place = place.nextElementSibling;
      else this.container.insertBefore(node, place);
      now.set(id, { said, node });
    }
    for (const [id, { node }] of this.drawn) if (!now.has(id)) node.remove();
    this.drawn = now;
    if (focused && !this.container.contains(document.activeElement)) {
      now.get(focused)?.node.querySelector('a, button')?.focus();
    }
  }
}

// Draws a container's children anew, those alone that say something else; times tell themselves.
export function redrawn(container, ...children) {
  const fresh = children.flat(Infinity).filter(Boolean);
  const active = document.activeElement;
  const name = container.contains(active) ? nameOf(active) : null;
  fresh.forEach((node, index) => {
    const place = container.children[index];
    if (place === node) return;
    const said = serializer.serializeToString(node).replace(/(<time[^>]*>)[^<]*/g, '$1');
    if (place?.said === said) return;
    node.said = said;
    if (place) place.replaceWith(node);
    else container.append(node);
  });
  while (container.children.length > fresh.length) container.lastElementChild.remove();
  if (name === null || container.contains(document.activeElement)) return;
  [...container.querySelectorAll('a, button')].find((node) => nameOf(node) === name)?.focus();
}

function nameOf(node) {
  return node.getAttribute('aria-label') ?? node.textContent;
}
