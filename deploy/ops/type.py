"""Types the commands of docs/MONITORING.md on the controller of deploy/ops/booted: type.py PATH=..."""
import json
import os
import pathlib
import pty
import re
import sys

HOME = pathlib.Path(__file__).parent
ANSWERS = json.loads((HOME / "answers.json").read_text())
VAULT = b"correct horse\n"
PROMETHEUS = pathlib.Path("/etc/prometheus/prometheus.yml")


def run(command):
    """Runs the command on a terminal, and answers each question for a password."""
    print(f"$ {command}", flush=True)
    child, terminal = pty.fork()
    if child == 0:
        os.execlp("bash", "bash", "-o", "pipefail", "-c", command)
    said, answered = b"", 0
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # The terminal's other end is closed.
            break
        said += data
        asked = len(re.findall(rb"(?i)vault password: ", said))
        if asked > answered:
            answered = asked
            os.write(terminal, VAULT)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        sys.exit(f"deploy/ops/booted: {command}: ended with {code}: {said.decode(errors='replace')}")
    return said.decode(errors="replace")


def configure(block):
    """Puts the block into Debian's file, in the place of what it has under the same names."""
    text = PROMETHEUS.read_text()
    text = re.sub(r"(?ms)^(rule_files|scrape_configs):.*?(?=^\w|\Z)", "", text) + block
    (HOME / "prometheus.yml").write_text(text)
    run(f"sudo cp prometheus.yml {PROMETHEUS}")


def main():
    name, path = sys.argv[1].split("=", 1)
    os.environ.update({name: path, "HOME": str(HOME), "LANG": "C.UTF-8", "EDITOR": str(HOME / "editor"), "TERM": "dumb"})
    os.chdir(HOME)
    (HOME / "editor").write_text(f"#!/bin/sh\necho 'warded_provisioner_password: {ANSWERS['password']}' >\"$1\"\n")
    (HOME / "editor").chmod(0o755)
    run("ansible-galaxy collection build deploy/ansible")
    run("ansible-galaxy collection install warded-ssh-0.1.0.tar.gz")
    text = (HOME / "MONITORING.md").read_text()
    text = re.search(r"(?ms)^## Fifty machines.*?(?=^## )", text)[0]
    blocks = re.findall(r"(?ms)^   ```(\w*)\n(.*?)^   ```$", text)
    assert len(blocks) == 7, blocks
    commands = []
    for kind, block in blocks:
        block = re.sub(r"(?m)^   ", "", block)
        if kind == "yaml":
            configure(block)
            continue
        for command in re.findall(r"(?ms)^\$ (.*?)\n(?=\$ |\Z)", block):
            run(re.sub(r"d9fd9fef…\w+", ANSWERS["fingerprint"], command))
            commands.append(command)
    # Again, nothing is left to do.
    for command in commands:
        if command.startswith("ansible-playbook") and "--check" not in command:
            said = run(re.sub(r"d9fd9fef…\w+", ANSWERS["fingerprint"], command))
            if not re.search(r"changed=0 ", said) or re.search(r"changed=[1-9]", said):
                sys.exit(f"deploy/ops/booted: {command}: again, it changes something: {said}")


main()
