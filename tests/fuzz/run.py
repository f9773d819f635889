"""Coverage-guided fuzzing of the readers of model files: `make fuzz`, or run this file with options of libFuzzer.

New inputs that reach new code are kept in `.cache/fuzz`; what breaks something is written there as `crash-*`. Move such
an input to `tests/fuzz/corpus` under a telling name: the normal tests replay all that lie there.
"""

import os
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

with atheris.instrument_imports(include=["hansa.formats"]):
    from fuzz.archive_target import look_at


def main() -> None:
    found = HERE.parent.parent / ".cache" / "fuzz"
    found.mkdir(parents=True, exist_ok=True)
    seconds = os.environ.get("FUZZ_SECONDS", "60")
    options = [f"-max_total_time={seconds}", "-max_len=6000", "-timeout=20", "-rss_limit_mb=1024"]
    folders = [str(found), str(HERE / "corpus")]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={found}/", *sys.argv[1:], *folders], look_at)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
