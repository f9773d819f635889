"""The addresses of trainings' pages."""

from django.urls import path

from hansa.server.dashboard import joining, log, new_training, overview, plots, trainings

_ONE = "trainings/<uuid:training_id>/"

urlpatterns = [
    path("trainings/", overview.Trainings.as_view(), name="trainings-page"),
    path("trainings/data/", plots.Lines.as_view(), name="trainings-data"),
    path("trainings/new/", new_training.NewTraining.as_view(), name="training-new"),
    path("trainings/check/", new_training.CheckTraining.as_view(), name="training-check"),
    path(_ONE, trainings.Training.as_view(), name="training-page"),
    path(f"{_ONE}parts/<slug:part>/", trainings.Part.as_view(), name="training-part"),
    path(f"{_ONE}events/", log.Events.as_view(), name="training-log"),
    path(f"{_ONE}data/<slug:plot>/", plots.Data.as_view(), name="training-data"),
    path(f"{_ONE}participants/add/", joining.Add.as_view(), name="training-add"),
    path(f"{_ONE}participants/connect/", joining.Connect.as_view(), name="training-connect"),
    path(f"{_ONE}participants/<uuid:client_id>/remove/", joining.Remove.as_view(), name="training-remove"),
    path(f"{_ONE}<slug:move>/", trainings.Move.as_view(), name="training-move"),
]
