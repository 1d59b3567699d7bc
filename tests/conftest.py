"""How long properties are tried: `make check` takes few examples, `make test` many."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=100)
# For a change of guards or masking: pytest --hypothesis-profile=long tests/unit/scaivault
settings.register_profile("long", settings.get_profile("quick"), max_examples=2000)
settings.load_profile("quick")
