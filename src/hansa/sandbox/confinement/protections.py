"""Which protections this machine has, and the taking of all of them."""

import platform
from dataclasses import dataclass

from hansa.sandbox.confinement import kernel, landlock, limits, privileges, seccomp
from hansa.sandbox.confinement.limits import Limits


@dataclass(frozen=True, slots=True)
class Protections:
    """What is active in a confined process on this machine."""

    landlock: int
    """The version of its interface; 0: none."""
    seccomp: bool
    limits: bool
    privileges: bool = True
    """Whether those of root are dropped, and can never be gained."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Those that are not there. Programs are refused while there are any, unless weakness is wanted."""
        there = {
            "landlock": self.landlock > 0,
            "seccomp": self.seccomp,
            "limits": self.limits,
            "privileges": self.privileges,
        }
        return tuple(name for name, active in there.items() if not active)

    def __str__(self) -> str:
        if not self.missing:
            return f"Landlock {self.landlock}, seccomp, limits"
        return f"missing on {platform.system()} {platform.release()}: {', '.join(self.missing)}"


def protections() -> Protections:
    """Ask the kernel; changes nothing."""
    return Protections(landlock.version(), seccomp.is_available(), kernel.is_linux(), kernel.is_linux())


def confine(within: Limits, having: Protections) -> None:
    """Take from this process, for good, all that `having` knows how to take. Raises OSError if one cannot be.

    The order is fixed: each step still needs what the next one takes.
    """
    if having.limits:
        limits.restrict(within)
    if having.privileges:
        privileges.drop()
    if having.landlock:
        landlock.restrict()
    if having.seccomp:
        seccomp.restrict()
