"""The mesh's HTTP API, under `/api/mesh/`."""

from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

import msgspec

from modularity_registry import schema
from modularity_registry.api import problems
from modularity_registry.api.route_policy import Cost
from modularity_registry.clock import maybe_rfc3339, rfc3339
from modularity_registry.errors import Forbidden, InvalidRequest, RegistryError
from modularity_registry.integrations.http import Application, Call, Reply, Route
from modularity_registry.integrations.http.application import reply_of
from modularity_registry.integrations.mesh.authority import certificates
from modularity_registry.integrations.mesh.authority.view import AuthorityView
from modularity_registry.integrations.mesh.errors import MeshError
from modularity_registry.integrations.mesh.intentions import Intentions, StoredIntention
from modularity_registry.model.intention import Action, is_allowed
from modularity_registry.model.rights import Right
from modularity_registry.runtime import Registry
from modularity_registry.schema.intentions import MESH_ID, intention_of
from modularity_registry.schema.patterns import (
    CAPABILITY_PATTERN,
    LONGEST_CAPABILITY,
    whole,
)

PREFIX: Final = "/api/mesh/"

MOST_SECONDS: Final = 30 * 86_400.0

_Id = Annotated[str, msgspec.Meta(pattern=whole(f"^{MESH_ID}$"))]
_Capability = Annotated[
    str,
    msgspec.Meta(pattern=whole(CAPABILITY_PATTERN), max_length=LONGEST_CAPABILITY),
]


class _CertificateRequest(msgspec.Struct, forbid_unknown_fields=True):
    service_id: _Id
    csr: str
    capabilities: Annotated[
        list[_Capability], msgspec.Meta(max_length=schema.MAX_CAPABILITIES)
    ] = []


class _IntentionBody(msgspec.Struct, forbid_unknown_fields=True):
    action: Action


class _RotationBody(msgspec.Struct, forbid_unknown_fields=True):
    overlap_seconds: Annotated[float, msgspec.Meta(gt=0, le=MOST_SECONDS)] | None = None


BodyT = TypeVar("BodyT")


class MeshApplication(Application):
    """The authority and the intentions, for sidecars and for admins."""

    def __init__(
        self, registry: Registry, authority: AuthorityView, intentions: Intentions
    ) -> None:
        self._registry = registry
        self._authority = authority
        self._intentions = intentions
        one = f"{PREFIX}intentions/<source>/<path:capability>"
        admin: dict[str, Any] = {"right": Right.ADMIN, "cost": Cost.WRITE}
        issues: dict[str, Any] = {"right": Right.REGISTER, "cost": Cost.WRITE}
        routes = [
            Route("GET", f"{PREFIX}authority", self._show_authority),
            Route("POST", f"{PREFIX}authority/rotate", self._rotate, **admin),
            Route("POST", f"{PREFIX}certificates", self._issue, **issues),
            Route("GET", f"{PREFIX}intentions", self._list),
            Route("GET", f"{PREFIX}decision", self._decide),
            Route("GET", one, self._show),
            Route("PUT", one, self._put, **admin),
            Route("DELETE", one, self._remove, **admin),
        ]
        super().__init__([PREFIX], routes)

    def error(self, error: RegistryError) -> Reply:
        if isinstance(error, MeshError):
            return reply_of(problems.problem(error.status, error.code, error.detail))
        return super().error(error)

    async def _show_authority(self, _: Call) -> Reply:
        await self._authority.require()
        return _json(self._authority_document())

    async def _rotate(self, call: Call) -> Reply:
        overlap = _read(call.body or b"{}", _RotationBody).overlap_seconds
        await self._authority.rotate(overlap)
        return _json(self._authority_document())

    async def _issue(self, call: Call) -> Reply:
        request = _read(call.body, _CertificateRequest)
        service_id = request.service_id
        call.caller.require_service(service_id, request.capabilities)
        if call.caller.open and not call.is_local:
            raise Forbidden(
                "without tokens, the registry issues certificates only to callers on"
                " its own machine; start it with --auth, and show a token"
            )
        entry = self._registry.catalog.service(service_id)
        if entry is not None:
            call.claim.check(entry.owner, service_id)
        issued = await self._authority.issue(
            service_id, request.capabilities, request.csr
        )
        document = {
            "service_id": service_id,
            "spiffe_id": certificates.spiffe_id(
                self._authority.trust_domain, service_id
            ),
            "certificate": issued.certificate,
            "expires_at": rfc3339(issued.not_after),
            **self._authority_document(),
        }
        return _json(document, HTTPStatus.CREATED)

    def _authority_document(self) -> dict[str, Any]:
        authority, registry = self._authority.present, self._registry
        assert authority is not None
        now = registry.clock.now()
        signing, trusted = self._authority.signing(authority), authority.trusted(now)
        return {
            "trust_domain": authority.trust_domain,
            "trust_bundle": "".join(root.certificate for root in trusted),
            "roots": [
                {
                    "signs": root is signing,
                    "signs_from": rfc3339(root.signs_from),
                    "trusted_until": maybe_rfc3339(root.trusted_until),
                }
                for root in trusted
            ],
            "certificate_lifetime_seconds": self._authority.lifetime,
            "refresh_seconds": self._authority.refresh,
            "xds_port": registry.settings.xds_port,
        }

    def _list(self, _: Call) -> Reply:
        rows = [_document(each) for each in self._intentions.all()]
        default = self._registry.settings.mesh_default
        return _json({"default": default, "intentions": rows, "count": len(rows)})

    def _decide(self, call: Call) -> Reply:
        source, capability = call.argument("source"), call.argument("capability")
        if not source or not capability:
            raise InvalidRequest("source and capability must both be given")
        rules = self._intentions.rules(capability)
        action = "allow" if is_allowed(rules, source) else "deny"
        return _json({"source": source, "capability": capability, "action": action})

    def _show(self, call: Call) -> Reply:
        stored = self._intentions.require(
            call.names["source"], call.names["capability"]
        )
        return _json(_document(stored))

    async def _put(self, call: Call) -> Reply:
        action = _read(call.body, _IntentionBody).action
        new = intention_of(call.names["source"], call.names["capability"], action)
        revision = await self._intentions.put(new)
        return _json(_document(StoredIntention(new, revision)))

    async def _remove(self, call: Call) -> Reply:
        source, capability = call.names["source"], call.names["capability"]
        revision = await self._intentions.remove(source, capability)
        return _json(
            {
                "status": "removed",
                "source": source,
                "capability": capability,
                "revision": revision,
            }
        )


def _document(stored: StoredIntention) -> dict[str, Any]:
    source, capability, action = msgspec.structs.astuple(stored.intention)
    return {
        "source": source,
        "capability": capability,
        "action": action,
        "revision": stored.revision,
    }


def _read(body: bytes, kind: type[BodyT]) -> BodyT:
    try:
        return msgspec.convert(schema.decode_object(body), kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the body can't be used: {error}") from None


def _json(document: dict[str, Any], status: int = HTTPStatus.OK) -> Reply:
    return Reply(status, schema.encode(document))
