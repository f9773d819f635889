"""In groups: to find a view costs as many comparisons as stand before it."""

from django.urls import include, path

from hansa.server.trainings import api, event_api, older_api, task_api

_tasks = [
    path("next/", task_api.NextTask.as_view(), name="task-next"),
    path("<uuid:task_id>/heartbeat/", task_api.TaskHeartbeat.as_view(), name="task-heartbeat"),
    path("<uuid:task_id>/base/", task_api.TaskBase.as_view(), name="task-base"),
    path("<uuid:task_id>/update/<str:digest>/", task_api.TaskUpdate.as_view(), name="task-update"),
    path("<uuid:task_id>/report/", task_api.TaskReport.as_view(), name="task-report"),
    path("<uuid:task_id>/release/", task_api.TaskRelease.as_view(), name="task-release"),
]

_trainings = [
    path("", api.Trainings.as_view(), name="trainings"),
    path("<uuid:training_id>/", api.TrainingDetail.as_view(), name="training"),
    path("<uuid:training_id>/start/", api.TrainingStart.as_view(), name="training-start"),
    path("<uuid:training_id>/pause/", api.TrainingPause.as_view(), name="training-pause"),
    path("<uuid:training_id>/resume/", api.TrainingResume.as_view(), name="training-resume"),
    path("<uuid:training_id>/cancel/", api.TrainingCancel.as_view(), name="training-cancel"),
    path("<uuid:training_id>/clients/", api.TrainingClients.as_view(), name="training-clients"),
    path("<uuid:training_id>/leave/", api.TrainingLeave.as_view(), name="training-leave"),
    path("<uuid:training_id>/models/", api.TrainingModels.as_view(), name="training-models"),
    path("<uuid:training_id>/models/latest/", api.LatestModels.as_view(), name="latest-models"),
    path("<uuid:training_id>/rounds/", api.Rounds.as_view(), name="rounds"),
    path("<uuid:training_id>/rounds/<int:number>/", api.RoundDetail.as_view(), name="round"),
    path("<uuid:training_id>/metrics/", api.TrainingMetrics.as_view(), name="training-metrics"),
    path("<uuid:training_id>/events/", event_api.TrainingEvents.as_view(), name="training-events"),
]

urlpatterns = [
    path("tasks/", include(_tasks)),
    path("trainings/", include(_trainings)),
    path("users/trainings/", api.RelatedTrainings.as_view(), name="users-trainings"),
    path("plans/schema/", api.PlanSchema.as_view(), name="plan-schema"),
    path("plan-schema/", api.FormerPlanSchema.as_view(), name="former-plan-schema"),
    path("models/<uuid:model_id>/", older_api.TrainedModel.as_view(), name="trained-model"),
    path("models/<uuid:model_id>/swag/", older_api.SwagStatistics.as_view(), name="model-swag"),
    path("models/<uuid:model_id>/metrics/", older_api.TrainedModelMetrics.as_view(), name="trained-model-metrics"),
]
