#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: bootstrap
short_description: Trust a step-ca
description:
  - Runs C(warded bootstrap). Check mode runs C(warded bootstrap --plan).
options:
  ca_url:
    description: The address of the CA.
    type: str
    required: true
  fingerprint:
    description: The fingerprint of its root certificate.
    type: str
    required: true
  install:
    description: Also put the root into the system's trust store. SSH does not need that.
    type: bool
    default: false
  force:
    description: Take the place of a CA that is trusted already.
    type: bool
    default: false
extends_documentation_fragment:
  - warded.ssh.warded
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Trust the CA
  warded.ssh.bootstrap:
    ca_url: https://ca.example.org
    fingerprint: "{{ warded_ca_fingerprint }}"
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
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(
            ca_url={"type": "str", "required": True},
            fingerprint={"type": "str", "required": True},
            install={"type": "bool", "default": False},
            force={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    params = module.params
    words = ["bootstrap"] + option("ca-url", params["ca_url"]) + option("fingerprint", params["fingerprint"])
    words += ["--" + flag for flag in ("install", "force") if params[flag]]
    warded = Warded(module)
    if module.check_mode:
        warded.finish(outcome(*warded.call(words + ["--plan"]), planned=True))
    code, document, stderr = warded.call(words)
    result = outcome(code, document, stderr)
    result["changed"] = bool(document and document.get("changed"))
    warded.finish(result)


if __name__ == "__main__":
    main()
