"""The web application: routes, errors, roles and pages put together around one advisor."""

from __future__ import annotations

import asyncio
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from advisor.api import problems
from advisor.api.routes import health, metrics, pages, recommendations, runs, targets
from advisor.api.security import Access, BrowserGuard
from advisor.service.app import Advisor

_STATIC = Path(__file__).parent / "web" / "static"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_DESCRIPTION = """
How much load one replica holds within its objective, how many replicas the demand needs, and which signal,
at which value, the autoscaler should hold. Rates are in requests/s, times in seconds, ratios in 0..1; `null`
means "not known", never 0. Errors are problem documents (RFC 9457).
"""


class _Application(FastAPI):
    """Its own description names the media type that errors really have."""

    def openapi(self) -> dict[str, Any]:
        """As the base, which gives errors the media type of the route's answer."""
        described = self.openapi_schema is not None
        schema = super().openapi()
        if not described:
            for operation in (op for path in schema["paths"].values() for op in path.values()):
                for status, response in operation["responses"].items():
                    if status[0] in "45" and response.get("content"):
                        response["content"] = {problems.MEDIA_TYPE: {"schema": _PROBLEM}}
        return schema


def create_app(advisor: Advisor, access: Access) -> FastAPI:
    """The application. Whoever serves it starts the advisor before, and stops it after."""
    app = _Application(
        title="Capacity Advisor",
        version=installed_version("capacity-advisor"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.advisor = advisor
    app.state.access = access
    app.state.stopping = asyncio.Event()
    app.state.seen_runs = metrics.SeenRuns()
    app.state.documents = recommendations.Documents()
    problems.install(app)
    app.add_middleware(BrowserGuard, access=access)
    for module in (recommendations, targets, runs, health, metrics, pages):
        app.include_router(module.router)
    for route in app.routes:
        if isinstance(route, APIRoute) and route.description:
            route.summary = route.description.partition(".")[0].partition(":")[0].partition(";")[0]
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.mount("/swagger", StaticFiles(directory=_SWAGGER), name="swagger")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        """Swagger UI from this machine: the service must also work where there is no Internet."""
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="Capacity Advisor: API",
            swagger_js_url="swagger/swagger-ui-bundle.js",
            swagger_css_url="swagger/swagger-ui.css",
            swagger_favicon_url="static/icon.svg",
        )

    return app
