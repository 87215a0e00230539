"""OpenAPI: what the gateway promises, with every command and an example of each."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ops import schemas
from ops.web.examples import EXAMPLES, example
from ops.web.problems import ProblemShown

Schema = dict[str, Any]

ABOUT = """\
Hand in commands about fixed-price orders that carry an earnest-money deposit, and read what became
of them. A command is answered with **202** after it is durably kept; its outcome comes a moment
later, at `GET /commands/{id}?wait=5`. Sending a command again under the same id is always safe.

Tokens are bearer tokens; each speaks for one role, and perhaps for one party of that role. What a
command says in `by` is held against the token, never believed. Instants are ISO 8601 with an
offset, amounts are whole fen (1/100 CNY).
"""


def _named(kind: str) -> str:
    return "".join(part.capitalize() for part in kind.split("_"))


def _command_schemas() -> dict[str, Schema]:
    schemas_by_name = {}
    for kind, schema in schemas.commands().items():
        plain_schema = {name: value for name, value in schema.items() if not name.startswith("$")}
        schemas_by_name[_named(kind)] = plain_schema | {"examples": [example(kind)]}
    return schemas_by_name


COMMAND_SCHEMAS = _command_schemas()

ANY: Schema = {"$ref": "#/components/schemas/Command"}
COMMANDS_BODY: Schema = {
    "required": True,
    "description": "One command, or a list of them.",
    "content": {
        "application/json": {
            "schema": {
                "anyOf": [ANY, {"type": "array", "items": ANY, "minItems": 1, "maxItems": 500}]
            },
            "examples": {
                **{kind: {"summary": kind, "value": example(kind)} for kind in EXAMPLES},
                "several": {
                    "summary": "several at once",
                    "value": [example("register_mcn"), example("register_creator")],
                },
            },
        }
    },
}


def document(app: FastAPI, version: str) -> Schema:
    """Write the whole document, once."""
    if app.openapi_schema is None:
        spec = get_openapi(
            title="Earnest",
            version=version,
            description=ABOUT,
            routes=app.routes,
            license_info={"name": "MIT", "identifier": "MIT"},
        )
        component_schemas = spec["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            component_schemas.pop(unused, None)
        refs = [{"$ref": f"#/components/schemas/{name}"} for name in COMMAND_SCHEMAS]
        mapping = {kind: f"#/components/schemas/{_named(kind)}" for kind in EXAMPLES}
        discriminator = {"propertyName": "kind", "mapping": mapping}
        problem = ProblemShown.model_json_schema(ref_template="#/components/schemas/{model}")
        component_schemas |= problem.pop("$defs") | COMMAND_SCHEMAS
        component_schemas |= {
            "Problem": problem,
            "Command": {"oneOf": refs, "discriminator": discriminator},
        }
        spec["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        spec["security"] = [{"token": []}, {}]
        app.openapi_schema = spec
    return app.openapi_schema
