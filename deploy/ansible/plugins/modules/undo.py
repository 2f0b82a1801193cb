#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0 OR MIT

from __future__ import annotations

DOCUMENTATION = r"""
module: undo
short_description: Undo a run
description:
  - Runs C(warded undo). Check mode runs C(warded undo --plan).
  - Without O(run) and O(down_to) each run of the module undoes one more run.
options:
  run:
    description: The run, as C(warded history) shows it.
    type: int
  down_to:
    description: Undo this run and all since, in one step.
    type: int
extends_documentation_fragment:
  - warded.ssh.warded
  - warded.ssh.warded.risks
  - warded.ssh.warded.confirmation
author:
  - The Warded authors (@warded)
"""

EXAMPLES = r"""
- name: Undo run 7
  warded.ssh.undo:
    run: 7
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
        argument_spec=arguments(RISKS, CONFIRMATION, run={"type": "int"}, down_to={"type": "int"}),
        mutually_exclusive=[["run", "down_to"]],
        supports_check_mode=True,
    )
    params = module.params
    which = ["undo"] + ([] if params["run"] is None else [str(params["run"])]) + option("down-to", params["down_to"])
    which += risk_words(params)
    Warded(module).change(which + ["--yes"] + option("confirm-within", params["confirm_within"]), which + ["--plan"])


if __name__ == "__main__":
    main()
