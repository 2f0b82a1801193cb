#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Look from outside whether machines present certificates
description:
  - Runs C(warded verify), usually on the controller (C(delegate_to)). It changes nothing.
options:
  hosts:
    description:
      - The machines, by the names that clients use, as lines of C(--hosts).
      - That is C(NAME) or C(NAME:PORT), then a blank and the address where the name does not lead there.
    type: list
    elements: str
    required: true
  ca_key:
    description: File of the CA's public host keys, so that the CA is not asked.
    type: path
  expect_within:
    description: Fail also where a certificate ends within this time.
    type: str
  all_keys:
    description: Ask for every certificate that a machine offers.
    type: bool
    default: false
  timeout:
    description: How long to wait for one machine.
    type: str
extends_documentation_fragment:
  - warded.ssh.warded
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Look from the controller
  warded.ssh.verify:
    hosts:
      - web1.example.org
      - db1.example.org 10.0.0.7
  delegate_to: localhost
"""

RETURN = r"""
warded:
  description: The JSON object of the program (docs/USAGE.md has its keys).
  returned: when the program printed one
  type: dict
reason:
  description: Why the task failed. One of C(failed), C(rolled_back), C(usage), C(incomplete), C(refused), C(ca_unreachable), C(no_ca),
    C(not_installed), C(unknown).
  returned: when the task fails
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.warded.ssh.plugins.module_utils.warded import (
    Warded,
    arguments,
    option,
    outcome,
    told,
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(
            hosts={"type": "list", "elements": "str", "required": True},
            ca_key={"type": "path", "no_log": False},
            expect_within={"type": "str"},
            all_keys={"type": "bool", "default": False},
            timeout={"type": "str"},
        ),
        supports_check_mode=True,
    )
    params = module.params
    warded = Warded(module)
    # A list of thousands does not fit on a command line.
    lines = "\n".join(params["hosts"])
    words = ["verify", "--hosts=/dev/stdin"] + option("ca-key", params["ca_key"])
    words += option("expect-within", params["expect_within"]) + option("timeout", params["timeout"])
    words += ["--all-keys"] if params["all_keys"] else []
    result = outcome(*warded.call(words, lines))
    found = result["warded"] or {}
    if result["exit"] == 4 and found.get("hosts"):
        wrong = [host for host in found["hosts"] if host["state"] != "ok"]
        causes = "; ".join("{0}: {1}: {2}".format(host["name"], host["state"], host["cause"]) for host in wrong)
        said = "clients would not accept {0} of {1} hosts".format(len(wrong), len(found["hosts"]))
        result["msg"] = told(said, causes, "docs/VERIFY.md says what each state means")
    warded.finish(result)


if __name__ == "__main__":
    main()
