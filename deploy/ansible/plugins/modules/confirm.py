#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: confirm
short_description: Keep what waits to be confirmed
description:
  - Runs C(warded confirm), which needs a connection that is newer than the change.
  - C(reset_connection) of ansible.builtin.meta goes before it.
options:
  same_login:
    description: Confirm from anywhere, which proves nothing of new logins.
    type: bool
    default: false
extends_documentation_fragment:
  - warded.ssh.warded
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Close the connection that made the change
  ansible.builtin.meta: reset_connection

- name: Keep the change
  warded.ssh.confirm:
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
        argument_spec=arguments(same_login={"type": "bool", "default": False}),
        supports_check_mode=True,
    )
    warded = Warded(module)
    if module.check_mode:
        code, status, stderr = warded.call(["status"])
        result = outcome(0 if code == 4 else code, status, stderr)
        result["changed"] = bool(status and status.get("unconfirmed"))
        warded.finish(result)
    warded.finish(outcome(*warded.call(["confirm"] + (["--same-login"] if module.params["same_login"] else []))))


if __name__ == "__main__":
    main()
