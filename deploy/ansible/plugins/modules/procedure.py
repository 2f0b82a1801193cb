#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: procedure
short_description: Run a procedure of a policy
description:
  - Runs C(warded apply). Check mode runs C(warded plan), with the same O(accept_risk). It fails where the run would be refused,
    also for a risk that is not accepted.
  - A run that ends with 4 fails, unless O(accept_risk) names the one reason, V(unknown-listener) or V(not-seen-live). That is a warning.
options:
  name:
    description: The procedure, as C(warded policy list) shows it.
    type: str
    required: true
  settings:
    description: Its settings. A list gives a setting several times.
    type: dict
    default: {}
  policy:
    description: The policy, where more than one has the procedure.
    type: str
  force:
    description: Treat every certificate as due.
    type: bool
    default: false
extends_documentation_fragment:
  - warded.ssh.warded
  - warded.ssh.warded.identity
  - warded.ssh.warded.risks
  - warded.ssh.warded.confirmation
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Certify the host keys
  warded.ssh.procedure:
    name: certify-host
    settings:
      principal: [web1.example.org, web1]
    confirm_within: 2m
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
    CONFIRMATION,
    IDENTITY,
    RISKS,
    Warded,
    arguments,
    identity,
    option,
    risk_words,
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(
            IDENTITY, RISKS, CONFIRMATION,
            name={"type": "str", "required": True},
            settings={"type": "dict", "default": {}},
            policy={"type": "str"},
            force={"type": "bool", "default": False},
        ),
        mutually_exclusive=[["provisioner_password", "token"]],
        supports_check_mode=True,
    )
    params = module.params
    warded = Warded(module)
    plan = [params["name"]] + warded.settings() + option("policy", params["policy"])
    plan += ["--force"] if params["force"] else []
    words, secret = identity(params)
    plan += risk_words(params)
    words += ["--yes"] + option("confirm-within", params["confirm_within"])
    warded.change(["apply"] + plan + words, ["plan"] + plan, secret)


if __name__ == "__main__":
    main()
