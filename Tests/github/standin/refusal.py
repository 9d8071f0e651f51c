"""GitHub's error responses."""

from typing import Any

from .wire import Response

DOCS = "https://docs.github.com/rest"


class Refusal(Exception):
    """An error response, raised wherever the error is found."""

    def __init__(self, status: int, message: str, errors: list[dict[str, Any]] | None = None, *, docs: str = DOCS,
                 headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors
        self.docs = docs
        self.headers = headers or {}

    def response(self) -> Response:
        body: dict[str, Any] = {"message": self.message}
        if self.errors is not None:
            body["errors"] = self.errors
        body |= {"documentation_url": self.docs, "status": str(self.status)}
        return Response.json(body, self.status, self.headers)


def missing() -> Refusal:
    return Refusal(404, "Not Found")


def invalid(resource: str, code: str, field: str, message: str | None = None) -> Refusal:
    """422 with a list of errors, as GitHub returns it for an invalid field."""
    error = {"resource": resource, "code": code, "field": field}
    if message is not None:
        error["message"] = message
    return Refusal(422, "Validation Failed", [error])


def unsupplied(field: str) -> Refusal:
    return Refusal(422, f'Invalid request.\n\n"{field}" wasn\'t supplied.')
