"""One module makes every Kafka client of the product, so that TLS or a login is added in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings import Settings
from services.runtime import kafka

ROOT = Path(__file__).parents[2]
FACTORY = ROOT / "services" / "runtime" / "kafka.py"
PRODUCT = ("schemas", "services", "deploy")
CLIENTS = frozenset({"AIOKafkaAdminClient", "AIOKafkaClient", "AIOKafkaConsumer", "AIOKafkaProducer"})


def clients_made_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CLIENTS:
                yield name


def test_the_factory_makes_each_kind_of_client_once() -> None:
    assert sorted(clients_made_in(FACTORY)) == sorted(CLIENTS)


@pytest.mark.parametrize("folder", PRODUCT)
def test_no_other_module_makes_a_client(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = {
        f"{path.relative_to(ROOT)} makes {name}" for path in files if path != FACTORY for name in clients_made_in(path)
    }
    assert not wrong


async def test_ours_and_fausts_clients_are_told_of_all_servers() -> None:
    settings = Settings(kafka="one:9092, two:9092")
    probe = kafka.make_probe(settings)
    await probe.close()
    assert sorted(host[:2] for host in probe.hosts) == [("one", 9092), ("two", 9092)]
    assert kafka.faust_options(settings)["broker"] == ["kafka://one:9092", "kafka://two:9092"]
