"""Writes the OpenAPI 3.1 document from the endpoints and their models, and serves it."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schemas.interface import Problem, Upload
from schemas.uploads import UploadOptions
from schemas.values import UploadId
from services.assembler.status.api.endpoints import Endpoint
from services.assembler.status.inputs import IDEMPOTENCY_KEY_PATTERN, Nothing
from services.runtime.identity import COOKIE

REF: Final = "#/components/schemas/{model}"
VERSION: Final = "1"
_PROBLEM: Final = "application/problem+json"
_ANY_CALL: Final = (401, 403, 422, 503)
"""Not signed in, not allowed, a parameter out of bounds, database or log not available."""
_WITH_BODY: Final = (400, 413, 415)
"""The body is not JSON, is too large, or has another content type."""


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The document of these endpoints and of `POST /v1/uploads`, which the ingest service answers on this origin."""
    endpoints = tuple(endpoints)
    schemas = _Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {"/v1/uploads": {"post": _create(schemas)}}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Phone scrubber",
            "version": VERSION,
            "description": "Looks up each distinct phone of an uploaded file once and gives the file back enriched.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
        "security": [{"bearer": []}, {"cookie": []}, {}],
    }


class _Schemas:
    """The models' JSON Schemas: of bodies for validation, of answers for serialization."""

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        read = {endpoint.body for endpoint in endpoints if endpoint.body is not Nothing} | {UploadOptions}
        written = {model for endpoint in endpoints for _, model in endpoint.answers.values() if isinstance(model, type)}
        written |= {Problem, Upload}
        wanted: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in sorted(read, key=_name)]
        wanted += [(model, "serialization") for model in sorted(written, key=_name)]
        self._places, found = models_json_schema(wanted, ref_template=REF)
        self.definitions: dict[str, Any] = found["$defs"]

    def read(self, model: type[BaseModel]) -> dict[str, Any]:
        return self._places[(model, "validation")]

    def written(self, model: type[BaseModel]) -> dict[str, Any]:
        return self._places[(model, "serialization")]


def _name(model: type[BaseModel]) -> str:
    return model.__name__


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, (meaning, model) in endpoint.answers.items():
        answers[str(status)] = _answer(meaning, model, schemas)
    for status in sorted({*_ANY_CALL, *(() if endpoint.method == "GET" else _WITH_BODY), *endpoint.problems}):
        answers[str(status)] = _problem(status, schemas)
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": ["operators" if endpoint.admin else "uploads" if "/uploads" in endpoint.path else "queue"],
        "parameters": [
            *_path_parameters(endpoint.path),
            *query_parameters(endpoint.query),
            *([_IDEMPOTENCY_KEY] if endpoint.idempotent else []),
        ],
        "responses": answers,
    }
    if endpoint.body is not Nothing:
        operation["requestBody"] = {
            "required": not _may_be_empty(endpoint.body),
            "content": {"application/json": {"schema": schemas.read(endpoint.body)}},
        }
    return operation


def _may_be_empty(model: type[BaseModel]) -> bool:
    try:
        model()
    except ValidationError:
        return False
    return True


def _operation_id(endpoint: Endpoint) -> str:
    parts = [
        part for part in re.split(r"[^a-z0-9]+", endpoint.path.removeprefix("/v1/").lower()) if part != "upload_id"
    ]
    return "_".join([endpoint.method.lower(), *(part for part in parts if part)]) + (
        "_one" if "{" in endpoint.path else ""
    )


def _answer(meaning: str, model: type[BaseModel] | str | None, schemas: _Schemas) -> dict[str, Any]:
    if model is None:
        return {"description": meaning}
    if isinstance(model, str):
        return {"description": meaning, "content": {model: {"schema": {"type": "string"}}}}
    return {"description": meaning, "content": {"application/json": {"schema": schemas.written(model)}}}


def _problem(status: int, schemas: _Schemas) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {_PROBLEM: {"schema": schemas.written(Problem)}},
    }


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": "The upload's id",
            "schema": _UPLOAD_ID,
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


_UPLOAD_ID: Final = TypeAdapter(UploadId).json_schema()


def query_parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a query model as parameters."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    parameters = []
    for name, shape in schema.get("properties", {}).items():
        shape = _inlined(shape, definitions)
        shape.pop("title", None)
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": shape.pop("description", ""),
                "schema": _without_null(shape),
            }
        )
    return parameters


def _inlined(shape: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(shape, list):
        return [_inlined(part, definitions) for part in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return _inlined(definitions[shape["$ref"].rsplit("/", 1)[-1]], definitions)
    return {key: _inlined(part, definitions) for key, part in shape.items()}


def _without_null(shape: dict[str, Any]) -> dict[str, Any]:
    """The schema without null: a query has no null, its parameters are left out."""
    choices: list[dict[str, Any]] = [one for one in shape.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        return {key: value for key, value in shape.items() if key not in ("anyOf", "default")} | choices[0]
    return {key: value for key, value in shape.items() if not (key == "default" and value is None)}


_BLANK: Final = {"type": "string", "maxLength": 0}
"""A blank value counts as left out: forms send every field."""
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repetitions with the same key get the same upload",
    "schema": {"type": "string", "pattern": IDEMPOTENCY_KEY_PATTERN},
}


def _create(schemas: _Schemas) -> dict[str, Any]:
    file = {"type": "string", "contentMediaType": "text/csv", "minLength": 1}
    options = [
        parameter
        | {
            "name": "phone_column" if parameter["name"] == "phone_columns" else parameter["name"],
            "schema": {"anyOf": [parameter["schema"], _BLANK]},
        }
        for parameter in query_parameters(UploadOptions)
    ]
    return {
        "operationId": "post_uploads",
        "summary": "Upload a file; answered as soon as all of it is stored",
        "tags": ["uploads"],
        "parameters": [
            *options,
            _IDEMPOTENCY_KEY,
        ],
        "requestBody": {
            "required": True,
            "description": "CSV and anything like it, XLSX, or JSON Lines; plain, gzipped or zipped. "
            "Options may also be fields of the form, before the file.",
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"file": file},
                        "required": ["file"],
                        "additionalProperties": False,
                    }
                },
                "application/octet-stream": {"schema": file},
            },
        },
        "responses": {
            "202": _answer("The upload", Upload, schemas),
            **{str(status): _problem(status, schemas) for status in (400, 401, 403, 413, 415, 422, 429, 503)},
        },
    }


def routes_for(described: dict[str, Any]) -> list[Route]:
    """`/openapi.json` with this document."""

    async def openapi(_request: Request) -> Response:
        return JSONResponse(described)

    return [Route("/openapi.json", openapi, methods=["GET"])]
