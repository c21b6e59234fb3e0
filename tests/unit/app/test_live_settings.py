"""What a running node takes over from a changed file."""

import pytest

from node.app.live_settings import Change, ReloadRefused, compared
from node.config import checked, layers_in_force

MODULE = "sdv-pipeline:v1.1-lilypad2"


def layers(tmp_path, text):
    return layers_in_force(tmp_path / "config.toml", environment={}, text=text)


def reloaded(tmp_path, before, after):
    running = layers(tmp_path, before)
    config, _ = checked(running)
    return compared(config, running, layers(tmp_path, after))


def test_prices_and_limits_are_taken_over_and_what_needs_a_restart_stays(tmp_path):
    found = reloaded(
        tmp_path,
        '[pricing]\nfloor = "1"\n[http]\nport = 8470\n',
        '[pricing]\nfloor = "2.50"\n[http]\nport = 9000\n'
        "[admission]\nmax_open_deals = 9\ninitial_job_s = 9.0\n"
        '[policy]\nmax_per_deal = "1000"\n[gpu]\nhours = ["22:00-07:00"]\npoll_interval_s = 1.0\n',
    )
    assert found.changed == (
        Change("pricing.floor", "1", "2.50"),
        Change("admission.max_open_deals", 4, 9),
        Change("gpu.hours", [], ["22:00-07:00"]),
    )
    assert set(found.waiting) == {
        "http.port",
        "admission.initial_job_s",
        "policy.max_per_deal",
        "gpu.poll_interval_s",
    }
    config = found.config
    assert config.pricing.floor == 25 * 10**17
    assert (config.admission.max_open_deals, config.admission.initial_job_s) == (9, 600.0)
    assert (config.http.port, config.policy.max_per_deal, config.gpu.poll_interval_s) == (
        8470,
        25 * 10**18,
        5.0,
    )


def test_another_way_to_write_the_same_value_is_no_change(tmp_path):
    assert reloaded(tmp_path, '[pricing]\nfloor = "1.0"\n', "[pricing]\nfloor = 1\n").changed == ()


def test_prices_of_a_module_come_and_go(tmp_path):
    own = f'[pricing.modules."{MODULE}"]\nfloor = "7"\n'
    found = reloaded(tmp_path, "", own)
    assert found.config.pricing.modules[MODULE].floor == 7 * 10**18
    assert reloaded(tmp_path, own, "").config.pricing.modules == {}


def test_an_invalid_file_is_refused_with_every_problem_and_its_line(tmp_path):
    with pytest.raises(ReloadRefused) as refused:
        reloaded(tmp_path, "", '[pricing]\nfloor = "x"\n[http]\nport = -1\n')
    assert f"{tmp_path / 'config.toml'}:2" in str(refused.value)
    assert "http.port" in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_live_part_that_does_not_go_with_what_stays_is_refused(tmp_path):
    # The module's prices could be taken over, the list of modules they need cannot.
    before = '[market]\nmodules = ["sdv-pipeline:v1.0-lilypad2"]\n'
    after = f'[market]\nmodules = ["{MODULE}"]\n[pricing.modules."{MODULE}"]\nfloor = "7"\n'
    with pytest.raises(ReloadRefused, match=r"until a restart: .*market.modules"):
        reloaded(tmp_path, before, after)


def test_a_mediator_keeps_its_fee_until_a_restart(tmp_path):
    after = '[pricing]\nmediation_fee = "3"\n'
    assert reloaded(tmp_path, "", after).waiting == ()
    judging = "[mediator]\nenabled = true\n"
    assert reloaded(tmp_path, judging, judging + after).waiting == ("pricing.mediation_fee",)
