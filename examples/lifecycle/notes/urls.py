from django.urls import include, path
from rest_framework.routers import DefaultRouter

from notes import views

router = DefaultRouter()  # DRF's own
router.register("notes", views.Notes, basename="note")

urlpatterns = [
    path("count/", views.count),
    path("events/", views.Events.as_view()),
    path("files/<slug:name>", views.Files.as_view()),
    path("", include(router.urls)),
]
