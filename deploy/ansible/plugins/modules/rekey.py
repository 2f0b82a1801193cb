#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: rekey
short_description: Replace the certified host keys
description:
  - Runs C(warded rekey). Check mode runs C(warded rekey --plan), with the same O(accept_risk), and fails where the run would be refused.
  - Each run makes new keys, so this module is not idempotent.
extends_documentation_fragment:
  - warded.ssh.warded
  - warded.ssh.warded.identity
  - warded.ssh.warded.risks
  - warded.ssh.warded.confirmation
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Replace the host keys
  warded.ssh.rekey:
    accept_risk: [replace-host-keys]
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
        argument_spec=arguments(IDENTITY, RISKS, CONFIRMATION),
        mutually_exclusive=[["provisioner_password", "token"]],
        supports_check_mode=True,
    )
    words, secret = identity(module.params)
    words = ["rekey", "--yes"] + risk_words(module.params) + words
    words += option("confirm-within", module.params["confirm_within"])
    Warded(module).change(words, ["rekey", "--plan"] + risk_words(module.params), secret)


if __name__ == "__main__":
    main()
