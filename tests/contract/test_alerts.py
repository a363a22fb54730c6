"""Alert rules speak of metrics that are exported, and of roles that exist."""

import ast
import re
from pathlib import Path
from typing import Any, get_args

import yaml

from schemas.parts import Role

CHECKOUT = Path(__file__).parents[2]
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((CHECKOUT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
METRICS = CHECKOUT / "services" / "assembler" / "status" / "api" / "metrics.py"


def exported() -> set[str]:
    """The names in the module that exports them."""
    tree = ast.parse(METRICS.read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if re.fullmatch(r"scrub_\w+", text)}


def test_each_rule_speaks_of_exported_metrics_and_says_what_to_do() -> None:
    assert RULES
    for rule in RULES:
        named = set(re.findall(r"scrub_\w+", rule["expr"]))
        assert named, rule["alert"]
        assert named <= exported(), rule["alert"]
        assert "docs/runbook.md" in rule["annotations"]["description"]


def test_what_a_person_has_to_hear_of_is_told() -> None:
    told = " ".join(rule["expr"] for rule in RULES)
    assert {"scrub_bad_records", "scrub_parts_restarting", "scrub_parts_alive"} <= set(re.findall(r"scrub_\w+", told))
    roles = {role for match in re.findall(r'role=~"([^"]+)"', told) for role in match.split("|")}
    assert roles <= set(get_args(Role))
