from django.urls import path

from hansa.server.accounts import api

urlpatterns = [
    path("users/", api.Users.as_view(), name="users"),
    path("users/myself/", api.Myself.as_view(), name="myself"),
    path("tokens/", api.Tokens.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>/", api.TokenDetail.as_view(), name="token"),
    path("clients/", api.Clients.as_view(), name="clients"),
    path("clients/invitations/", api.Invitations.as_view(), name="invitations"),
    path("clients/enroll/", api.Enroll.as_view(), name="enroll"),
]
