// What everybody may see of a node, and the form with which its operator signs in.

import { copyButton, el, onChain, pairs, redrawn } from './dom.js';
import { postJson } from './feed.js';
import { money, plural } from './format.js';

const form = signIn();

export function publicView(container, { accepting, draining, chain = {}, worker = {}, jobs = {}, ...node }) {
  const symbol = chain.symbol ?? '';
  redrawn(container,
    el('section', { class: 'panel', 'aria-label': 'This node' },
      el('h1', {}, draining ? 'This node is draining' : accepting ? 'This node accepts jobs' : 'This node accepts no jobs at the moment'),
      pairs([
        ['Modules', (node.modules ?? []).join(', ')],
        ['Price', node.price_wei && `from ${money(node.price_wei, symbol)}`],
        ['Determinism class', worker.determinism_class && copyButton(worker.determinism_class, worker.determinism_class, 'the determinism class')],
        ['Profile', worker.profile],
        ['Gateway', node.gateway_url && copyButton(node.gateway_url, node.gateway_url, 'the address of the gateway')],
        ['Provider', node.provider && onChain('address', node.provider, null)],
        ['Chain', chain.chain_id && `${chain.network || ''} ${chain.chain_id}`.trim()],
        ['Jobs paid', typeof jobs.paid === 'number' ? plural(jobs.paid, 'job') : ''],
      ])),
    form);
}

function signIn() {
  const problem = el('p', { class: 'bad small', role: 'alert' });
  const field = el('input', { id: 'token', type: 'password', name: 'token', autocomplete: 'current-password', required: true, spellcheck: 'false', 'aria-describedby': 'token-help' });
  const button = el('button', { class: 'button', 'data-tone': 'main', type: 'submit' }, 'Sign in');
  const send = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = '';
    try {
      await postJson('/api/v1/session', { token: field.value.trim() });
      location.reload();
    } catch (error) {
      problem.textContent = error.status ? error.message : 'The node does not answer: try again in a moment.';
      field.focus();
      field.select();
    }
    button.disabled = false;
  };
  return el('section', { class: 'panel sign-in', 'aria-labelledby': 'sign-in-title' },
    el('h2', { id: 'sign-in-title' }, 'Sign in as its operator'),
    el('form', { onsubmit: send },
      el('label', { for: 'token' }, 'Token'), field,
      el('p', { class: 'small muted', id: 'token-help' }, 'On the node\'s machine, sdv-node dashboard prints an address that signs you in. The token itself is in http-token in its data directory.'),
      problem, button));
}
