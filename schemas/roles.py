"""Owns the list of roles: how each is started and stopped, and what it is to the others.

Whatever has to know all roles reads this list: the start of a process, the local stack, the rights on Kafka, the
question which part is missing, and the tests that compare Compose and the manifests with it. It imports no library.
"""

from dataclasses import dataclass
from typing import Final, Literal

from schemas import groups

RoleName = Literal["http", "feeder", "worker", "gate", "join", "status"]
LOCAL_WEB: Final = "web"
"""The process of the local stack that serves every role with a web server on one port."""


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One role. `python -m <package> <name>` starts it; its entry point is `main` in `<package>.<name>.role`.

    `stop_stage`: roles of a lower stage stop first, so that work stops coming in before it stops going out.
    `serves_http`: it has a web server; it is part of the process `web` in the local stack.
    `is_on_data_path`: without it no row gets its result.
    `is_scalable`: `--scale` of the local stack takes a number for it.
    `group`: the consumer group whose member it is.
    """

    name: RoleName
    package: str
    stop_stage: int
    serves_http: bool = False
    is_on_data_path: bool = False
    is_scalable: bool = False
    group: str | None = None

    @property
    def module(self) -> str:
        return f"{self.package}.{self.name}.role"

    @property
    def command(self) -> tuple[str, str]:
        """What follows `python -m`."""
        return self.package, self.name


ROLES: Final[tuple[RoleSpec, ...]] = (
    RoleSpec("http", "services.ingest", stop_stage=1, serves_http=True),
    RoleSpec("feeder", "services.ingest", stop_stage=1, is_on_data_path=True, is_scalable=True, group=groups.FEEDER),
    RoleSpec("worker", "services.lookup", stop_stage=2, is_on_data_path=True, is_scalable=True, group=groups.WORKER),
    RoleSpec("gate", "services.lookup", stop_stage=2, is_on_data_path=True, is_scalable=True, group=groups.GATE),
    RoleSpec("join", "services.assembler", stop_stage=3, is_on_data_path=True, is_scalable=True, group=groups.JOIN),
    RoleSpec("status", "services.assembler", stop_stage=1, serves_http=True),
)
"""In the order in which a row passes them."""


def roles_of(package: str) -> dict[str, RoleSpec]:
    """The roles of a service by name, in the registry's order."""
    return {role.name: role for role in ROLES if role.package == package}
