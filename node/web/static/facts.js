// The node's money and its parts: chain, wallet, worker, storage.

import { el, onChain } from './dom.js';
import { ago, amount, bytes, integer, words } from './format.js';

const cell = (name, value, unit, note, tone) => el('div', { class: 'sum', 'data-tone': tone },
  el('dt', {}, name), el('dd', {}, el('strong', {}, value), ' ', el('span', { class: 'unit' }, unit), note ? el('span', { class: 'sum-note' }, note) : null));

export function moneyCells(earnings, symbol) {
  const zero = (wei) => !/[1-9]/.test(String(wei ?? '0'));
  const slashed = zero(earnings.slashed_wei) ? '' : `, ${amount(earnings.slashed_wei)} slashed`;
  return el('dl', { class: 'sums' },
    cell('Last 24 hours', amount(earnings.day_wei), symbol, null, 'lead'),
    cell('7 days', amount(earnings.week_wei), symbol),
    cell('30 days', amount(earnings.month_wei), symbol, `${amount(earnings.paid_wei)} in all${slashed}`),
    cell('Locked in deals', amount(earnings.locked_wei), symbol, 'collateral, comes back', 'quiet'),
    cell('Claimable now', amount(earnings.claimable_wei), symbol, zero(earnings.claimable_wei) ? 'nothing is due' : 'the node claims it', zero(earnings.claimable_wei) ? 'quiet' : 'warn'));
}

const fact = (name, value, ...notes) => el('div', { class: 'fact' }, el('h3', { class: 'fact-name' }, name), el('p', { class: 'fact-value' }, value),
  notes.filter(Boolean).map((note) => el('p', { class: 'fact-note' }, note)));

export function nodeFacts({ chain = {}, wallet = {}, worker = {}, disk = {}, ipfs, explorer, earnings = {} }) {
  const symbol = chain.symbol ?? '';
  const slots = worker.slots ?? [];
  const endpoints = chain.endpoints ?? [];
  const down = endpoints.filter(({ state }) => state !== 'up' && state !== 'new');
  return [
    fact('Chain', chain.head === null || chain.head === undefined ? 'No block yet' : `Block ${integer(chain.head)}`,
      chain.rpc_ok ? el('span', {}, 'seen ', el('time', { 'data-at': chain.head_at }, ago(chain.head_at))) : el('span', { class: 'bad' }, chain.problem ?? 'The RPC endpoint does not answer'),
      `chain ${chain.chain_id ?? '–'}, read to ${integer(chain.cursor)}`,
      endpoints.length > 1 && `${endpoints.length - down.length} of ${endpoints.length} endpoints up`,
      ...down.map(({ name, problem }) => el('span', { class: 'warn' }, `${name}: ${problem ?? 'down'}`))),
    fact('Wallet', `${amount(wallet.token_wei)} ${symbol}`, `${amount(wallet.gas_wei)} for gas, ${amount(earnings.gas_wei)} spent on it`,
      wallet.address && onChain('address', wallet.address, explorer)),
    fact(slots.length > 1 ? 'Workers' : 'Worker',
      slots.length > 1 ? `${slots.filter(({ ready }) => ready).length} of ${slots.length} ready` : words(worker.state) || (worker.ready ? 'Ready' : 'Not ready'),
      slots.length > 1 && `${slots.filter(({ rendering }) => rendering).length} rendering`,
      worker.profile && `profile ${worker.profile}`, worker.determinism_class && `class ${worker.determinism_class}`,
      worker.problem && el('span', { class: 'bad' }, worker.problem)),
    fact('Storage', `${bytes(disk.free_bytes)} free`, disk.path && el('span', { class: 'break' }, disk.path),
      typeof ipfs?.peers === 'number' && `${integer(ipfs.peers)} IPFS peers`),
  ];
}
