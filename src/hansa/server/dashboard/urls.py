from django.urls import path

from hansa.server.dashboard import account, overview, signing, trainings

urlpatterns = [
    path("", overview.Overview.as_view(), name="overview"),
    path("trainings/", overview.Trainings.as_view(), name="trainings-page"),
    path("trainings/<uuid:training_id>/", trainings.Training.as_view(), name="training-page"),
    path("trainings/<uuid:training_id>/parts/<slug:part>/", trainings.Part.as_view(), name="training-part"),
    path("trainings/<uuid:training_id>/<slug:move>/", trainings.Move.as_view(), name="training-move"),
    path("sign-in/", signing.SignIn.as_view(), name="sign-in"),
    path("sign-out/", signing.SignOut.as_view(), name="sign-out"),
    path("first-run/", signing.FirstRun.as_view(), name="first-run"),
    path("account/", account.Account.as_view(), name="account"),
    path("account/password/", account.Password.as_view(), name="change-password"),
    path("account/tokens/<uuid:token_id>/revoke/", account.RevokeToken.as_view(), name="revoke-token"),
]
