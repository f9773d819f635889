from django.urls import path

from hansa.server.accounts import api, group_api

urlpatterns = [
    path("users/", api.Users.as_view(), name="users"),
    path("users/myself/", api.Myself.as_view(), name="myself"),
    path("users/groups/", group_api.MyGroups.as_view(), name="my-groups"),
    path("users/<uuid:user_id>/", api.UserDetail.as_view(), name="user"),
    path("groups/", group_api.Groups.as_view(), name="groups"),
    path("groups/<int:group_id>/", group_api.GroupDetail.as_view(), name="group"),
    path("tokens/", api.Tokens.as_view(), name="tokens"),
    path("tokens/<uuid:token_id>/", api.TokenDetail.as_view(), name="token"),
    path("clients/", api.Clients.as_view(), name="clients"),
    path("clients/invitations/", api.Invitations.as_view(), name="invitations"),
    path("clients/invitations/<uuid:invitation_id>/", api.InvitationDetail.as_view(), name="invitation"),
    path("clients/enroll/", api.Enroll.as_view(), name="enroll"),
]
