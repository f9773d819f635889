"""The addresses of people's, clients' and groups' pages."""

from django.urls import path

from hansa.server.dashboard import clients, one_client, people

urlpatterns = [
    path("people/", people.People.as_view(), name="people-page"),
    path("people/groups/", people.NewGroup.as_view(), name="group-new"),
    path("people/groups/<int:group_id>/<slug:move>/", people.ChangeGroup.as_view(), name="group-change"),
    path("clients/", clients.Clients.as_view(), name="clients-page"),
    path("clients/<uuid:client_id>/", one_client.OneClient.as_view(), name="client-page"),
    path(
        "clients/invitations/<uuid:invitation_id>/revoke/",
        clients.RevokeInvitation.as_view(),
        name="revoke-invitation",
    ),
]
