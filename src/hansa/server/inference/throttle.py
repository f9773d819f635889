"""How often one user asks models."""

from hansa.server.lifecycle.throttles import UserRateThrottle


class InferenceThrottle(UserRateThrottle):
    """Questions of one user, in whatever form."""

    scope = "inference"
