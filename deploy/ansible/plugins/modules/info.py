#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: info
short_description: Tell how a machine is certified
description:
  - Sets the fact C(warded), from C(warded status) and C(warded history). It changes nothing.
  - A machine where something is wrong does not make the task fail.
extends_documentation_fragment:
  - warded.ssh.warded
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Ask the machine
  warded.ssh.info:

- name: Tell what is wrong
  ansible.builtin.debug:
    var: warded.status.problems
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
    outcome,
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(),
        supports_check_mode=True,
    )
    warded = Warded(module)
    if warded.program is None:
        module.exit_json(changed=False, ansible_facts={"warded": {"installed": False, "enrolled": False}})
    facts = {"installed": True}
    for command in ("version", "status", "history"):
        code, document, stderr = warded.call([command])
        # 4: something is not as it should be, and the object says what.
        result = outcome(0 if code == 4 else code, document, stderr)
        if result["failed"]:
            warded.finish(result)
        facts[command] = document
    facts["enrolled"] = bool(facts["status"].get("enrolled"))
    module.exit_json(changed=False, ansible_facts={"warded": facts})


if __name__ == "__main__":
    main()
