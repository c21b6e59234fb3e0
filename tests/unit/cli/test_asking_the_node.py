"""The command line asks a node as its operator, or shows the public part and a hint."""

import http.server
import json
import threading

import pytest

from node.cli.main import main
from node.web.token_file import FILE_NAME, TokenFile

PUBLIC = {"view": "public", "version": "0.1.0", "accepting": True, "provider": "0x" + "a1" * 20}
PUBLIC |= {"chain": {"chain_id": 31337, "controller": "0x" + "c0" * 20}, "jobs": {"paid": 3}}


class Node(http.server.BaseHTTPRequestHandler):
    token = ""

    def do_GET(self):
        known = self.headers["Authorization"] == f"Bearer {self.token}"
        status, document = (200, {**PUBLIC, "view": "whole"}) if known else (200, PUBLIC)
        if not known and self.path.startswith("/api/v1/jobs?"):
            status, document = 401, {"error": "operator only"}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def run(tmp_path, capsys):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Node)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def command(*words):
        settings = ("--data-dir", str(tmp_path / "data"), "--set", f"http.port={server.server_port}")
        with pytest.raises(SystemExit) as ended:
            main([*settings, *words])
        told = capsys.readouterr()
        return ended.value.code, told.out, told.err

    yield command
    server.shutdown()
    server.server_close()


def test_another_user_is_shown_the_public_part_and_how_to_see_the_rest(run):
    code, out, err = run("status")
    assert code == 0
    assert "3 paid" in out
    assert "run this as the user that runs the node, or set SDV_NODE_TOKEN_FILE" in err
    code, _, err = run("jobs", "list")
    assert code == 4
    assert "SDV_NODE_TOKEN_FILE" in err
    code, _, err = run("jobs", "show", "j1")
    assert code == 4
    assert "SDV_NODE_TOKEN_FILE" in err


def test_the_token_is_read_from_the_data_directory_or_the_file_that_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    Node.token = TokenFile(tmp_path / "data" / FILE_NAME).renew()
    assert json.loads(run("status", "--json")[1])["view"] == "whole"
    Node.token = TokenFile(tmp_path / "named").renew()
    assert json.loads(run("status", "--json")[1])["view"] == "public"
    monkeypatch.setenv("SDV_NODE_TOKEN_FILE", str(tmp_path / "named"))
    assert json.loads(run("status", "--json")[1])["view"] == "whole"
    (tmp_path / "named").chmod(0o644)
    code, _, err = run("status")
    assert code == 2
    assert "chmod 600" in err
    assert Node.token not in err


def test_without_a_running_node_there_is_no_address_to_open(run):
    code, _, err = run("dashboard")
    assert code == 3
    assert "sdv-node start" in err
