#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: renew
short_description: Renew what is due
description:
  - Runs C(warded renew). Check mode runs C(warded renew --plan), with the same O(accept_risk).
  - Where some keys got no new certificate, the task has changed something and has failed.
options:
  force:
    description: Renew everything, due or not.
    type: bool
    default: false
extends_documentation_fragment:
  - warded.ssh.warded
  - warded.ssh.warded.identity
  - warded.ssh.warded.risks
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Renew what is due
  warded.ssh.renew:
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
    RISKS,
    Warded,
    arguments,
    identity,
    risk_words,
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(IDENTITY, RISKS, force={"type": "bool", "default": False}),
        mutually_exclusive=[["provisioner_password", "token"]],
        supports_check_mode=True,
    )
    force = ["--force"] if module.params["force"] else []
    words, secret = identity(module.params)
    words = ["renew"] + force + risk_words(module.params) + words
    Warded(module).change(words, ["renew", "--plan"] + force + risk_words(module.params), secret)


if __name__ == "__main__":
    main()
