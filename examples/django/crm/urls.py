"""The pages."""

from django.http import JsonResponse
from django.urls import path

from crm.scim import Login, webhook


def me(request):
    """200 with who is signed in, or 401."""
    if not request.user.is_authenticated:
        return JsonResponse({"error": "not signed in"}, status=401)
    return JsonResponse({"userName": request.user.get_username()})


urlpatterns = [
    path("", me),
    path("login", Login.as_view()),
    path("hooks/scim", webhook),
]
