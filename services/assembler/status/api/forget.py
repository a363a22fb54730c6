"""The JSON endpoint that erases one number everywhere."""

from starlette.responses import Response

from services.assembler.status.api.endpoints import ApiRequest, Endpoint, json_answer
from services.assembler.status.inputs import Nothing
from services.assembler.status.operations import forget as operations
from services.assembler.status.operations.forget import ForgetBody, Forgotten


async def forget(request: ApiRequest[Nothing, ForgetBody]) -> Response:
    return json_answer(await operations.forget(request.backend, request.identity, request.body.phone), 202)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/v1/phones/forget",
        forget,
        "Erase one number everywhere",
        {202: ("Accepted", Forgotten)},
        body=ForgetBody,
        admin=True,
        problems=(404,),
    ),
)
