#!/usr/bin/env bash
# A base install (no extras) imports every module that does not need an extra, and pulls in neither Django nor torch.
#     tests/base_install.sh [PYTHON]
set -euo pipefail

python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check -c "$root/constraints.txt" "$root"

cd "$folder" # so that what is imported is what was installed
"$folder/venv/bin/python" -I - <<'EOF'
import importlib
import pkgutil
import sys
from importlib.metadata import distributions

PARTS = ("cli", "client", "core", "formats", "protocol", "rounds")
HEAVY = ("django", "rest_framework", "granian", "torch", "torchvision")
NEEDS_AN_EXTRA = {"hansa.client.adapters.torch"}

imported = []
for part in PARTS:
    package = importlib.import_module(f"hansa.{part}")
    found = [module.name for module in pkgutil.walk_packages(package.__path__, f"hansa.{part}.")]
    for name in [package.__name__, *found]:
        if name not in NEEDS_AN_EXTRA:
            importlib.import_module(name)
            imported.append(name)
unwanted = sorted(name for name in HEAVY if name in sys.modules)
unwanted += sorted({d.name for d in distributions() if d.name.lower() in (*HEAVY, "djangorestframework")})
if unwanted:
    sys.exit(f"base install: FAILED: it brings or imports {', '.join(unwanted)}")
print(f"base install: ok, {len(imported)} modules import without Django and torch")
EOF
"$folder/venv/bin/hansa" version >/dev/null
"$folder/venv/bin/hansa" init "$folder/federation" >/dev/null # the files it writes are installed as well
