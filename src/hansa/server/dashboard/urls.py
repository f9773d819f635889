from django.conf import settings
from django.urls import path

from hansa.server.dashboard import (
    account,
    model_upload,
    models,
    news,
    overview,
    people_urls,
    playground,
    signing,
    training_urls,
)

TEXTS = 2**20
"""Bytes of the other fields of a form that has files."""
LARGEST_MODEL = settings.CONFIG.max_model_bytes + TEXTS
LARGEST_INPUT = settings.CONFIG.inference.input_bytes + TEXTS

urlpatterns = [
    path("", overview.Overview.as_view(), name="overview"),
    path("news/", news.News.as_view(), name="news"),
    *training_urls.urlpatterns,
    path("models/", models.Models.as_view(), name="models-page"),
    path("models/new/", model_upload.NewModel.as_view(body_limit=LARGEST_MODEL), name="model-new"),
    path("models/<uuid:model_id>/", models.ModelPage.as_view(), name="model-page"),
    path("models/<uuid:model_id>/ask/", playground.Ask.as_view(body_limit=LARGEST_INPUT), name="model-ask"),
    *people_urls.urlpatterns,
    path("sign-in/", signing.SignIn.as_view(), name="sign-in"),
    path("sign-out/", signing.SignOut.as_view(), name="sign-out"),
    path("first-run/", signing.FirstRun.as_view(), name="first-run"),
    path("account/", account.Account.as_view(), name="account"),
    path("account/password/", account.Password.as_view(), name="change-password"),
    path("account/tokens/<uuid:token_id>/revoke/", account.RevokeToken.as_view(), name="revoke-token"),
]
