#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: invite
short_description: Make the code with which a machine enrols itself
description:
  - Runs C(warded invite), where the provisioner's password is, such as on the controller.
  - The result has the code, so the task needs C(no_log).
  - Check mode makes no code.
options:
  name:
    description: The machine's name, for which its certificates hold.
    type: str
    required: true
  principals:
    description: Further names.
    type: list
    elements: str
    default: []
  valid:
    description: How long the code can be used (C(10s) to C(1h)).
    type: str
  keys:
    description: Put a token for each of so many host keys into the code.
    type: int
extends_documentation_fragment:
  - warded.ssh.warded
  - warded.ssh.warded.identity
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Make a code
  warded.ssh.invite:
    name: web1.example.org
    principals: [web1]
    provisioner_password: "{{ warded_provisioner_password }}"
  delegate_to: localhost
  register: invitation
  no_log: true
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
    IDENTITY,
    Warded,
    arguments,
    identity,
    option,
    outcome,
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(
            IDENTITY,
            name={"type": "str", "required": True},
            principals={"type": "list", "elements": "str", "default": []},
            valid={"type": "str"},
            keys={"type": "int", "no_log": False},
        ),
        mutually_exclusive=[["provisioner_password", "token"]],
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="check mode makes no code")
    words, secret = identity(params)
    words = ["invite", params["name"]] + [word for name in params["principals"] for word in option("principal", name)] + words
    words += option("valid", params["valid"]) + option("keys", params["keys"])
    warded = Warded(module)
    result = outcome(*warded.call(words, secret))
    document = result.pop("warded") or {}
    result.update((name, document[name]) for name in ("code", "names", "ca", "valid_until") if name in document)
    warded.finish(result)


if __name__ == "__main__":
    main()
