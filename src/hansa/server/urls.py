"""All paths of the server. A feature's own are in its folder."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path, re_path

import hansa.server.ops.openapi  # noqa: F401  # registers how messages are described
from hansa.server.accounts.signin import SignInForm
from hansa.server.ops.api import Health, Schema, Unknown
from hansa.server.ops.pages import Redoc, SwaggerUI
from hansa.server.ops.probes import Livez, Readyz
from hansa.server.ops.scraping import Metrics

admin.site.site_header = admin.site.site_title = "Hansa"
admin.site.index_title = "Everything the server keeps"

_signing_in = [
    path(
        "login/",
        LoginView.as_view(
            template_name="rest_framework/login.html", authentication_form=SignInForm, next_page="myself"
        ),
        name="login",
    ),
    path("logout/", LogoutView.as_view(), name="logout"),
]

handler404 = "hansa.server.dashboard.page.not_found"
handler400 = "hansa.server.ops.errors.bad_request"
handler500 = "hansa.server.ops.errors.server_error"

urlpatterns = [
    # First what is asked most. Before registry, whose views of a model it extends.
    path("api/", include("hansa.server.trainings.urls")),
    path("livez", Livez.as_view(), name="livez"),
    path("readyz", Readyz.as_view(), name="readyz"),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("admin/", admin.site.urls),
    path("api-auth/", include((_signing_in, "rest_framework"))),  # the name under which DRF's pages look for it
    path("api/", include("hansa.server.accounts.urls")),
    path("api/", include("hansa.server.registry.urls")),
    path("api/", include("hansa.server.inference.urls")),
    path("api/", include("hansa.server.dummy.urls")),
    path("api/health/", Health.as_view(), name="health"),
    path("api/schema/", Schema.as_view(), name="schema"),
    path("api/schema/swagger-ui/", SwaggerUI.as_view(), name="swagger-ui"),
    path("api/schema/redoc/", Redoc.as_view(), name="redoc"),
    re_path(r"^api/", Unknown.as_view()),
    path("", include("hansa.server.dashboard.urls")),
]
