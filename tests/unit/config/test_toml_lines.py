"""Lines of keys in a TOML file."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from node.resources import data_path
from node.toml_lines import key_lines

TEXT = """\
# a comment
top.dotted = 1

[chain]  # [not a table]
rpc_urls = [
    "http://x",  # ]
    "http://y",
]
text = \"\"\"
[no.table]
key = 1
\"\"\"

[pricing.modules."sdv-pipeline:v1.1"]
floor = "2"
[[ipfs.kubo]]
name = "a"
[[ipfs.kubo]]
name = "b"
inner = { deep = true }
"""


def test_every_key_and_table_has_the_line_it_begins_on():
    assert key_lines(TEXT) == {
        ("top",): 2,
        ("top", "dotted"): 2,
        ("chain",): 4,
        ("chain", "rpc_urls"): 5,
        ("chain", "text"): 9,
        ("pricing", "modules", "sdv-pipeline:v1.1"): 14,
        ("pricing", "modules", "sdv-pipeline:v1.1", "floor"): 15,
        ("ipfs", "kubo", 0): 16,
        ("ipfs", "kubo", 0, "name"): 17,
        ("ipfs", "kubo", 1): 18,
        ("ipfs", "kubo", 1, "name"): 19,
        ("ipfs", "kubo", 1, "inner"): 20,
        ("ipfs", "kubo", 1, "inner", "deep"): 20,
    }


def test_the_shipped_defaults_have_a_line_for_each_key():
    text = data_path("config/default.toml").read_text()
    lines = key_lines(text)
    for section, values in tomllib.loads(text).items():
        for key in values:
            line = text.splitlines()[lines[section, key] - 1]
            assert line.startswith((f"{key} =", f"[{section}.{key}]"))


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=20), min_size=1))
def test_values_of_any_text_leave_the_lines_of_the_keys_as_they_are(values):
    escaped = {key: "".join(f"\\U{ord(each):08x}" for each in text) for key, text in values.items()}
    text = "".join(f'{key} = "{each}"\n' for key, each in escaped.items())
    assert key_lines(text) == {(key,): number for number, key in enumerate(values, 1)}
