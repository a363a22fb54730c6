"""Only the store knows SQL, and the domain needs no client library: shown by what imports what."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
ASSEMBLER = ROOT / "services" / "assembler"
CLIENT_LIBRARIES = {"aiokafka", "faust", "httpx", "sqlalchemy", "starlette"}
_SQL = re.compile(r"^\s*(from|import) sqlalchemy\b", re.MULTILINE)


def test_only_the_store_imports_sqlalchemy() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "services").rglob("*.py")
        if not path.is_relative_to(ASSEMBLER / "store") and _SQL.search(path.read_text(encoding="utf-8"))
    ]
    assert not wrong


def test_the_domain_loads_no_client_library_not_even_through_what_it_imports() -> None:
    modules = [f"services.assembler.domain.{path.stem}" for path in (ASSEMBLER / "domain").glob("[a-z]*.py")]
    program = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in loaded.stdout.split()}.isdisjoint(CLIENT_LIBRARIES)
