"""The JSON endpoint for the audit list."""

from starlette.responses import Response

from schemas.interface import Page
from services.assembler.status.api.endpoints import ApiRequest, Endpoint, json_answer
from services.assembler.status.inputs import Nothing
from services.assembler.status.operations.audit import AuditItem, AuditQuery, audit_page


async def list_audit(request: ApiRequest[AuditQuery, Nothing]) -> Response:
    items, following = await audit_page(request.backend, request.query)
    return json_answer(Page[AuditItem](items=tuple(items), next=following))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/v1/audit",
        list_audit,
        "Who did what",
        {200: ("A page of entries, newest first", Page[AuditItem])},
        query=AuditQuery,
        admin=True,
    ),
)
