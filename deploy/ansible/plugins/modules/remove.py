#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: remove
short_description: Undo everything that Warded changed
description:
  - Runs C(warded remove). Check mode runs C(warded remove --plan).
options:
  discard_edits:
    description: Give up what was edited since in files that go or are restored.
    type: bool
    default: false
extends_documentation_fragment:
  - warded.ssh.warded
  - warded.ssh.warded.risks
  - warded.ssh.warded.confirmation
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Undo Warded's configuration
  warded.ssh.remove:
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
    risk_words,
)


def main():
    module = AnsibleModule(
        argument_spec=arguments(RISKS, CONFIRMATION, discard_edits={"type": "bool", "default": False}),
        supports_check_mode=True,
    )
    params = module.params
    words = ["remove"] + (["--discard-edits"] if params["discard_edits"] else []) + risk_words(params)
    Warded(module).change(words + ["--yes"] + option("confirm-within", params["confirm_within"]), words + ["--plan"])


if __name__ == "__main__":
    main()
