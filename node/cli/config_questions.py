"""The questions of ``sdv-node config init``: what each asks, why, and when its answer is taken."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from node.config import checked
from node.config_edit import typed_value
from node.config_layers import known_networks, read_layers
from node.errors import Misconfigured

Names = tuple[str, str]
Answers = dict[Names, Any]
OWN = "own"
WALLETS = ("new", "import", "remote", "later")
TINY = "tiny"


@dataclass(slots=True)
class Interview:
    """Answers as they come: those given by flags are taken as they are, the others are asked for, or left.

    ``asks`` is false where nobody can be asked.
    """

    asks: bool
    answers: Answers = field(default_factory=dict)

    def take(self, names: Names, text: str) -> None:
        """Take an answer over. Raises Misconfigured if it is not valid."""
        value = typed_value(names, text)
        if (wrong := wrong_with(names, value)) is not None:
            raise Misconfigured(wrong)
        self.answers[names] = value

    def ask(self, names: Names, why: str, prompt: str, suggestion: str, *, needed: bool = False) -> None:
        """Ask for a setting that no flag gave, until the answer is valid.

        An empty one leaves the default, or what the file has, unless the setting is ``needed``.
        """
        if names in self.answers or not self.asks:
            return None
        explain(why)
        while True:
            text = click.prompt(f"  {prompt}", default=suggestion, show_default=bool(suggestion), err=True)
            if not text.strip() and needed:
                click.echo("  this one is needed: Ctrl-C ends the questions, nothing is written", err=True)
                continue
            if not text.strip():
                return None
            try:
                return self.take(names, text.strip())
            except Misconfigured as wrong:
                click.echo(f"  {wrong}", err=True)

    def choose(self, why: str, prompt: str, choices: Mapping[str, str], suggestion: str) -> str:
        """Return one of ``choices``, each told in a line."""
        if not self.asks:
            return suggestion
        explain(why)
        for name, told in choices.items():
            click.echo(f"    {name:<18} {told}", err=True)
        answer: str = click.prompt(
            f"  {prompt}", default=suggestion, type=click.Choice(list(choices)), show_choices=False, err=True
        )
        return answer


def explain(why: str) -> None:
    """Print a sentence before a question, apart from the one before."""
    click.echo(f"\n{why}", err=True)


def wrong_with(names: Names, value: Any) -> str | None:
    """Return what is wrong with one value by itself, None if nothing is."""
    section, key = names
    _, problems = checked(read_layers(None, {}, {section: {key: value}}))
    dotted = f"{section}.{key}"
    mine = [each for each in problems if each.key in {dotted, section} or each.key.startswith(f"{dotted}.")]
    return "; ".join(f"{each.key}: {each.wrong}" for each in mine) or None


def ask_market(
    interview: Interview, environment: Mapping[str, str], *, network: str | None, has_market: bool
) -> None:
    """Ask which market, and by which endpoints it is reached.

    ``has_market``: the settings name one already, which stays where nobody can be asked.
    """
    if has_market and not interview.asks and network is None:
        return
    if network is None and not any(section == "chain" for section, _ in interview.answers):
        choices = {name: f"chain {table['chain_id']}" for name, table in known_networks().items()}
        choices[OWN] = "another chain, or endpoints of your own"
        network = interview.choose(
            "Which market does the node work on? A network's entry gives chain, contracts and an endpoint.",
            "market",
            choices,
            "devnet",
        )
        if not interview.asks:
            click.echo(
                "note: no --network was given, so it is devnet, the market of sdv-node devnet", err=True
            )
    if network and network != OWN:
        interview.take(("chain", "network"), network)
        if not interview.asks:
            return
    named = network not in {None, OWN}
    interview.ask(
        ("chain", "rpc_urls"),
        "RPC endpoints, with commas between them: two or three of different operators keep the node going "
        "when one fails or lies." + (" Empty: the network's own." if named else ""),
        "endpoints",
        environment.get("WEB3_RPC_URL", ""),
        needed=not named and not has_market,
    )
    if not named:
        interview.ask(
            ("chain", "chain_id"), "The chain id that every endpoint must answer with.", "chain id", ""
        )
        interview.ask(
            ("chain", "controller"),
            "The market's Controller contract; all other addresses are read from it.",
            "controller",
            "",
        )


def ask_work(interview: Interview, found: str, suggestion: str, profiles: Mapping[str, str]) -> None:
    """Ask with which models, on which GPU found, at what price."""
    profile = ("worker", "profile")
    if profile not in interview.answers:
        told = f"Which models does the node compute with? {found}"
        interview.take(profile, interview.choose(told, "profile", profiles, suggestion))
    if interview.answers[profile] == TINY and is_private(interview.answers):
        interview.answers["market", "allow_toy_models"] = True
    interview.ask(
        ("pricing", "per_job"),
        "The price of a job in whole payment tokens; [pricing] can also charge by step or by GPU second.",
        "price",
        "1",
    )
    if (price := interview.answers.get(("pricing", "per_job"))) is not None:
        interview.answers.setdefault(("pricing", "floor"), price)
    interview.ask(
        ("market", "mediators"),
        "Who may judge a dispute, addresses with commas: needed before the node takes deals.",
        "mediators",
        "",
    )
    interview.ask(
        ("http", "public_url"),
        "The address at which requesters reach this node's port 8470, through a reverse proxy with TLS. "
        "Empty: it cannot be hired directly.",
        "public URL",
        "",
    )


def ask_wallet(interview: Interview, *, wallet: str | None, has_key: bool) -> str:
    """Ask where the key is; return one of ``WALLETS``."""
    if ("wallet", "remote_signer") in interview.answers:
        wallet = "remote"
    if wallet is None and has_key:
        return "later"
    if wallet is None:
        choices = {
            "new": "make a key in an encrypted keystore on this machine",
            "import": "type or name a key that you have",
            "remote": "Web3Signer or Clef has it, no key is on this machine",
            "later": "sdv-node wallet new, or import, when it suits",
        }
        wallet = interview.choose("Where is the key that signs and is paid?", "wallet", choices, "new")
        wallet = wallet if interview.asks else "later"
    if wallet == "remote":
        interview.ask(
            ("wallet", "remote_signer"),
            "The signer's address: http://, https:// or unix:///path.",
            "remote signer",
            "",
        )
        interview.ask(("wallet", "address"), "The account it signs for.", "account", "")
    interview.ask(
        ("wallet", "payout_address"),
        "The only account that earnings are ever withdrawn to, best one whose key is elsewhere."
        " Empty: later.",
        "payout address",
        "",
    )
    return wallet


def is_private(answers: Mapping[Names, Any]) -> bool:
    """Whether the market is a development chain, where toy models do no harm."""
    from node.config import DEVELOPMENT_CHAINS

    network = known_networks().get(str(answers.get(("chain", "network"), "")), {})
    return answers.get(("chain", "chain_id"), network.get("chain_id")) in DEVELOPMENT_CHAINS


def can_be_asked(*, unattended: bool) -> bool:
    """Whether a person sits at the terminal and wants to be asked."""
    return not unattended and sys.stdin.isatty()
