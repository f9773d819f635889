"""The peer by Django REST framework, the way its own documentation shows."""

from django.urls import path
from rest_framework.generics import RetrieveAPIView
from rest_framework.serializers import ModelSerializer

from peer.models import User


class UserSerializer(ModelSerializer[User]):
    class Meta:
        model = User
        fields = (
            "id",
            "username",
            "first_name",
            "last_name",
            "email",
            "actor",
            "client",
            "message_endpoint",
        )


class Myself(RetrieveAPIView[User]):
    """Whoever asks."""

    serializer_class = UserSerializer

    def get_object(self) -> User:
        return self.request.user  # type: ignore[return-value]  # of this project's model: nobody else passes


urlpatterns = [path("api/users/myself/", Myself.as_view())]
