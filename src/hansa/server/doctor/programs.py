"""Whether this machine runs models' programs, and what keeps them from doing harm."""

from collections.abc import Iterator
from importlib.util import find_spec

from hansa.sandbox.confinement.protections import Protections
from hansa.server.config import Config, Sandbox
from hansa.server.doctor.finding import Finding, warning, well
from hansa.server.doctor.surroundings import Running

INSTALL = "pip install 'hansa[torch]'"


def sandbox(config: Config, found: Running | None, seen: Protections) -> Iterator[Finding]:
    """The protections that there are, and what becomes of programs; by the settings of a running server, if any."""
    wanted = ((found.config if found is not None else None) or config).inference
    if wanted.processes == 0:
        yield well("sandbox", "HANSA_INFERENCE_PROCESSES is 0: no programs of models are run")
    elif find_spec("torch") is None:
        yield well("sandbox", f"torch is not installed: no programs of models are run ({INSTALL})")
    elif not seen.missing:
        yield well("sandbox", str(seen))
    elif wanted.sandbox is Sandbox.WEAK:
        yield warning(
            "sandbox",
            f"{seen}; HANSA_SANDBOX is weak: programs are run without",
            "all protections, where models come from people one does not know",
            "a Linux kernel of 5.13 or later with Landlock and seccomp; then unset HANSA_SANDBOX",
        )
    else:
        yield warning(
            "sandbox",
            f"{seen}: programs of models are refused",
            "all protections",
            "a Linux kernel of 5.13 or later with Landlock and seccomp; or, if you trust all who upload models, "
            "HANSA_SANDBOX=weak; or HANSA_INFERENCE_PROCESSES=0 if no model is to be asked",
        )
