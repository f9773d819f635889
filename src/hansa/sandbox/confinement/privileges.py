"""A process of root becomes one of nobody."""

import os

from hansa.sandbox.confinement.kernel import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl

NOBODY = 65534


def drop() -> None:
    """Become nobody, where there is anything to lose; and never gain anything again. Raises OSError."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    prctl(PR_SET_PDEATHSIG, 9)  # a change of user takes it back
    prctl(PR_SET_DUMPABLE, 0)  # nobody's other processes may not look into this one
    prctl(PR_SET_NO_NEW_PRIVS, 1)
