"""The tables of the journal and how a file of an older version is brought forward.

``events`` is the truth; ``jobs`` is its fold, kept so that a start reads only what is still open.
"""

import sqlite3

from node.errors import Fatal

VERSION = 4

TABLES = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    phase TEXT NOT NULL
);
CREATE INDEX events_of_job ON events (job_id, seq);
CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    phase TEXT NOT NULL,
    terminal INTEGER NOT NULL,
    deal_id TEXT,
    seen_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX jobs_by_number ON jobs (number);
CREATE INDEX jobs_open ON jobs (number) WHERE terminal = 0;
CREATE INDEX jobs_with_deal ON jobs (deal_id) WHERE deal_id IS NOT NULL;
CREATE TABLE effects (
    effect_id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    ordered_at REAL NOT NULL,
    done_at REAL
) WITHOUT ROWID;
CREATE INDEX effects_open ON effects (ordered_at) WHERE done_at IS NULL;
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    block_number INTEGER NOT NULL,
    block_hash TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE skipped (
    block_number INTEGER NOT NULL,
    tx_hash TEXT NOT NULL,
    log_index INTEGER NOT NULL,
    job_number INTEGER,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (tx_hash, log_index)
) WITHOUT ROWID;
CREATE TABLE payments (
    tx_hash TEXT NOT NULL,
    log_index INTEGER NOT NULL,
    block_number INTEGER NOT NULL,
    deal_id TEXT NOT NULL,
    payee TEXT NOT NULL,
    amount_wei TEXT NOT NULL,
    reason INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tx_hash, log_index)
) WITHOUT ROWID;
CREATE INDEX payments_of_deal ON payments (deal_id);
CREATE TABLE transactions (
    intent_id TEXT PRIMARY KEY,
    what TEXT NOT NULL,
    recipient TEXT NOT NULL,
    data BLOB NOT NULL,
    value_wei TEXT NOT NULL,
    nonce INTEGER,
    status TEXT NOT NULL,
    tx_hash TEXT,
    block_number INTEGER,
    gas_used INTEGER NOT NULL DEFAULT 0,
    fee_wei TEXT NOT NULL DEFAULT '0',
    reason TEXT
) WITHOUT ROWID;
CREATE TABLE attempts (
    intent_id TEXT NOT NULL REFERENCES transactions (intent_id),
    tx_hash TEXT NOT NULL,
    raw BLOB NOT NULL,
    max_fee_wei TEXT NOT NULL,
    tip_wei TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (intent_id, tx_hash)
) WITHOUT ROWID;
"""

MIGRATIONS = {
    2: """
CREATE TABLE checkpoints (
    block_number INTEGER PRIMARY KEY,
    block_hash TEXT NOT NULL,
    head_number INTEGER NOT NULL
);
CREATE TABLE halts (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    reason TEXT NOT NULL,
    cleared_at REAL
);
CREATE TABLE marks (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX payments_by_block ON payments (block_number);
CREATE INDEX transactions_by_block ON transactions (block_number) WHERE block_number IS NOT NULL;
ALTER TABLE transactions ADD COLUMN settled_at REAL;
UPDATE transactions SET settled_at = (
    SELECT max(at) FROM events WHERE job_id = substr(intent_id, 1, instr(intent_id, ':') - 1)
) WHERE status != 'open';
CREATE INDEX jobs_of_requester ON jobs (json_extract(body, '$.offer.requester'), phase, deal_id);
CREATE INDEX events_of_bad_deals ON events (kind, job_id) WHERE kind IN ('EscrowDrained', 'NoRemedy');
CREATE INDEX payments_of_payee ON payments (payee);
CREATE TABLE signed (
    account TEXT NOT NULL,
    nonce INTEGER NOT NULL,
    at REAL NOT NULL,
    what TEXT NOT NULL,
    data BLOB NOT NULL,
    deal_id TEXT,
    counterparty TEXT,
    tokens_wei TEXT NOT NULL,
    gas_wei TEXT NOT NULL,
    over INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, nonce)
) WITHOUT ROWID;
CREATE TABLE key_uses (
    account TEXT PRIMARY KEY,
    nonce INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX signed_by_time ON signed (account, at);
CREATE INDEX signed_for_deal ON signed (account, deal_id) WHERE deal_id IS NOT NULL;
CREATE INDEX signed_with ON signed (account, counterparty) WHERE counterparty IS NOT NULL;
CREATE INDEX transactions_by_nonce ON transactions (nonce);
""",
    3: """
CREATE TABLE copies (
    job_id TEXT NOT NULL,
    place TEXT NOT NULL,
    cid TEXT NOT NULL,
    wanted_at REAL NOT NULL,
    stored_at REAL,
    read_at REAL,
    problem TEXT,
    PRIMARY KEY (job_id, place)
) WITHOUT ROWID;
CREATE INDEX copies_missing ON copies (wanted_at) WHERE stored_at IS NULL OR read_at IS NULL;
""",
    4: """
CREATE TABLE cases (
    deal_id TEXT PRIMARY KEY,
    drawn_in INTEGER NOT NULL,
    phase TEXT NOT NULL,
    decision TEXT,
    reason TEXT NOT NULL,
    missed INTEGER NOT NULL,
    missed_since INTEGER NOT NULL,
    seen_at REAL NOT NULL,
    updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX cases_open ON cases (seen_at) WHERE phase IN ('open', 'decided');
""",
}
"""What brings a file from the version before to this one; version 1 is ``TABLES``."""


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables in a new file, or check that the file is one this version can read.

    Raises Fatal for a file of a newer version.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise Fatal(
            f"the journal was written by a newer sdv-node (format {found}, this one reads up to {VERSION}): "
            "install that version again"
        )
    if found < VERSION:
        steps = [TABLES] if found == 0 else []
        steps += [MIGRATIONS[version] for version in range(max(found, 1) + 1, VERSION + 1)]
        connection.executescript(f"BEGIN; {' '.join(steps)} PRAGMA user_version = {VERSION}; COMMIT;")
