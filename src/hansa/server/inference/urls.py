from django.urls import path

from hansa.server.inference.api import Inference

urlpatterns = [path("inference/", Inference.as_view(), name="inference")]
