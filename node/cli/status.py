"""``sdv-node status``: the running node in one screen."""

from typing import Any

import click
from rich.table import Table
from rich.text import Text

from node.cli.api import HINT, get_json, node_url
from node.cli.context import load_config, print_json, tokens, wide_console

SHOWN_CASES = 5


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show what the running node is doing.

    \b
    Example:
      sdv-node status
      sdv-node status --json | jq .worker
    """
    config = load_config(ctx)
    _, document = get_json(config, "/api/v1/status")
    if as_json:
        print_json(document)
        return
    if document.get("view") == "public":
        _show_public(document)
        click.echo(f"this is the public part: {HINT}", err=True)
        return
    show_status(document, node_url(config.http))


def show_status(document: dict[str, Any], url: str) -> None:
    """Print the status for people."""
    chain = document.get("chain") or {}
    wallet = document.get("wallet") or {}
    worker = document.get("worker") or {}
    symbol = chain.get("symbol", "tokens")
    table = Table.grid(padding=(0, 2))
    table.add_row("node", f"{document['version']}, dashboard at {url}")
    state = (
        "yes" if document.get("accepting") else "no: " + "; ".join(document.get("not_accepting_because", []))
    )
    table.add_row("accepting jobs", state)
    reached = "connected" if chain.get("rpc_ok") else f"not reached: {chain.get('problem')}"
    head = "no block read yet" if chain.get("head") is None else f"at block {chain['head']}"
    offer = document.get("offer") or {}
    if offer:
        table.add_row("offer", offer["state"] + (f": {offer['reason']}" if offer.get("reason") else ""))
    table.add_row("chain", f"{chain.get('chain_id')}, {head}, {reached}")
    endpoints = chain.get("endpoints") or []
    for endpoint in endpoints if len(endpoints) > 1 else []:
        lag = f", {endpoint['lag']} blocks behind" if endpoint.get("lag") else ""
        state = endpoint["problem"] or endpoint["state"]
        table.add_row("in use" if endpoint["active"] else "", f"{endpoint['name']}: {state}{lag}")
    rules = chain.get("rules") or {}
    if rules.get("escrow") == "pooled":
        table.add_row("market", "escrow can be taken out and silence has no remedy: payment is good will")
    if wallet:
        table.add_row("wallet", wallet["address"])
        table.add_row("", f"{tokens(wallet['token_wei'])} {symbol}, {tokens(wallet['gas_wei'])} for gas")
    _add_workers(table, worker)
    _add_run_times(table, document.get("run_times") or {})
    _add_ipfs(table, document.get("ipfs") or {})
    _add_gpus(table, document)
    storage = document.get("storage")
    if storage:
        quota = storage["quota_bytes"]
        bound = "" if quota is None else f" of {quota / 10**9:g} GB"
        damaged = f", damaged: {', '.join(storage['damaged'])}" if storage["damaged"] else ""
        kept = f"{storage['kept_bytes'] / 10**9:.3g} GB{bound}, {storage['kept_jobs']} jobs{damaged}"
        table.add_row("results kept", kept)
    counts = document.get("jobs", {}).get("by_phase", {})
    table.add_row(
        "jobs", ", ".join(f"{count} {phase}" for phase, count in sorted(counts.items())) or "none yet"
    )
    for target in document.get("targets") or []:
        waiting = f", {target['waiting']} waiting" if target["waiting"] else ""
        state = target["problem"] or ("no problem" if target["tried"] else "not tried yet")
        table.add_row("results at", Text(f"{target['name']} ({target['kind']}): {state}{waiting}"))
    _add_mediation(table, document.get("mediation") or {})
    earnings = document.get("earnings") or {}
    if earnings:
        table.add_row(
            "earned",
            f"{tokens(earnings['paid_wei'])} {symbol}, {tokens(earnings['day_wei'])} in the last day, "
            f"{tokens(earnings['month_wei'])} in 30 days, net {tokens(earnings['net_wei'])}",
        )
        table.add_row("", f"{tokens(earnings['gas_wei'])} spent on gas")
        table.add_row(
            "locked", f"{tokens(earnings['locked_wei'])}, claimable now {tokens(earnings['claimable_wei'])}"
        )
    wide_console().print(table)


def _show_public(document: dict[str, Any]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_row("node", str(document["version"]))
    table.add_row("accepting jobs", "yes" if document.get("accepting") else "no")
    chain, worker, offer = (document.get(part) or {} for part in ("chain", "worker", "offer"))
    table.add_row("chain", f"{chain.get('chain_id')}, controller {chain.get('controller')}")
    table.add_row("provider", f"{document.get('provider')}")
    table.add_row("profile", f"{worker.get('profile')}, class {worker.get('determinism_class')}")
    table.add_row("offer", f"{offer.get('state', 'none')} {offer.get('cid') or ''}".strip())
    counts = document.get("jobs") or {}
    table.add_row("jobs", ", ".join(f"{count} {name}" for name, count in counts.items()))
    wide_console().print(table)


def _add_mediation(table: Table, mediation: dict[str, Any]) -> None:
    if mediation and not mediation.get("cases"):
        table.add_row("mediation", "no case yet")
    for case in (mediation.get("cases") or [])[:SHOWN_CASES]:
        ruling = f" {case['decision']}" if case["decision"] else ""
        why = case["reason"] or case["waits"]
        told = f"{case['deal_id']}: {case['phase']}{ruling}" + (f": {why}" if why else "")
        table.add_row("mediation", Text(told))


def _add_workers(table: Table, worker: dict[str, Any]) -> None:
    quarantined = worker.get("quarantined")
    aside = f", {quarantined} inputs in quarantine" if quarantined else ""
    table.add_row("worker", f"{worker.get('profile')}: {worker.get('state')}{aside}")
    for slot in worker.get("slots") or []:
        where = f"GPU {slot['gpu']}" if slot["gpu"] else slot["socket"] or f"worker {slot['name']}"
        doing = [_doing(slot["rendering"], ""), _doing(slot["encoding"], ", ends ")]
        told = slot["problem"] if not slot["ready"] and slot["problem"] else slot["state"] + "".join(doing)
        replaced = f", replaced {slot['replacements']} times" if slot["replacements"] else ""
        table.add_row("", Text(f"{where}: {told}{replaced}"))


def _doing(job: dict[str, Any] | None, before: str) -> str:
    if job is None:
        return ""
    stage = f" ({job['stage']}, step {job['step']} of {job['steps']})" if job["stage"] else ""
    return f"{before or ' '}{job['job']}{stage}"


def _add_gpus(table: Table, document: dict[str, Any]) -> None:
    for gpu in document.get("gpus") or []:
        memory = f"{gpu['memory_free_bytes'] / 2**30:.1f} of {gpu['memory_total_bytes'] / 2**30:.1f} GiB free"
        readings = [
            None if gpu.get(name) is None else f"{gpu[name]:.0f} {unit}"
            for name, unit in (("utilisation_percent", "%"), ("temperature_c", "°C"), ("power_w", "W"))
        ]
        low = gpu.get("throttle_reasons") or []
        told = [gpu["name"], memory, *filter(None, readings), *(f"slowed down: {why}" for why in low)]
        table.add_row(f"GPU {gpu['index']}", Text(", ".join(told)))
        for reason in gpu.get("shut") or []:
            table.add_row("", Text(f"not used: {reason['reason']}"))
    if document.get("gpu_problem"):
        table.add_row("GPU", Text(document["gpu_problem"]))
    gate = document.get("gpu_gate") or {}
    if gate.get("hours"):
        table.add_row("GPU hours", f"{', '.join(gate['hours'])}: {'now' if gate['in_hours'] else 'not now'}")


def _add_run_times(table: Table, times: dict[str, Any]) -> None:
    if times.get("problem"):
        table.add_row("run times", Text(times["problem"]))
    elif times and not times["measured"]:
        table.add_row("run times", "not measured yet: sdv-node bench, with the node stopped")


def _add_ipfs(table: Table, ipfs: dict[str, Any]) -> None:
    if not ipfs.get("enabled"):
        return
    served = f"{ipfs.get('peers', 0)} peers, {ipfs.get('served_blocks', 0)} blocks served"
    if waiting := ipfs.get("waiting_wants"):
        served += f", {waiting} asked for that are not here"
    state = f"not running: {ipfs['problem']}" if ipfs.get("problem") else served
    table.add_row("IPFS", f"{ipfs.get('peer_id') or 'no peer id yet'}, {state}")
    for address in ipfs.get("addresses") or []:
        table.add_row("", address.split("/p2p/")[0])
    for problem in ipfs.get("bootstrap_problems") or []:
        table.add_row("", Text(f"bootstrap: {problem}"))
