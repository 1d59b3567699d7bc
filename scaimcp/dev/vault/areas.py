"""Every area's routes, in one table."""

from scaimcp.dev.vault import (
    acme,
    audit,
    dynamic,
    federation,
    identity,
    pki,
    policies,
    rotation,
    secret_policies,
    secrets,
    service_accounts,
    subscriptions,
)

ROUTES = (
    *identity.ROUTES,
    *secrets.ROUTES,
    *policies.ROUTES,
    *audit.ROUTES,
    *secret_policies.ROUTES,
    *service_accounts.ROUTES,
    *rotation.ROUTES,
    *acme.ROUTES,
    *pki.ROUTES,
    *dynamic.ROUTES,
    *federation.ROUTES,
    *subscriptions.ROUTES,
)
