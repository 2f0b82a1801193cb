#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: enrol
short_description: Have a machine certified with a code of invite
description:
  - Runs C(warded enrol), with the code on standard input.
  - Where the machine is certified as the code says, nothing changes, and the code is not used up.
  - Check mode runs C(warded enrol --plan), which uses up no code. Without O(code) it tells only whether the machine is enrolled.
  - A run that ends with 4 fails, unless O(accept_risk) names the one reason, V(unknown-listener) or V(not-seen-live). That is a warning.
options:
  code:
    description: The code that M(warded.ssh.invite) returned. It goes to the program by standard input.
    type: str
  settings:
    description: Settings of C(certify-host).
    type: dict
    default: {}
  policy:
    description: The policy, where more than one has the procedure.
    type: str
extends_documentation_fragment:
  - warded.ssh.warded
  - warded.ssh.warded.risks
  - warded.ssh.warded.confirmation
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Have the machine certified
  warded.ssh.enrol:
    code: "{{ invitation.code }}"
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
    RISKS,
    Warded,
    arguments,
    option,
    outcome,
    planned,
    risk_words,
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(
            RISKS, CONFIRMATION,
            code={"type": "str", "no_log": True},
            settings={"type": "dict", "default": {}},
            policy={"type": "str"},
        ),
        supports_check_mode=True,
    )
    params = module.params
    warded = Warded(module)
    warded.require()
    if module.check_mode and not params["code"]:
        code, status, stderr = warded.call(["status"])
        result = outcome(0 if code == 4 else code, status, stderr)
        result["changed"] = not (status and status.get("enrolled"))
        warded.finish(result)
    if not params["code"]:
        warded.fail("usage", "the machine cannot be enrolled", "the task has no code",
                    "make one with warded.ssh.invite where the provisioner's password is")
    words = ["enrol", "--code-file=-"] + warded.settings() + option("policy", params["policy"]) + risk_words(params)
    if module.check_mode:
        warded.finish(planned(*warded.call(words + ["--plan"], params["code"])))
    words += ["--yes"] + option("confirm-within", params["confirm_within"])
    warded.finish(warded.ran(*warded.call(words, params["code"])))


if __name__ == "__main__":
    main()
