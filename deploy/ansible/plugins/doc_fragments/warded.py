# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Options that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  program:
    description: The program C(warded), as a path or as a name in the system's directories.
    type: str
    default: warded
  config:
    description: Warded's configuration file.
    type: path
  state:
    description: Directory of state, journal and audit.
    type: path
  policies:
    description: Directory of your own policies.
    type: path
  sshd_config:
    description: Main configuration file of the sshd in question.
    type: path
  sshd:
    description: The program sshd.
    type: path
  ca:
    description: Directory of a local CA.
    type: path
"""

    IDENTITY = r"""
options:
  provisioner:
    description: The CA's provisioner, where several would do.
    type: str
  provisioner_password:
    description: The provisioner's password. It goes to the program by standard input.
    type: str
  token:
    description: One-time tokens, one a line. They go to the program by standard input.
    type: str
"""

    RISKS = r"""
options:
  accept_risk:
    description: Risks for which Warded would otherwise refuse.
    type: list
    elements: str
    default: []
"""

    CONFIRMATION = r"""
options:
  confirm_within:
    description: The change is rolled back unless M(warded.ssh.confirm) runs over a new connection within this time (C(2m)).
    type: str
"""
