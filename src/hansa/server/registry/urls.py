from django.urls import path

from hansa.server.registry import api, side_api

urlpatterns = [
    path("models/", api.Models.as_view(), name="models"),
    path("models/<uuid:model_id>/", api.ModelDetail.as_view(), name="model"),
    path("models/<uuid:model_id>/metadata/", api.ModelMetadata.as_view(), name="model-metadata"),
    path("models/<uuid:model_id>/metrics/", side_api.ModelMetrics.as_view(), name="model-metrics"),
    path("models/<uuid:model_id>/preprocessing/", side_api.ModelPreprocessing.as_view(), name="model-preprocessing"),
    path("models/<uuid:model_id>/versions/", api.Versions.as_view(), name="versions"),
    path("models/<uuid:model_id>/versions/<int:number>/", api.VersionDetail.as_view(), name="version"),
    path("models/<uuid:model_id>/versions/<int:number>/params/", api.VersionParams.as_view(), name="version-params"),
    path("models/<uuid:model_id>/versions/<int:number>/moments/", api.VersionMoments.as_view(), name="version-moments"),
]
