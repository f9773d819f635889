from django.urls import path

from hansa.server.dummy.api import Dummy

urlpatterns = [path("dummy/", Dummy.as_view(), name="dummy")]
