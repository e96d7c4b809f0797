"""Whose account and whose session is whose, in the words of the SCIM server."""

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models


class Person(models.Model):
    """An account that the identity provider provisions. `subject` is its externalId there."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="person")
    subject = models.CharField(max_length=255, unique=True)


class Session(AbstractBaseSession):
    """Django's session record and a subject: what the server's DELETE looks for."""

    subject = models.CharField(max_length=255, default="", db_index=True)

    class Meta:
        db_table = "crm_session"

    @classmethod
    def get_session_store_class(cls):
        from crm.sessions import SessionStore  # which needs this class

        return SessionStore
